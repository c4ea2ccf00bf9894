"""A sweep that no crash can spoil: blocks of lanes, computed and written one by one to a store.

A block is a chunk of the store's arrays along the axes of the lanes. What a block holds depends on
the block alone, not on the order of work, nor on who computes it.
"""

import dataclasses
import hashlib
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.arguments.errors import StoreError
from jepa_sim.arguments.kinds import checked
from jepa_sim.campaigns.engine import AbstractEngine, Local
from jepa_sim.campaigns.progress import duration, watched
from jepa_sim.campaigns.store import (
    Store,
    Variables,
    create,
    differences,
    mend,
    open_run,
    open_store,
)
from jepa_sim.results.observables import name_of
from jepa_sim.solvers.base import AbstractMatrixSolver
from jepa_sim.sweeps.dataset import constants, coordinates, described, meaning, provenance
from jepa_sim.sweeps.sweep import Sweep

FIRST_CALL = 15.0  # seconds, of a program: traced and compiled, which is cached
BLOCK_BYTES = 2**26  # of what is saved
# Most lanes of a block where matrices are integrated: a kill loses the block in hand, and 256 lanes
# take seconds. `sweeps.sweep.MATRIX_LANES` is another limit: of lanes that run in lock-step.
MATRIX_BLOCK_LANES = 256


@checked
def campaign(
    path: str | os.PathLike[str],
    planned: Sweep,
    *,
    engine: AbstractEngine | None = None,
    shard: tuple[int, int] | None = None,
    extend: bool = False,
    progress: bool = True,
    configuration: Mapping[str, Any] | None = None,
    text: str = "",
) -> xr.Dataset:
    """A sweep into the folder `path`, a block at a time; what is there already is not done again.

    planned: `plan(…)`, which takes what `sweep` takes.  engine: `Local()`, the default, or
    `Dask(…)`.
    shard: (i, n) computes every n-th block from the i-th on, i from 0: a job array shares one run.
    extend: axes may be longer than in the run that is there; only what is new is computed.
    progress: show it.  configuration, text: of a configuration file, kept in the manifest; a run
    goes on only under the same configuration.

    Returns the dataset of `open_run(path)`, lazily loaded.

    Interrupted by Ctrl-C, it finishes the blocks in hand, and raises KeyboardInterrupt. Called
    again it computes what is missing, and the arrays end bit for bit as if nothing had happened, on
    the same kind of device. Lanes that failed are NaN with their reason in `result`; see `retry`.
    Coordinates, constants and layouts of arrays that are damaged are written again.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 3])
    >>> run = js.campaign("runs/first", js.plan(grid, js.ClosedForm()), progress=False)
    >>> run.result.values.ravel()
    array([0, 0, 0, 0], dtype=int8)

    Raises ValueError where arguments are wrong, StoreError where the run is of another
    configuration, is being written by another process, is damaged, or cannot be written, or where
    blocks are still pending when the engine has ended, ConnectionError where a Dask cluster cannot
    be reached or is lost.
    """
    if shard is not None and not 0 <= shard[0] < shard[1]:
        checks.fail("shard", "be (i, n) with 0 ≤ i < n", shard)
    asked = _manifest(planned, dict(configuration or {}), text)
    store = _opened(Path(path), planned, asked, extend)
    fill(store, planned, engine or Local(), shard=shard, progress=progress)
    return open_run(path)


