"""Writing a run: its template, then blocks, each with a mark."""

import dataclasses
import glob
import itertools
import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jepa_sim._faults import StoreError
from jepa_sim._store.disk import aside, flush, flush_tree, write_json
from jepa_sim._store.errors import explained
from jepa_sim._store.lock import lock

FORMAT = 1
PENDING = -1  # the result of a lane that has not been computed

Block = tuple[int, ...]
Variables = Mapping[str, tuple[tuple[str, ...], tuple[int, ...], np.dtype, dict]]


@dataclasses.dataclass(frozen=True)
class Store:
    """A run on disk.

    manifest: what it is.  lane_axes: names of the axes of the lanes.  lane_shape: their lengths.
    block_shape: lanes of a block along each.  names: of the arrays that every lane has.
    """

    path: Path
    manifest: dict[str, Any]
    lane_axes: tuple[str, ...]
    lane_shape: tuple[int, ...]
    block_shape: tuple[int, ...]
    names: tuple[str, ...]

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
            named = sorted((self.path / "done").glob("[0-9]*.json"))
        found = {block: self.mark(block) for block in (_block(path.stem) for path in named)}
        return {block: mark for block, mark in found.items() if mark is not None}

    def mark(self, block: Block) -> dict | None:
        """The mark of a block, some lanes of which may be pending since it has grown."""
        try:
            with explained(self.path):
                mark = json.loads(self.mark_path(block).read_text(encoding="utf-8"))
            return mark if "shape" in mark else None
        except (StoreError, ValueError, TypeError):
            return None  # a damaged one is as good as none

    def pending(self) -> list[Block]:
        """Blocks that are not whole: without a mark, or grown since it was made."""
        marks = self.marks()
        return [
            block
            for block in self.blocks
            if block not in marks or tuple(marks[block]["shape"]) != self.shape(block)
        ]

    def write(
        self, block: Block, arrays: Mapping[str, np.ndarray], mark: Mapping[str, Any]
    ) -> None:
        """Write a block, wait until it is on the disk, and mark it.

        arrays: by name, all of them, each with the lanes of the block first.
        """
        if set(arrays) != set(self.names):
            rule = f"Block {block} must have the arrays {sorted(self.names)}"
            raise StoreError(f"{rule}, but has {sorted(arrays)}.")
        import zarr

        done, region = self.mark_path(block), self.region(block)
        # else a chunk of fill values would have no file, as if it had been lost
        with explained(self.path), zarr.config.set({"array.write_empty_chunks": True}):
            group = open_group(self.path)
            if (there := self.mark(block)) and there["shape"] == list(self.shape(block)):
                done.unlink()  # it is about to change
                flush(done.parent)
            for name in sorted(self.names, key=lambda name: name == "result"):
                try:
                    group[name][region] = arrays[name]
                except (ValueError, RuntimeError):  # damaged, where a part of it was to stay
                    self._chunk(group[name], block).unlink(missing_ok=True)
                    group[name][region] = arrays[name]
            for name in self.names:
                chunk = self._chunk(group[name], block)
                flush(chunk)
                flush(chunk.parent)
            write_json(done, {"shape": list(self.shape(block)), **mark})

    def read(self, block: Block) -> dict[str, np.ndarray]:
        """The arrays of a block; fill values, and the result −1, where nothing was written."""
        group, region = open_group(self.path), self.region(block)
        with explained(self.path):
            return {name: self._read(group, name, region) for name in self.names}

    def _read(self, group: Any, name: str, region: tuple[slice, ...]) -> np.ndarray:
        try:
            return np.asarray(group[name][region])
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"Array `{name}` of run `{self.path}` is damaged: {error}.") from error

    def verify(self) -> list[Block]:
        """Blocks that are damaged. They lose their marks: the next run writes them again."""
        damaged, group = [], open_group(self.path)
        for block in self.marks():
            chunks = [self._chunk(group[name], block) for name in self.names]
            try:
                fine = all(chunk.exists() for chunk in chunks) and bool(self.read(block))
            except StoreError:
                fine = False
            if not fine:
                damaged.append(block)
                for path in (self.mark_path(block), *chunks):
                    path.unlink(missing_ok=True)
        return damaged

    def extend(self, known: xr.Dataset, manifest: Mapping[str, Any]) -> None:
        """Grow axes of the lanes at their ends, to those of `known`: what `create` takes.

        Arrays first, the manifest last: until then the run is what it was.
        """
        group = open_group(self.path)
        lengths = tuple(known.sizes[axis] for axis in self.lane_axes)
        with explained(self.path):
            for name in self.names:
                array = group[name]
                array.resize((*lengths, *array.shape[len(lengths) :]))
            for name, variable in known.variables.items():
                if set(variable.dims) & set(self.lane_axes):
                    group[str(name)].resize(variable.shape)
                    group[str(name)][...] = np.asarray(variable.values)
            flush_tree(self.path / "data.zarr")
            write_json(
                self.path / "manifest.json", {**manifest, **_layout(self, lane_shape=list(lengths))}
            )

    def clean(self) -> None:
        """Remove what killed writers left. For who holds the lock."""
        with explained(self.path):
            for partial in self.path.rglob("*.partial"):
                partial.unlink(missing_ok=True)

    def lock(self, shard: tuple[int, int] | None = None) -> AbstractContextManager[None]:
        """Hold the run while writing it; see `lock`."""
        return lock(self.path, shard)

    def mark_path(self, block: Block) -> Path:
        """The file of a block's mark."""
        return self.path / "done" / f"{'.'.join(map(str, block))}.json"

    def _chunk(self, array: Any, block: Block) -> Path:
        """The file of a block's part of an array."""
        key = ".".join(map(str, ("c", *block, *(0,) * (array.ndim - len(block)))))
        return self.path / "data.zarr" / array.basename / key


