"""The result of one simulation: saved observables, and when features are learned."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ResultCode, Scalar, is_concrete
from jepa_sim.model.problem import Problem
from jepa_sim.results.critical import Target, check_target, critical_level
from jepa_sim.results.order import order
from jepa_sim.theory import ReducedFlow

NEAR_PLATEAU = 1e-3  # a saved gain that is closer (in ln u) no longer tells when it got there


class Trajectory(eqx.Module):
    """Saved observables of one run.

    problem: what was simulated.  times: (t,) flow times (t = kα).  values: observables by name,
    each with a leading time axis.  rates: (t, d) dw̄/dt, from `GradientFlow` and `LayerModes`.
    result: a `ResultCode`.  stats: counts of the solver's work.  atol: () or (d,) absolute
    tolerance of a layer (see `floor`); None where the solver is exact.

    `run["name"]` raises KeyError where the observable was not saved.
    """

    problem: Problem
    times: Float[Array, " t"]
    values: dict[str, PyTree]
    rates: Float[Array, "*lanes t d"] | None
    result: Int[Array, ""]
    stats: dict[str, Array]
    atol: Float[Array, "*lanes_or_d"] | None = None

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
        before, and NaN where the run failed before or the plateau is not known. Where moments do
        not commute, a gain may fall again later, if another feature had carried it there.

        Between the two saved times that bracket the crossing, the reduced flow's own time is
        interpolated: linearly, or by a cubic through the rates where they were saved. From a
        balanced start with commuting moments that is as accurate as the saved gains, on any grid.
        Elsewhere the error falls with the fourth power of the grid's spacing for `GradientFlow`,
        with the second for `Descent`.
        """
        run = eqx.tree_at(lambda run: run.problem, self, self.problem.with_curve())
        return _critical_times(run, *check_target(self.problem, fraction, level))

    @checked
    def order(
        self, *, fraction: Scalar | None = None, level: Scalar | None = None
    ) -> dict[str, Array]:
        """In which order features were learned, from `critical_times` with the same arguments.

        order_rho, order_lam: Kendall's τ_b between being learned early and ρ, or λ.  flips: how
        many pairs of features there are in which the one of larger λ is learned later.
        first_noisy: how many features are learned before the first with 0 < ρ < 1/2.  at_start: how
        many features are there at the start already; they count as learned first, though nothing
        was learned.
        """
        times = self.critical_times(fraction=fraction, level=level)
        at_start = jnp.sum((times <= 0).astype(times.dtype))
        return {**order(times, self.problem.features), "at_start": at_start}

    def __str__(self) -> str:
        if not is_concrete(self.result) or jnp.ndim(self.result):
            return f"Trajectory(times={jnp.shape(self.times)}, values={sorted(self.values)})"
        problem = self.problem
        depths = float(problem.depth), float(problem.predictor_depth)
        floor = float(jnp.max(self.floor))
        work = ", ".join(f"{name} {int(count)}" for name, count in self.stats.items())
        return "\n".join(
            [
                f"Trajectory of {problem.objective.name}, depth {depths[0]:g}, "
                f"predictor depth {depths[1]:g}, d = {problem.moments.dimension}",
                f"  times   {self.times.size} from {self.times[0]:.4g} to {self.times[-1]:.4g}",
                f"  saved   {', '.join(sorted(self.values))}",
                f"  result  {ResultCode(int(self.result)).reason}",
                f"  work    {work or 'no steps'}",
                *([f"  known   gains above {floor:.1g}"] if floor > 0 else []),
            ]
        )


