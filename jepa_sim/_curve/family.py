"""F_c itself: the one family of curves, as a finite sum and a far or near series of order 1."""

from collections.abc import Sequence
from fractions import Fraction
from math import factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import digamma

PADE_DEGREE = 20
NEAR_TERMS = 26
NEAR_LENGTH = 1.3  # near means |l| < min(NEAR_LENGTH, NEAR_GROWTH / A)
NEAR_GROWTH = 3.0
BLOCK = 16  # powers of q per step of a loop; one step covers c < 16.5
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


class Family(NamedTuple):
    """What F_c needs and what depends on c alone."""

    c: Array
    terms: Array  # n
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


def make_family(c: Array, terms: Array) -> Family:
    remainder = terms - c
    return Family(
        c,
        terms,
        remainder,
        *_pade_coefficients(remainder),
        _near_coefficients(remainder),
        np.euler_gamma + digamma(remainder),
    )


def choose_family(c: Array, above: Array) -> Family:
    """That of c, or of −1 − c above the plateau; both are made of c alone, before the choice."""
    sides = [make_family(side, count_terms(side)) for side in (c, -1 - c)]
    return jax.tree.map(lambda below, after: jnp.where(above, after, below), *sides)


def count_terms(c: Array) -> Array:
    return jnp.maximum(jnp.round(lax.stop_gradient(c)) + 1, 0)


def polynomial(coefficients: Array | Sequence[Array], x: Array) -> Array:
    """Horner's rule; coefficients of the powers 0, 1, …"""
    total = coefficients[-1]
    for i in range(len(coefficients) - 2, -1, -1):
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
    series = polynomial(
        jnp.asarray([(n + 1) / factorial(n + 2) for n in range(18)], x.dtype),
        jnp.where(small, x, 0),
    )
    safe = jnp.where(small, 1, x)
    return value, jnp.where(small, series, (jnp.exp(safe) - value) / safe) * dx


def laurent(c: Array, terms: Array, l: Array, sign: int) -> Array:
    """Σ_{k<n} s^k (e^{(k−c) l} − 1) / (k − c), s = ±1. In the last term k − c may vanish."""
    q = sign * jnp.exp(l)
    last = terms - 1

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
    singular = jnp.where(terms > 0, parity * l * _relative_expm1((last - c) * l), 0)
    return jnp.exp(-c * l) * total - constant + singular


def log_odds(l: Array) -> Array:
    """y from l = ln q ≤ 0."""
    inside = jnp.where(l == 0, -1, l)
    return jnp.where(l == 0, Y_MAX, inside - jnp.log(-jnp.expm1(inside)))


def base_at(family: Family, y: Array, l: Array) -> Array:
    """F_c without the finite sum."""
    remainder = family.remainder
    edge = jnp.minimum(NEAR_LENGTH, NEAR_GROWTH / lax.stop_gradient(remainder))
    near = -l < edge
    l_near = jnp.where(near, l, 0)
    l_far = jnp.where(near, -edge, l)
    x = jnp.exp(l_far) / -jnp.expm1(l_far)
    ratio = polynomial(family.numerator, x) / polynomial(family.denominator, x)
    far = jnp.exp(remainder * l_far) * (1 + x) / remainder * ratio
    at_plateau = y - l_near * polynomial(family.near, l_near)
    left = family.terms == 0
    return jnp.where(
        near, at_plateau - jnp.where(left, family.shift, 0), far + jnp.where(left, 0, family.shift)
    )


def curve_at(family: Family, y: Array, l: Array) -> Array:
    """F_c at the log-odds y, l = ln q."""
    return laurent(family.c, family.terms, l, 1) + base_at(family, y, l)
