"""The closed form as functions of a feature's parameters: what the rest of the package uses."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike

from jepa_sim._curve.decay import decay, decay_tangent
from jepa_sim._curve.derivative import if_any
from jepa_sim._curve.family import count_terms, curve_at, log_odds, make_family
from jepa_sim._curve.rise import hit, rise, rise_tangent, travel


def _vectorized(function: Callable, outputs: str, *values: ArrayLike) -> Any:
    """`function` of scalars, broadcast over arrays of one floating-point type."""
    dtype = jnp.result_type(*values, float)
    signature = ",".join(["()"] * len(values)) + "->" + outputs
    return jnp.vectorize(function, signature=signature)(*(jnp.asarray(v, dtype) for v in values))


def evolve(
    t: ArrayLike,
    lam: ArrayLike,
    sigma2: ArrayLike,
    scale: ArrayLike,
    depth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
) -> tuple[Array, Array]:
    """ln u(t), and gap = 1 − u(t)/u*, of u̇ = u^a (λ − σ² u^b), u(0) = scale^{1/depth}.

    t ≥ 0: flow time.  lam = λ, sigma2 = σ² > 0 rather than ρ = λ/σ², with which λ = 0 would not say
    how fast u decays.  scale, depth, b > 0; 0 ≤ (a − 1)/b < 255, else NaN where λ > 0. Scalars, or
    arrays that broadcast; features outside and times inside share the work of each feature.

    gap keeps its relative precision near the plateau, down to the smallest float; it is negative
    above it. Where λ ≤ 0 the plateau is 0 and gap is −inf. In float64 the relative error of u, and
    of gap near the plateau, is below 1e-12 as long as `resolution` is below about 100 (and, for
    (a − 1)/b < 0.02, (u/u*)^b above e^−120; 1e-7 at e^−700). Where the
    time of the transition is beyond the range of floats, u stays at its start.
    """
    return _vectorized(_evolve, "(),()", t, lam, sigma2, scale, depth, a, b)


def _evolve(
    t: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> tuple[Array, Array]:
    learned = lam > 0
    start = jnp.log(scale) / depth
    l = _log_ratio(t, lam, sigma2, scale, depth, a, b)
    log_u = l / b + jnp.where(learned, jnp.log(jnp.where(learned, lam, 1) / sigma2) / b, start)
    log_u = jnp.where(t == 0, log_u + lax.stop_gradient(start - log_u), log_u)  # without rounding
    return log_u, jnp.where(learned, -jnp.expm1(l / b), -jnp.inf)


@jax.custom_jvp
def _log_ratio(t: Array, lam: Array, *rest: Array) -> Array:
    """b ln(u/u*) where λ > 0, b ln(u/u_0) elsewhere."""
    learned = lam > 0
    rising = rise(t, jnp.where(learned, lam, 1), *rest)

    def either() -> Array:
        return jnp.where(learned, rising, -decay(t, jnp.where(learned, 0, lam), *rest))

    return if_any(~learned, either, rising)


def _log_ratio_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    t, lam, *rest = primals
    learned = lam > 0
    l = _log_ratio(*primals)
    sigma2, scale, depth, _, b = rest
    start = b * jnp.log(scale) / depth + jnp.log(sigma2)  # of λ = 1, for a finite derivative
    rising = rise_tangent(
        jnp.where(learned, l, start), (t, jnp.where(learned, lam, 1), *rest), tangents
    )

    def either() -> Array:
        delta = jnp.where(learned, 0, -l)
        falling = -decay_tangent(delta, (t, jnp.where(learned, 0, lam), *rest), tangents)
        return jnp.where(learned, rising, falling)

    return l, if_any(~learned, either, rising)


_log_ratio.defjvp(_log_ratio_jvp, symbolic_zeros=True)


def hitting_time(
    log_ratio: ArrayLike,
    lam: ArrayLike,
    sigma2: ArrayLike,
    scale: ArrayLike,
    depth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
) -> Array:
    """First flow time at which u ≥ u* e^{log_ratio}; the other arguments as for `evolve`.

    0 where u starts there or above. inf where it never gets there: a target at or above the plateau
    that the start is not, and every target where λ ≤ 0.
    """
    return _vectorized(_hitting_time, "()", log_ratio, lam, sigma2, scale, depth, a, b)


def _hitting_time(
    log_ratio: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> Array:
    learned = lam > 0
    start = jnp.log(scale) / depth - jnp.log(jnp.where(learned, lam, 1) / sigma2) / b
    there = learned & (start >= log_ratio)
    travels = learned & ~there & (log_ratio < 0)
    # where nothing travels, some path that does, for the sake of derivatives
    l, lam, sigma2, scale = (
        jnp.where(travels, value, other)
        for value, other in zip((b * log_ratio, lam, sigma2, scale), (-0.5, 1, 1, 0.1), strict=True)
    )
    time = hit(l, lam, sigma2, scale, depth, a, b)
    return jnp.where(travels, time, jnp.where(there, 0, jnp.inf))


def travel_time(
    log_ratio_from: ArrayLike,
    log_ratio_to: ArrayLike,
    lam: ArrayLike,
    sigma2: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
) -> Array:
    """Flow time from u* e^{log_ratio_from} to u* e^{log_ratio_to}, negative against the flow.

    inf to the plateau, −inf from it, 0 from a point to itself; NaN across the plateau and where
    λ ≤ 0, for there is no u* to refer to.
    """
    return _vectorized(_travel_time, "()", log_ratio_from, log_ratio_to, lam, sigma2, a, b)


def _travel_time(
    log_ratio_from: Array, log_ratio_to: Array, lam: Array, sigma2: Array, a: Array, b: Array
) -> Array:
    learned = lam > 0
    connected = learned & (jnp.sign(log_ratio_from) * jnp.sign(log_ratio_to) > 0)
    l_from, l_to, lam, sigma2 = (
        jnp.where(connected, value, other)
        for value, other in zip(
            (b * log_ratio_from, b * log_ratio_to, lam, sigma2), (-1, -0.5, 1, 1), strict=True
        )
    )
    time = travel(l_from, l_to, lam, sigma2, a, b)
    apart = jnp.where(log_ratio_from == 0, -jnp.inf, jnp.nan)
    apart = jnp.where(log_ratio_to == 0, jnp.inf, apart)
    apart = jnp.where(log_ratio_from == log_ratio_to, 0, apart)
    return jnp.where(connected, time, jnp.where(learned, apart, jnp.nan))


def resolution(
    lam: ArrayLike,
    sigma2: ArrayLike,
    scale: ArrayLike,
    depth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    dtype: DTypeLike,
) -> Array:
    """Change of the log-odds y between neighbouring times of type `dtype` at the transition.

    The spacing of floats at the time where F_c = 0, times b λ ρ^c. Above 1 no time of this type
    falls within the transition. 0 for features that do not rise: from above the plateau, or with
    λ ≤ 0.
    """
    eps = float(jnp.finfo(dtype).eps)
    return _vectorized(partial(_resolution, eps), "()", lam, sigma2, scale, depth, a, b)


def _resolution(
    eps: float, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> Array:
    learned = lam > 0
    c = (a - 1) / b
    l = b * jnp.log(scale) / depth - jnp.log(jnp.where(learned, lam, 1) / sigma2)
    rises = learned & (l < 0)
    l = jnp.where(rises, l, -1)
    value = curve_at(make_family(c, count_terms(c)), log_odds(l), l)
    return jnp.where(rises, eps * jnp.abs(value), 0)
