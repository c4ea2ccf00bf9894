"""The reduced flow u̇ = u^a (λ − σ² u^b), u(0) = ε^{1/L}, in closed form.

With the plateau u* = ρ^{1/b}, ρ = λ/σ², let z = (u/u*)^b, c = (a − 1)/b and r = k t, k = b λ ρ^c.
Then all features with λ > 0 follow one family of curves in c. The log-odds y = ln(z / (1 − z))
measures both ends: u near 0, 1 − u/u* near 1.

    dz/dr = z^{1+c} (1 − z),  dy/dr = z^c,  F_c(z) = F_c(z_0) + r,  F_c = ∫ dz / (z^{1+c} (1 − z))

Above the plateau p = 1/z follows the same curve with −1 − c in place of c. So all that is needed is
F_c at q in (0, 1), q = z or p, for real c. Let n be the integer nearest to c, plus 1, but at least
0, and A = n − c. Then, with l = ln q,

    F_c = Σ_{k<n} (q^{k−c} − 1) / (k − c) + (far or near)
    far:   Σ_j q^{A+j} / (A + j) = q^A (1 + x) / A · ₂F₁(1, 1; A + 1; −x),  x = q / (1 − q),
           by Gauss's continued fraction
    near:  y − Σ_{j≥1} (B_j(A) − B_j(0)) l^j / (j! j), with Bernoulli polynomials
    near − far = γ + ψ(A)

F_c is normalised so that F_c − y → 0 at the plateau if n > 0, and F_c → 0 at q = 0 if n = 0, which
is where every start above the plateau is: each has full relative precision where it matters.

The time of the transition can exceed its length 1e22 times. It is computed with twice the working
precision, so that u belongs to the very floating-point t that was given. For λ ≤ 0 see `_decay`.
Derivatives are those of the implicit equation, never of the iteration that solves it.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, partial
from math import factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import digamma
from jax.typing import ArrayLike, DTypeLike

from jepa_sim import _double_double as dd

PADE_DEGREE = 20
NEAR_TERMS = 26
NEAR_LENGTH = 1.3  # near means |l| < min(NEAR_LENGTH, NEAR_GROWTH / A)
NEAR_GROWTH = 3.0
BLOCK = 16  # powers of q per step of a loop; one step covers c < 16.5
HALLEY_STEPS = 4
DECAY_TERMS = 48
DECAY_STEPS = 6
Y_MAX = 1000.0  # 1 − q underflows before


def _inverse_sinh_series(terms: int) -> list[Fraction]:
    """Taylor coefficients of (l/2) / sinh(l/2)."""
    sinh = [
        Fraction(1, 4 ** (n // 2) * factorial(n + 1)) if n % 2 == 0 else Fraction(0)
        for n in range(terms)
    ]
    inverse = [Fraction(1)]
    for n in range(1, terms):
        inverse.append(-sum((sinh[j] * inverse[n - j] for j in range(1, n + 1)), Fraction(0)))
    return inverse


def _bernoulli_matrix() -> np.ndarray:
    """Rows n = 1…N: B_n(A)/n! from the Taylor coefficients h^j/j! of e^{hl}, h = A − 1/2."""
    series = _inverse_sinh_series(NEAR_TERMS + 1)
    size = NEAR_TERMS + 1
    rows = [[series[n - j] if j <= n else Fraction(0) for j in range(size)] for n in range(1, size)]
    return np.array(rows, dtype=np.float64)


_BERNOULLI = _bernoulli_matrix()


class _Family(NamedTuple):
    """What F_c needs and what depends on c alone."""

    c: Array
    count: Array  # n
    remainder: Array  # A
    numerator: Array
    denominator: Array
    near: Array
    shift: Array  # γ + ψ(A)


def _near_coefficients(remainder: Array) -> Array:
    """(B_j(A) − B_j(0)) / (j! j), j = 1…N."""
    order = np.arange(1, NEAR_TERMS + 1)

    def scaled(h: Array) -> Array:  # B_j(h + 1/2) / j!
        powers = jnp.cumprod(jnp.concatenate([jnp.ones((1,), h.dtype), h / order.astype(h.dtype)]))
        return jnp.sum(_BERNOULLI.astype(h.dtype) * powers[None, :], axis=1)

    return (scaled(remainder - 0.5) - scaled(jnp.full_like(remainder, -0.5))) / order.astype(
        remainder.dtype
    )


def _pade_coefficients(remainder: Array) -> tuple[Array, Array]:
    """Numerator and denominator of Gauss's fraction of ₂F₁(1, 1; A + 1; −x), in powers of x.

    1 / (1 + d_1 x / (1 + d_2 x / …)), cut after 2 PADE_DEGREE levels. It converges for all x > 0.
    d_{2k} = k (A + k − 1) / ((A + 2k − 1)(A + 2k)),
    d_{2k+1} = (k + 1)(A + k) / ((A + 2k)(A + 2k + 1)): all positive, hence without cancellation.
    """
    dtype = remainder.dtype
    level = np.arange(1, 2 * PADE_DEGREE + 1)
    k = (level // 2).astype(dtype)
    odd = (level % 2).astype(dtype)
    d = (
        (k + odd)
        * (remainder + k - 1 + odd)
        / ((remainder + 2 * k - 1 + odd) * (remainder + 2 * k + odd))
    )

    one = jnp.zeros((PADE_DEGREE + 1,), dtype).at[0].set(1)

    def convergent(
        i: Array, state: tuple[Array, Array, Array, Array]
    ) -> tuple[Array, Array, Array, Array]:
        last_n, n, last_d, den = state
        shifted_n, shifted_d = (
            jnp.concatenate([jnp.zeros((1,), dtype), h[:-1]]) for h in (last_n, last_d)
        )
        return n, n + d[i] * shifted_n, den, den + d[i] * shifted_d

    _, n, _, den = lax.fori_loop(
        0, 2 * PADE_DEGREE, convergent, (jnp.zeros_like(one), one, one, one)
    )
    return n, den


def _family(c: Array, count: Array) -> _Family:
    remainder = count - c
    return _Family(
        c,
        count,
        remainder,
        *_pade_coefficients(remainder),
        _near_coefficients(remainder),
        np.euler_gamma + digamma(remainder),
    )


def _count(c: Array) -> Array:
    return jnp.maximum(jnp.round(lax.stop_gradient(c)) + 1, 0)


def _polynomial(coefficients: Array, x: Array) -> Array:
    total = coefficients[-1]
    for i in range(coefficients.shape[0] - 2, -1, -1):
        total = total * x + coefficients[i]
    return total


@jax.custom_jvp
def _relative_expm1(x: Array) -> Array:
    """(e^x − 1) / x."""
    safe = jnp.where(x == 0, 1, x)
    return jnp.where(x == 0, 1, jnp.expm1(safe) / safe)


@_relative_expm1.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    value = _relative_expm1(x)
    small = jnp.abs(x) < 1
    series = _polynomial(
        jnp.asarray([(n + 1) / factorial(n + 2) for n in range(18)], x.dtype),
        jnp.where(small, x, 0),
    )
    safe = jnp.where(small, 1, x)
    return value, jnp.where(small, series, (jnp.exp(safe) - value) / safe) * dx


def _laurent(c: Array, count: Array, l: Array, sign: int) -> Array:
    """Σ_{k<n} s^k (e^{(k−c) l} − 1) / (k − c), s = ±1. In the last term k − c may vanish."""
    q = sign * jnp.exp(l)
    last = count - 1

    def block(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        first = BLOCK * (blocks - 1 - i)
        total, constant = sums
        for j in range(BLOCK - 1, -1, -1):
            k = (first + j).astype(c.dtype)
            present = k < last
            coefficient = jnp.where(present, 1 / jnp.where(present, k - c, 1), 0)
            total, constant = total * q + coefficient, constant * sign + coefficient
        return total, constant

    blocks = jnp.maximum(jnp.ceil(last / BLOCK), 1).astype(jnp.int32)
    start = jnp.zeros_like(q), jnp.zeros_like(c)
    total, constant = lax.fori_loop(0, blocks, block, start)
    parity = 1 - 2 * jnp.mod(last, 2) if sign < 0 else jnp.ones_like(last)
    singular = jnp.where(count > 0, parity * l * _relative_expm1((last - c) * l), 0)
    return jnp.exp(-c * l) * total - constant + singular


def _log_logistic(y: Array) -> Array:
    """ln q from y = ln(q / (1 − q))."""
    return jnp.minimum(y, 0) - jnp.log1p(jnp.exp(-jnp.abs(y)))


def _log_odds(l: Array) -> Array:
    """y from l = ln q ≤ 0."""
    inside = jnp.where(l == 0, -1, l)
    return jnp.where(l == 0, Y_MAX, inside - jnp.log(-jnp.expm1(inside)))


def _base(family: _Family, y: Array, l: Array) -> Array:
    """F_c without the finite sum."""
    remainder = family.remainder
    edge = jnp.minimum(NEAR_LENGTH, NEAR_GROWTH / lax.stop_gradient(remainder))
    near = -l < edge
    l_near = jnp.where(near, l, 0)
    l_far = jnp.where(near, -edge, l)
    x = jnp.exp(l_far) / -jnp.expm1(l_far)
    ratio = _polynomial(family.numerator, x) / _polynomial(family.denominator, x)
    far = jnp.exp(remainder * l_far) * (1 + x) / remainder * ratio
    at_plateau = y - l_near * _polynomial(family.near, l_near)
    left = family.count == 0
    return jnp.where(
        near, at_plateau - jnp.where(left, family.shift, 0), far + jnp.where(left, 0, family.shift)
    )


def _curve(family: _Family, y: Array, l: Array) -> Array:
    """F_c at the log-odds y, l = ln q."""
    return _laurent(family.c, family.count, l, 1) + _base(family, y, l)


def _straighten(family: _Family, value: Array) -> tuple[Array, Array, Array]:
    """X(F), a function of F_c that is nearly y, with X' and X''/X'.

    −ln(1 − c E) / c for E = F − γ − ψ(A) < 0, and E above; ln(e^{A F} − 1) / A where n = 0.
    """
    c, remainder = family.c, family.remainder
    left = family.count == 0
    e = value - family.shift
    negative = (e < 0) & ~left
    e_low = jnp.where(negative, e, 0)
    c_safe = jnp.where(c == 0, 1, c)
    slope_low = 1 / (1 - c * e_low)
    x_low = jnp.where(c == 0, e_low, -jnp.log1p(-c * e_low) / c_safe)
    x_right = jnp.where(negative, x_low, e)
    growth = -jnp.expm1(-remainder * jnp.where(left, value, 1))
    x_left = value + jnp.log(growth) / remainder
    return (
        jnp.where(left, x_left, x_right),
        jnp.where(left, 1 / growth, jnp.where(negative, slope_low, 1)),
        jnp.where(left, -remainder * (1 / growth - 1), jnp.where(negative, c * slope_low, 0)),
    )


def _guess(family: _Family, value: Array, straight: Array) -> Array:
    """y to about 0.3: X(F) far from the plateau, and near it the inverse of what F_c is there.

    With h = c + 1/2 and V = h ln(1/q), that is ln h − ln V − V − V²/4 − …, so that V is nearly
    Lambert's W(h e^{−F}). Found by trial: asinh(1.22 W) / 1.22,
    and the logistic function of y as the weight.
    """
    h = jnp.maximum(family.c, 0) + 0.5
    p = jnp.logaddexp(0, jnp.log(h) - value)
    lambert = p * (1 - jnp.log1p(p) / (2 + p))
    late = -jnp.log(jnp.expm1(jnp.arcsinh(1.22 * lambert) / (1.22 * h)))
    late = jnp.where(value > 30, value, late)
    weight = jax.nn.sigmoid(late)
    right = straight + weight * (late - straight)
    left = straight + family.shift * jax.nn.sigmoid(straight)
    return jnp.where(family.count == 0, left, right)


def _invert(family: _Family, value: Array) -> Array:
    """y with F_c(y) = value: Halley's method on X(F_c(y)) = X(value)."""
    target, _, _ = _straighten(family, value)

    def step(_: Array, y: Array) -> Array:
        l = _log_logistic(y)
        x, slope, bend = _straighten(family, _curve(family, y, l))
        rate = jnp.exp(-family.c * l)  # dF/dy, and −c (1 − q) its logarithmic derivative
        newton = (x - target) / (slope * rate)
        curvature = family.c * jnp.expm1(l) + bend * rate
        return y - newton / jnp.maximum(1 - newton * curvature / 2, 0.5)

    return lax.fori_loop(0, HALLEY_STEPS, step, _guess(family, value, target))


