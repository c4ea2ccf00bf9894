"""A grid of trajectories to one labelled dataset: chunks of lanes under `vmap`, arrays in, arrays out.

A lane is one point of the grid's axes but the objective's; all objectives of a lane run in one
compiled program. With solvers of the reduced theory depths are traced numbers and the whole grid
is one program. Matrices of different depths are different programs, unless the shallow networks
are padded to the depth of the deepest.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key, PRNGKeyArray
from tqdm.auto import tqdm

from jepa_sim import _checks as checks
from jepa_sim import _observables
from jepa_sim._critical import critical_times
from jepa_sim._dataset import label
from jepa_sim._grid import AbstractTimes, CriticalGrid, FixedTimes, Grid
from jepa_sim._moments import Moments
from jepa_sim._network import DeepLinear, Weights, pad_encoder
from jepa_sim._objective import AbstractObjective
from jepa_sim._observables import Observable
from jepa_sim._problem import Problem
from jepa_sim._solve.base import AbstractMatrixSolver, AbstractSolver, Observe, Solution, record
from jepa_sim._types import ArrayLike, Number

BYTES_PER_CHUNK = 2**25  # of results: a chunk takes a second or so
MATRIX_LANES = 128  # enough to fill a CPU, few enough that one stiff lane holds up few others
PADDED_LANES = 256  # up to so many lanes compiling each depth costs more than padding


class Lane(eqx.Module):
    """What differs between lanes; with a leading axis, a chunk of lanes."""

    depth: Float[Array, "*lanes"]
    predictor_depth: Float[Array, "*lanes"]
    scale: Float[Array, "*lanes"]
    key: Key[Array, "*lanes"]
    moments: Moments


def sweep(
    grid: Grid,
    solver: AbstractSolver,
    *,
    times: AbstractTimes | ArrayLike | None = None,
    observables: Sequence[Observable] = (_observables.features, _observables.loss),
    critical_fraction: Sequence[Number] = (0.5, 0.9),
    padded: bool | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Simulate every trajectory of `grid` with `solver`.

    times: `CriticalGrid()` (the default), `LogGrid(…)`, or ascending flow times for all.
    observables: functions of (t, state, problem) that return arrays.
    critical_fraction: fractions of each feature's own plateau whose first times are wanted; exact
    with `ClosedForm`, from the saved trajectory otherwise (inf where it ends before).
    padded: for solvers of matrices, whether shallow networks are padded so that all depths are one
    compiled program; None pads small grids, where compiling costs more than padding.
    progress: show a bar when the sweep takes longer than two seconds.

    Returns a dataset with the axes (objective, depth, predictor_depth, scale, seed, spectrum) and
    then (time), (time, feature) or (critical_fraction, feature). True times are in `t`, in flow
    time (t = kα). A lane that fails is NaN with the reason's code in `result`; the others go on.
    Nothing random depends on the order of work: a seed alone decides.

    Raises ValueError where arguments are wrong, before anything is computed.
    """
    for fraction in critical_fraction:
        checks.check_open_unit("critical_fraction", fraction)
    times = CriticalGrid() if times is None else times
    if not isinstance(times, AbstractTimes):
        times = FixedTimes(times)
    for objective, depth, predictor_depth in itertools.product(
        grid.objective, grid.depth, grid.predictor_depth
    ):
        moments = jax.tree.map(lambda x: x[0], grid.spectrum)
        start = grid.start(jnp.asarray(grid.scale[0]))
        solver.prepare(Problem(moments, objective, DeepLinear(depth, predictor_depth), start))

    # Without chance all seeds are the same trajectory: it is computed once and shown for each.
    random = solver.is_random or start.is_random
    seeds = grid.seed if random else grid.seed[:1]
    axes = {**grid.shape, "seed": len(seeds)}
    index = np.indices(tuple(axes.values())).reshape(len(axes), -1)
    watched = _Watched(times, tuple(observables), tuple(map(float, critical_fraction)))
    lanes = _lanes(grid, index)
    results: dict[str, np.ndarray] = {}
    groups = _groups(grid, solver, index, padded)
    with tqdm(
        total=index.shape[1] * len(grid.objective),
        unit="run",
        unit_scale=True,
        delay=2,
        disable=not progress,
    ) as bar:
        for group in groups:
            program = _program(grid, solver, watched, group)
            for chunk, found in _chunks(program, lanes, group.lanes, group.largest):
                for name, value in found.items():
                    if name not in results:
                        shape = (value.shape[0], index.shape[1], *value.shape[2:])
                        results[name] = np.empty(shape, value.dtype)
                    results[name][:, chunk] = value
                bar.update(len(chunk) * len(grid.objective))
    shape = (len(grid.objective), *axes.values())
    results = {name: value.reshape(*shape, *value.shape[2:]) for name, value in results.items()}
    return label(grid, solver, times, watched.fractions, results)


class _Watched(eqx.Module):
    """What is saved of a lane."""

    times: AbstractTimes
    observables: tuple[Observable, ...] = eqx.field(static=True)
    fractions: tuple[float, ...] = eqx.field(static=True)


class _Group(eqx.Module):
    """Lanes that share a compiled program. depths: of its networks; None where depth is traced."""

    lanes: np.ndarray
    depths: tuple[int, ...] | None
    predictor_depth: int | None
    largest: int


