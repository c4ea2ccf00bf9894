"""Make the arrays of a run, before anything is computed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

PENDING = -1  # the result of a lane that has not been computed

# by name: the axes inside a lane, their lengths, type and attributes
Variables = Mapping[str, tuple[tuple[str, ...], tuple[int, ...], np.dtype, dict]]


def make_arrays(
    folder: Path,
    variables: Variables,
    known: xr.Dataset,
    lane_axes: tuple[str, ...],
    block_shape: tuple[int, ...],
) -> None:
    """Write the empty arrays to a new folder; see `create` for the arguments."""
    import zarr

    group = zarr.create_group(folder, zarr_format=3)
    for name, (dims, shape, dtype, attrs) in variables.items():
        group.create_array(
            name,
            shape=(*(known.sizes[axis] for axis in lane_axes), *shape),
            chunks=(*block_shape, *(max(n, 1) for n in shape)),
            dtype=dtype,
            fill_value=_fill(name, dtype),
            dimension_names=(*lane_axes, *dims),
            attributes=attrs,
            compressors=_of_numbers(),
            # all files of an array in one folder: to flush their names is one call
            chunk_key_encoding={"name": "default", "separator": "."},
        )
    for name, variable in known.variables.items():
        _put(group, str(name), variable)
    group.attrs["coordinates"] = " ".join(map(str, known.coords))


def _put(group: Any, name: str, variable: xr.Variable) -> None:
    """Write a small array, as one chunk."""
    values = np.asarray(variable.values)
    words = values.dtype.kind in "UTO"
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in values.shape),
        dtype=str if words else values.dtype,
        dimension_names=variable.dims,
        attributes=dict(variable.attrs),
        compressors=_of_words() if words else _of_numbers(),
        overwrite=True,
    )
    array[...] = values


def _of_numbers() -> list:
    """lz4 takes a fifth of the time of zstd, which makes mantissas of floats hardly smaller."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    return [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]


def _of_words() -> list:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(level=1), Crc32cCodec()]


def _fill(name: str, dtype: np.dtype) -> Any:
    if name == "result":
        return PENDING
    return math.nan if np.dtype(dtype).kind == "f" else 0