@eqx.filter_jit
def _critical_times(run: Trajectory, fraction: Target, level: Target) -> Float[Array, " d"]:
    target = critical_level(run.problem, fraction, level)
    times, gains = run.times, run.features
    rates = gains * jnp.nan if run.rates is None else run.rates  # NaN stands for not saved
    if run.problem.starts_level:  # the gain at time 0 is known
        first = jnp.full_like(gains[:1], 1) * run.problem.scale
        times = jnp.concatenate([jnp.zeros_like(times[:1]), times])
        gains = jnp.concatenate([first, gains])
        rates = jnp.concatenate([first * jnp.nan, rates])
    reached = gains >= target[None, :]
    after = jnp.argmax(reached, axis=0)  # the first save at which it is reached
    before = jnp.maximum(after - 1, 0)
    columns = jnp.arange(gains.shape[1])
    last = _Save(times[before], gains[before, columns], rates[before, columns])
    next = _Save(times[after], gains[after, columns], rates[after, columns])
    time = _crossing(run.problem.flow, target, last, next, run.problem.is_plain)
    starts_there = jnp.where(after == 0, times[0], time)
    unknown = jnp.isnan(gains).any(axis=0) | jnp.isnan(target)
    never = jnp.where(unknown, jnp.nan, jnp.inf).astype(gains.dtype)
    return jnp.where(reached.any(axis=0), starts_there, never)


class _Save(eqx.Module):
    """A feature at a saved time: when, its gain w̄, and dw̄/dt (NaN where not saved)."""

    time: Float[Array, "*d"]
    gain: Float[Array, "*d"]
    rate: Float[Array, "*d"]


def _crossing(
    flow: ReducedFlow, target: Float[Array, " d"], before: _Save, after: _Save, is_plain: bool
) -> Float[Array, " d"]:
    """When each gain passes `target` between two saves."""
    interval = after.time - before.time

    def log_u(gain: Float[Array, " d"]) -> Float[Array, " d"]:
        return jnp.log(jnp.where(gain > 0, gain, 1)) / flow.depth  # 1: finite derivatives at 0

    def slope(save: _Save) -> Float[Array, " d"]:
        """d ln u/dt over the interval's length; the mean slope where no rate was saved."""
        saved = interval * save.rate / (save.gain * flow.depth)
        return jnp.where(jnp.isnan(save.rate), log_u(after.gain) - log_u(before.gain), saved)

    # In ln u
    start, middle, end = log_u(before.gain), log_u(target), log_u(after.gain)
    by_gain = _cubic_root(middle - start, end - start, slope(before), slope(after))

    if not is_plain:
        return before.time + interval * by_gain

    # In the time of the reduced flow: along it that time passes at the rate 1, and is linear
    from_plateau = [x - flow.log_plateau for x in (start, middle, end)]
    rising = flow.travel_time(from_plateau[0], from_plateau[1])
    whole = flow.travel_time(from_plateau[0], from_plateau[2])
    has_rates = ~jnp.isnan(before.rate)
    first = jnp.where(has_rates, slope(before) / flow.speed(start), whole)
    last = jnp.where(has_rates, slope(after) / flow.speed(end), whole)
    by_flow = _cubic_root(rising, whole, first, last)

    # A gain on the plateau tells no time: take the reduced flow's time from the save before.
    on_plateau = jnp.abs(from_plateau[2]) < NEAR_PLATEAU
    by_flow = jnp.where(on_plateau, jnp.minimum(rising / interval, 1), by_flow)
    connected = flow.is_learned & jnp.isfinite(rising) & (on_plateau | jnp.isfinite(whole))
    return before.time + interval * jnp.where(connected, by_flow, by_gain)


def _cubic_root(
    target: Float[Array, " d"],
    rise: Float[Array, " d"],
    first: Float[Array, " d"],
    last: Float[Array, " d"],
) -> Float[Array, " d"]:
    """Where in [0, 1] the cubic from 0 to `rise`, of these end slopes, passes `target`."""

    def cubic(x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x * (first + x * (3 * rise - 2 * first - last + x * (first + last - 2 * rise)))

    def halve(_: Array, bracket: tuple) -> tuple:
        low, high = bracket
        half = (low + high) / 2
        above = cubic(half) >= target
        return jnp.where(above, low, half), jnp.where(above, half, high)

    steps = jnp.finfo(target.dtype).nmant + 2  # a halving for every bit
    low, high = jax.lax.fori_loop(0, steps, halve, (jnp.zeros_like(target), jnp.ones_like(target)))
    return (low + high) / 2
