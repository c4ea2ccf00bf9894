"""A grid of trajectories to one labelled dataset: chunks of lanes, arrays in, arrays out.

A lane is one point of the grid. With solvers of the reduced theory depths and objectives are traced
numbers and the whole grid is one compiled program. Matrices of different depths and objectives are
different programs, unless the shallow networks are padded to the depth of the deepest and the
objective is chosen inside.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ArrayLike, Number
from jepa_sim.model.objectives import SwitchedObjective
from jepa_sim.numerics.display.numbers import described, listed
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.numerics.display.shows import Shows
from jepa_sim.results.observables import Observable, check_names, features, loss, name_of
from jepa_sim.results.variables import with_learned
from jepa_sim.solvers.base import AbstractMatrixSolver, AbstractSolver, split_by_work
from jepa_sim.sweeps.batches import Batch, as_slice, side_by_side
from jepa_sim.sweeps.chunks import MATRIX_SECONDS, STEP_SECONDS, host_memory, in_chunks
from jepa_sim.sweeps.dataset import TAKEN, label, remarks
from jepa_sim.sweeps.grid import AbstractTimes, CriticalGrid, FixedTimes, Grid
from jepa_sim.sweeps.lanes import Lanes, lanes_at
from jepa_sim.sweeps.program import Networks, Program
from jepa_sim.sweeps.schedule import Chunk, occupancy
from jepa_sim.theory import curve_parameter, stack_curves

SAMPLE = 4096  # lanes of which a forecast predicts the work
VALUE_SECONDS = 1e-7  # of a gain in closed form (2 cores)
PADDED_LANES = 256  # up to so many lanes compiling each depth costs more than padding


@dataclasses.dataclass(frozen=True, repr=False)
class Plan(Shows):
    """What is to be computed: the trajectories of a grid, the solver, and what is saved.

    Made by `plan`. times: flow times at which every trajectory is saved.
    """

    grid: Grid
    solver: AbstractSolver
    times: AbstractTimes
    observables: tuple[Observable, ...]
    critical_fraction: tuple[float, ...]
    padded: bool

    @property
    def axes(self) -> dict[str, int]:
        """Lengths of the axes of what is computed.

        Where nothing is random, all seeds are the same trajectory, which is computed once.
        """
        return {**self.grid.shape, "seed": len(self.grid.seed) if self.is_random else 1}

    @property
    def least_bytes(self) -> int:
        """A lower bound on the size of all results."""
        xx = self.grid.spectrum.xx
        numbers = self.times.count * xx.shape[-1] * max(len(self.observables), 1)
        return math.prod(self.axes.values()) * numbers * xx.dtype.itemsize

    @property
    def is_random(self) -> bool:
        """Whether seeds make a difference."""
        return self.solver.is_random or next(self.grid.problems()).start.is_random

    def compute(
        self, index: np.ndarray, advance: Callable[[int], object]
    ) -> tuple[dict[str, np.ndarray], list[Chunk]]:
        """Results of the lanes at `index`, (axis, lane), and the batches that they were run in.

        advance: called after every batch, with its number of lanes.
        """
        results: dict[str, np.ndarray] = {}
        chunks: list[Chunk] = []
        for batch, found in side_by_side(self._batches(index)):
            for name, value in found.items():
                if name not in results:
                    shape = (index.shape[1], *value.shape[1:])
                    results[name] = np.empty(shape, value.dtype)
                results[name][as_slice(batch.which)] = value
            advance(len(batch.which))
            chunks.append((batch.which, batch.size))
        return results, chunks

    def _batches(self, index: np.ndarray) -> Iterator[Batch]:
        """The lanes at `index`, in the batches in which they run."""
        every = lanes_at(self.grid, index)
        for program, which in self._programs(index):
            lanes = _with_curves(self.grid, program, every, index, which)
            for suited, chunks in in_chunks(program, lanes, which):
                yield from (Batch(suited, lanes, *chunk) for chunk in chunks)

    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of what is saved of a lane, by name."""
        index = np.zeros((len(self.axes), jax.local_device_count()), int)
        [(program, which), *_] = self._programs(index)
        easy, _ = self.solver.alternatives()
        program = dataclasses.replace(program, solver=easy)
        lanes = _with_curves(self.grid, program, lanes_at(self.grid, index), index, which)
        found = eqx.filter_eval_shape(program.run, jnp.asarray(which), lanes)
        return {
            name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in found.items()
        }

    def cost(self) -> tuple[int, float]:
        """Programs to compile, and roughly how many seconds all runs take on two cores.

        Both are estimated from a sample of lanes.
        """
        shape, d = tuple(self.axes.values()), self.grid.spectrum.xx.shape[-1]
        total = math.prod(shape)
        some = np.unique(np.linspace(0, total - 1, SAMPLE).astype(int))
        index = np.stack(np.unravel_index(some, shape))
        every = lanes_at(self.grid, index)
        programs, seconds = 0, 0.0
        for program, which in self._programs(index):
            if program.networks is None:
                programs += 1
                seconds += VALUE_SECONDS * len(which) * self.times.count * d
                continue
            lanes = _with_curves(self.grid, program, every, index, which)
            work = np.nan_to_num(np.asarray(program.work(jnp.asarray(which), lanes)))
            programs += len(split_by_work(self.solver, work))
            seconds += float(work.sum()) * (STEP_SECONDS + MATRIX_SECONDS * d**3)
        return programs, seconds * total / len(some)

    def label(self, results: dict[str, np.ndarray]) -> xr.Dataset:
        """All results, named: arrays of `axes`, then of the axes inside a lane."""
        parts = (self.grid, self.solver, self.times, self.critical_fraction, results)
        return label(*parts, is_random=self.is_random)

    def _sheet(self) -> Sheet:
        count, grid = math.prod(self.axes.values()), self.grid
        title = (
            f"Plan: {count:,} trajectories, results of at least {self.least_bytes / 2**20:,.1f} MiB"
        )
        one = "" if self.is_random else "nothing is random, so all seeds are one run"
        facts = {
            "solver": described(self.solver),
            "times": f"{self.times.count:,} of each trajectory, by {described(self.times)}",
            "saved": listed(map(name_of, self.observables)),
            "critical at": f"{listed(self.critical_fraction)} of the plateau",
            "seeds": one if len(grid.seed) > 1 else "",
            **grid._facts(),
        }
        return Sheet(title, facts, grid._columns())

    def _programs(self, index: np.ndarray) -> Iterator[tuple[Program, np.ndarray]]:
        """Programs, and the lanes that each is for."""
        for which, objectives, networks in _groups(self.grid, self.solver, index, self.padded):
            program = Program(
                solver=self.solver,
                times=self.times,
                start=self.grid.start,
                network=self.grid.network,
                training=self.grid.training,
                customise=self.grid.customise,
                objectives=objectives,
                networks=networks,
                observables=self.observables,
                critical_fraction=self.critical_fraction,
            )
            if len(which):
                yield program, which


