"""Features with λ ≤ 0, which are never learned: they decay to zero.

With p = |ρ| / u^b, X = ln(1 + p) and G = ∫_0^p s^c / (1 + s) ds = p^A g(p), A = 1 + c,

    p = p_0 e^Δ,  e^{AΔ} g(p) = g(p_0) + r,  Δ = b ln(u_0/u),  r = b σ² u_0^{a+b−1} t

in which λ = 0, p_0 = 0, is an ordinary point. While G is small the table has ln p + ln(1 + 1/G)/A,
and later X − ln(1 + αG)/c.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jepa_sim._curve.cells import gauss_legendre
from jepa_sim._curve.rise import is_live, known
from jepa_sim._curve.tables import (
    DECAY,
    EARLY,
    FORWARD,
    INVERSE,
    LATE,
    LATE_FROM,
    LATER,
    Curve,
)

SMALL_P = 1e-8  # up to here the derivative in p_0 is that at 0


class Fall(NamedTuple):
    """Features with λ ≤ 0 at time 0."""

    p: Array
    log_p: Array
    rate: Array  # r/t
    log_u: Array


def _scaled(curve: Curve, log_p: Array) -> Array:
    """g(p)."""
    x = jnp.logaddexp(log_p, jnp.zeros_like(log_p))
    table = FORWARD.at(jnp, curve.columns, 1 + (1 + curve.c) * x, curve.first + DECAY)
    is_tiny = log_p < jnp.log(jnp.finfo(x.dtype).tiny)
    return table * jnp.where(is_tiny, 1, x * jnp.exp(-jnp.where(is_tiny, 0, log_p)))


@jax.custom_jvp
def decay(t: Array, start: Fall, b: Array, curve: Curve) -> Array:
    """ln u at time t, λ ≤ 0."""
    log_p, rate, c, a = start.log_p, start.rate, curve.c, 1 + curve.c
    alpha = jnp.minimum(c, 1)
    g_0 = _scaled(curve, log_p)
    r = jnp.minimum(rate * t, jnp.finfo(t.dtype).max / 16)
    log_g_0 = a * log_p + jnp.log(g_0)
    log_g = a * log_p + jnp.log(g_0 + r)
    edge = -jnp.log(jnp.expm1(LATE_FROM))
    starts_late, is_late = log_g_0 >= edge, log_g >= edge

    def lookup(log_g: Array, is_late: Array, n: Array) -> Array:
        early = INVERSE.at(
            jnp, curve.columns, jnp.where(is_late, LATE_FROM, n), curve.first + EARLY
        )
        late = LATE.at(jnp, curve.columns, jnp.where(is_late, n, 1), curve.first + LATER)
        return jnp.where(is_late, late, early)

    def measure(log_g: Array, is_late: Array) -> Array:
        """ln(1 + 1/G) while early, ln(1 + αG) later."""
        argument = jnp.where(is_late, jnp.log(alpha) + log_g, -log_g)
        return jnp.logaddexp(argument, jnp.zeros_like(argument))

    nu_0, scale = measure(log_g_0, starts_late), jnp.where(is_late, alpha, 1)
    g = jnp.exp(jnp.where(is_late, 0, log_g))
    from_early = jnp.log1p(r / g_0 / (1 + g))
    inverse_power = jnp.exp(-a * jnp.where(starts_late, log_p, 0))
    from_late = jnp.log1p(alpha * r / (inverse_power + alpha * g_0))
    nu = jnp.where(is_late, measure(log_g, is_late), nu_0 - from_early)
    nu = jnp.where(starts_late, nu_0 + from_late, nu)
    beyond_0 = lookup(log_g_0, starts_late, nu_0 / jnp.where(starts_late, alpha, 1))
    beyond = lookup(log_g, is_late, nu / scale)

    def bend(x: Array) -> Array:
        """ln p − X."""
        return jnp.log(-jnp.expm1(-x))

    x_0 = jnp.logaddexp(log_p, jnp.zeros_like(log_p))
    step = from_late / c + (beyond - beyond_0)
    both_late = step + bend(x_0 + step) - bend(x_0)
    x = jnp.where(is_late, nu / c + beyond, 1)
    crossed = x + bend(x) - jnp.where(is_late, log_p, 0)
    both_early = from_early / a + (beyond - beyond_0)
    delta = jnp.where(starts_late, both_late, jnp.where(is_late, crossed, both_early))
    delta = _polished(delta, r, start.p, a)
    return jnp.where(jnp.isinf(t), -jnp.inf, start.log_u - delta / b)


def _polished(delta: Array, r: Array, p: Array, a: Array) -> Array:
    """A short way Δ without the rounding of the table: a step of Newton's method on its integral.

    r = ∫_0^Δ e^{As} / (1 + p_0 e^s) ds
    """
    is_short = (a * delta < 4) & (delta < 0.5)
    way = jnp.where(is_short, delta, 0)
    nodes, weights = (x.astype(r.dtype).reshape(*[1] * way.ndim, -1) for x in gauss_legendre(12))
    s = nodes * way[..., None]
    mean = jnp.sum(weights * jnp.exp(a * s) / (1 + p[..., None] * jnp.exp(s)), axis=-1)
    step = (way * mean - r) * (1 + p * jnp.exp(way)) * jnp.exp(-a * way)
    return jnp.where(is_short, way - step, delta)


def _decay_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    t, start, b, curve = primals
    dt, d_start, db, d_curve = tangents
    log_u, p_0, rate = decay(*primals), start.p, start.rate
    is_end: Array = jnp.isinf(t)
    delta = cast(Array, jnp.where(is_end, 1, b * (start.log_u - log_u)))
    a = 1 + curve.c
    r = jnp.where(is_end, 0, rate * t)
    now = p_0 * jnp.exp(delta)
    remaining = (1 + now) * jnp.exp(-a * delta)  # dΔ/dr
    change = jnp.zeros_like(log_u)
    if not isinstance(dt, SymbolicZero):
        change += remaining * rate * dt
    if not isinstance(d_start.rate, SymbolicZero):
        change += remaining * r * (d_start.rate / rate)
    if not isinstance(d_start.p, SymbolicZero):
        is_small = now < SMALL_P
        in_general = (1 - remaining * (1 / (1 + p_0) + a * r)) / jnp.where(is_small, 1, p_0)
        at_zero = -remaining * jnp.expm1((a + 1) * delta) / (a + 1)
        change -= jnp.where(is_small, at_zero, in_general) * d_start.p
    if is_live(d_curve):
        change -= remaining * _along_curve(curve, start.log_p, delta, d_curve)
    total = -jnp.where(is_end, 0, change) / b
    if not isinstance(d_start.log_u, SymbolicZero):
        total += d_start.log_u
    if not isinstance(db, SymbolicZero):
        total += delta * db / b**2
    return log_u, total


decay.defjvp(_decay_jvp, symbolic_zeros=True)


def _along_curve(curve: Curve, log_p: Array, delta: Array, d_curve: Curve) -> Array:
    """The tangent of e^{AΔ} g(p) − g(p_0) along that of the curve."""

    def whole(c: Array, columns: tuple) -> Array:
        moved = Curve(c, curve.shift, columns, curve.first)
        later = jnp.exp((1 + c) * delta) * _scaled(moved, log_p + delta)
        return later - _scaled(moved, log_p)

    return jax.jvp(whole, (curve.c, curve.columns), known((d_curve.c, d_curve.columns)))[1]
