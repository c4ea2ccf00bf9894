"""One call for every level of fidelity: `simulate(problem, times, solver)`."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked, checked
from jepa_sim.arguments.types import ArrayLike, OptionalKey, ResultCode, Times, is_concrete
from jepa_sim.model.problem import Problem, split_key
from jepa_sim.model.state import AbstractState, Weights
from jepa_sim.results.choice import Choice
from jepa_sim.results.crossings import Saves
from jepa_sim.results.observables import (
    Observable,
    check_names,
    features,
    loss,
    name_of,
    predictor_gains,
)
from jepa_sim.results.trajectory import Trajectory
from jepa_sim.solvers.stiffness import EASY_STEPS, STIFF

if TYPE_CHECKING:  # pyright does not know equinox's own (microsoft/pyright#4965)
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar

STIFF_WORK = EASY_STEPS + STIFF  # predicted steps above which a problem counts as stiff
Observe = Callable[[Float[Array, ""], Any], dict]  # of a time and a state


class Solution(eqx.Module):
    """What a solver returns.

    times: (t,) flow times.  values: observables by name, each with a leading time axis.  result: a
    `ResultCode`.  stats: counts of the solver's work.  rates: (t, d) dw̄/dt, where it is known.
    atol: () or (d,) the size below which the solver cannot tell a layer from 0; None where it is
    exact.  by_step: gains at the solver's own steps, where they are known.
    """

    times: Times
    values: dict
    result: Int[Array, ""]
    stats: dict
    rates: Float[Array, "t d"] | None = None
    atol: Float[Array, "*d"] | None = None
    by_step: Saves | None = None


class AbstractSolver(Checked):
    """A level of fidelity: one way to solve a problem, with fields of its own.

    A subclass sets these class attributes, or has properties of the same names where they depend
    on its fields. is_random: whether a run depends on a key beyond its start.  is_exact: whether
    its critical times are those of the exact solution.  is_implicit: whether its steps solve
    systems of equations, which a program for several devices cannot do; False unless it is set.
    keeps_apart: whether it assumes that no feature displaces another; False unless it is set.
    """

    is_random: AbstractClassVar[bool]
    is_exact: AbstractClassVar[bool]
    is_implicit: ClassVar[bool] = False
    keeps_apart: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The class; in parentheses its method, where it has one of several."""
        return type(self).__name__

    @abc.abstractmethod
    def work(self, problem: Problem, times: Times) -> Float[Array, ""]:
        """Predicted steps, up to a factor. A sweep puts lanes of similar work into one batch."""

    def alternatives(self) -> tuple["AbstractSolver", "AbstractSolver"]:
        """What runs in place of this solver: on easy problems, and on stiff ones.

        Most solvers return themselves. A solver whose method is still to be chosen, such as
        `GradientFlow()`, returns one with each method; `work` then decides between them.
        """
        return self, self

    @abc.abstractmethod
    def prepare(self, problem: Problem) -> Problem:
        """The problem in the form that `solve` needs; ValueError where it does not apply."""

    def started(self, problem: Problem, key: OptionalKey) -> Problem:
        """The prepared problem, with what the solver needs of a random start, drawn by `key`.

        A solver of the reduced theory replaces a random start by its effective one.
        """
        return problem

    def check_times(self, times: ArrayLike) -> None:
        """ValueError where a run cannot be saved at these times.

        A solver with a rule of its own for times, such as `Descent`, overrides this.
        """
        checks.check_times(times)

    @abc.abstractmethod
    def solve(self, problem: Problem, times: Times, observe: Observe, key: OptionalKey) -> Solution:
        """Run from time 0 and observe at the given times."""


class AbstractMatrixSolver(AbstractSolver):
    """A solver of layers, which may start from any weights."""

    def begin(self, problem: Problem, key: OptionalKey) -> Weights:
        """The weights at time 0; a solver that takes features apart overrides this."""
        return problem.weights(key)

    @abc.abstractmethod
    def solve_from(
        self, start: Weights, problem: Problem, times: Times, observe: Observe, key: OptionalKey
    ) -> Solution:
        """Run from the given weights, which may be padded beyond the problem's depth."""

    def solve(self, problem: Problem, times: Times, observe: Observe, key: OptionalKey) -> Solution:
        start_key, own_key = (None, None) if key is None else split_key(key)
        return self.solve_from(self.begin(problem, start_key), problem, times, observe, own_key)