class _Start(NamedTuple):
    """A feature with λ > 0 at time 0."""

    family: _Family
    above: Array
    log_ratio: Array  # l(0) = ln z(0)
    rate: dd.Pair  # k
    time: dd.Pair  # of F = 0


def _pair(x: Array) -> dd.Pair:
    return x, jnp.zeros_like(x)


def _start(lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array) -> _Start:
    """The start, and −F_c / k there, in which only `_base`, of the order of 1, is a plain float."""
    logs = dd.log(_pair(jnp.stack([lam, sigma2, scale])))
    log_lam, log_sigma2, log_scale = (tuple(part[i] for part in logs) for i in range(3))
    log_rho = dd.add(log_lam, dd.negative(log_sigma2))
    log_ratio = dd.add(dd.mul(_pair(b), dd.div(log_scale, _pair(depth))), dd.negative(log_rho))
    above = log_ratio[0] > 0
    c_below = dd.div(dd.two_sum(a, -jnp.ones_like(a)), _pair(b))

    c_above = dd.add(dd.negative(c_below), _pair(-jnp.ones_like(b)))
    c = tuple(jnp.where(above, *pair) for pair in zip(c_above, c_below, strict=True))
    l = tuple(jnp.where(above, -part, part) for part in log_ratio)
    count = _count(c[0])
    family = _family(c[0], count)
    base = _base(family, _log_odds(l[0]), l[0])

    exponent = dd.add(dd.negative(c), _pair(count - 1))
    log_power = dd.mul(exponent, l)
    log_rate = dd.add(log_lam, dd.mul(c_below, log_rho))
    exponentials, less_one = dd.exp_and_expm1(
        tuple(jnp.stack(parts) for parts in zip(log_rate, dd.negative(l), log_power, strict=True))
    )
    rate, step, power = (tuple(part[i] for part in exponentials) for i in range(3))
    rate = dd.mul(_pair(b), rate)
    growth = tuple(part[2] for part in less_one)
    logarithmic = exponent[0] == 0
    quotient = dd.div(
        growth,
        tuple(
            jnp.where(logarithmic, one, part) for one, part in zip((1, 0), exponent, strict=True)
        ),
    )
    total = tuple(
        jnp.where(count > 0, jnp.where(logarithmic, *pair), 0)
        for pair in zip(l, quotient, strict=True)
    )

    def term(i: Array, state: tuple[dd.Pair, dd.Pair]) -> tuple[dd.Pair, dd.Pair]:
        power, total = state
        power = dd.mul(power, step)
        exponent = dd.add(dd.negative(c), _pair(count - 2 - i.astype(a.dtype)))
        return power, dd.add(total, dd.div(dd.add(power, _pair(-jnp.ones_like(a))), exponent))

    _, total = lax.fori_loop(0, (count - 1).astype(jnp.int32), term, (power, total))
    time = dd.div(dd.negative(dd.add(total, _pair(base))), rate)
    return _Start(family, above, log_ratio[0], rate, time)


