"""Features with λ > 0: where they are at a time, and how long they travel."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from jepa_sim import _double_double as dd
from jepa_sim._curve.derivative import derivative_of, weighted
from jepa_sim._curve.family import (
    Y_MAX,
    Family,
    base_at,
    choose_family,
    count_terms,
    curve_at,
    log_odds,
    make_family,
)
from jepa_sim._curve.inverse import Inverse, invert, make_inverse


class Start(NamedTuple):
    """A feature with λ > 0 at time 0."""

    family: Family
    inverse: Inverse
    above: Array
    log_ratio: Array  # l(0) = ln z(0)
    rate: dd.Pair  # k
    time: dd.Pair  # of F = 0


def start_of(lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array) -> Start:
    """The start, and −F_c / k there, in which only `base_at`, of order 1, is a plain float."""
    one = jnp.ones_like(a)
    log_lam, log_sigma2, log_scale = (dd.log(dd.pair(x)) for x in (lam, sigma2, scale))
    log_rho = dd.add(log_lam, dd.negative(log_sigma2))
    log_ratio = dd.add(dd.mul(dd.pair(b), dd.div(log_scale, dd.pair(depth))), dd.negative(log_rho))
    above = log_ratio[0] > 0
    c_below = dd.div(dd.two_sum(a, -one), dd.pair(b))
    c = dd.where(above, dd.add(dd.negative(c_below), dd.pair(-one)), c_below)
    l = dd.where(above, dd.negative(log_ratio), log_ratio)
    family = choose_family(c_below[0], above)
    terms = family.terms
    base = base_at(family, log_odds(l[0]), l[0])

    # The last term of the sum, (q^{n−1−c} − 1) / (n − 1 − c), is ln q where its exponent is 0.
    exponent = dd.add(dd.negative(c), dd.pair(terms - 1))
    log_power = dd.mul(exponent, l)
    log_rate = dd.add(log_lam, dd.mul(c_below, log_rho))
    rate, step = dd.mul(dd.pair(b), dd.exp(log_rate)), dd.exp(dd.negative(l))
    power, less_one = dd.exp_and_expm1(log_power)
    logarithmic = exponent[0] == 0
    quotient = dd.div(less_one, dd.where(logarithmic, dd.pair(one), exponent))
    last = dd.where(logarithmic, l, quotient)
    last = dd.where(terms > 0, last, dd.pair(jnp.zeros_like(a)))

    def term(i: Array, state: tuple[dd.Pair, dd.Pair]) -> tuple[dd.Pair, dd.Pair]:
        power, total = state
        power = dd.mul(power, step)
        exponent = dd.add(dd.negative(c), dd.pair(terms - 2 - i.astype(a.dtype)))
        return power, dd.add(total, dd.div(dd.add(power, dd.pair(-one)), exponent))

    _, total = lax.fori_loop(0, (terms - 1).astype(jnp.int32), term, (power, last))
    time = dd.div(dd.negative(dd.add(total, dd.pair(base))), rate)
    inverse = make_inverse(c_below[0])
    return Start(family, inverse, above, log_ratio[0], rate, time)


def advance(start: Start, t: Array) -> Array:
    """ln z at time t. F = k (t − t_0) with the difference taken before rounding."""
    elapsed, rest = dd.two_sum(jnp.minimum(t, jnp.finfo(t.dtype).max / 16), -start.time[0])
    rest = rest - start.time[1]
    value = start.rate[0] * elapsed + (start.rate[0] * rest + start.rate[1] * elapsed)
    l = invert(start.inverse, start.above, jnp.minimum(value, Y_MAX))
    stays = (t == 0) | (start.log_ratio == 0) | ~jnp.isfinite(start.time[1])
    return jnp.where(stays, start.log_ratio, jnp.where(start.above, -l, l))


def rise(
    t: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> Array:
    """l = ln z = b ln(u/u*) at time t, λ > 0."""
    return advance(start_of(lam, sigma2, scale, depth, a, b), t)


def rise_tangent(l: Array, primals: tuple[Array, ...], tangents: tuple) -> Array:
    """dl = z^c (1 − z) (dr − d_c [F_c(z) − F_c(z_0)]) + (∂l/∂l_0) dl_0, by parameters."""
    t, lam, sigma2, scale, depth, a, b = primals
    l_start = start_of(lam, sigma2, scale, depth, a, b).log_ratio
    log_scale, log_rho = jnp.log(scale), jnp.log(lam / sigma2)
    c = (a - 1) / b
    above = l_start > 0
    side = jnp.where(above, -1, 1).astype(l.dtype)
    ll, ll_start = side * l, side * l_start
    y, y_start = log_odds(ll), log_odds(ll_start)
    c_side = jnp.where(above, -1 - c, c)
    rate = b * jnp.exp(jnp.log(lam) + c * log_rho)
    r = jnp.minimum(rate * t, jnp.finfo(t.dtype).max)
    speed = side * jnp.exp(c_side * ll - y + ll)  # dl/dr
    from_plateau = l_start == 0
    ratio = jnp.exp(
        jnp.where(from_plateau, -r, (1 + c_side) * (ll - ll_start) - (y - y_start))
    )  # dl/dl_0

    @cache
    def along_c() -> Array:
        terms = count_terms(c_side)

        def difference(c: Array) -> Array:
            family = make_family(c, terms)
            return curve_at(family, y, ll) - curve_at(family, y_start, ll_start)

        slope = derivative_of(difference, c_side)
        return speed * (r * log_rho - side * jnp.where(from_plateau, 0, slope))

    shares = (
        lambda: speed * rate,
        lambda: (speed * r * (1 + c) - ratio) / lam,
        lambda: (ratio - speed * r * c) / sigma2,
        lambda: ratio * b / (depth * scale),
        lambda: -ratio * b * log_scale / depth**2,
        lambda: along_c() / b,
        lambda: (speed * r - c * along_c()) / b + ratio * log_scale / depth,
    )
    return weighted(shares, tangents, l)


@jax.custom_jvp
def travel(l_from: Array, l_to: Array, lam: Array, sigma2: Array, a: Array, b: Array) -> Array:
    """[F_c(z_to) − F_c(z_from)] / k with l = ln z, both on one side of the plateau, λ > 0."""
    c = (a - 1) / b
    above = l_from > 0
    side = jnp.where(above, -1, 1).astype(c.dtype)
    family = choose_family(c, above)
    ends = [curve_at(family, log_odds(side * l), side * l) for l in (l_from, l_to)]
    return (ends[1] - ends[0]) * jnp.exp(-jnp.log(b * lam) - c * jnp.log(lam / sigma2))


def _travel_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    l_from, l_to, lam, sigma2, a, b = primals
    time = travel(*primals)
    c, log_rho = (a - 1) / b, jnp.log(lam / sigma2)
    per_rate = jnp.exp(-jnp.log(b * lam) - c * log_rho)
    above = l_from > 0
    side = jnp.where(above, -1, 1).astype(c.dtype)
    c_side = jnp.where(above, -1 - c, c)

    @cache
    def along_c() -> Array:
        terms = count_terms(c_side)

        def difference(c: Array) -> Array:
            family = make_family(c, terms)
            ends = [curve_at(family, log_odds(side * l), side * l) for l in (l_from, l_to)]
            return ends[1] - ends[0]

        slope = derivative_of(difference, c_side)
        return side * slope * per_rate - time * log_rho

    shares = (
        lambda: jnp.exp(-c * l_from) / jnp.expm1(l_from) * per_rate,
        lambda: -jnp.exp(-c * l_to) / jnp.expm1(l_to) * per_rate,
        lambda: -time * (1 + c) / lam,
        lambda: time * c / sigma2,
        lambda: along_c() / b,
        lambda: -(time + c * along_c()) / b,
    )
    return time, weighted(shares, tangents, time)


travel.defjvp(_travel_jvp, symbolic_zeros=True)


@jax.custom_jvp
def hit(
    l: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> Array:
    """Time from the start to ln z = l, λ > 0, on the start's side of the plateau."""
    start = start_of(lam, sigma2, scale, depth, a, b)
    l = jnp.where(start.above, -l, l)
    after = curve_at(start.family, log_odds(l), l) / start.rate[0]
    return start.time[0] + (start.time[1] + after)


def _hit_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    live = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]

    def time(*values: Array) -> Array:
        l, lam, sigma2, scale, depth, a, b = (
            values[live.index(i)] if i in live else primal for i, primal in enumerate(primals)
        )
        return travel(b * jnp.log(scale) / depth - jnp.log(lam / sigma2), l, lam, sigma2, a, b)

    _, tangent = jax.jvp(time, [primals[i] for i in live], [tangents[i] for i in live])
    return hit(*primals), tangent


hit.defjvp(_hit_jvp, symbolic_zeros=True)
