"""When a cleaner feature takes over the latent of a noisier one that was learned before it.

Once feature j is learned, its latent turns towards a feature i that is not learned. Let r be what
it carries of i, relative to what it carries of j. r grows at a rate g_ji, which the objective gives
(`AbstractObjective.turning`). On the way up r changes by (u_j*/u_j(0))^{λ_i/λ_j − 1}. It starts at
δ, or, where the patterns p of features overlap, is no less than p_iᵀ p_j. When r has grown to 1,
feature i has taken over, at

    T_ji = t_j + [ln 1/δ + max(0, 1 − λ_i/λ_j) ln(u_j*/u_j(0))] / g_ji

So feature i is learned by then. If T_ji is before the time t_i of an aligned start, then t_i is
wrong, and so is all that follows from it. The formula is measured by `python -m benchmarks.trust`.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Displacement(eqx.Module):
    """The displacement that comes earliest, as a share of the time that it contradicts.

    ratio: x = min T_ji/t_i over pairs with t_j < t_i; inf where there is none.  cleaner, noisier: i
    and j of that pair.  time: T_ji.  expected: t_i.
    """

    ratio: Float[Array, ""]
    cleaner: Int[Array, ""]
    noisier: Int[Array, ""]
    time: Float[Array, ""]
    expected: Float[Array, ""]


def first_displacement(
    times: Float[Array, " d"],
    lam: Float[Array, " d"],
    log_rise: Float[Array, " d"],
    turning: Float[Array, "d d"],
    delta: Float[Array, ""],
    overlap: Float[Array, ""],
    horizon: Float[Array, ""],
) -> Displacement:
    """The earliest displacement; its ratio is 0 where δ ≥ 1 and there are several features.

    times: (d,) t, critical times from an aligned start.  log_rise: (d,) ln(u*/u(0)).
    turning: (d, d) g_ji; nothing turns where it is not positive.  delta: δ.
    overlap: the largest |p_iᵀ p_j|.
    horizon: stands in for times that are inf; 0 where nothing contradicts them.
    """
    wanted = jnp.where(jnp.isinf(times), horizon, times)
    decay = jnp.maximum(1 - lam[None, :] / jnp.where(lam == 0, 1, lam)[:, None], 0)
    log_r = jnp.maximum(jnp.log(delta) - decay * log_rise[:, None], jnp.log(overlap))
    turns = turning > 0
    # this does not depend on times, so a sweep computes it once for all critical fractions
    wait = jnp.where(turns, -jnp.minimum(log_r, 0) / jnp.where(turns, turning, 1), jnp.inf)
    arrival = jnp.where(times[:, None] < times[None, :], times[:, None] + wait, jnp.inf)
    time = jnp.min(arrival, axis=0)
    ratio = jnp.where(wanted > 0, time / jnp.where(wanted > 0, wanted, 1), jnp.inf)
    cleaner = jnp.argmin(ratio)
    least = jnp.min(ratio)
    if times.size > 1:
        least = jnp.where(delta >= 1, 0, least)
    # an objective that gives no rate for one pair gives none at all: the ratio is then unknown
    least = jnp.where(jnp.isnan(turning[0, 0]), jnp.nan, least)
    noisier = jnp.argmin(arrival[:, cleaner])
    return Displacement(least, cleaner, noisier, time[cleaner], times[cleaner])
