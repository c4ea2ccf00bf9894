"""The result of one simulation: saved observables, and when features are learned."""

from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ResultCode, Scalar, Times
from jepa_sim.model.problem import Problem
from jepa_sim.model.summary import columns_of, facts_of, name_of, unknown_of
from jepa_sim.numerics.display.numbers import listed, number
from jepa_sim.numerics.display.sheet import Sheet, column
from jepa_sim.numerics.display.shows import Shows, require_single
from jepa_sim.results.choice import Choice
from jepa_sim.results.critical import Target, check_target, critical_level, exact_times
from jepa_sim.results.crossings import Saves, rises
from jepa_sim.results.order import order
from jepa_sim.results.trust import Trust, trust_in

if TYPE_CHECKING:
    import xarray as xr

# the counts of a solver's work, as they are printed
WORK = {"steps": "steps", "accepted": "accepted", "rhs": "evaluations of the right-hand side"}


class Trajectory(Shows, eqx.Module):
    """Saved observables of one run.

    problem: what was simulated.  times: (t,) flow times (t = kα).  values: observables by name,
    each with a leading time axis.  rates: (t, d) dw̄/dt, from `GradientFlow` and `LayerModes`.
    result: a `ResultCode`.  stats: counts of the solver's work.  atol: () or (d,) absolute
    tolerance of a layer (see `floor`); None where the solver is exact.  keeps_apart: whether the
    solver takes features as if none could displace another (see `trust`).  solver: which solver and
    method ran; `str(run.solver)` says why that one. None in a run of `sweep`.  by_step: gains at
    the solver's own steps, from `SleepingFlow`.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=1e-2))
    >>> run = js.simulate(problem, [100.0, 100000.0], js.GradientFlow())
    >>> str(run.solver)
    'GradientFlow(ROCK4): predicted 72,900 relaxation times > 1,000, so a stabilised method'
    >>> js.simulate(problem, [100.0, 100000.0], js.ClosedForm())
    Trajectory of JEPA, L = 2, M = 1, 2 features
      start   Balanced, ε = 0.01
      solver  ClosedForm
      work    no steps
      times   2 from 100 to 1e+05
      saved   features, loss, predictor_gains
      result  The trajectory reached its last time.
      trust   No feature displaces another before both are learned: the reduced theory holds.
      feature  λ    ρ     σ²  plateau w̄*  w̄ at the end
            0  1  0.9  1.111         0.81           0.81
            1  1  0.3  3.333         0.09           0.09

    `run["name"]` raises KeyError where the observable was not saved.
    """

    problem: Problem
    times: Times
    values: dict[str, PyTree]
    rates: Float[Array, "*lanes t d"] | None
    result: Int[Array, ""]
    stats: dict[str, Array]
    atol: Float[Array, "*lanes_or_d"] | None = None
    keeps_apart: bool = eqx.field(static=True, default=False)
    solver: Choice | None = None
    by_step: Saves | None = None

    @property
    def floor(self) -> Float[Array, "*lanes_or_d"]:
        """atol^L: the solver cannot tell smaller gains w̄ from 0. It is 0 where that is exact."""
        if self.atol is None:
            return jnp.zeros((), self.times.dtype)
        return self.atol ** self.problem.depth.astype(self.atol.dtype)

    @property
    def features(self) -> Float[Array, "*lanes t d"]:
        """(t, d) encoder gains w̄."""
        return self["features"]

    @property
    def loss(self) -> Float[Array, "*lanes t"]:
        """(t,) population loss."""
        return self["loss"]

    def __getitem__(self, name: str) -> PyTree:
        if name not in self.values:
            raise KeyError(f"Observable `{name}` was not saved; saved are {sorted(self.values)}.")
        return self.values[name]

    @checked
    def critical_times(
        self, *, fraction: Scalar | None = None, level: Scalar | None = None
    ) -> Float[Array, " d"]:
        """(d,) first time at which each gain w̄ reaches a fraction of its plateau, or a level.

        Exactly one of fraction (of `Problem.plateaus`) and level is given. The result is the first
        saved time (0 from a balanced start) where the gain is there already, inf where the run ends
        before, and NaN where the run failed before or the plateau is not known. A gain may fall
        again later: where a cleaner feature displaces this one (see `evictions`), or where moments
        do not commute and another feature had carried it there. `learned_times` has the last time.

        Between the two saved times that bracket the crossing, the reduced flow's own time is
        interpolated: linearly, or by a cubic through the rates where they were saved. From a
        balanced start with commuting moments that is as accurate as the saved gains, on any grid.
        Elsewhere the error falls with the fourth power of the grid's spacing for `GradientFlow`,
        with the second for `Descent`. A run of `SleepingFlow` has the gains at each step of
        the solver, so its critical times do not depend on which times are saved.
        """
        return self._rises(fraction, level, for_good=False)

    @checked
    def learned_times(
        self, *, fraction: Scalar | None = None, level: Scalar | None = None
    ) -> Float[Array, " d"]:
        """(d,) last time at which each gain w̄ reaches a fraction of its plateau, or a level.

        From then on it stays there until the run ends: the feature is learned for good, as far as
        the run shows. Arguments and accuracy are those of `critical_times`, which has the first
        time; the two are equal where a gain passes the level once. The result is inf where the gain
        is below the level at the end, and NaN where the run failed or the plateau is not known.
        What happens between two saved times is not seen, but for runs of `SleepingFlow`.
        """
        return self._rises(fraction, level, for_good=True)

    def _rises(
        self, fraction: Scalar | None, level: Scalar | None, *, for_good: bool
    ) -> Float[Array, " d"]:
        run = eqx.tree_at(lambda run: run.problem, self._bare(), self.problem.with_curve())
        return _rises(run, *check_target(self.problem, fraction, level), for_good)

    @property
    def trust(self) -> Trust | None:
        """How far a run of the reduced theory can be trusted (see `jepa_sim.trust`).

        It is judged by the times at which the run has features at half of their plateaus. None for
        a solver of all matrices, in which features can displace each other.
        """
        if not self.keeps_apart:
            return None
        if self.atol is None and self.problem.is_plain:  # no times need to be interpolated
            return _exact_trust(self.problem.with_known_curve(), self.times)
        return _trust(self._bare(), self.critical_times(fraction=0.5))

    @property
    def known_gains(self) -> Saves:
        """Gains and rates at the solver's steps, if the run has them, or else at the saved times.

        Between two steps there is an entry for each gain that turns there.
        """
        if self.by_step is not None:
            return self.by_step.with_turns()
        return Saves.of(self.problem, self.times, self.features, self.rates)

    def _bare(self) -> "Trajectory":
        """Without the solver, so that compiled programs do not depend on it."""
        return eqx.tree_at(lambda run: run.solver, self, None, is_leaf=lambda x: x is None)

    @checked
    def order(
        self, *, fraction: Scalar | None = None, level: Scalar | None = None
    ) -> dict[str, Array]:
        """In which order features were learned, by the names that a sweep has.

        From `critical_times` with the same arguments: order_rho, order_lam: Kendall's τ_b between
        being learned early and ρ, or λ.  flips: how many pairs of features there are in which the
        one of larger λ is learned later.  first_noisy: how many features are learned before the
        first with 0 < ρ < 1/2.  at_start: how many features are there at the start already; they
        count as learned first, though nothing was learned.

        From `learned_times`: learned_order_rho, learned_order_lam, learned_flips and
        learned_first_noisy, the same of features that are learned for good.
        """
        first = self.critical_times(fraction=fraction, level=level)
        last = self.learned_times(fraction=fraction, level=level)
        at_start = jnp.sum((first <= 0).astype(first.dtype))
        return {**order(first, last, self.problem.features), "at_start": at_start}

    def to_xarray(self) -> "xr.Dataset":
        """The run as a labelled dataset, with the names, long names and units that a sweep has.

        Axes are time and feature; the flow times (t = kα) are the coordinate `t` of the axis time.
        There are all saved observables, plateau, lam and rho of every feature, the result code and
        counts of steps; what was simulated, and by which solver, stands in the attributes. Other
        axes of an observable of your own are named after it, as in a sweep. Of an observable that
        is a pytree, such as `weights`, every array is a variable.

        >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
        >>> network, start = js.DeepLinear(depth=3), js.Balanced(scale=1e-2)
        >>> problem = js.Problem(moments, js.JEPA(), network, start)
        >>> run = js.simulate(problem, [100.0, 1000.0, 10000.0], js.ClosedForm())
        >>> run.to_xarray().features.sel(feature=1).values.round(3)
        array([0.01 , 0.016, 0.027])

        Raises ValueError where the run is traced, or is several.
        """
        from jepa_sim.results.dataset import dataset_of  # xarray loads when it is used

        return dataset_of(self)

    def _sheet(self) -> Sheet:
        require_single((self.result, 0), (self.times, 1))
        # in numpy: JAX would compile a program for every maximum and every index
        problem, times = self.problem, np.asarray(self.times)
        floor = 0.0 if self.atol is None else float(np.max(self.floor))
        counts = {
            name: int(self.stats[name]) for name in (*WORK, *self.stats) if name in self.stats
        }
        work = ", ".join(f"{n:,} {WORK.get(name, name)}" for name, n in counts.items())
        facts = {
            **facts_of(problem),
            "solver": "" if self.solver is None else str(self.solver),
            "work": work or "no steps",
            "times": f"{times.size:,} from {number(times[0])} to {number(times[-1])}",
            "saved": listed(sorted(self.values)),
            "result": ResultCode(int(self.result)).reason,
            "resolves": f"gains above {floor:.1g}; smaller ones are noise" if floor > 0 else "",
            "trust": str(self.trust) if self.keeps_apart else "",
        }
        columns = columns_of(problem)
        facts |= unknown_of(columns)
        if columns and "features" in self.values:
            columns["w̄ at the end"] = column(np.asarray(self.features)[-1])
        return Sheet(f"Trajectory of {name_of(problem)}", facts, columns)


@eqx.filter_jit
def _trust(run: Trajectory, times: Float[Array, " d"]) -> Trust:
    return trust_in(run.problem, times, run.times[-1])


@eqx.filter_jit
def _exact_trust(problem: Problem, saved: Times) -> Trust:
    times, end = exact_times(problem, jnp.asarray(0.5, saved.dtype)), saved[-1]
    return trust_in(problem, jnp.where(times <= end, times, jnp.inf), end)


@eqx.filter_jit
def _rises(run: Trajectory, fraction: Target, level: Target, for_good: bool) -> Float[Array, " d"]:
    target = critical_level(run.problem, fraction, level)
    return rises(run.problem, run.known_gains, target, for_good=for_good)
