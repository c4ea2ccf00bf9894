"""What the arrays of a run must be, so that damage is recognised.

For every array the manifest has its axes, type, lengths and attributes, and for coordinates and
constants a checksum of their values. Runs of older versions lack that. Their coordinates are
compared with the axes of the configuration, and the rest is not checked.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_sim.campaigns.store.errors import Damaged, damaged, undamaged

if TYPE_CHECKING:
    from jepa_sim.campaigns.store.store import Store

GROUP = "data.zarr"


def checksum(*arrays: np.ndarray) -> str:
    """The SHA-256 of values, which does not depend on how files encode them."""
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


@contextlib.contextmanager
def keeps_empty_chunks() -> Iterator[None]:
    """Zarr writes a file for a chunk of fill values too. Without it the block would look damaged.

    It is a setting of the process. Threads that write must all be within one such context, since
    the first one to leave its own would take the setting from the others.
    """
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        yield


def coordinates(path: Path) -> list[str]:
    """The names of the coordinates."""
    import zarr

    with undamaged(path, f"Group `{GROUP}`"):
        group = zarr.open_group(path / GROUP, mode="r+", zarr_format=3, use_consolidated=False)
        return str(group.attrs["coordinates"]).split()


def values_of(path: Path, array: Any, lengths: Mapping[str, int]) -> np.ndarray:
    """All values of a coordinate or constant, within the `lengths` of the run's axes.

    The array may be longer: an extension may have been stopped on its way.
    """
    with undamaged(path, f"Array `{array.basename}`"):
        dims = array.metadata.dimension_names
        ends = (lengths.get(axis, n) for axis, n in zip(dims, array.shape, strict=True))
        values = np.asarray(array[tuple(map(slice, ends))])
    return np.array(values.tolist(), str) if values.dtype.kind in "OT" else values


def described(array: Any, lanes: int, values: np.ndarray | None) -> dict[str, Any]:
    """The manifest's entry of an array.

    lanes: how many of its axes are those of the lanes.  values: of a coordinate or constant; None
    for an array that every lane has.
    """
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
    """The manifest's entries of all arrays, by name.

    of_lanes: names of the arrays that every lane has.  lengths: of the axes of the lanes.
    """
    found = {}
    for name in _names(path):
        array = open_array(path, name)
        values = None if name in of_lanes else values_of(path, array, lengths)
        found[name] = described(array, len(lengths), values)
    return found


def inventory(store: "Store") -> tuple[dict[str, tuple[Any, Any]], dict[str, Damaged]]:
    """All arrays by name, coordinates and constants with values; errors of damaged ones."""
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
    """How an array differs from the manifest and the configuration; empty where it does not."""
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
