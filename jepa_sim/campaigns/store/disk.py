"""Files that are on the disk when a function returns, whole or not at all."""

import contextlib
import glob
import json
import os
import platform
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def aside(path: Path) -> Path:
    """Where to write what is to be renamed to `path`: no process on any machine has the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name `path` when all is written.

    What a killed process of this machine has left there is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = f".{path.name}.{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(begin)}*.partial"):
        if not _lives(left.name.removeprefix(begin).removesuffix(".partial")):
            left.unlink(missing_ok=True)
    partial = path.with_name(f"{begin}{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _lives(process: str) -> bool:
    """Whether a process may be there still."""
    if os.name != "posix" or not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
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
    """Write aside, flush, rename, flush the folder."""
    partial = aside(path)
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    flush(path.parent)
