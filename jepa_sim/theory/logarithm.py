"""ln(1 + y), four times as fast as `jnp.log1p` on CPUs, which took most of the time of `rise`."""

import jax.numpy as jnp
from jax import Array, lax

INTEGER = {4: jnp.int32, 8: jnp.int64}
ROOT_OF_HALF = {4: 0x3F3504F3, 8: 0x3FE6A09E667F3BCD}  # the bits of √½
LN_2 = {
    4: (0.693145751953125, 1.428606765330187e-06),
    8: (0.6931471803691238, 1.9082149292705877e-10),
}
TERMS = {4: 5, 8: 10}


def log1p(y: Array) -> Array:
    """ln(1 + y) to 2 units in the last place, for finite y > −1 with 1 + y a normal number.

    1 + y is 2^k m, with m between √½ and √2, and ln m = 2 artanh(s), s = (m − 1)/(m + 1), a series
    in s. ln 2 is in two parts, of which k times the first is exact. What the sum 1 + y has lost is
    added to first order. It is computed from 2^k m: XLA would simplify (1 + y) − 1 to y.
    """
    size, mantissa = y.dtype.itemsize, int(jnp.finfo(y.dtype).nmant)
    bits = lax.bitcast_convert_type(1 + y, INTEGER[size])
    k = (bits - ROOT_OF_HALF[size]) >> mantissa
    m = lax.bitcast_convert_type(bits - (k << mantissa), y.dtype)
    one = int(jnp.finfo(y.dtype).maxexp) - 1
    whole = m * lax.bitcast_convert_type((k + one) << mantissa, y.dtype)
    lost = (y - (whole - 1)) / whole
    s = (m - 1) / (m + 1)
    square = s * s
    series = jnp.full_like(s, 2 / (2 * TERMS[size] + 1))
    for n in range(TERMS[size] - 1, 0, -1):
        series = series * square + 2 / (2 * n + 1)
    (high, low), k = LN_2[size], k.astype(y.dtype)
    return k * high + (2 * s + (s * square * series + (k * low + lost)))
