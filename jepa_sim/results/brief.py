"""What a run knows between two saved times, as saves of its own.

Evictions need all features at one time, but the extremes between two saves are of one feature each.
So where a gain passes its level and comes back between two saves, there is a save at that time. In
it the other gains are those of the save before a maximum, and of the save after a minimum: as if
nothing else had changed before the takeover, and all after it.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jepa_sim.results.crossings import Extremes, Saves


def with_brief_crossings(
    saves: Saves, extremes: Extremes | None, level: Float[np.ndarray, " d"]
) -> tuple[Saves, np.ndarray]:
    """The saves with those between them; (t,) the old save that each one is, or comes before."""
    times, gains, rates = (np.asarray(x) for x in (saves.times, saves.gains, saves.rates))
    every = np.arange(len(times))
    if extremes is None:
        return saves, every
    before, after = gains[:-1], gains[1:]
    extremes = extremes.between(len(after))
    turns = np.asarray(extremes.turn(saves.gains[:-1], saves.gains[1:]))
    high, high_time, low, low_time = (
        np.asarray(x) for x in (extremes.high, extremes.high_time, extremes.low, extremes.low_time)
    )
    was, is_now = before >= level, after >= level
    twice = (was != is_now) & turns
    passes = (high >= level) & (twice & (low < level) | ~(was | is_now))
    falls = (low < level) & (twice & (high >= level) | (was & is_now))
    found = []
    for is_brief, when, extreme, others in (
        (passes, high_time, high, before),
        (falls, low_time, low, after),
    ):
        i, j = np.nonzero(is_brief)
        found.append((when[i, j], i + 1, j, extreme[i, j], others[i]))
    when, place, own, extreme, others = map(np.concatenate, zip(*found, strict=True))
    order = np.argsort(when)
    when, place, own, extreme, others = (x[order] for x in (when, place, own, extreme, others))
    is_own = own[:, None] == np.arange(gains.shape[1])
    new = (
        np.broadcast_to(when[:, None], others.shape),
        np.where(is_own, extreme[:, None], others),
        np.where(is_own, 0, np.nan),
    )
    with_new = (
        np.insert(old, place, x, axis=0) for old, x in zip((times, gains, rates), new, strict=True)
    )
    return Saves(*map(jnp.asarray, with_new)), np.insert(every, place, place)
