"""When gains pass a level, between the saved times of a run.

A gain may pass its level several times: a cleaner feature can displace a noisier one that was
learned before it, which is then learned again. So a feature is learned for the first time, and it
is learned for good: from its last crossing on the gain stays above the level.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jepa_sim.arguments.types import Times
from jepa_sim.model.problem import Problem
from jepa_sim.theory import ReducedFlow

NEAR_PLATEAU = 1e-3  # a saved gain that is closer (in ln u) no longer tells when it got there


class Saves(eqx.Module):
    """What is known of a run's gains; of one time, without the first axis.

    times: (t,), or (t, d) where features are known at times of their own.  gains: (t, d) w̄.
    rates: (t, d) dw̄/dt, NaN where it is not known.
    """

    times: Float[Array, "..."]
    gains: Float[Array, "*t d"]
    rates: Float[Array, "*t d"]

    @classmethod
    def of(
        cls,
        problem: Problem,
        times: Times,
        gains: Float[Array, "t d"],
        rates: Float[Array, "t d"] | None,
    ) -> "Saves":
        """The saves of a run; with the start first, where all gains are known there."""
        rates = gains * jnp.nan if rates is None else rates
        saves = cls(jnp.broadcast_to(times[:, None], gains.shape), gains, rates)
        if not problem.starts_level:
            return saves
        first = jnp.full_like(gains[:1], 1) * problem.scale
        start = cls(jnp.zeros_like(first), first, first * jnp.nan)
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), start, saves)

    def with_turns(self) -> "Saves":
        """With one more entry between any two: where the gain turns, or else the later one again.

        A gain turns where its rates at both ends differ in sign. Between them it is taken to be the
        cubic with these gains and rates.
        """
        times = jnp.broadcast_to(self.times[:, None], self.gains.shape)
        saves = Saves(times, self.gains, self.rates)
        before: Saves = jax.tree.map(lambda x: x[:-1], saves)
        after: Saves = jax.tree.map(lambda x: x[1:], saves)
        interval = after.times - before.times
        turns = before.rates * after.rates < 0  # not where a rate is NaN
        first = jnp.where(turns, before.rates * interval, 1)
        last = jnp.where(turns, after.rates * interval, -1)
        rise = jnp.where(turns, after.gains - before.gains, 0)
        # the root in (0, 1) of first + 2 b s + 3 c s², which changes its sign there
        b, c = 3 * rise - 2 * first - last, first + last - 2 * rise
        root = jnp.sign(first) * jnp.sqrt(b**2 - 3 * first * c)
        cancels = b * root > 0  # in the first form, and else in the second
        s = jnp.where(
            cancels,
            (b + root) / jnp.where(cancels, -3 * c, 1),
            first / jnp.where(cancels, 1, root - b),
        )
        gains = before.gains + s * (first + s * (b + s * c))
        turn = Saves(before.times + s * interval, gains, jnp.zeros_like(gains))
        turn = jax.tree.map(lambda a, b: jnp.where(turns, a, b), turn, after)

        def between(x: Array, turn: Array) -> Array:
            pairs = jnp.stack([turn, x[1:]], axis=1).reshape(-1, x.shape[1])
            return jnp.concatenate([x[:1], pairs])

        return jax.tree.map(between, saves, turn)


def rises(
    problem: Problem, saves: Saves, level: Float[Array, " d"], *, for_good: bool
) -> Float[Array, " d"]:
    """(d,) when each gain first reaches its level; for good: when it does so for the last time.

    The first saved time where it is there already; inf where it is not there, or, for good, not at
    the end; NaN where that is not known, since the level or a later gain is NaN.
    """
    reached = saves.gains >= level[None, :]
    if for_good:  # there, and at all later saves
        reached = jnp.flip(jnp.cumprod(jnp.flip(reached, 0).astype(int), 0), 0).astype(bool)
    after = jnp.argmax(reached, axis=0)
    time = jnp.where(after == 0, saves.times[0], passing(problem, saves, level, after))
    unknown = jnp.isnan(saves.gains).any(axis=0) | jnp.isnan(level)
    never = jnp.where(unknown, jnp.nan, jnp.inf).astype(time.dtype)
    return jnp.where(reached.any(axis=0), time, never)


def passing(
    problem: Problem, saves: Saves, level: Float[Array, " d"], after: Int[Array, " d"]
) -> Float[Array, " d"]:
    """(d,) when each gain passes its level, upwards or downwards, before the save `after`."""
    before = jnp.maximum(after - 1, 0)
    columns = jnp.arange(saves.gains.shape[1])
    last, next = (
        _Save(saves.times[i, columns], saves.gains[i, columns], saves.rates[i, columns])
        for i in (before, after)
    )
    return _crossing(problem.flow, level, last, next, problem.is_plain)


class _Save(eqx.Module):
    """A feature at a saved time: when, its gain w̄, and dw̄/dt (NaN where not saved)."""

    time: Float[Array, "*d"]
    gain: Float[Array, "*d"]
    rate: Float[Array, "*d"]


def _crossing(
    flow: ReducedFlow, target: Float[Array, " d"], before: _Save, after: _Save, is_plain: bool
) -> Float[Array, " d"]:
    """When each gain passes `target` between two saves, upwards or downwards."""
    interval = after.time - before.time

    def log_u(gain: Float[Array, " d"]) -> Float[Array, " d"]:
        return jnp.log(jnp.where(gain > 0, gain, 1)) / flow.depth  # 1: finite derivatives at 0

    def slope(save: _Save) -> Float[Array, " d"]:
        """d ln u/dt over the interval's length; the mean slope where no rate was saved."""
        saved = interval * save.rate / (save.gain * flow.depth)
        return jnp.where(jnp.isnan(save.rate), log_u(after.gain) - log_u(before.gain), saved)

    # In ln u
    start, middle, end = log_u(before.gain), log_u(target), log_u(after.gain)
    sign = jnp.where(end < start, -1, 1).astype(end.dtype)
    path = (middle - start, end - start, slope(before), slope(after))
    by_gain = _cubic_root(*(sign * part for part in path))

    if not is_plain:
        return before.time + interval * by_gain

    # In the time of the reduced flow: along it that time passes at the rate 1, and is linear
    from_plateau = [x - flow.log_plateau for x in (start, middle, end)]
    rising = flow.travel_time(from_plateau[0], from_plateau[1])
    whole = flow.travel_time(from_plateau[0], from_plateau[2])
    has_rates = ~jnp.isnan(before.rate) & ~jnp.isnan(after.rate)
    first = jnp.where(has_rates, slope(before) / flow.speed(start), whole)
    last = jnp.where(has_rates, slope(after) / flow.speed(end), whole)
    by_flow = _cubic_root(rising, whole, first, last)

    # A gain on the plateau says nothing of the time: take the reduced flow's time from the save
    # before. If that is longer than the interval, the gain did not follow the reduced flow: in an
    # eviction.
    on_plateau = jnp.abs(from_plateau[2]) < NEAR_PLATEAU
    by_flow = jnp.where(on_plateau, rising / interval, by_flow)
    follows = jnp.where(on_plateau, rising <= interval, jnp.isfinite(whole))
    connected = flow.is_learned & (sign > 0) & jnp.isfinite(rising) & follows
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
