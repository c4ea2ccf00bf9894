"""Arithmetic with twice the working precision.

A number is an unevaluated sum `hi + lo` of two floats with |lo| at most half a unit in the last
place of `hi`: about 32 digits from pairs of float64, 14 from pairs of float32. Error-free sums
after Knuth (1969), products after Dekker (1971).

Two habits of compilers are met here. `a * b + c` may be contracted into one rounding: the factors
are split by masking bits, which makes every product in an error-free step exact, so that
contraction cannot change it. And `(x + 1) - 1` may be simplified to `x`: pass a constant as the
second operand of a sum, never as the first, and no such step occurs.

Nothing here is meant to be differentiated.
"""

from fractions import Fraction
from math import factorial
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

Pair: TypeAlias = tuple[Array, Array]

_LN2 = Fraction("0.6931471805599453094172321214581765680755001343602552541206800094933936219696947")
_TAYLOR_TERMS = 15
_HALVINGS = 4


def constant(value: Fraction, dtype: DTypeLike) -> Pair:
    """The pair nearest to an exact rational number."""
    hi = np.asarray(float(value), dtype)
    return jnp.asarray(hi), jnp.asarray(float(value - Fraction(float(hi))), dtype)


def two_sum(a: Array, b: Array) -> Pair:
    """a + b without error; `a` is no constant."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def fast_two_sum(a: Array, b: Array) -> Pair:
    """a + b without error, where |a| is at least |b|."""
    s = a + b
    return s, b - (s - a)


def _split(a: Array) -> Pair:
    """a = hi + lo, hi with the upper half of the digits: products of halves are exact."""
    mask = {4: np.int32(-1 << 12), 8: np.int64(-1 << 27)}[a.dtype.itemsize]
    hi = lax.bitcast_convert_type(lax.bitcast_convert_type(a, mask.dtype) & mask, a.dtype)
    return hi, a - hi


def two_prod(a: Array, b: Array) -> Pair:
    """a b, to twice the working precision."""
    (ah, al), (bh, bl) = _split(a), _split(b)
    middle, rest = two_sum(ah * bl, al * bh)
    p, e = fast_two_sum(ah * bh, middle)
    return fast_two_sum(p, e + (rest + al * bl))


def pair(x: Array) -> Pair:
    return x, jnp.zeros_like(x)


def negative(x: Pair) -> Pair:
    return -x[0], -x[1]


def where(condition: Array, x: Pair, y: Pair) -> Pair:
    return jnp.where(condition, x[0], y[0]), jnp.where(condition, x[1], y[1])


def add(x: Pair, y: Pair) -> Pair:
    s, e = two_sum(x[0], y[0])
    t, f = two_sum(x[1], y[1])
    s, e = fast_two_sum(s, e + t)
    return fast_two_sum(s, e + f)


def mul(x: Pair, y: Pair) -> Pair:
    p, e = two_prod(x[0], y[0])
    return fast_two_sum(p, e + (x[0] * y[1] + x[1] * y[0]))


def div(x: Pair, y: Pair) -> Pair:
    """x / y by two steps of long division."""
    q = x[0] / y[0]
    rest = add(x, negative(mul(y, pair(q))))
    return fast_two_sum(q, rest[0] / y[0])


def _power_of_two(n: Array, dtype: DTypeLike) -> Array:
    """2^n for an integer-valued float n in the range of normal exponents."""
    bits, bias, shift = {4: (jnp.int32, 127, 23), 8: (jnp.int64, 1023, 52)}[
        jnp.dtype(dtype).itemsize
    ]
    biased = jnp.clip(n.astype(bits) + bias, 0, 2 * bias + 1)
    return lax.bitcast_convert_type(biased << shift, dtype)


def _reduced_expm1(x: Pair) -> tuple[Pair, Array]:
    """(e^r − 1, n) with x = n ln 2 + r.

    Taylor's series at r / 2^j, then j times e^{2s} − 1 = (e^s − 1)(e^s + 1).
    """
    dtype = x[0].dtype
    ln2 = constant(_LN2, dtype)
    n = jnp.round(x[0] / ln2[0])
    r = add(x, negative(mul(pair(n), ln2)))
    r = r[0] * 2.0**-_HALVINGS, r[1] * 2.0**-_HALVINGS
    table = [constant(Fraction(1, factorial(k)), dtype) for k in range(_TAYLOR_TERMS, 0, -1)]
    hi, lo = jnp.stack([t[0] for t in table]), jnp.stack([t[1] for t in table])

    def horner(i: Array, total: Pair) -> Pair:
        return add(
            mul(total, r),
            (jnp.broadcast_to(hi[i], r[0].shape), jnp.broadcast_to(lo[i], r[0].shape)),
        )

    zero = jnp.zeros_like(r[0])
    s = mul(r, lax.fori_loop(0, _TAYLOR_TERMS, horner, (zero, zero)))
    return lax.fori_loop(0, _HALVINGS, lambda _, s: add((2 * s[0], 2 * s[1]), mul(s, s)), s), n


def _scale(x: Pair, n: Array) -> Pair:
    """2^n x, in two factors, so that neither leaves the range before the result does."""
    half = jnp.floor(n / 2)
    first, second = _power_of_two(half, n.dtype), _power_of_two(n - half, n.dtype)
    return x[0] * first * second, x[1] * first * second


def exp(x: Pair) -> Pair:
    return exp_and_expm1(x)[0]


def exp_and_expm1(x: Pair) -> tuple[Pair, Pair]:
    """e^x and e^x − 1, the latter with full relative precision near 0."""
    s, n = _reduced_expm1(x)
    one = jnp.ones_like(s[0])
    power = _scale((one, one), n)[0]
    exp = _scale(add(s, pair(one)), n)
    return exp, add(_scale(s, n), two_sum(power, -one))


def log(x: Pair) -> Pair:
    """ln x by one Newton step, x e^{−y} = 1 + r, from the working precision."""
    y = jnp.log(x[0])
    ratio = mul(x, exp(pair(-y)))
    r = add(ratio, pair(-jnp.ones_like(y)))
    return add(pair(y), fast_two_sum(r[0], r[1] - r[0] * r[0] / 2))