@checked
def plan(
    grid: Grid,
    solver: AbstractSolver,
    *,
    times: AbstractTimes | ArrayLike | None = None,
    observables: Sequence[Observable] = (features, loss),
    critical_fraction: Sequence[Number] = (0.5, 0.9),
    padded: bool | None = None,
) -> Plan:
    """What `sweep` computes, without computing it: for `campaign`.

    times (flow times), observables, critical_fraction, padded: see `sweep`.

    Raises ValueError where arguments are wrong.
    """
    check_names(observables, TAKEN)
    for fraction in critical_fraction:
        checks.check_open_unit("critical_fraction", fraction)
    times = CriticalGrid() if times is None else times
    if not isinstance(times, AbstractTimes):
        times = FixedTimes(times)
    for problem in grid.problems():
        solver.prepare(problem)
    if isinstance(times, FixedTimes):
        solver.check_times(times.values)
    fractions = tuple(map(float, critical_fraction))
    planned = Plan(grid, solver, times, tuple(observables), fractions, padded=False)
    if padded is None:
        padded = math.prod(planned.axes.values()) <= PADDED_LANES
    return dataclasses.replace(planned, padded=padded)


@checked
def sweep(
    grid: Grid,
    solver: AbstractSolver,
    *,
    times: AbstractTimes | ArrayLike | None = None,
    observables: Sequence[Observable] = (features, loss),
    critical_fraction: Sequence[Number] = (0.5, 0.9),
    padded: bool | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Simulate every trajectory of `grid` with `solver`.

    times: `CriticalGrid()` (the default), `LogGrid(…)`, or ascending flow times for all.
    observables: functions of (t, state, problem) that return arrays.
    critical_fraction: fractions of each feature's own plateau whose first times are wanted; exact
    with `ClosedForm`, from the saved trajectory otherwise (inf where it ends before).
    padded: for solvers of matrices, whether networks are padded so that all depths and objectives
    are one compiled program; None pads small grids, where compiling costs more than padding.
    progress: show a bar when the sweep takes longer than two seconds.

    Returns a dataset with the axes (objective, depth, predictor_depth, scale, the grid's further
    axes, seed, spectrum) and then (time), (time, feature) or (critical_fraction, feature). True
    times are in `t`, in flow time (t = kα). A lane that fails is NaN, with the code of the reason
    in `result`; the others continue. Lanes of similar predicted work run together. Where lanes take
    steps, the attribute `occupancy` is the number of steps that lanes needed over the number that
    their batches took. Random numbers depend on the seed alone, and not on the order of work. The
    attribute `remarks` says what may surprise: seeds that are all one run, or features that start
    at or above the fraction of their plateau.

    All results are held in memory. `campaign` writes to a folder; use it for a sweep that is larger
    than memory or takes hours.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 3])
    >>> ds = js.sweep(grid, js.ClosedForm())
    >>> ds.critical_time.sel(objective="jepa", depth=3, critical_fraction=0.5).values.round(1)
    array([[[[[620.3, 689.6]]]]])

    Raises ValueError where arguments are wrong, MemoryError where the results are larger than the
    machine's memory, before anything is computed.
    """
    planned = plan(
        grid,
        solver,
        times=times,
        observables=observables,
        critical_fraction=critical_fraction,
        padded=padded,
    )
    return collect(planned, progress=progress)


def collect(planned: Plan, *, progress: bool) -> xr.Dataset:
    """The dataset of all that is planned, in memory. MemoryError where it cannot fit."""
    shape = tuple(planned.axes.values())
    least = planned.least_bytes
    if least > host_memory():
        rule = f"{math.prod(shape):,} runs have results of at least {least / 2**30:,.0f} GiB"
        raise MemoryError(f"{rule}: a campaign writes them to a folder instead.")
    index = np.indices(shape).reshape(len(shape), -1)
    results, batches = _computed(planned, index, progress)
    shares = {"occupancy": occupancy(results["steps"], batches)} if "steps" in results else {}
    results = {name: value.reshape(*shape, *value.shape[1:]) for name, value in results.items()}
    found = planned.label(results)
    return found.assign_attrs(shares)


def collect_again(before: xr.Dataset, planned: Plan, *, progress: bool) -> xr.Dataset:
    """The dataset `before` of a sweep, in which the lanes that failed are computed as `planned`.

    Raises ValueError where it has not the axes of the plan.
    """
    shape = planned.grid.shape
    if dict(before.result.sizes) != shape:
        checks.fail("before", f"have the axes {shape}", dict(before.result.sizes))
    failed = np.nonzero(before.result.values > 0)
    # where nothing is random, all seeds are the lane of the first
    last = np.array(tuple(planned.axes.values())) - 1
    results, _ = _computed(planned, np.minimum(failed, last[:, None]), progress)
    found = before.copy(deep=True)
    for name in results.keys() & found.keys() - {"plateau"}:  # plateaus do not depend on the run
        found[name].values[failed] = results[name]
    found = with_learned(found)
    return found.assign_attrs(remarks="\n".join(remarks(found)))


def _computed(
    planned: Plan, index: np.ndarray, progress: bool
) -> tuple[dict[str, np.ndarray], list[Chunk]]:
    """`Plan.compute` with a bar."""
    total = index.shape[1]
    is_long = total >= 1000  # "10.0k"; a short count would read "12.0"
    with tqdm(total=total, unit="run", unit_scale=is_long, delay=2, disable=not progress) as bar:
        return planned.compute(index, bar.update)


def _with_curves(
    grid: Grid, program: Program, lanes: Lanes, index: np.ndarray, which: np.ndarray
) -> Lanes:
    """With the curves of the reduced flow of the lanes `which`."""
    if grid.is_customised:
        a, b = (np.asarray(x, dtype=float) for x in program.exponents(jnp.asarray(which), lanes))
        c, places = np.unique(curve_parameter(a, b), return_inverse=True)
        count = 2 ** math.ceil(math.log2(len(c)))  # few shapes are few programs
        c = np.pad(c, (0, count - len(c)), mode="edge")
    else:
        c = grid.curve_parameters
        places = np.ravel_multi_index(tuple(index[:3, which]), c.shape)
        c = c.ravel()
    curve = np.zeros(index.shape[1], np.int32)
    curve[which] = places
    curves = stack_curves(c, grid.spectrum.xx.dtype)
    if not grid.is_customised:
        curves = curves.suited_to(*(o.coefficients(grid.features)[0] for o in grid.objective))
    return dataclasses.replace(lanes, curves=(jnp.asarray(curve), curves))


def _groups(
    grid: Grid, solver: AbstractSolver, index: np.ndarray, padded: bool
) -> Iterator[tuple[np.ndarray, tuple, Networks | None]]:
    """Lanes that share a program, with the objectives and the networks of that program."""
    all_objectives = [tuple(range(len(grid.objective)))]
    each_objective = [(i,) for i in range(len(grid.objective))]
    if not isinstance(solver, AbstractMatrixSolver):
        # what `customise` does may depend on the objective, so each has its own program
        for some in each_objective if grid.is_customised else all_objectives:
            inside = np.isin(index[0], some)
            yield np.flatnonzero(inside), tuple(grid.objective[i] for i in some), None
        return
    network = grid.network(grid.depth[0], grid.predictor_depth[0])
    single = network.width is None and network.frames == (1, 1)
    square = single and grid.spectrum.dimension == grid.spectrum.target_dimension
    shared = SwitchedObjective.can_share(grid.objective) and square
    objectives = all_objectives if padded and shared and not grid.is_customised else each_objective
    padded = padded and network.width is None  # a padding is the identity of the input
    depths = range(len(grid.depth))
    depths = [tuple(depths)] if padded else [(j,) for j in depths]
    for some, deep, k in itertools.product(objectives, depths, range(len(grid.predictor_depth))):
        inside = np.isin(index[0], some) & np.isin(index[1], deep) & (index[2] == k)
        networks = Networks(tuple(int(grid.depth[j]) for j in deep), int(grid.predictor_depth[k]))
        yield np.flatnonzero(inside), tuple(grid.objective[i] for i in some), networks
