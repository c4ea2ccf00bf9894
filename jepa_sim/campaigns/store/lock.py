"""Locks: one process writes a run, or the shards of one job array do.

The operating system holds the locks, and frees them when a process ends, however it ends. The text
in a lock file is for messages only: it says which process holds the lock.
"""

import contextlib
import datetime
import importlib.util
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from jepa_sim.arguments.errors import StoreError
from jepa_sim.campaigns.store.errors import explained

# None on Windows
fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
PATIENCE = 1.0  # seconds: those who read the status or extend the run hold the lock briefly


@contextlib.contextmanager
def lock(run: Path, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Lock a run, or one shard (i, n) of it beside the other shards.

    Raises StoreError where another process holds the lock.
    """
    if fcntl is None:
        rule = "be written where the operating system locks files, as Linux and macOS do"
        raise StoreError(f"Run `{run}` must {rule}: write to a file that ends in .nc instead.")
    with contextlib.ExitStack() as held:
        if shard is None:
            held.enter_context(_file(run, run / "lock", fcntl.LOCK_EX))
        else:
            # shared: shards write beside each other, but not beside one for the whole run
            held.enter_context(_file(run, run / "lock", fcntl.LOCK_SH))
            for other in run.glob("lock-*-of-*"):
                if not other.name.endswith(f"-of-{shard[1]}") and (owner := _holder(other)):
                    rule = f"be written by shards of one number, not of {shard[1]}"
                    raise StoreError(f"Run `{run}` must {rule}: {owner} is writing `{other.name}`.")
            own = run / f"lock-{shard[0]}-of-{shard[1]}"
            held.enter_context(_file(run, own, fcntl.LOCK_EX))
        yield


def writer(run: Path) -> str:
    """Which process is writing a run, in words; empty where none is."""
    return _holder(run / "lock")


def _holder(path: Path) -> str:
    """Which process holds a lock file; empty where none does. Read permission is enough."""
    if fcntl is None or not path.exists():
        return ""
    # NFS gives an exclusive lock only for a file that is open for writing
    mode = "r+" if os.access(path, os.W_OK) else "r"
    with explained(path), path.open(mode, encoding="utf-8") as file:
        if _locked(file, fcntl.LOCK_EX):
            return ""
        file.seek(0)
        return file.read().strip() or "another process"


def _locked(file: TextIO, kind: int) -> bool:
    """Take the lock if it is free; return whether it was."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _file(run: Path, path: Path, kind: int) -> Iterator[None]:
    """Hold the lock of one file."""
    # a stack, so that only opening is explained: errors under the lock are not the lock's
    with contextlib.ExitStack() as opened:
        with explained(path):
            file = opened.enter_context(path.open("a+", encoding="utf-8"))
            _claim(run, file, kind)
        yield


def _claim(run: Path, file: TextIO, kind: int) -> None:
    """Wait for a lock and write into its file who holds it. StoreError after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not _locked(file, kind):
        if time.monotonic() > deadline:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise StoreError(
                f"Run `{run}` must be written by one process at a time, but {owner} is writing it."
            )
        time.sleep(0.05)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}, since {now},\n")
    file.flush()
