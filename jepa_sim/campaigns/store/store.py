"""Write a run: first its empty arrays, then its blocks, each with a mark."""

import contextlib
import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jepa_sim.arguments.errors import StoreError
from jepa_sim.campaigns.store.contents import (
    GROUP,
    checksum,
    describe,
    keeps_empty_chunks,
    open_array,
)
from jepa_sim.campaigns.store.disk import (
    flush,
    flush_tree,
    remove_empty,
    remove_left,
    write_json,
    written_aside,
)
from jepa_sim.campaigns.store.errors import damaged, explained, undamaged
from jepa_sim.campaigns.store.lock import lock
from jepa_sim.campaigns.store.template import PENDING as PENDING
from jepa_sim.campaigns.store.template import Variables, make_arrays

FORMAT = 1
MANIFEST = "manifest.json"

Block = tuple[int, ...]
LAYOUT = ("lane_axes", "lane_shape", "block_shape", "arrays")  # keys of the manifest
COUNTS = ("computed", "failed", "seconds", "steps", "lane_steps")  # numbers that a mark may have


@dataclasses.dataclass(frozen=True)
class Store:
    """A run on disk.

    manifest: its `manifest.json`.  lane_axes: names of the axes of the lanes.  lane_shape: their
    lengths.  block_shape: lanes of a block along each.  names: of the arrays that every lane has.
    """

    path: Path
    manifest: dict[str, Any]
    lane_axes: tuple[str, ...]
    lane_shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def lengths(self) -> dict[str, int]:
        """Lengths of the axes of the lanes, by name."""
        return dict(zip(self.lane_axes, self.lane_shape, strict=True))

    @property
    def blocks(self) -> list[Block]:
        """All blocks, by their positions."""
        counts = [
            math.ceil(n / size) for n, size in zip(self.lane_shape, self.block_shape, strict=True)
        ]
        return list(itertools.product(*map(range, counts)))

    def region(self, block: Block) -> tuple[slice, ...]:
        """The lanes of a block."""
        parts = zip(block, self.block_shape, self.lane_shape, strict=True)
        return tuple(slice(i * size, min((i + 1) * size, n)) for i, size, n in parts)

    def shape(self, block: Block) -> tuple[int, ...]:
        """Lanes of a block along each axis."""
        return tuple(part.stop - part.start for part in self.region(block))

    def marks(self) -> dict[Block, dict]:
        """The marks of all blocks that have one."""
        with explained(self.path):
            named = {path.name for path in (self.path / "done").iterdir()}
        there = [block for block in self.blocks if self.mark_path(block).name in named]
        found = {block: self.mark(block) for block in there}
        return {block: mark for block, mark in found.items() if mark is not None}

    def mark(self, block: Block) -> dict | None:
        """The mark of a block; None where there is none, or it is damaged.

        A block with a mark may have pending lanes, where it has grown since.
        """
        try:
            with explained(self.path):
                mark = json.loads(self.mark_path(block).read_text(encoding="utf-8"))
            shape, numbers = mark["shape"], [mark.get(key, 0) for key in COUNTS]
            fine = len(shape) == len(block) and all(isinstance(n, int) for n in shape)
            fine = fine and all(isinstance(n, int | float) for n in numbers)
            return mark if fine else None
        except (StoreError, ValueError, TypeError, AttributeError, KeyError):
            return None

    def pending(self, marks: Mapping[Block, dict] | None = None) -> list[Block]:
        """Blocks that are incomplete: without a mark, or grown since it was written."""
        marks = self.marks() if marks is None else marks
        return [
            block
            for block in self.blocks
            if block not in marks or tuple(marks[block]["shape"]) != self.shape(block)
        ]

    def write(
        self, block: Block, arrays: Mapping[str, np.ndarray], mark: Mapping[str, Any]
    ) -> None:
        """Write a block, wait until it is on the disk, and mark it.

        arrays: all arrays by name, each with the axes of the lanes first.
        """
        if set(arrays) != set(self.names):
            rule = f"Block {block} must have the arrays {sorted(self.names)}"
            raise StoreError(f"{rule}, but has {sorted(arrays)}.")
        done, region = self.mark_path(block), self.region(block)
        with self._in_place(block), keeps_empty_chunks():
            there = {name: open_array(self.path, name) for name in sorted(self.names)}
            arrays = {name: np.asarray(arrays[name], array.dtype) for name, array in there.items()}
            if (old := self.mark(block)) and old["shape"] == list(self.shape(block)):
                # a mark of the old values must not survive a kill while the files change
                done.unlink()
                flush(done.parent)
            # `result` last: until then it says of a new block that its lanes are pending
            for name in sorted(self.names, key=lambda name: name == "result"):
                self._put(there[name], block, region, arrays[name])
            for array in there.values():  # the values and their names, before there is a mark
                chunk = self.chunk(array, block)
                flush(chunk)
                flush(chunk.parent)
            known = {"shape": list(self.shape(block)), "sha256": checksum(*arrays.values())}
            write_json(done, {**mark, **known})

    @contextlib.contextmanager
    def _in_place(self, block: Block) -> Iterator[None]:
        """Explain errors of the file system, and say so where the run was moved or deleted."""
        try:
            with explained(self.path):
                yield
        except StoreError as error:
            if (self.path / MANIFEST).exists():
                raise
            # zarr makes the folders of a chunk anew, so a removed run may be there again in part
            begin = ".".join(map(str, ("c", *block)))
            for file in (self.path / GROUP).glob(f"*/{begin}*"):
                if f"{file.name}.".startswith(f"{begin}."):  # c.0.1 and c.0.1.0, but not c.0.10
                    file.unlink(missing_ok=True)
            remove_empty(self.path)
            rule = "stay where it is while it is written"
            raise StoreError(f"Run `{self.path}` must {rule}, but is gone.") from error

    def _put(self, array: Any, block: Block, region: tuple[slice, ...], values: np.ndarray) -> None:
        try:
            array[region] = values
        except (ValueError, RuntimeError):
            # zarr reads a chunk of which it writes a part; a damaged one is removed
            self.chunk(array, block).unlink(missing_ok=True)
            array[region] = values

    def read(self, block: Block) -> dict[str, np.ndarray]:
        """Read the arrays of a block: fill values, and −1 in `result`, where nothing was written.

        Raises `Damaged` where a block that has a mark differs from what was written.
        """
        region, mark = self.region(block), self.mark(block)
        there = {name: open_array(self.path, name) for name in sorted(self.names)}
        found = {}
        for name, array in there.items():
            if mark is not None:
                self.check_chunk(array, block)
            with undamaged(self.path, f"Array `{name}`"):
                found[name] = np.asarray(array[region])
        if mark is not None and "sha256" in mark:
            part = tuple(map(slice, mark["shape"]))  # of a block that has grown since
            if checksum(*(found[name][part] for name in there)) != mark["sha256"]:
                raise damaged(self.path, f"Block {block}", "it differs from its checksum")
        return found

    def check_chunk(self, array: Any, block: Block) -> None:
        """Raise `Damaged` where a block that has a mark has no file in an array.

        Zarr would read fill values, without an error.
        """
        if not self.chunk(array, block).exists():
            raise damaged(self.path, f"Array `{array.basename}`", f"block {block} has no file")

    def extend(self, known: xr.Dataset, manifest: Mapping[str, Any]) -> None:
        """Extend axes of the lanes at their ends, to those of `known`, which is as for `create`.

        The manifest is written after the arrays: until then the run is what it was.
        """
        lengths = tuple(known.sizes[axis] for axis in self.lane_axes)
        with explained(self.path):
            for name in self.names:
                array = open_array(self.path, name)
                array.resize((*lengths, *array.shape[len(lengths) :]))
            for name, variable in known.variables.items():
                if set(variable.dims) & set(self.lane_axes):
                    array = open_array(self.path, str(name))
                    array.resize(variable.shape)
                    array[...] = np.asarray(variable.values)
            flush_tree(self.path / GROUP)
            grown = {
                "lane_shape": list(lengths),
                "holds": describe(
                    self.path, self.names, dict(zip(self.lane_axes, lengths, strict=True))
                ),
            }
            write_json(self.path / MANIFEST, {**manifest, **_layout(self), **grown})

    def clean(self) -> None:
        """Remove what killed processes left. The caller must hold the lock."""
        with explained(self.path):
            for partial in self.path.rglob("*.partial"):
                partial.unlink(missing_ok=True)

    def lock(self, shard: tuple[int, int] | None = None) -> AbstractContextManager[None]:
        """Hold the run while writing it; see `lock`."""
        return lock(self.path, shard)

    def mark_path(self, block: Block) -> Path:
        """The file of a block's mark."""
        return self.path / "done" / f"{'.'.join(map(str, block))}.json"

    def chunk(self, array: Any, block: Block) -> Path:
        """The file of a block's part of an array."""
        key = ".".join(map(str, ("c", *block, *(0,) * (array.ndim - len(block)))))
        return self.path / GROUP / array.basename / key


