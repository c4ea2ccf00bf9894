"""Errors of the file system, in one sentence."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jepa_sim._faults import StoreError


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of the file system as a StoreError that names the path and the reason."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StoreError(
            f"`{where}` cannot be read or written: {error.strerror or error}."
        ) from error
