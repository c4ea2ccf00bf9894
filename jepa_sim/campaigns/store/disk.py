"""Write files that are complete on the disk when a function returns, or else not there."""

import contextlib
import glob
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def aside(path: Path) -> Path:
    """A name beside `path` for what is not whole yet; no process on any machine has the same."""
    return path.with_name(f"{_beginning(path)}{os.getpid()}.{secrets.token_hex(8)}.partial")


def _beginning(path: Path) -> str:
    """How the names begin that `aside` gives on this machine."""
    return f".{path.name}.{platform.node()}-"


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path`, for a file or a folder; it is renamed to `path` when all is written.

    After an error it is removed, and what was at `path` stays as it was.
    """
    partial = aside(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        _remove(partial)


def remove_left(path: Path) -> None:
    """Remove what killed processes of this machine have left beside `path`.

    What a living process is still writing stays: it may be about to rename it.
    """
    begin = _beginning(path)
    for left in path.parent.glob(f"{glob.escape(begin)}*.partial"):
        # all of the rest must fit: another machine may be called `this-12`
        name = re.fullmatch(r"(\d+)(\.[0-9a-f]+)?", left.name[len(begin) : -len(".partial")])
        if name and not _lives(int(name[1])):
            _remove(left)


def _remove(path: Path) -> None:
    """Remove a file or a folder; nothing happens where there is none."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_empty(folder: Path) -> None:
    """Remove a folder and those in it, where nothing but folders is in them."""
    for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
        with contextlib.suppress(OSError):  # it is a file, or it holds one
            path.rmdir()


def _lives(process: int) -> bool:
    """Whether a process may still be running."""
    if os.name != "posix":  # on Windows `os.kill` would end it
        return True
    try:
        os.kill(process, 0)  # signal 0 only asks whether the process exists
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """`flush` everything in a folder, and the folder."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def write_json(path: Path, value: Any) -> None:
    """Write a file so that after a power cut it is the old one or the new one, whole.

    So the values are flushed before the new name is given, and the folder after it.
    """
    with written_aside(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    flush(path.parent)
