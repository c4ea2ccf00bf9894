"""Arrays that a configuration names: moments given row by row or in a file, samples in a file.

A check returns a list of faults, which is empty where nothing is wrong. Samples are read in
batches, so that a file may be larger than memory.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.lib import format as npy

from jepa_sim.arguments.covariance import covariance_fault
from jepa_sim.arguments.errors import ConfigError
from jepa_sim.config.faults import Fault, shown_path

BATCH_BYTES = 2**24


def file_faults(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> list[Fault]:
    """Whether `path` is an .npz file with arrays of numbers of these names."""

    def fault(rule: str, found: str) -> list[Fault]:
        return [Fault(("path",), rule, f"{shown_path(path)} {found}")]

    try:
        with zipfile.ZipFile(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [name for name in names if name not in held]
            if missing:
                wanted = " and ".join(f"`{name}`" for name in names)
                return fault(f"hold the arrays {wanted}", f"holds only {', '.join(held)}")
            for name in (*names, *(name for name in optional if name in held)):
                if _Header.of(archive, name).dtype.kind not in "iuf":
                    return fault("hold arrays of real numbers", f"has others in `{name}`")
    except FileNotFoundError:
        return fault("be a file", "does not exist")
    except IsADirectoryError:
        return fault("be a file", "is a folder")
    except OSError as error:
        return fault("be readable", f"is not ({error.strerror})")
    except (ValueError, zipfile.BadZipFile):
        return fault("be an .npz file", "is not")
    return []


def matrix_faults(name: str, rows: Any, size: int) -> list[Fault]:
    """Whether `rows` are a second moment of `size` variables: its shape, its entries, its spectrum.

    `xx` is symmetric positive definite, `yy` symmetric positive semidefinite, `yx` any matrix.
    """

    def fault(rule: str, found: str) -> list[Fault]:
        return [Fault((name,), rule, found)]

    try:
        matrix = np.asarray(rows, dtype=np.float64)
    except ValueError:
        return fault("be a matrix", "has rows of different lengths")
    if matrix.shape != (size, size):
        return fault(f"be of shape ({size}, {size})", f"is of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        return fault("be finite", f"has {_first_not_finite(matrix)}")
    if name == "yx":
        return []
    broken = covariance_fault(matrix, definite=name == "xx")
    return [] if broken is None else fault(broken[0], f"is {broken[1]}")


class SamplesFile(NamedTuple):
    """Pairs of views in an .npz file: arrays `x` and `y` of shape (n, d).

    Where there is an array `actions` too, of shape (n,), it has the action that joins each pair.
    """

    path: Path

    def faults(self) -> list[Fault]:
        """What is wrong with the file, as far as its headers show."""
        found = file_faults(self.path, ("x", "y"), ("actions",))
        if found:
            return found
        with zipfile.ZipFile(self.path) as archive:
            shapes = [_Header.of(archive, name).shape for name in ("x", "y")]
            if "actions.npy" in archive.namelist():
                shape = _Header.of(archive, "actions").shape
                if shape != shapes[0][:1]:
                    rule = "hold `actions` of shape (n,), one number for each row of `x`"
                    return [Fault(("path",), rule, f"holds shapes {shapes[0]} and {shape}")]
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
            rule = "hold `x` and `y` of one shape (n, d), none of them empty"
            return [Fault(("path",), rule, f"holds shapes {shapes[0]} and {shapes[1]}")]
        return []

    @property
    def actions(self) -> np.ndarray | None:
        """(n,) the action of each pair, where the file has any. It is read as a whole."""
        with np.load(self.path) as arrays:
            return arrays.get("actions", None)

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(x, y) in batches of whole rows. ConfigError where an entry is not finite."""
        with zipfile.ZipFile(self.path) as archive, ExitStack() as stack:
            streams = [stack.enter_context(archive.open(f"{name}.npy")) for name in ("x", "y")]
            row = 0
            for batch in zip(*map(_row_batches, streams), strict=True):
                for name, values in zip(("x", "y"), batch, strict=True):
                    if not np.isfinite(values).all():
                        found = f"has {_first_not_finite(values, row)} in `{name}`"
                        raise ConfigError([Fault(("data", "path"), "be finite", found).line()])
                yield batch
                row += len(batch[0])


@runtime_checkable
class _Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Header(NamedTuple):
    """What stands before the numbers in an .npy file."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype

    @classmethod
    def read(cls, stream: _Stream) -> "_Header":
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return cls(*read(stream))

    @classmethod
    def of(cls, archive: zipfile.ZipFile, name: str) -> "_Header":
        with archive.open(f"{name}.npy") as stream:
            return cls.read(stream)


def _row_batches(stream: _Stream) -> Iterable[np.ndarray]:
    """Rows of a two-dimensional .npy file, several at a time."""
    shape, is_fortran, dtype = _Header.read(stream)
    count, width = shape
    rows = max(1, BATCH_BYTES // (8 * width))
    # an array that is stored by columns has to be read whole
    whole = np.frombuffer(stream.read(), dtype).reshape(width, count).T if is_fortran else None
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        if whole is not None:
            batch = whole[start:stop]
        else:
            size = (stop - start) * width * dtype.itemsize
            batch = np.frombuffer(stream.read(size), dtype).reshape(-1, width)
        yield batch.astype(np.float64)


def _first_not_finite(array: np.ndarray, first_row: int = 0) -> str:
    i, j = np.argwhere(~np.isfinite(array))[0]
    return f"{array[i, j]} at [{first_row + i}][{j}]"
