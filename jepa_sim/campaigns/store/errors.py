"""Errors of the file system and of damaged files, in one sentence."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from jepa_sim.arguments.errors import StoreError

MOST = 200  # characters of a reason


class Damaged(StoreError):
    """A file of a run differs from what was written."""


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise errors of the file system as a StoreError that names the path and the reason."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StoreError(
            f"`{where}` cannot be read or written: {error.strerror or error}."
        ) from error


@contextlib.contextmanager
def undamaged(run: Path, what: str) -> Iterator[None]:
    """Raise what zarr raises for damaged files as `Damaged`, of `what` in the run."""
    try:
        with explained(run):
            yield
    except StoreError as error:
        cause = error.__cause__
        # zarr's own OSErrors have no number, and a broken disk gives EIO: both are damage. Others,
        # such as a missing permission, are not.
        if not isinstance(cause, OSError) or cause.errno not in (None, errno.EIO):
            raise
        raise damaged(run, what, cause) from cause
    except Exception as error:  # zarr and its codecs raise almost anything
        raise damaged(run, what, error) from error


def damaged(run: Path, what: str, reason: object) -> Damaged:
    """The error for damage, with the command that finds all of it."""
    words = " ".join(str(reason).split())[:MOST].rstrip(".") or type(reason).__name__
    hint = f"`jepa-sim status {run} --verify` finds all damage"
    return Damaged(f"{what} of run `{run}` is damaged: {words}. {hint}.")
