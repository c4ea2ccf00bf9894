"""Features with λ > 0: where they are at a time, and how long they travel.

All is measured in the feature's own units at its start: with x = |ln z|, r the time in units of
1/rate, rate = b λ u_0^{a−1} below the plateau and b σ² u_0^{a+b−1} above it, and V = e^{−γ x_0},
γ = c below and A = 1 + c above,

    below  e = V E:  e = e_0 + r,  m = (√(e² + π² V²) − e) / 2V,  N = ln(1 + αm)/c, α = min(c, 1)
    above  e = E/V:  e = e_0 + r,  m = 1 / (V e),                 N = ln(1 + αm)/A, α = 1

so that nothing overflows, however far the start is from the plateau. While ln(1 + αm)/α is above
LATE_FROM the table has x − N, and differences from the start have no rounding error of x. Later it
has x e^E, so that x, and the gap to the plateau, keep their relative precision.
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jepa_sim.theory.cells import gauss_legendre
from jepa_sim.theory.logarithm import log1p
from jepa_sim.theory.tables import (
    ABOVE,
    BELOW,
    FORWARD,
    FROM_ABOVE,
    FROM_BELOW,
    INVERSE,
    LATE_FROM,
    NEAR,
    Curve,
)

SHORT = 0.1  # a travel shorter than this, on every scale of its integrand, is a quadrature
GAP = np.pi**2 / 4


class Start(NamedTuple):
    """Features with λ > 0 at time 0."""

    is_above: Array
    x: Array  # |ln z|
    rate: Array
    level: Array  # e
    log_u: Array
    log_top: Array  # ln u*
    late_rate: Array  # b λ ρ^c = dE/dt; from above it is rate · V, without the rounding of V


def signed(curve: Curve, above: Array) -> Array:
    """The exponent of the curve: c, and −1 − c above the plateau."""
    return jnp.where(above, -1 - curve.c, curve.c)


def gap_of(x: Array) -> Array:
    """1 − e^{−x}."""
    return -jnp.expm1(-x)


def level(curve: Curve, above: Array, x: Array) -> Array:
    """e: E times e^{−cx} below the plateau and e^{Ax} above it."""
    place = 1 + (1 + curve.c) * x
    first = curve.first + jnp.where(above, ABOVE, BELOW)
    table = FORWARD.at(jnp, curve.columns, place, first)
    is_far = above & (place >= 1 + NEAR)
    power = -signed(curve, above) * jnp.where(is_far, 0, x)  # e^{Ax} of what is far may overflow
    y = -x - jnp.log(gap_of(x))  # ln(z / (1 − z)) of z = e^{−x}
    by_plateau = jnp.exp(power) * (y - curve.shift) + jnp.expm1(power) * table
    return jnp.where(is_far, table, by_plateau)


@jax.custom_jvp
def travel(curve: Curve, above: Array, x_from: Array, x_to: Array, level_from: Array) -> Array:
    """∫ e^{γ(s − x_from)} / (1 − e^{−s}) ds from x_to to x_from: the time, in units of 1/rate.

    γ = c below the plateau, −A above it; level_from = `level` at x_from. A short way is integrated
    directly, since a difference of two levels would cancel there.
    """
    exponent, way = signed(curve, above), x_from - x_to
    whole = level(curve, above, x_to) * jnp.exp(-exponent * way) - level_from
    nearest = jnp.minimum(x_from, x_to)
    by_plateau = jnp.where((1 + curve.c) * nearest < 1, jnp.exp(-exponent * x_from), 0)
    odds = way + jnp.log1p(jnp.exp(-x_to) * gap_of(way) / gap_of(x_to))
    short = by_plateau * odds
    for node, weight in zip(*gauss_legendre(5), strict=True):
        s = x_to + node * way
        growth = jnp.exp(exponent * (s - x_from)) - by_plateau
        short = short + weight * way * growth / gap_of(s)
    return jnp.where((1 + curve.c) * jnp.abs(way) < SHORT, short, whole)


def _travel_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    curve, above, x_from, x_to, _ = primals
    d_curve, _, d_from, d_to, _ = tangents
    time, exponent = travel(*primals), signed(curve, above)
    total = jnp.zeros_like(time)
    if not isinstance(d_from, SymbolicZero):
        total += (1 / gap_of(x_from) - exponent * time) * d_from
    if not isinstance(d_to, SymbolicZero):
        total -= jnp.exp(exponent * (x_to - x_from)) / gap_of(x_to) * d_to
    if is_live(d_curve):
        total += along_curve(curve, above, x_from, x_to, d_curve)
    return time, total


travel.defjvp(_travel_jvp, symbolic_zeros=True)


def is_live(d_curve: Curve) -> bool:
    return not isinstance(d_curve.c, SymbolicZero)


def along_curve(curve: Curve, above: Array, x_from: Array, x_to: Array, d_curve: Curve) -> Array:
    """The tangent of `travel` along that of the curve, from the levels at both ends."""

    def whole(c: Array, shift: Array, columns: tuple) -> Array:
        moved = dataclasses.replace(curve, c=c, shift=shift, columns=columns)
        way = jnp.exp(signed(moved, above) * (x_to - x_from))
        return level(moved, above, x_to) * way - level(moved, above, x_from)

    parts = (d_curve.c, d_curve.shift, d_curve.columns)
    return jax.jvp(whole, (curve.c, curve.shift, curve.columns), known(parts))[1]


def known(tangents: Any) -> Any:
    """Tangents with arrays in place of symbolic zeros, except for those of bools and integers."""

    def one(tangent: Any) -> Any:
        if not isinstance(tangent, SymbolicZero):
            return tangent
        dtype: Any = tangent.dtype
        return tangent if dtype == jax.dtypes.float0 else jnp.zeros(tangent.shape, dtype)

    return jax.tree.map(one, tangents, is_leaf=lambda x: isinstance(x, SymbolicZero))


def _measure(e: Array, above: Array, v: Array) -> Array:
    """m V below the plateau, m/V above it."""
    gap, size = jnp.where(above, 0, 4 * GAP) * v * v, jnp.abs(e)
    is_large = size > jnp.finfo(e.dtype).max ** 0.4  # its square would overflow
    root = jnp.where(is_large, size, jnp.sqrt(jnp.where(is_large, 1, e) ** 2 + gap))
    half = jnp.maximum((root + size) / 2, jnp.finfo(e.dtype).tiny)
    # where e > 0, √… − e would cancel: the product of the roots is known, and divided by the other
    return jnp.where(e < 0, half, jnp.where(above, 1, GAP * v * v) / half)


def rise(t: Array, start: Start, curve: Curve) -> Array:
    """Where a feature is at time t, as one number: x when it is late, and x − x_0 before that.

    x − x_0 is negative, and −0 at the start, so the sign shows which of the two it is (see
    `place`).
    """
    above, c = start.is_above, curve.c
    fall = jnp.where(above, 1 + c, c)  # γ but for its sign
    alpha = jnp.where(above, 1, jnp.minimum(c, 1))
    v, grown = jnp.exp(-fall * start.x), jnp.exp(fall * start.x)
    first = curve.first + jnp.where(above, FROM_ABOVE, FROM_BELOW)

    m_0 = _measure(start.level, above, v)
    # where V has no float, ν_0 is computed from logarithms
    is_told = v > jnp.finfo(v.dtype).tiny
    nu_0 = jnp.where(
        is_told,
        jnp.log1p(alpha * m_0 * jnp.where(is_told, grown, 1)),
        fall * start.x + jnp.log(alpha * m_0),
    )
    beyond_0 = INVERSE.at(jnp, curve.columns, nu_0 / alpha, first)
    per_alpha, per_fall = 1 / alpha, 1 / fall  # a division costs four products
    small_below = v * jnp.expm1(LATE_FROM * alpha)

    is_end: Array = jnp.isinf(t)
    most = jnp.finfo(t.dtype).max / 16
    e = start.level + jnp.minimum(start.rate * t, most)
    whole = jnp.where(above, start.level * v + jnp.minimum(start.late_rate * t, most), e * grown)
    m = _measure(e, above, v)
    # one logarithm for both: ν itself where it is small, and else how far it has come from ν_0
    is_small = alpha * m < small_below
    less = (m_0 - m) / (v + alpha * m)
    logarithm = log1p(alpha * jnp.where(is_small, m * grown, less))
    nu = jnp.where(is_small, logarithm, nu_0 - logarithm)
    change = jnp.where(is_small, nu - nu_0, -logarithm) * per_fall
    beyond = INVERSE.at(jnp, curve.columns, nu * per_alpha, first)

    is_late: Array = is_end | ~(nu >= LATE_FROM * alpha)
    moved = cast(Array, jnp.where(is_late, 0, change + (beyond - beyond_0)))
    x = cast(Array, jnp.where(is_end, 0, jnp.exp(-whole) * beyond))
    way = jnp.where(is_late, x, -jnp.abs(moved))
    # what starts at the plateau stays there
    at_once = start.x <= jnp.finfo(v.dtype).tiny
    return cast(Array, jnp.where(at_once, 0, way))


def place(way: Array, start: Start, b: Array) -> tuple[Array, Array]:
    """ln u and x = |ln z|, from the number that `rise` returns."""
    is_late = ~jnp.signbit(way)
    x = jnp.where(is_late, way, start.x + way)
    side = jnp.where(start.is_above, 1, -1).astype(way.dtype)
    return jnp.where(is_late, start.log_top, start.log_u) + side * way / b, x


def speed(x: Array, start: Start, curve: Curve) -> Array:
    """dx/dt, from T(x_0, x) / rate = t with T what `travel` is; 0 at the plateau."""
    arrived = x == 0
    x = jnp.where(arrived, 1, x)
    most = float(np.log(jnp.finfo(x.dtype).max)) / 2  # beyond, no time is within the transition
    growth = jnp.exp(jnp.minimum(signed(curve, start.is_above) * (start.x - x), most))
    return jnp.where(arrived, 0, -start.rate * gap_of(x) * growth)