def _advance(start: _Start, t: Array) -> Array:
    """ln z at time t. F = k (t − t_0) with the difference taken before rounding."""
    elapsed, rest = dd.two_sum(jnp.minimum(t, jnp.finfo(t.dtype).max / 16), -start.time[0])
    rest = rest - start.time[1]
    value = start.rate[0] * elapsed + (start.rate[0] * rest + start.rate[1] * elapsed)
    l = _log_logistic(_invert(start.family, jnp.minimum(value, Y_MAX)))
    stays = (t == 0) | (start.log_ratio == 0) | ~jnp.isfinite(start.time[1])
    return jnp.where(stays, start.log_ratio, jnp.where(start.above, -l, l))


@jax.custom_jvp
def _flow(
    t: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> tuple[Array, Array]:
    """l = ln z = b ln(u/u*) at times t and 0, λ > 0."""
    start = _start(lam, sigma2, scale, depth, a, b)
    return _advance(start, t), start.log_ratio


def _flow_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[tuple, tuple]:
    """dl = z^c (1 − z) (dr − d_c [F_c(z) − F_c(z_0)]) + (∂l/∂l_0) dl_0, by parameters."""
    t, lam, sigma2, scale, depth, a, b = primals
    l, l_start = _flow(*primals)
    log_scale, log_rho = jnp.log(scale), jnp.log(lam / sigma2)
    c = (a - 1) / b
    above = l_start > 0
    side = jnp.where(above, -1, 1).astype(l.dtype)
    ll, ll_start = side * l, side * l_start
    y, y_start = _log_odds(ll), _log_odds(ll_start)
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
        count = _count(c_side)

        def difference(c: Array) -> Array:
            family = _family(c, count)
            return _curve(family, y, ll) - _curve(family, y_start, ll_start)

        slope = jax.jvp(difference, (c_side,), (jnp.ones_like(c_side),))[1]
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
    start_shares = (
        lambda: jnp.zeros_like(l),
        lambda: -1 / lam,
        lambda: 1 / sigma2,
        lambda: b / (depth * scale),
        lambda: -b * log_scale / depth**2,
        lambda: jnp.zeros_like(l),
        lambda: log_scale / depth,
    )
    return (l, l_start), (_weighted(shares, tangents, l), _weighted(start_shares, tangents, l))


def _weighted(shares: Sequence[Callable[[], Array]], tangents: tuple, like: Array) -> Array:
    """Σ (∂/∂parameter) d(parameter), leaving out the parameters that are held."""
    total = jnp.zeros_like(like)
    for share, tangent in zip(shares, tangents, strict=True):
        if not isinstance(tangent, SymbolicZero):
            total = total + share() * tangent
    return total


_flow.defjvp(_flow_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _travel(l_from: Array, l_to: Array, lam: Array, sigma2: Array, a: Array, b: Array) -> Array:
    """[F_c(z_to) − F_c(z_from)] / k with l = ln z, both on one side of the plateau, λ > 0."""
    c = (a - 1) / b
    above = l_from > 0
    side = jnp.where(above, -1, 1).astype(c.dtype)
    c_side = jnp.where(above, -1 - c, c)
    family = _family(c_side, _count(c_side))
    ends = [_curve(family, _log_odds(side * l), side * l) for l in (l_from, l_to)]
    return (ends[1] - ends[0]) * jnp.exp(-jnp.log(b * lam) - c * jnp.log(lam / sigma2))


def _travel_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    l_from, l_to, lam, sigma2, a, b = primals
    time = _travel(*primals)
    c, log_rho = (a - 1) / b, jnp.log(lam / sigma2)
    per_rate = jnp.exp(-jnp.log(b * lam) - c * log_rho)
    above = l_from > 0
    side = jnp.where(above, -1, 1).astype(c.dtype)
    c_side = jnp.where(above, -1 - c, c)

    @cache
    def along_c() -> Array:
        count = _count(c_side)

        def difference(c: Array) -> Array:
            family = _family(c, count)
            ends = [_curve(family, _log_odds(side * l), side * l) for l in (l_from, l_to)]
            return ends[1] - ends[0]

        slope = jax.jvp(difference, (c_side,), (jnp.ones_like(c_side),))[1]
        return side * slope * per_rate - time * log_rho

    shares = (
        lambda: jnp.exp(-c * l_from) / jnp.expm1(l_from) * per_rate,
        lambda: -jnp.exp(-c * l_to) / jnp.expm1(l_to) * per_rate,
        lambda: -time * (1 + c) / lam,
        lambda: time * c / sigma2,
        lambda: along_c() / b,
        lambda: -(time + c * along_c()) / b,
    )
    return time, _weighted(shares, tangents, time)


_travel.defjvp(_travel_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _hit(
    l: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> Array:
    """Time from the start to ln z = l, λ > 0, on the start's side of the plateau."""
    start = _start(lam, sigma2, scale, depth, a, b)
    l = jnp.where(start.above, -l, l)
    after = _curve(start.family, _log_odds(l), l) / start.rate[0]
    return start.time[0] + (start.time[1] + after)


def _hit_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    live = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]

    def travel(*values: Array) -> Array:
        l, lam, sigma2, scale, depth, a, b = (
            values[live.index(i)] if i in live else primal for i, primal in enumerate(primals)
        )
        return _travel(b * jnp.log(scale) / depth - jnp.log(lam / sigma2), l, lam, sigma2, a, b)

    _, tangent = jax.jvp(travel, [primals[i] for i in live], [tangents[i] for i in live])
    return _hit(*primals), tangent


_hit.defjvp(_hit_jvp, symbolic_zeros=True)


def _stieltjes(remainder: Array, p: Array) -> Array:
    """g_A(p) = ∫_0^1 v^{A−1} / (1 + p v) dv for p in [0, 1].

    Σ_j j! w^j / (A (A + 1) … (A + j)) / (1 + p), w = p / (1 + p): all terms are positive.
    """
    w = p / (1 + p)
    order = np.arange(1, DECAY_TERMS).astype(remainder.dtype)
    ratios = jnp.concatenate([1 / remainder[None], order / (remainder + order)])
    return _polynomial(jnp.cumprod(ratios), w) / (1 + p)


def _decay_curve(c: Array, count: Array, l: Array) -> Array:
    """E = ∫_z^1 s^{−1−c} / (1 + s) ds, z = e^l in (0, 1]: G_A(1/z) − G_A(1)."""
    remainder = count - c
    one = jnp.ones_like(c)
    rest = _stieltjes(remainder, one) - jnp.exp(remainder * l) * _stieltjes(remainder, jnp.exp(l))
    parity = 1 - 2 * jnp.mod(count, 2)
    return parity * rest - _laurent(c, count, l, -1)


def _decay_shape(c: Array, count: Array, x: Array) -> Array:
    """g_A(e^x) for any x."""
    low = jnp.minimum(x, 0)
    high = jnp.maximum(x, 0)
    below = _stieltjes(1 + c, jnp.exp(low))
    return jnp.exp(-(1 + c) * high) * (below + _decay_curve(c, count, -high))


@jax.custom_jvp
def _decay(
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
    count = _count(c)
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

    steps = jnp.where(lam < 0, DECAY_STEPS, 0)  # a batch without λ < 0 takes none
    early = lax.fori_loop(0, steps, early_step, growth / (1 + c))

    late_start = x_start > 0
    l_start = jnp.where(late_start, -x_start, -1)
    r = b * -lam * jnp.exp(c * jnp.log(-lam / sigma2)) * t
    from_early = jnp.exp((1 + c) * jnp.where(late_start, 0, x_start) + growth) * shape_start - half
    value = jnp.where(late_start, _decay_curve(c, count, l_start) + r, from_early)
    target, _ = _decay_straighten(c, jnp.maximum(value, 0))

    def late_step(_: Array, l: Array) -> Array:
        e, slope = _decay_straighten(c, jnp.maximum(_decay_curve(c, count, l), 0))
        return jnp.minimum(l + (e - target) / (slope * jnp.exp(-c * l) / (1 + jnp.exp(l))), 0)

    late = lax.fori_loop(0, steps, late_step, -target)
    return jnp.where((value > 0), -late - x_start, early)


def _decay_straighten(c: Array, e: Array) -> tuple[Array, Array]:
    """X(E) = ln(1 + c E) / c, nearly −l, and X'."""
    c_safe = jnp.where(c == 0, 1, c)
    return jnp.where(c == 0, e, jnp.log1p(c * e) / c_safe), 1 / (1 + c * e)


def _decay_jvp(primals: tuple[Array, ...], tangents: tuple) -> tuple[Array, Array]:
    """Differential of e^{AΔ} g_A(p_0 e^Δ) = g_A(p_0) + s in s = b σ² u_0^{a+b−1} t, p_0, A."""
    t, lam, sigma2, scale, depth, a, b = primals
    delta = _decay(*primals)
    log_start = jnp.log(scale) / depth
    c = (a - 1) / b
    count = _count(c)
    per_lam = -jnp.exp(-b * log_start) / sigma2  # dp_0/dλ
    p_start = per_lam * lam
    x_start = jnp.log(p_start)
    p = p_start * jnp.exp(delta)
    remaining = (1 + p) * jnp.exp(-(1 + c) * delta)  # dΔ/ds
    growth = b * sigma2 * jnp.exp((a + b - 1) * log_start)
    s = growth * jnp.minimum(t, jnp.finfo(t.dtype).max / 16)

    def slope(p: Array, x: Array) -> Array:  # dg/dp
        small = jnp.minimum(p, 1)
        series = jax.jvp(partial(_stieltjes, 1 + c), (small,), (jnp.ones_like(p),))[1]
        large = jnp.maximum(p, 1)
        return jnp.where(
            p < 1, series, (1 / (1 + large) - (1 + c) * _decay_shape(c, count, x)) / large
        )

    @cache
    def along_remainder() -> Array:
        def partial_shape(x: Array) -> Array:
            return jax.jvp(lambda c: _decay_shape(c, count, x), (c,), (jnp.ones_like(c),))[1]

        x = x_start + delta
        end = delta * _decay_shape(c, count, x) + partial_shape(x)
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
    return delta, _weighted(shares, tangents, delta)


_decay.defjvp(_decay_jvp, symbolic_zeros=True)


def _vectorized(function: Callable, outputs: str, *values: ArrayLike) -> Array | tuple[Array, ...]:
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
    """u(t), and gap = 1 − u(t)/u*, of u̇ = u^a (λ − σ² u^b), u(0) = scale^{1/depth}.

    t ≥ 0: flow time.  lam = λ, sigma2 = σ² > 0 rather than ρ = λ/σ², with which λ = 0 would not say
    how fast u decays.  scale, depth, b > 0; a + b > 1. Scalars, or arrays that broadcast; features
    outside and times inside share the work of each feature.

    gap keeps its relative precision near the plateau, down to the smallest float; it is negative
    above it. Where λ ≤ 0 the plateau is 0 and gap is −inf. In float64 the relative error of u, and
    of gap near the plateau, is below 1e-12 as long as `resolution` is below about 100. Where the
    time of the transition is beyond the range of floats, u stays at its start.
    """
    return _vectorized(_evolve, "(),()", t, lam, sigma2, scale, depth, a, b)


def _evolve(
    t: Array, lam: Array, sigma2: Array, scale: Array, depth: Array, a: Array, b: Array
) -> tuple[Array, Array]:
    learned = lam > 0
    lam_up = jnp.where(learned, lam, 1)
    lam_down = jnp.where(learned, 0, lam)
    l, _ = _flow(t, lam_up, sigma2, scale, depth, a, b)
    delta = _decay(t, lam_down, sigma2, scale, depth, a, b)
    rising = (jnp.log(lam_up / sigma2) + l) / b
    falling = jnp.log(scale) / depth - delta / b
    u = jnp.exp(jnp.where(learned, rising, falling))
    rounding = jnp.where(t == 0, jnp.power(scale, 1 / depth) / u, 1)  # u(0) to the last digit
    return u * lax.stop_gradient(rounding), jnp.where(learned, -jnp.expm1(l / b), -jnp.inf)


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
    time = _hit(l, lam, sigma2, scale, depth, a, b)
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
    time = _travel(l_from, l_to, lam, sigma2, a, b)
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
    value = _curve(_family(c, _count(c)), _log_odds(l), l)
    return jnp.where(rises, eps * jnp.abs(value), 0)
