"""The compiled program of a sweep: from the traced parameters of a lane to what is saved of it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jepa_sim.arguments.types import Scalar, Times
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective, SwitchedObjective
from jepa_sim.model.problem import Problem, split_key
from jepa_sim.model.starts import AbstractStart
from jepa_sim.model.state import Weights, pad_encoder
from jepa_sim.model.training import Training
from jepa_sim.results.critical import times_and_trust
from jepa_sim.results.observables import Observable, features, name_of
from jepa_sim.results.order import order, order_of
from jepa_sim.results.trust import trust_in
from jepa_sim.solvers.base import (
    AbstractMatrixSolver,
    AbstractSolver,
    Observe,
    Solution,
    record,
)
from jepa_sim.sweeps.grid import AbstractTimes
from jepa_sim.sweeps.lanes import Lane, Lanes

# On a CPU XLA gives products of matrices to a pool of threads. Small products wait for the pool
# longer than they take. In a sweep every core has a batch of its own, so the pool is not needed.
# Without it a sweep of flows takes 0.71 of its time at d = 8, 0.82 at 12 and 1.05 at 16 (ROCK4,
# L = 3), and compiling takes up to a fifth longer.
ONE_CORE = {"xla_cpu_multi_thread_eigen": False}
SMALL, MANY = 12, 256  # rows of matrices and lanes of a sweep to which it applies


class Networks(eqx.Module):
    """The shapes of matrices that lanes of a program share: depths are padded to the largest."""

    depths: tuple[int, ...] = eqx.field(static=True)
    predictor_depth: int = eqx.field(static=True)


class Program(eqx.Module):
    """What lanes have in common, and is compiled once for all of them.

    objectives: which a lane chooses from.  networks: None where depths are traced numbers.
    """

    solver: AbstractSolver
    times: AbstractTimes
    start: Callable[[Float[Array, ""]], AbstractStart] = eqx.field(static=True)
    network: Callable[[Scalar, Scalar], DeepLinear] = eqx.field(static=True)
    training: Training
    customise: Callable[..., Problem] = eqx.field(static=True)
    objectives: tuple[AbstractObjective, ...]
    networks: Networks | None
    observables: tuple[Observable, ...]
    critical_fraction: tuple[float, ...] = eqx.field(static=True)

    def run(self, which: Int[Array, " chunk"], lanes: Lanes) -> dict[str, Array]:
        """What is saved of a chunk of lanes, each with a leading axis over those chosen.

        The length of the chunk must be a multiple of the number of devices.
        """
        rows, count = lanes.spectra.xx.shape[-1], lanes.spectrum.size
        is_small = self.networks is not None and rows <= SMALL and count >= MANY
        on_one_core = is_small and jax.default_backend() == "cpu"
        return (_run_on_one_core if on_one_core else _run_usual)(self, which, lanes)

    @eqx.filter_jit
    def work(self, which: Int[Array, " chunk"], lanes: Lanes) -> Float[Array, " chunk"]:
        """Predicted steps of lanes, up to a factor."""

        def one(i: Int[Array, ""]) -> Float[Array, ""]:
            problem, _ = self._begin(lanes[i])
            return self.solver.work(problem, self.times.times(problem))

        return jax.vmap(one)(which)

    @eqx.filter_jit
    def exponents(self, which: Int[Array, " chunk"], lanes: Lanes) -> tuple[Array, Array]:
        """(chunk,) the exponents a and b of the reduced flow."""

        def one(i: Int[Array, ""]) -> tuple[Array, Array]:
            lane = lanes[i]
            return self._problem(lane, *self._depths(lane)).exponents

        return jax.vmap(one)(which)

    def _run_one(self, i: Int[Array, ""], lanes: Lanes) -> dict[str, Array]:
        problem, solve = self._begin(lanes[i])
        times = self.times.times(problem)
        # critical times are read from the gains, so these are observed even if they are not saved
        observables = tuple(dict.fromkeys((*self.observables, features)))
        trajectory = record(
            problem,
            observables,
            lambda problem, observe: solve(problem, times, observe),
            keeps_apart=self.solver.keeps_apart,
        )
        saved = {name: trajectory[name] for name in map(name_of, self.observables)}
        problem = trajectory.problem  # with its features solved for

        def learned(fraction: Float[Array, ""]) -> dict[str, Array]:
            if self.solver.is_exact:  # gains rise once: `label` has the same times as learned ones
                first, trust = times_and_trust(problem, fraction, None, "sweep")
                found = {"critical_time": first, "trust": trust.ratio}
                return {**found, **order_of(first, problem.features)}
            first = trajectory.critical_times(fraction=fraction)
            last = trajectory.learned_times(fraction=fraction)
            times = {"critical_time": first, "learned_time": last}
            if self.solver.keeps_apart:
                times["trust"] = trust_in(problem, first, trajectory.times[-1]).ratio
            return {**times, **order(first, last, problem.features)}

        return {
            "t": trajectory.times,
            **saved,
            **jax.vmap(learned)(jnp.asarray(self.critical_fraction, times.dtype)),
            "plateau": problem.plateaus,
            "result": trajectory.result.astype(jnp.int8),
            **trajectory.stats,
        }

    def _begin(self, lane: Lane) -> tuple[Problem, Callable[[Problem, Times, Observe], Solution]]:
        """A lane's problem and how to solve it at given times."""
        key, depth_here = lane.point.key, lane.point.depth
        problem = self._problem(lane, *self._depths(lane))
        problem = eqx.tree_at(lambda p: p.curve, problem, lane.curve, is_leaf=lambda x: x is None)
        if self.networks is None or not isinstance(self.solver, AbstractMatrixSolver):
            problem = self.solver.started(problem, key)
            return problem, (
                lambda problem, times, observe: self.solver.solve(problem, times, observe, key)
            )
        depths, solver = self.networks.depths, self.solver
        predictor_depth = self.networks.predictor_depth

        def begin(depth: int) -> Callable[[PRNGKeyArray], Weights]:
            problem = self._problem(lane, depth, predictor_depth)
            return lambda key: pad_encoder(solver.begin(problem, key), max(depths))

        def solve(problem: Problem, times: Times, observe: Observe) -> Solution:
            start_key, own_key = split_key(key)
            which = jnp.argmax(jnp.asarray(depths, depth_here.dtype) == depth_here)
            start = jax.lax.switch(which, [begin(depth) for depth in depths], start_key)
            return solver.solve_from(start, problem, times, observe, own_key)

        return problem, solve

    def _depths(self, lane: Lane) -> tuple[Scalar, Scalar]:
        """L and M, as known as they are."""
        if self.networks is None or not isinstance(self.solver, AbstractMatrixSolver):
            return lane.point.depth, lane.point.predictor_depth
        depths = self.networks.depths
        return depths[0] if len(depths) == 1 else lane.point.depth, self.networks.predictor_depth

    def _problem(self, lane: Lane, depth: Scalar, predictor_depth: Scalar) -> Problem:
        objective = self.objectives[0]
        if len(self.objectives) > 1:
            objective = SwitchedObjective(self.objectives, lane.point.objective)
        network, start = self.network(depth, predictor_depth), self.start(lane.point.scale)
        problem = Problem(lane.moments, objective, network, start, self.training)
        return self.customise(problem, **lane.point.values)


def _run(program: Program, which: Int[Array, " chunk"], lanes: Lanes) -> dict[str, Array]:
    """Each device runs its own share of the chunk.

    Implicit methods run on the first device alone: lineax does not know the types that arrays have
    inside a `shard_map`.
    """
    devices, every = jax.local_devices(), jax.vmap(program._run_one, in_axes=(0, None))
    if len(devices) == 1 or program.solver.is_implicit:
        return every(which, lanes)
    mesh, split = Mesh(np.asarray(devices), ("lanes",)), PartitionSpec("lanes")
    specs = (split, PartitionSpec())
    shared = jax.shard_map(every, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    return shared(which, lanes)


_run_usual = eqx.filter_jit(_run)
_run_on_one_core = eqx.filter_jit(_run, compiler_options=ONE_CORE)  # pyright: ignore[reportCallIssue]
