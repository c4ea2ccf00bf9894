"""Files that are on the disk when a function returns, whole or not at all."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def aside(path: Path) -> Path:
    """Where to write what is to be renamed to `path`: no process on any machine has the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


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