def _lanes(grid: Grid, index: np.ndarray) -> Lane:
    """All lanes, from their positions on the axes: (axis, lane)."""
    depth, predictor_depth, scale, seed, spectrum = index
    dtype = grid.spectrum.xx.dtype

    def pick(axis: Sequence[Number], where: np.ndarray) -> Array:
        return jnp.asarray(np.asarray(axis, dtype=float)[where], dtype)

    return Lane(
        pick(grid.depth, depth),
        pick(grid.predictor_depth, predictor_depth),
        pick(grid.scale, scale),
        jax.vmap(jr.key)(jnp.asarray(np.asarray(grid.seed)[seed])),
        jax.tree.map(lambda x: x[spectrum], grid.spectrum),
    )


def _groups(
    grid: Grid, solver: AbstractSolver, index: np.ndarray, padded: bool | None
) -> list[_Group]:
    """One group for the reduced theory; else one per predictor depth and, unless padded, depth."""
    count = index.shape[1]
    if not isinstance(solver, AbstractMatrixSolver):
        return [_Group(np.arange(count), None, None, count)]
    padded = count <= PADDED_LANES if padded is None else padded
    depth_sets = [grid.depth] if padded else [(depth,) for depth in grid.depth]
    groups = []
    for depths, (j, predictor_depth) in itertools.product(
        depth_sets, enumerate(grid.predictor_depth)
    ):
        inside = np.isin(index[0], [grid.depth.index(depth) for depth in depths])
        (lanes,) = np.nonzero(inside & (index[1] == j))
        groups.append(_Group(lanes, tuple(map(int, depths)), int(predictor_depth), MATRIX_LANES))
    return groups


def _program(
    grid: Grid, solver: AbstractSolver, watched: _Watched, group: _Group
) -> Callable[[Lane], dict[str, Array]]:
    """From a chunk of lanes to what is saved of them, with the axes (objective, lane, …)."""

    def one(lane: Lane, objective: AbstractObjective) -> dict[str, Array]:
        problem, solve = _pose(grid, solver, group, lane, objective)
        times = watched.times.times(problem)
        trajectory = record(problem, watched.observables, partial(solve, times))
        problem = trajectory.problem  # with its features solved for
        return {
            "t": trajectory.times,
            **trajectory.values,
            "critical_time": jnp.stack(
                [
                    critical_times(problem, fraction=fraction)
                    if solver.is_exact
                    else trajectory.critical_times(fraction=fraction)
                    for fraction in watched.fractions
                ]
            ),
            "plateau": problem.plateaus,
            "result": trajectory.result.astype(jnp.int8),
            **trajectory.stats,
        }

    def all_objectives(lanes: Lane) -> dict[str, Array]:
        found = [jax.vmap(partial(one, objective=o))(lanes) for o in grid.objective]
        return jax.tree.map(lambda *values: jnp.stack(values), *found)

    return jax.jit(all_objectives)


def _pose(
    grid: Grid, solver: AbstractSolver, group: _Group, lane: Lane, objective: AbstractObjective
) -> tuple[Problem, Callable[[Float[Array, " t"], Problem, Observe], Solution]]:
    """A lane's problem and how to solve it at given times."""
    start = grid.start(lane.scale)
    if not isinstance(solver, AbstractMatrixSolver):
        network = DeepLinear(lane.depth, lane.predictor_depth)

        def solve(times: Array, problem: Problem, observe: Observe) -> Solution:
            return solver.solve(problem, times, observe, lane.key)

        return Problem(lane.moments, objective, network, start), solve

    def weights(depth: int) -> Callable[[PRNGKeyArray], Weights]:
        network = DeepLinear(depth, group.predictor_depth)
        problem = Problem(lane.moments, objective, network, start)
        return lambda key: pad_encoder(problem.weights(key), max(group.depths))

    def solve_from(times: Array, problem: Problem, observe: Observe) -> Solution:
        start_key, own_key = jr.split(lane.key)
        which = jnp.argmax(jnp.asarray(group.depths, lane.depth.dtype) == lane.depth)
        begin = jax.lax.switch(which, [weights(depth) for depth in group.depths], start_key)
        return solver.solve_from(begin, problem, times, observe, own_key)

    depth = group.depths[0] if len(group.depths) == 1 else lane.depth
    network = DeepLinear(depth, group.predictor_depth)
    return Problem(lane.moments, objective, network, start), solve_from


def _chunks(
    program: Callable[[Lane], dict[str, Array]], lanes: Lane, which: np.ndarray, largest: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Run `program` over the lanes `which`, chunk by chunk: (positions, results on the host)."""
    shapes = jax.eval_shape(program, jax.tree.map(lambda x: x[:1], lanes))
    per_lane = sum(s.size * s.dtype.itemsize for s in jax.tree.leaves(shapes))
    largest = max(1, min(largest, BYTES_PER_CHUNK // per_lane))
    count = math.ceil(len(which) / largest)
    size = math.ceil(len(which) / count)
    for begin in range(0, len(which), size):
        chunk = which[begin : begin + size]
        filled = np.pad(chunk, (0, size - len(chunk)), mode="edge")  # one shape, one program
        found = jax.device_get(program(jax.tree.map(lambda x: x[filled], lanes)))
        yield chunk, {name: value[:, : len(chunk)] for name, value in found.items()}
