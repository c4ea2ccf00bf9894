"""Write a result as one file, for other programs."""

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import h5netcdf
import xarray as xr

from jepa_sim.campaigns.store.disk import remove_left, written_aside

OVERHEAD = 2**16  # bytes that HDF5 needs at most for an array, beside its values


def export(dataset: xr.Dataset, path: Path) -> None:
    """Write NetCDF with everything where `path` ends in .nc, else a Parquet table.

    The table has a row for each trajectory, feature and fraction, and nothing that is saved over
    time. Where dask is installed, only a part of the result is in memory at a time, else all of it.
    See `write_netcdf` for errors.
    """
    if path.suffix == ".nc":
        write_netcdf(dataset, path)
        return
    chosen = [name for name, value in dataset.items() if "time" not in value.dims]
    frame = dataset[chosen].drop_vars("time_fraction", errors="ignore")
    with _written(path) as partial:
        frame.to_dataframe().reset_index().to_parquet(partial)


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write all of a dataset to one file.

    Raises OSError, with nothing written, where there is no room for it.
    """
    with _written(path) as partial:
        # HDF5 ends the process where a write fails. So Python writes an empty file and reserves all
        # of its room, and then HDF5 fills it. At the end HDF5 gives back what it did not need.
        words = sum(len(str(value)) for value in dataset.attrs.values())
        size = dataset.nbytes + 8 * words + OVERHEAD * (len(dataset.variables) + 1)
        with _room_for(path, size):
            partial.write_bytes(_empty())
            with partial.open("r+b") as file:
                _reserve(file, partial, size)
        with _one_thread():
            dataset.to_netcdf(partial, mode="a", engine="h5netcdf")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """`written_aside`, in a folder that is made and cleaned of what killed processes left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left(path)
    with written_aside(path) as partial:
        yield partial


def check_room(path: Path, size: int) -> None:
    """Raise OSError where a file of `size` bytes has no room at `path`; nothing is left there."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    with _room_for(path, size), tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file, folder, size)


@contextlib.contextmanager
def _room_for(path: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        rule = f"File `{path}` must have room for {size / 2**20:,.1f} MiB"
        raise OSError(f"{rule}, but has not: {error.strerror or error}.") from error


def _one_thread() -> AbstractContextManager[Any]:
    """Keep dask to one thread: after an error others would go on, and make the file anew."""
    if importlib.util.find_spec("dask") is None:
        return contextlib.nullcontext()
    import dask.config

    return dask.config.set(scheduler="synchronous")


def _empty() -> bytes:
    """A NetCDF file without anything in it."""
    file = io.BytesIO()
    h5netcdf.File(file, "w").close()
    return file.getvalue()


def _reserve(file: IO[bytes], path: Path, size: int) -> None:
    """Make a file at `path` `size` bytes long, so that later writes into it do not lack room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path).free < size:
        raise OSError("the disk has less")