def fill(
    store: Store,
    planned: Sweep,
    engine: AbstractEngine,
    *,
    again: bool = False,
    shard: tuple[int, int] | None = None,
    progress: bool = True,
) -> None:
    """Compute and write all that is pending, or, `again`, the lanes that have failed.

    Raises StoreError unless the store, looked at again, has all of it: for a shard, its blocks.
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
        own = set(store.blocks[first::step])
        blocks = [block for block in blocks if block in own]
        task = Task(planned, str(store.path), again)
        with watched(total, done, len(blocks), progress) as advance:
            for mark in engine.run(task, blocks):
                advance(mark["computed"], mark["failed"])
        now = store.marks()
        untouched = {block for block in blocks if now.get(block) == marks.get(block)}
        left = own & {*store.pending(now), *untouched}
    if left:
        raise StoreError(
            f"Run `{store.path}` must have all blocks written, but {len(left):,} of {len(own):,} "
            "are pending: `jepa-sim sweep`, or the same campaign, goes on."
        )


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be done with a block, in this process or in another."""

    planned: Sweep
    path: str
    again: bool

    def compute(self, store: Store, block: tuple[int, ...]) -> tuple[dict[str, np.ndarray], dict]:
        """The arrays of a block, and its mark.

        Lanes that are there already are kept, but for those that are to be computed again.
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
        if kept is not None and not wanted.any():  # another worker wrote it, and died
            return kept, {"computed": 0, "failed": int((kept["result"] > 0).sum())}
        found, batches = self.planned.compute(index[:, wanted], lambda lanes: None)
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


def retry(path: str | os.PathLike[str], planned: Sweep, *, progress: bool = True) -> xr.Dataset:
    """Compute the lanes of a run that failed again, as `planned`: with more steps, say."""
    fill(open_store(path), planned, Local(), again=True, progress=progress)
    return open_run(path)


def forecast(planned: Sweep) -> str:
    """What a campaign would take: lanes, blocks, programs, and roughly time, memory and disk."""
    lanes, per_lane = math.prod(planned.axes.values()), _lane_bytes(planned.shapes())
    shape = block_shape(planned, per_lane)
    blocks = math.prod(
        math.ceil(n / size) for n, size in zip(planned.axes.values(), shape, strict=True)
    )
    programs, seconds = planned.cost()
    block = math.prod(shape) * per_lane
    return "\n".join(
        [
            f"{lanes:,} runs, in {blocks:,} blocks of up to {math.prod(shape):,}",
            f"{programs} programs to compile, about {duration(programs * FIRST_CALL)}",
            f"computing: about {duration(seconds)} on two cores",
            f"memory: about {_bytes(3.0 * block)} for blocks, beside what JAX takes",
            f"disk: at most {_bytes(float(lanes * per_lane))}",
        ]
    )


def _lane_bytes(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> int:
    """Of what is saved of a lane."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in shapes.values())


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def block_shape(planned: Sweep, per_lane: int) -> tuple[int, ...]:
    """How many lanes a block has along each axis: whole axes from the last on, while they fit.

    per_lane: bytes.
    """
    axes = planned.axes
    room = max(BLOCK_BYTES // per_lane, 1)
    apart = isinstance(planned.solver, AbstractMatrixSolver) and not planned.padded
    if isinstance(planned.solver, AbstractMatrixSolver):
        room = min(room, MATRIX_BLOCK_LANES)
    shape = []
    for name, length in reversed(axes.items()):
        alone = apart and name in ("objective", "depth", "predictor_depth")
        size = 1 if alone else min(length, room)
        shape.insert(0, size)
        room = room // size if size == length else 1
    return tuple(shape)


def _opened(path: Path, planned: Sweep, asked: dict, extend: bool) -> Store:
    """The run at `path`: there already, made longer, or new."""
    axes = (planned.grid, planned.times, planned.critical_fraction)
    extra = coordinates(*axes, is_random=planned.is_random)
    if not planned.is_random:
        name, values, attrs = extra["seed"]
        extra["seed"] = name, values[:1], attrs
    known = xr.Dataset(constants(planned.grid), extra)
    if not path.exists():
        blocks = block_shape(planned, _lane_bytes(planned.shapes()))
        create(path, _variables(planned), known, tuple(planned.axes), blocks, asked)
    store = open_store(path)
    there = store.manifest.get("configuration", {})
    lines = differences(there, asked["configuration"])
    if not lines:
        mend(store, lambda: _variables(planned), known)
        return open_store(path)
    grown = _grown(there, asked["configuration"], planned)
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


def _variables(planned: Sweep) -> Variables:
    """What is saved of every lane."""
    variables = {}
    for name, leaf in planned.shapes().items():
        dims, attrs = meaning(name, len(leaf.shape))
        variables[name] = (dims, leaf.shape, np.dtype(leaf.dtype), _plain(attrs))
    return variables


def _grown(there: dict, asked: dict, planned: Sweep) -> bool:
    """Whether all differences are axes that go on where they ended."""
    before, after = there.get("axes", {}), asked["axes"]
    if differences({**there, "axes": 0}, {**asked, "axes": 0}) or before.keys() != after.keys():
        return False
    for name, values in before.items():
        if name == "spectrum":
            first = [x[: values["count"]] for x in jax.tree.leaves(planned.grid.spectrum)]
            if _digest(first) != values["sha256"]:
                return False
        elif after[name][: len(values)] != values:
            return False
    return True


def _manifest(planned: Sweep, configuration: dict, text: str) -> dict[str, Any]:
    """All that says what a run is: `configuration` must stay, the rest is where it came from."""
    grid = planned.grid
    axes = {
        "objective": [eqx.tree_pformat(o, short_arrays=False) for o in grid.objective],
        "depth": list(map(float, grid.depth)),
        "predictor_depth": list(map(float, grid.predictor_depth)),
        "scale": list(map(float, grid.scale)),
        **{name: list(map(float, values)) for name, values in grid.axes.items()},
        "seed": list(map(int, grid.seed)),
        "spectrum": {"count": grid.shape["spectrum"], "sha256": _digest(grid.spectrum)},
    }
    whole = {
        "axes": axes,
        "start": _named(grid.start),
        "network": _named(grid.network),
        "pose": _named(grid.pose),
        "training": eqx.tree_pformat(grid.training, short_arrays=False),
        "solver": described(planned.solver),
        "times": repr(planned.times),
        "observables": [name_of(o) for o in planned.observables],
        "critical_fraction": list(planned.critical_fraction),
        "precision": str(grid.spectrum.xx.dtype),
        **configuration,
    }
    whole = json.loads(json.dumps(whole))
    return {
        "configuration": whole,
        "configuration_sha256": hashlib.sha256(json.dumps(whole).encode()).hexdigest(),
        "toml": text,
        "seeds": axes["seed"],
        "provenance": {
            **provenance(grid, planned.solver),
            "git_revision": _git_revision(),
            "host": platform.node(),
            **({"config": text} if text else {}),
        },
    }


def _plain(attrs: dict) -> dict:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in attrs.items()}


def _digest(tree: Any) -> str:
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _named(function: Any) -> str:
    """A function's name and what it holds, without addresses."""
    if hasattr(function, "func"):  # a partial
        held = ", ".join(f"{k}={v!r}" for k, v in function.keywords.items())
        return f"partial({_named(function.func)}, {held})"
    return f"{function.__module__}.{function.__qualname__}"


def _git_revision() -> str:
    """Of the working folder; empty where there is none."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
