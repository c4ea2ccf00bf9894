"""Features with λ ≤ 0, which are never learned: they decay to zero.

With p = |ρ| / u^b, X = ln(1 + p) and G = ∫_0^p s^c / (1 + s) ds = p^A g(p), A = 1 + c,

    p = p_0 e^Δ,  e^{AΔ} g(p) = g(p_0) + r,  Δ = b ln(u_0/u),  r = b σ² u_0^{a+b−1} t

where λ = 0, that is p_0 = 0, is an ordinary point. While G is small the table has
B = ln p + ln(1 + 1/G)/A = (ln(1 + G) − ln g)/A, in which p does not occur; later it has
X − ln(1 + αG)/c.
"""

import dataclasses
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jepa_sim.theory.cells import gauss_legendre
from jepa_sim.theory.tables import DECAY, DECAYED, EARLY, FORWARD, LATE_FROM, LATER, Curve

EDGE = -float(np.log(np.expm1(LATE_FROM)))  # ln G where "early" turns to "late"
SMALL_P = 1e-8  # below, the derivative in p_0 is that at 0: its formula would cancel there


class Fall(NamedTuple):
    """Features with λ ≤ 0 at time 0."""

    p: Array
    log_p: Array
    rate: Array  # r/t
    log_u: Array


def softplus(y: Array) -> Array:
    """ln(1 + e^y)."""
    return jnp.maximum(y, 0) + jnp.log1p(jnp.exp(-jnp.abs(y)))


def scaled_level(curve: Curve, log_p: Array) -> Array:
    """g(p)."""
    x = softplus(log_p)
    table = FORWARD.at(jnp, curve.columns, 1 + (1 + curve.c) * x, curve.first + DECAY)
    # x/p, which tends to 1: where p has no float, e^{−ln p} would overflow
    is_tiny = log_p < jnp.log(jnp.finfo(x.dtype).tiny)
    return table * jnp.where(is_tiny, 1, x * jnp.exp(-jnp.where(is_tiny, 0, log_p)))


def decay(t: Array, start: Fall, curve: Curve) -> Array:
    """Δ at time t; inf at the end."""
    c, a, alpha = curve.c, 1 + curve.c, jnp.minimum(curve.c, 1)
    r = jnp.minimum(
        start.rate * t, jnp.finfo(t.dtype).max / 16
    )  # finite, and so is what it adds to
    log_scaled = jnp.log(scaled_level(curve, start.log_p) + r)
    log_g = a * start.log_p + log_scaled
    is_late: Array = log_g >= EDGE
    nu = softplus(jnp.where(is_late, jnp.log(alpha) + log_g, -log_g))
    first = curve.first + jnp.where(is_late, LATER, EARLY)
    table = DECAYED.at(jnp, curve.columns, nu / jnp.where(is_late, alpha, 1), first)
    x = cast(Array, jnp.where(is_late, nu / c + table, 1))  # 1 where it is not used: no ln 0
    late = x + jnp.log(-jnp.expm1(-x)) - jnp.where(is_late, start.log_p, 0)
    early = table + (log_scaled - softplus(jnp.minimum(log_g, EDGE))) / a
    delta = cast(Array, jnp.where(is_late, late, early))
    delta = _polished(delta, r, start.p, a)
    return jnp.where(jnp.isinf(t), jnp.inf, delta)


def _polished(delta: Array, r: Array, p: Array, a: Array) -> Array:
    """Take the rounding of the table out of a short way Δ: one step of Newton's method on

    r = ∫_0^Δ e^{As} / (1 + p_0 e^s) ds
    """
    is_short = (a * delta < 10) & (delta < 0.5)
    way = jnp.where(is_short, delta, 0)  # e^{a s} of a long one would overflow
    nodes, weights = (x.astype(r.dtype).reshape(*[1] * way.ndim, -1) for x in gauss_legendre(12))
    s = nodes * way[..., None]
    mean = jnp.sum(weights * jnp.exp(a * s) / (1 + p[..., None] * jnp.exp(s)), axis=-1)
    step = (way * mean - r) * (1 + p * jnp.exp(way)) * jnp.exp(-a * way)
    return jnp.where(is_short, way - step, delta)


def slopes(t: Array, delta: Array, start: Fall, curve: Curve) -> tuple[Array, Array]:
    """∂Δ/∂t at one rate, and ∂Δ/∂p_0 at one time; both are 0 where t is inf."""
    is_end, a = jnp.isinf(t), 1 + curve.c
    delta = jnp.where(is_end, 0, delta)
    now = start.p * jnp.exp(delta)
    remaining = (1 + now) * jnp.exp(-a * delta)  # dΔ/dr
    is_small, r = now < SMALL_P, start.rate * jnp.where(is_end, 0, t)
    in_general = 1 - remaining * (1 / (1 + start.p) + a * r)
    in_general = in_general / jnp.where(is_small, 1, start.p)
    at_zero = -remaining * jnp.expm1((a + 1) * delta) / (a + 1)
    along_p = -jnp.where(is_small, at_zero, in_general)
    return jnp.where(is_end, 0, remaining * start.rate), jnp.where(is_end, 0, along_p)


def fall_along_curve(curve: Curve, log_p: Array, delta: Array, d_curve: Curve) -> Array:
    """The tangent of e^{AΔ} g(p) − g(p_0) along that of the curve."""

    def whole(c: Array, columns: tuple) -> Array:
        moved = dataclasses.replace(curve, c=c, columns=columns)
        later = jnp.exp((1 + c) * delta) * scaled_level(moved, log_p + delta)
        return later - scaled_level(moved, log_p)

    return jax.jvp(whole, (curve.c, curve.columns), (d_curve.c, d_curve.columns))[1]