@checked
def simulate(
    problem: Problem,
    times: ArrayLike,
    solver: AbstractSolver,
    *,
    observables: Sequence[Observable] = (features, predictor_gains, loss),
    key: OptionalKey = None,
) -> Trajectory:
    """Simulate `problem` from time 0 and save observables at `times`.

    times: (t,) strictly ascending, not negative, in units of flow time (t = kα for step k of
    gradient descent with learning rate α).  solver: `ClosedForm()`, `Modes()`, `LayerModes()`,
    `SleepingFlow()`, `GradientFlow()` or `Descent(…)`.  observables: functions of (t, state,
    problem), see `jepa_sim.observables`.
    key: for random starts and minibatches.

    A solve that runs out of steps, or reaches infinite or undefined numbers, raises no error: it
    has a result code, and its values are NaN from there on. It is compiled once per solver, shapes
    and (for matrices) depths.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=3), js.Balanced(scale=1e-2))
    >>> run = js.simulate(problem, [100.0, 1000.0, 10000.0], js.ClosedForm())
    >>> run.features.round(3)
    Array([[0.011, 0.01 ],
           [0.729, 0.016],
           [0.729, 0.027]], dtype=float64)

    Raises ValueError where arguments are wrong or the solver does not apply to the problem.
    """
    solver.check_times(times)
    check_names(observables)
    if solver.is_random and key is None:
        checks.fail("key", "be given for a solver that draws minibatches", key)
    problem = solver.prepare(problem)
    times = jnp.asarray(times, problem.moments.xx.dtype)
    easy, stiff = solver.alternatives()
    if stiff is not easy:
        # with its curve made, or the program would make all tables of the curve for one number
        work = eqx.filter_jit(solver.work)(problem.with_curve(), times)
        known = is_concrete(work)
        solver = stiff if known and float(work) > STIFF_WORK else easy
        choice = Choice(easy.label, stiff.label, work - EASY_STEPS if known else None, STIFF)
    else:
        choice = Choice(solver.label, solver.label)
    run = _simulate(problem, times, solver, tuple(observables), key)
    run = dataclasses.replace(run, solver=choice)
    # the curve was made for this program; a copy of the problem with other depths needs its own
    return eqx.tree_at(lambda r: r.problem.curve, run, None, is_leaf=lambda x: x is None)


@eqx.filter_jit
def _simulate(
    problem: Problem,
    times: Times,
    solver: AbstractSolver,
    observables: tuple[Observable, ...],
    key: OptionalKey,
) -> Trajectory:
    def solve(problem: Problem, observe: Observe) -> Solution:
        return solver.solve(problem, times, observe, key)

    problem = solver.started(problem, key)
    return record(problem, observables, solve, keeps_apart=solver.keeps_apart)


def record(
    problem: Problem,
    observables: tuple[Observable, ...],
    solve: Callable[[Problem, Observe], Solution],
    *,
    keeps_apart: bool,
) -> Trajectory:
    """The trajectory of one solve. Its features are solved for once, not at every saved time."""
    moments = problem.moments.with_features(problem.features)
    problem = eqx.tree_at(lambda p: p.moments, problem, moments)

    def observe(t: Float[Array, ""], state: AbstractState) -> dict:
        return {name_of(o): o(t, state, problem) for o in observables}

    solution = solve(problem, observe)
    return Trajectory(problem, **vars(solution), keeps_apart=keeps_apart)  # fields of one name


def split_by_work(
    solver: AbstractSolver, work: np.ndarray
) -> list[tuple[np.ndarray, AbstractSolver]]:
    """Masks of the lanes of a sweep, by their predicted work, and the solver that runs each."""
    easy, stiff = solver.alternatives()
    if stiff is easy:
        return [(np.full(work.shape, True), easy)]
    is_stiff = work > STIFF_WORK
    return [(lanes, one) for lanes, one in ((~is_stiff, easy), (is_stiff, stiff)) if lanes.any()]


def blank_unless(reached: Bool[Array, " t"], values: dict) -> dict:
    """Saved values, with NaN at times that were not reached."""

    def blank(value: Array) -> Array:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return jnp.where(reached.reshape(-1, *(1,) * (value.ndim - 1)), value, jnp.nan)

    return jax.tree.map(blank, values)


def all_finite(state: PyTree) -> Bool[Array, ""]:
    """Whether every number of a state is finite."""
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array))
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def finite_code(finite: Bool[Array, "..."], code: Int[Array, ""]) -> Int[Array, ""]:
    """`code`, or `not_finite` where it says success and a saved state was not finite."""
    broken = (code == ResultCode.success) & ~finite.all()
    return jnp.where(broken, ResultCode.not_finite, code)