def create(
    path: Path,
    variables: Variables,
    known: xr.Dataset,
    lane_axes: tuple[str, ...],
    block_shape: tuple[int, ...],
    manifest: Mapping[str, Any],
) -> Store:
    """A new run, without blocks: made aside, then named. Where somebody was faster, theirs.

    variables: of the lanes; by name, the axes inside a lane, their lengths, type and attributes.
    `result` must be among them.  known: coordinates, and what does not depend on the lane.
    """
    partial = aside(path)
    layout = {
        "format": FORMAT,
        "lane_axes": list(lane_axes),
        "lane_shape": [known.sizes[axis] for axis in lane_axes],
        "block_shape": list(block_shape),
        "arrays": sorted(variables),
    }
    with explained(path):
        try:
            (partial / "done").mkdir(parents=True)
            _make_arrays(partial / "data.zarr", variables, known, lane_axes, block_shape)
            flush_tree(partial)
            write_json(partial / "manifest.json", {**manifest, **layout})
            partial.rename(path)
            flush(path.parent)
        except OSError:
            if not (path / "manifest.json").is_file():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):  # of who was killed
        shutil.rmtree(left, ignore_errors=True)
    return open_store(path)


def _make_arrays(
    folder: Path,
    variables: Variables,
    known: xr.Dataset,
    lane_axes: tuple[str, ...],
    block_shape: tuple[int, ...],
) -> None:
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
            compressors=_compressors(),
            chunk_key_encoding={"name": "default", "separator": "."},
        )
    for name, variable in known.variables.items():
        _put(group, str(name), variable)
    group.attrs["coordinates"] = " ".join(map(str, known.coords))


def open_store(path: str | os.PathLike[str]) -> Store:
    """A run that is there. StoreError where there is none, or it is of another format."""
    path = Path(path)
    named = path / "manifest.json"
    if not path.exists():
        raise StoreError(f"Run `{path}` must exist, but does not.")
    if not named.is_file():
        raise StoreError(f"`{path}` must be a run of `jepa-sim sweep`, but has no manifest.json.")
    try:
        manifest = json.loads(named.read_text(encoding="utf-8"))
        found = manifest["format"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise StoreError(f"`{named}` must be a manifest, but is damaged.") from error
    if found != FORMAT:
        raise StoreError(f"Run `{path}` must be of format {FORMAT}, but is of {found}.")
    shapes = (tuple(manifest[key]) for key in ("lane_axes", "lane_shape", "block_shape", "arrays"))
    return Store(path, manifest, *shapes)


def _block(name: str) -> Block:
    """(0, 2, 1) of "0.2.1"."""
    return tuple(map(int, name.split(".")))


def _layout(store: Store, **changed: Any) -> dict[str, Any]:
    keys = ("format", "lane_axes", "lane_shape", "block_shape", "arrays")
    return {**{key: store.manifest[key] for key in keys}, **changed}


def open_group(path: Path) -> Any:
    """The arrays of a run."""
    import zarr

    return zarr.open_group(path / "data.zarr", mode="r+", zarr_format=3, use_consolidated=False)


def _put(group: Any, name: str, variable: xr.Variable) -> None:
    """A small array that is written whole."""
    values = np.asarray(variable.values)
    words = values.dtype.kind in "UTO"
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(n, 1) for n in values.shape),
        dtype=str if words else values.dtype,
        dimension_names=variable.dims,
        attributes=dict(variable.attrs),
        compressors=_compressors(),
        overwrite=True,
    )
    array[...] = values


def _compressors() -> list:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(level=1), Crc32cCodec()]


def _fill(name: str, dtype: np.dtype) -> Any:
    if name == "result":
        return PENDING
    return math.nan if np.dtype(dtype).kind == "f" else 0
