"""The inverse of F_c: a polynomial from the table, and the plateau without it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import digamma

from jepa_sim._curve import chart, table
from jepa_sim._curve.family import polynomial

NEAR = 36.0  # e^−NEAR is nothing beside 1
TINY = 1e-20  # in place of c = 0, for what is divided by c


class Inverse(NamedTuple):
    """What the inverse on both sides of the plateau needs of c ≥ 0.

    polynomials: (cells below, then above; powers).  centre: γ + ψ(1 + c).
    """

    c: Array
    polynomials: Array
    centre: Array


def make_inverse(c: Array) -> Inverse:
    """NaN where c is outside the table, [0, LARGEST − 1); a rounding error below 0 is no matter."""
    inside = (c > -table.BELOW_ZERO) & (1 + c < table.LARGEST)
    rows = [_row(c, 0, True), _row(1 + c, table.LAST - table.FIRST, False)]
    return Inverse(
        jnp.where(c == 0, TINY, c),
        jnp.where(inside, jnp.concatenate(rows), jnp.nan),
        np.euler_gamma + digamma(1 + c),
    )


def _row(parameter: Array, first: int, has_zero: bool) -> Array:
    """(cells, powers of r) of c or A, whose octaves begin at `first` in the table."""
    low = table.FIRST if has_zero else 0
    near_zero = parameter < 2.0 ** (low + 1) if has_zero else jnp.zeros_like(parameter, bool)
    octaves = jnp.log2(jnp.where(near_zero, 1, parameter))
    octave = jnp.clip(jnp.floor(octaves), low, table.LAST - 1)
    z = jnp.where(near_zero, parameter * 2.0**-low, 2 * (octaves - octave)) - 1
    index = first + jnp.where(near_zero, 0, octave - low).astype(jnp.int32)
    return polynomial([jnp.asarray(p, z.dtype)[index] for p in _powers_of_z()], z)


def _powers_of_z() -> list[np.ndarray]:
    return list(np.moveaxis(table.load(), 1, 0))


def invert(inverse: Inverse, above: Array, value: Array) -> Array:
    """l = ln q ≤ 0 where F_c(q) = value, on the given side of the plateau."""
    plus, argument, slow = chart.below(jnp, inverse.c, value - inverse.centre)
    place = chart.position(
        jnp,
        jnp.where(above, value, plus),
        jnp.where(above, 1 / value, argument),
        jnp.where(above, 1, slow),
    )
    cells = (place - table.LOWEST) / table.CELL
    cell = jnp.clip(jnp.floor(cells), 0, table.CELLS - 1)
    r = 2 * (cells - cell) - 1
    which = jnp.where(above, table.CELLS, 0) + cell.astype(jnp.int32)
    log_v = polynomial([inverse.polynomials[which, k] for k in range(table.DEGREE + 1)], r)

    scale = jnp.log1p(inverse.c)
    y = jnp.where(above, value + inverse.centre, value)  # but for what vanishes at the plateau
    log_x = jnp.where(y - scale > NEAR, -y, log_v - scale)
    return -jnp.where(cells < 0, jnp.nan, jnp.exp(log_x))
