"""What the arrays of a run must be, so that damage is told.

The manifest has for every array its axes, type, lengths and attributes; for coordinates and
constants also a checksum of their values. Runs of older versions lack that: there, coordinates are
compared with the axes of the configuration, and nothing is known of the rest.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_sim.campaigns.store.errors import Damaged, damaged, undamaged

if TYPE_CHECKING:
    from jepa_sim.campaigns.store.store import Store

GROUP = "data.zarr"


def checksum(*arrays: np.ndarray) -> str:
    """Of values, whatever the files look like that hold them."""
    found = hashlib.sha256()
    for array in arrays:
        if array.dtype.kind in "OTU":
            found.update(json.dumps(array.tolist()).encode())
        else:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def open_array(path: Path, name: str) -> Any:
    """One array of the run at `path`."""
    import zarr

    with undamaged(path, f"Array `{name}`"):
        return zarr.open_array(path / GROUP, path=name, mode="r+", zarr_format=3)


def coordinates(path: Path) -> list[str]:
    """Which arrays are coordinates."""
    import zarr

    with undamaged(path, f"Group `{GROUP}`"):
        group = zarr.open_group(path / GROUP, mode="r+", zarr_format=3, use_consolidated=False)
        return str(group.attrs["coordinates"]).split()


def values_of(path: Path, array: Any, lengths: Mapping[str, int]) -> np.ndarray:
    """All values of a coordinate or constant.

    An extension that was stopped has left arrays longer than the run is: `lengths` of its axes.
    """
    with undamaged(path, f"Array `{array.basename}`"):
        dims = array.metadata.dimension_names
        ends = (lengths.get(axis, n) for axis, n in zip(dims, array.shape, strict=True))
        values = np.asarray(array[tuple(map(slice, ends))])
    return np.array(values.tolist(), str) if values.dtype.kind in "OT" else values


def described(array: Any, lanes: int, values: np.ndarray | None) -> dict[str, Any]:
    """What the manifest has of an array: one of the lanes, so many axes, or one with `values`."""
    found: dict[str, Any] = {
        "dims": list(array.metadata.dimension_names),
        "dtype": "str" if array.dtype.kind in "OTU" else str(array.dtype),
        "attrs": dict(array.attrs),
    }
    if values is None:
        return {**found, "shape": list(array.shape[lanes:]), "chunks": list(array.chunks)}
    return {**found, "shape": list(values.shape), "sha256": checksum(values)}


def describe(
    path: Path, of_lanes: tuple[str, ...], lengths: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """What the manifest has of all arrays. lengths: of the axes of the lanes."""
    found = {}
    for name in _names(path):
        array = open_array(path, name)
        values = None if name in of_lanes else values_of(path, array, lengths)
        found[name] = described(array, len(lengths), values)
    return found


def inventory(store: "Store") -> tuple[dict[str, tuple[Any, Any]], dict[str, Damaged]]:
    """Arrays by name, coordinates and constants with their values; and those that are damaged."""
    held, lengths = store.manifest.get("holds"), store.lengths
    found, faults = {}, {}
    try:
        named = coordinates(store.path)
    except Damaged as error:
        named, faults[GROUP] = [], error
    for name in held or sorted({*store.names, *named, *_names(store.path)}):
        try:
            array = open_array(store.path, name)
            values = None if name in store.names else values_of(store.path, array, lengths)
            with undamaged(store.path, f"Array `{name}`"):
                wrong = _wrong(store, name, array, values)
            if wrong:
                raise damaged(store.path, f"Array `{name}`", wrong)
            found[name] = array, values
        except Damaged as error:
            faults[name] = error
    return found, faults


def _names(path: Path) -> list[str]:
    with undamaged(path, f"Group `{GROUP}`"):
        return sorted(folder.name for folder in (path / GROUP).iterdir() if folder.is_dir())


def _wrong(store: "Store", name: str, array: Any, values: np.ndarray | None) -> str:
    """In what an array differs from the manifest and the configuration; empty where it does not."""
    lanes = len(store.lane_axes)
    if values is None and any(map(int.__lt__, array.shape[:lanes], store.lane_shape)):
        return f"it is of shape {array.shape}, too small for {store.lane_shape} runs"
    if held := store.manifest.get("holds", {}).get(name):
        here = described(array, lanes, values)
        different = [key for key in held if here.get(key) != held[key]]
        if different:
            return f"it differs from the manifest in {', '.join(different)}"
    axis = store.manifest.get("configuration", {}).get("axes", {}).get(name)
    if values is None or not isinstance(axis, list) or values.dtype.kind not in "iuf":
        return ""
    fine = values.tolist() == axis[: store.lengths[name]]
    return "" if fine else "it differs from the axis in the configuration"
