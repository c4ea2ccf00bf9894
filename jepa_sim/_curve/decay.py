"""Features with λ ≤ 0, which are never learned: they decay to zero."""

from functools import cache, partial

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jepa_sim._curve.derivative import derivative_of, weighted
from jepa_sim._curve.family import count_terms, laurent, polynomial

DECAY_TERMS = 48
DECAY_STEPS = 6


def _stieltjes(remainder: Array, p: Array) -> Array:
    """g_A(p) = ∫_0^1 v^{A−1} / (1 + p v) dv for p in [0, 1].

    Σ_j j! w^j / (A (A + 1) … (A + j)) / (1 + p), w = p / (1 + p): all terms are positive.
    """
    w = p / (1 + p)
    order = np.arange(1, DECAY_TERMS).astype(remainder.dtype)
    ratios = jnp.concatenate([1 / remainder[None], order / (remainder + order)])
    return polynomial(jnp.cumprod(ratios), w) / (1 + p)


def _decay_curve(c: Array, terms: Array, l: Array) -> Array:
    """E = ∫_z^1 s^{−1−c} / (1 + s) ds, z = e^l in (0, 1]: G_A(1/z) − G_A(1)."""
    remainder = terms - c
    one = jnp.ones_like(c)
    rest = _stieltjes(remainder, one) - jnp.exp(remainder * l) * _stieltjes(remainder, jnp.exp(l))
    parity = 1 - 2 * jnp.mod(terms, 2)
    return parity * rest - laurent(c, terms, l, -1)


def _decay_shape(c: Array, terms: Array, x: Array) -> Array:
    """g_A(e^x) for any x."""
    low = jnp.minimum(x, 0)
    high = jnp.maximum(x, 0)
    below = _stieltjes(1 + c, jnp.exp(low))
    return jnp.exp(-(1 + c) * high) * (below + _decay_curve(c, terms, -high))


def decay(
    t: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> Array:
    """Δ = b ln(u_0 / u(t)), λ ≤ 0.

    With p = |ρ| / u^b = e^x and A = 1 + c, the function G_A(p) = ∫_0^p s^{A−1} / (1 + s) ds
    = p^A g_A(p) grows at unit rate in r. Δ = x − x_0, and r / p_0^A = b σ² u_0^{a+b−1} t needs no
    ρ: divided by p_0^A,

        e^{AΔ} g_A(p_0 e^Δ) = g_A(p_0) + b σ² u_0^{a+b−1} t

    makes λ = 0, p_0 = 0, an ordinary point. This is solved where p ≤ 1 ("early"), by Newton's
    method on its logarithm; and E = G_A(p) − G_A(1) = E_0 + r where p > 1 ("late"), by Newton's
    method on ln(1 + c E) / c.
    """
    log_start = jnp.log(scale) / depth
    c = (a - 1) / b
    x_start = jnp.log(-lam / sigma2) - b * log_start
    terms = count_terms(c)
    p_start = jnp.exp(jnp.minimum(x_start, 0))
    shape_start = _stieltjes(1 + c, p_start)
    half = _stieltjes(1 + c, jnp.ones_like(c))
    t = jnp.minimum(t, jnp.finfo(t.dtype).max / 16)
    growth = jnp.log1p(b * sigma2 * jnp.exp((a + b - 1) * log_start) * t / shape_start)

    def early_step(_: Array, delta: Array) -> Array:
        shape = _stieltjes(1 + c, jnp.minimum(p_start * jnp.exp(delta), 1))
        error = (1 + c) * delta + jnp.log(shape / shape_start) - growth
        return jnp.clip(
            delta - error * (1 + jnp.minimum(p_start * jnp.exp(delta), 1)) * shape, 0, -x_start
        )

    early = lax.fori_loop(0, DECAY_STEPS, early_step, growth / (1 + c))

    late_start = x_start > 0
    l_start = jnp.where(late_start, -x_start, -1)
    r = b * -lam * jnp.exp(c * jnp.log(-lam / sigma2)) * t
    from_early = jnp.exp((1 + c) * jnp.where(late_start, 0, x_start) + growth) * shape_start - half
    value = jnp.where(late_start, _decay_curve(c, terms, l_start) + r, from_early)
    target, _ = _decay_straighten(c, value)

    def late_step(_: Array, l: Array) -> Array:
        e, slope = _decay_straighten(c, _decay_curve(c, terms, l))
        return jnp.minimum(l + (e - target) / (slope * jnp.exp(-c * l) / (1 + jnp.exp(l))), 0)

    late = lax.fori_loop(0, DECAY_STEPS, late_step, -target)
    return jnp.where((value > 0), -late - x_start, early)


def _decay_straighten(c: Array, e: Array) -> tuple[Array, Array]:
    """X(E) = ln(1 + c E) / c, nearly −l, and X'."""
    e = jnp.clip(e, 0, jnp.finfo(e.dtype).max / 2**16)  # t = inf is a late time
    c_safe = jnp.where(c == 0, 1, c)
    return jnp.where(c == 0, e, jnp.log1p(c * e) / c_safe), 1 / (1 + c * e)


def decay_tangent(delta: Array, primals: tuple[Array, ...], tangents: tuple) -> Array:
    """dΔ, from e^{AΔ} g_A(p_0 e^Δ) = g_A(p_0) + s in s = b σ² u_0^{a+b−1} t, p_0 and A."""
    t, lam, sigma2, scale, depth, a, b = primals
    log_start = jnp.log(scale) / depth
    c = (a - 1) / b
    terms = count_terms(c)
    per_lam = -jnp.exp(-b * log_start) / sigma2  # dp_0/dλ
    p_start = per_lam * lam
    x_start = jnp.log(p_start)
    p = p_start * jnp.exp(delta)
    remaining = (1 + p) * jnp.exp(-(1 + c) * delta)  # dΔ/ds
    growth = b * sigma2 * jnp.exp((a + b - 1) * log_start)
    s = growth * jnp.minimum(t, jnp.finfo(t.dtype).max / 16)

    def slope(p: Array, x: Array) -> Array:  # dg/dp
        small = jnp.minimum(p, 1)
        series = derivative_of(partial(_stieltjes, 1 + c), small)
        large = jnp.maximum(p, 1)
        return jnp.where(
            p < 1, series, (1 / (1 + large) - (1 + c) * _decay_shape(c, terms, x)) / large
        )

    @cache
    def along_remainder() -> Array:
        def partial_shape(x: Array) -> Array:
            return derivative_of(lambda c: _decay_shape(c, terms, x), c)

        x = x_start + delta
        end = delta * _decay_shape(c, terms, x) + partial_shape(x)
        return remaining * (partial_shape(x_start) + s * log_start * b) - (1 + p) * end

    along_start = remaining * slope(p_start, x_start) - (1 + p) * jnp.exp(delta) * slope(
        p, x_start + delta
    )
    # s and p_0 as functions of the parameters: A = 1 + c, so a + b − 1 = b A
    along_log_start = remaining * s * (a + b - 1) - along_start * p_start * b

    shares = (
        lambda: remaining * growth,
        lambda: along_start * per_lam,
        lambda: (remaining * s - along_start * p_start) / sigma2,
        lambda: along_log_start / (depth * scale),
        lambda: -along_log_start * log_start / depth,
        lambda: along_remainder() / b,
        lambda: (
            remaining * s * (1 / b + (1 + c) * log_start)
            - along_start * p_start * log_start
            - c / b * along_remainder()
        ),
    )
    return weighted(shares, tangents, delta)