def create(
    path: Path,
    variables: Variables,
    known: xr.Dataset,
    lane_axes: tuple[str, ...],
    block_shape: tuple[int, ...],
    manifest: Mapping[str, Any],
) -> Store:
    """A new run, without blocks. If another process makes it first, that one is returned.

    variables: of the lanes; by name, the axes inside a lane, their lengths, type and attributes.
    `result` must be among them.  known: coordinates, and what does not depend on the lane.
    """
    layout: dict[str, Any] = {
        "format": FORMAT,
        "lane_axes": list(lane_axes),
        "lane_shape": [known.sizes[axis] for axis in lane_axes],
        "block_shape": list(block_shape),
        "arrays": sorted(variables),
    }
    with explained(path):
        try:
            with written_aside(path) as partial:
                (partial / "done").mkdir(parents=True)
                make_arrays(partial / GROUP, variables, known, lane_axes, block_shape)
                flush_tree(partial)
                lengths = {axis: known.sizes[axis] for axis in lane_axes}
                layout["holds"] = describe(partial, tuple(variables), lengths)
                write_json(partial / MANIFEST, {**manifest, **layout})
            flush(path.parent)
        except OSError:  # of the renaming, where another process has made the run meanwhile
            if not (path / MANIFEST).is_file():
                raise
    remove_left(path)
    return open_store(path)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open the store of a run. StoreError where there is none, or it is of another format."""
    path = Path(path)
    named = path / MANIFEST
    if not path.exists():
        raise StoreError(f"Run `{path}` must exist, but does not.")
    if not named.is_file():
        raise StoreError(f"`{path}` must be a run of `jepa-sim sweep`, but has no manifest.json.")
    try:
        with explained(named):
            manifest = json.loads(named.read_text(encoding="utf-8"))
        found = manifest["format"]
        if found != FORMAT:
            raise StoreError(f"Run `{path}` must be of format {FORMAT}, but is of {found}.")
        shapes = (tuple(manifest[key]) for key in LAYOUT)
        store = Store(path, manifest, *shapes)
        if not (min(store.block_shape) > 0 and len(store.blocks) and store.lengths):
            raise ValueError
        for key, kind in (("provenance", dict), ("seeds", list)):
            if not isinstance(manifest[key], kind):
                raise TypeError
        for key in ("configuration", "holds"):
            if not isinstance(manifest.get(key, {}), dict):
                raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"`{named}` must be a manifest, but is damaged.") from error
    return store


def _layout(store: Store) -> dict[str, Any]:
    return {key: store.manifest[key] for key in ("format", *LAYOUT)}
