"""A run as a dataset: arrays are read when they are looked at, and only where."""

import importlib.util
import os
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from jepa_sim._store.store import PENDING, Store, open_group, open_store


def open_run(path: str | os.PathLike[str]) -> xr.Dataset:
    """The dataset of a run, finished or not; nothing is loaded before it is looked at.

    path: of the folder.

    It has the axes and variables of `sweep`'s, backed by dask, a chunk a block, where dask is
    installed. Lanes that are not there yet are NaN, and −1 in `result`. The manifest is in `attrs`.

    Raises StoreError where there is no run, or none of this format.
    """
    store = open_store(path)
    group, pending = open_group(store.path), _pending(store)
    lengths = dict(zip(store.lane_axes, store.lane_shape, strict=True))
    variables: dict[str, Any] = {}
    for name, array in group.arrays():
        dims = array.metadata.dimension_names
        # an extension that was stopped has left arrays longer than the run is
        full = dict(zip(dims, array.shape, strict=True)) | lengths
        ends = tuple(int(full[axis]) for axis in dims)
        if name in store.names:
            lazy = indexing.LazilyIndexedArray(_Lanes(array, ends, name, pending))
            variables[name] = xr.Variable(dims, lazy, dict(array.attrs))
        else:
            values = np.asarray(array[tuple(map(slice, ends))])
            if values.dtype.kind in "OT":
                values = np.array(values.tolist(), str)
            variables[name] = xr.Variable(dims, values, dict(array.attrs))
    names = group.attrs["coordinates"].split()
    dataset = xr.Dataset(
        {name: value for name, value in variables.items() if name not in names},
        {name: variables[name] for name in names},
        dict(store.manifest["provenance"]),
    )
    if importlib.util.find_spec("dask") is not None:
        chunks = dict(zip(store.lane_axes, store.block_shape, strict=True))
        dataset = dataset.assign({name: dataset[name].chunk(chunks) for name in store.names})
    dataset["plateau"] = dataset.plateau.isel(scale=0, seed=0, drop=True)
    seeds = store.manifest["seeds"]
    if dataset.sizes["seed"] < len(seeds):  # without chance one stands for all
        dataset = dataset.isel(seed=np.zeros(len(seeds), int)).assign_coords(seed=seeds)
    return dataset


def _pending(store: Store) -> np.ndarray | None:
    """Which lanes are not there yet; None where all are."""
    blocks = store.pending()
    if not blocks:
        return None
    found = np.zeros(store.lane_shape, bool)
    for block in blocks:
        found[store.region(block)] = True
    return found


class _Lanes(BackendArray):
    """An array of the store, blank where its lanes are pending."""

    def __init__(self, array: Any, shape: tuple[int, ...], name: str, pending: np.ndarray | None):
        self.array, self.pending = array, pending
        self.shape, self.dtype = shape, array.dtype
        self.blank = PENDING if name == "result" else np.nan if self.dtype.kind == "f" else 0

    def __getitem__(self, key: Any) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple) -> np.ndarray:
        if self.pending is None:
            return np.asarray(self.array.oindex[key])
        lanes = self.pending
        parts = key[: lanes.ndim]
        dropped = tuple(i for i, part in enumerate(parts) if _is_one(part))
        for axis, part in enumerate(parts):
            index = [part] if axis in dropped else part
            lanes = lanes[(slice(None),) * axis + (index,)]
        lanes = lanes.squeeze(dropped)
        blank = np.asarray(self.blank, self.dtype)
        if lanes.all():  # what lies there may be damaged
            return np.full(self._shape_of(key), blank)
        found = np.asarray(self.array.oindex[key])
        lanes = lanes.reshape(*lanes.shape, *(1,) * (found.ndim - lanes.ndim))
        return np.where(lanes, blank, found)

    def _shape_of(self, key: tuple) -> tuple[int, ...]:
        """Of what a key selects."""
        kept = [(part, n) for part, n in zip(key, self.shape, strict=True) if not _is_one(part)]
        return tuple(np.arange(n)[part].size for part, n in kept)


def _is_one(part: Any) -> bool:
    return isinstance(part, int | np.integer)
