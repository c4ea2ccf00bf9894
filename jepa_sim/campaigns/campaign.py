"""A sweep on disk that survives a crash: blocks of lanes are computed and written one by one.

A block is a chunk of the store's arrays along the axes of the lanes. Its contents do not depend on
the order of work, nor on the process that computes it.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.arguments.errors import StoreError
from jepa_sim.arguments.kinds import checked
from jepa_sim.campaigns.blocks import block_shape, lane_bytes
from jepa_sim.campaigns.engine import AbstractEngine, Local
from jepa_sim.campaigns.progress import watched
from jepa_sim.campaigns.record import is_grown, manifest, renamed
from jepa_sim.campaigns.store import (
    Store,
    Variables,
    create,
    differences,
    mend,
    open_run,
    open_store,
)
from jepa_sim.results.labels import meaning
from jepa_sim.sweeps.dataset import constants, coordinates
from jepa_sim.sweeps.sweep import Plan


@checked
def campaign(
    path: str | os.PathLike[str],
    planned: Plan,
    *,
    engine: AbstractEngine | None = None,
    shard: tuple[int, int] | None = None,
    extend: bool = False,
    progress: bool = True,
    configuration: Mapping[str, Any] | None = None,
    text: str = "",
) -> xr.Dataset:
    """Compute a sweep into the folder `path`, block by block; blocks that are stored are kept.

    planned: `plan(…)`, which takes the arguments of `sweep`.  engine: `Local()`, the default, or
    `Dask(…)`.
    shard: (i, n): compute only every n-th block from the i-th on, i from 0. So the jobs of a job
    array share one run.
    extend: whether axes may be longer than in the run on disk; only what is new is computed.
    progress: whether to show it.  configuration, text: a configuration file, parsed and as text,
    to be kept in the manifest. A run can only be continued with the configuration that it has.

    Returns the dataset of `open_run(path)`, lazily loaded.

    After Ctrl-C the blocks that were begun are finished, and KeyboardInterrupt is raised. The next
    call computes what is missing. On the same kind of device the arrays are then bit for bit those
    of a run without interruption. Failed lanes are NaN, with their reason in `result`; see `retry`.
    Damaged coordinates, constants and layouts of arrays are written again.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 3])
    >>> run = js.campaign("runs/first", js.plan(grid, js.ClosedForm()), progress=False)
    >>> run.result.values.ravel()
    array([0, 0, 0, 0], dtype=int8)

    Raises ValueError where arguments are wrong. Raises StoreError where the run has another
    configuration, is being written by another process, is damaged or cannot be written, or where
    blocks are still pending when the engine has ended. Raises ConnectionError where a Dask cluster
    cannot be reached or is lost.
    """
    if shard is not None and not 0 <= shard[0] < shard[1]:
        checks.fail("shard", "be (i, n) with 0 ≤ i < n", shard)
    asked = manifest(planned, dict(configuration or {}), text)
    store = _opened(Path(path), planned, asked, extend)
    fill(store, planned, engine or Local(), shard=shard, progress=progress)
    return open_run(path)


def fill(
    store: Store,
    planned: Plan,
    engine: AbstractEngine,
    *,
    again: bool = False,
    shard: tuple[int, int] | None = None,
    progress: bool = True,
) -> None:
    """Compute and write all pending blocks, or, with `again`, the lanes that failed.

    Then read the marks again. Raises StoreError where blocks (of this shard) are still pending.
    """
    with store.lock(shard=shard):
        if shard is None:
            store.clean()
        marks = store.marks()
        if again:
            blocks = [block for block, mark in marks.items() if mark.get("failed", 0)]
            total = sum(mark.get("failed", 0) for mark in marks.values())
            done = 0
        else:
            blocks = store.pending(marks)
            total = math.prod(store.lane_shape)
            done = total - sum(math.prod(store.shape(block)) for block in blocks)
        first, step = shard or (0, 1)
        # dealt in turns: cost changes along the axes, so neighbours could all be expensive
        own = set(store.blocks[first::step])
        blocks = [block for block in blocks if block in own]
        with watched(total, done, len(blocks), progress) as watcher:
            advance = watcher.computed if engine.is_here else _untold
            task = Task(planned, str(store.path), again, advance)
            for mark in engine.run(task, blocks):
                if not engine.is_here:
                    watcher.computed(mark["computed"])
                watcher.wrote(mark["failed"])
        now = store.marks()
        # with `again` the old mark is still there where an engine left out a block
        untouched = {block for block in blocks if now.get(block) == marks.get(block)}
        left = own & {*store.pending(now), *untouched}
    if left:
        raise StoreError(
            f"Run `{store.path}` must have all blocks written, but {len(left):,} of {len(own):,} "
            "are pending: `jepa-sim sweep` or the same campaign continues it."
        )


def _untold(lanes: int) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Task:
    """How to compute a block, in this process or in a worker.

    advance: called after every batch of a block, with its number of lanes.
    """

    planned: Plan
    path: str
    again: bool
    advance: Callable[[int], object] = _untold

    def compute(self, store: Store, block: tuple[int, ...]) -> tuple[dict[str, np.ndarray], dict]:
        """Return the arrays of a block, and its mark.

        Lanes that are on disk are kept, except those that are to be computed again.
        """
        begin = time.monotonic()
        region = store.region(block)
        shape = store.shape(block)
        index = np.indices(shape).reshape(len(shape), -1)
        index += np.array([part.start for part in region])[:, None]
        kept = store.read(block) if store.mark(block) else None
        wanted = np.full(index.shape[1], True)
        if kept is not None:
            codes = kept["result"].ravel()
            wanted = codes > 0 if self.again else codes < 0
        if kept is not None and not wanted.any():  # a worker wrote it, and died before it said so
            return kept, {"computed": 0, "failed": int((kept["result"] > 0).sum())}
        found, batches = self.planned.compute(index[:, wanted], self.advance)
        # a run that an older version began has fewer arrays, and keeps to them
        found = {name: value for name, value in found.items() if name in store.names}
        arrays = {}
        for name, value in found.items():
            whole = value
            if kept is not None:
                whole = kept[name].reshape(len(wanted), *value.shape[1:])
                whole[wanted] = value
            arrays[name] = whole.reshape(*shape, *value.shape[1:])
        mark = {
            "computed": int(wanted.sum()),
            "failed": int((arrays["result"] > 0).sum()),
            "seconds": time.monotonic() - begin,
        }
        if "steps" in found:
            mark["steps"] = int(found["steps"].sum())
            mark["lane_steps"] = int(
                sum(size * int(found["steps"][chunk].max()) for chunk, size in batches)
            )
        return arrays, mark


def retry(path: str | os.PathLike[str], planned: Plan, *, progress: bool = True) -> xr.Dataset:
    """Compute the failed lanes of a run again, as `planned`: for example with more steps."""
    fill(open_store(path), planned, Local(), again=True, progress=progress)
    return open_run(path)


def _opened(path: Path, planned: Plan, asked: dict, extend: bool) -> Store:
    """Open the run at `path`. Make it where there is none, and extend it where `extend` says so."""
    axes = (planned.grid, planned.times, planned.critical_fraction)
    extra = coordinates(*axes, is_random=planned.is_random)
    if not planned.is_random:  # all seeds are one run, which is stored once (see `open_run`)
        name, values, attrs = extra["seed"]
        extra["seed"] = name, values[:1], attrs
    known = xr.Dataset(constants(planned.grid), extra)
    if not path.exists():
        blocks = block_shape(planned, lane_bytes(planned.shapes()))
        create(path, _variables(planned), known, tuple(planned.axes), blocks, asked)
    store = open_store(path)
    there = renamed(store.manifest.get("configuration", {}))
    lines = differences(there, asked["configuration"])
    if not lines:
        mend(store, lambda: _variables(planned), known)
        return open_store(path)
    grown = is_grown(there, asked["configuration"], planned)
    if not (extend and grown):
        hint = "; --extend (extend=True) would add them" if grown else ""
        raise StoreError(
            f"Run `{path}` must have the configuration asked for, but differs{hint}: "
            + "; ".join(lines)
        )
    mend(store, lambda: _variables(planned), known)
    with store.lock():
        changed = ("configuration", "configuration_sha256", "seeds", "toml")
        store.extend(known, {**store.manifest, **{key: asked[key] for key in changed}})
    return open_store(path)


def _variables(planned: Plan) -> Variables:
    """The arrays that are saved of every lane."""
    variables = {}
    for name, leaf in planned.shapes().items():
        dims, attrs = meaning(name, len(leaf.shape))
        variables[name] = (dims, leaf.shape, np.dtype(leaf.dtype), _plain(attrs))
    return variables


def _plain(attrs: dict) -> dict:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in attrs.items()}
