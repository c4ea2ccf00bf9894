"""Open a run as a dataset. Arrays are loaded lazily, and only the parts that are used."""

import importlib.util
import itertools
import os
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from jepa_sim.arguments.kinds import checked
from jepa_sim.campaigns.store.contents import coordinates, inventory
from jepa_sim.campaigns.store.errors import undamaged
from jepa_sim.campaigns.store.store import Store, open_store
from jepa_sim.campaigns.store.template import PENDING
from jepa_sim.results.variables import with_learned


@checked
def open_run(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open the dataset of a run, finished or not. Arrays are loaded lazily.

    path: the folder of the run.

    The dataset has the axes and variables of `sweep`'s. Where dask is installed it holds arrays of
    dask, with one chunk for each block. Lanes that are not computed yet are NaN, and −1 in
    `result`. Where the run came from is in `attrs`.

    Raises ValueError where `path` is no path. Raises StoreError where there is no run, or none of
    this format, or where its coordinates, constants or the layout of its arrays are damaged.
    Damaged blocks raise it when they are loaded.
    """
    store = open_store(path)
    arrays, faults = inventory(store)
    for fault in faults.values():
        raise fault
    lanes = _Marked(store)
    variables: dict[str, Any] = {}
    for name, (array, values) in arrays.items():
        dims = array.metadata.dimension_names
        if values is None:
            # the array may be longer: an extension may have been stopped on its way
            ends = (*store.lane_shape, *array.shape[len(store.lane_shape) :])
            values = indexing.LazilyIndexedArray(_Lanes(array, ends, name, lanes))
        variables[name] = xr.Variable(dims, values, dict(array.attrs))
    names = coordinates(store.path)
    dataset = xr.Dataset(
        {name: value for name, value in variables.items() if name not in names},
        {name: variables[name] for name in names},
        dict(store.manifest["provenance"]),
    )
    if importlib.util.find_spec("dask") is not None:
        chunks = dict(zip(store.lane_axes, store.block_shape, strict=True))
        dataset = dataset.assign({name: dataset[name].chunk(chunks) for name in store.names})
    dataset = with_learned(dataset)
    dataset["plateau"] = dataset.plateau.isel(scale=0, seed=0, drop=True)
    seeds = store.manifest["seeds"]
    if dataset.sizes["seed"] < len(seeds):  # nothing is random: one seed is stored for all
        dataset = dataset.isel(seed=np.zeros(len(seeds), int)).assign_coords(seed=seeds)
    return dataset


class _Marked:
    """Which blocks have marks, and which lanes are pending."""

    def __init__(self, store: Store):
        marks = store.marks()
        self.store, self.blocks = store, frozenset(marks)
        self.pending: np.ndarray | None = None  # None: no lane is
        if left := store.pending(marks):
            self.pending = np.zeros(store.lane_shape, bool)
            for block in left:
                self.pending[store.region(block)] = True

    def check(self, array: Any, key: tuple) -> None:
        """Raise `Damaged` where a key selects from a block that has a mark and no file."""
        axes = zip(key, self.store.lane_shape, self.store.block_shape, strict=False)
        parts = [np.unique(np.arange(n)[part] // size).tolist() for part, n, size in axes]
        for block in itertools.product(*parts):
            if block in self.blocks:
                self.store.check_chunk(array, block)


class _Lanes(BackendArray):
    """An array of the store, with blanks where lanes are pending."""

    def __init__(self, array: Any, shape: tuple[int, ...], name: str, marked: _Marked):
        self.array, self.name, self.marked = array, name, marked
        self.shape, self.dtype = shape, array.dtype
        self.blank = PENDING if name == "result" else np.nan if self.dtype.kind == "f" else 0

    def __getitem__(self, key: Any) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple) -> np.ndarray:
        lanes = self.marked.pending
        if lanes is None:
            return self._found(key)
        parts = key[: lanes.ndim]
        dropped = tuple(i for i, part in enumerate(parts) if _is_one(part))
        for axis, part in enumerate(parts):
            index = [part] if axis in dropped else part
            lanes = lanes[(slice(None),) * axis + (index,)]
        lanes = lanes.squeeze(dropped)
        blank = np.asarray(self.blank, self.dtype)
        if lanes.all():  # files of pending blocks may be damaged
            return np.full(self._shape_of(key), blank)
        found = self._found(key)
        lanes = lanes.reshape(*lanes.shape, *(1,) * (found.ndim - lanes.ndim))
        return np.where(lanes, blank, found)

    def _found(self, key: tuple) -> np.ndarray:
        self.marked.check(self.array, key)
        with undamaged(self.marked.store.path, f"Array `{self.name}`"):
            return np.asarray(self.array.oindex[key])

    def _shape_of(self, key: tuple) -> tuple[int, ...]:
        """The shape of what a key selects."""
        kept = [(part, n) for part, n in zip(key, self.shape, strict=True) if not _is_one(part)]
        return tuple(np.arange(n)[part].size for part, n in kept)


def _is_one(part: Any) -> bool:
    return isinstance(part, int | np.integer)
