"""Functions of one variable as polynomials on cells: octaves in SUB equal parts.

The cell and the place within it are read from the bits of a float, so that a value costs no
logarithm. Everything works in numpy (`xp = np`), for known values, and in JAX (`xp = jnp`).
"""

from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# Measured by the quick tests of `tests/test_curve.py`: with BITS = 2 errors exceed the 8 units
# in the last place of `ReducedFlow`, several times over. With DEGREE = 9 they are still within.
BITS = 3
SUB = 2**BITS
DEGREE = 10
ANGLES = np.pi * (2 * np.arange(DEGREE + 1) + 1) / (2 * DEGREE + 2)
NODES = -np.cos(ANGLES)  # ascending in [−1, 1]


class Cells(NamedTuple):
    """The cells between 2^first and 2^last."""

    first: int
    last: int

    @property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower ends and lengths, (cells,)."""
        octave, part = np.divmod(np.arange(SUB * (self.last - self.first)), SUB)
        size = 2.0 ** (octave + self.first)
        return size * (1 + part / SUB), size / SUB

    @property
    def nodes(self) -> np.ndarray:
        """(cells, nodes), ascending throughout."""
        low, length = self.edges
        return low[:, None] + length[:, None] * (1 + NODES) / 2

    def locate(self, xp: ModuleType, u: Any) -> tuple[Any, Any]:
        """The cell of u, and the place in [−1, 1] within it. u is clipped to the cells."""
        mantissa = int(jnp.finfo(u.dtype).nmant)
        bias, rest = int(jnp.finfo(u.dtype).maxexp) - 1, mantissa - BITS
        # the largest float below 2^last, which itself has no cell
        below_last = 2.0**self.last * (1 - float(jnp.finfo(u.dtype).epsneg))
        u = xp.clip(u, 2.0**self.first, below_last)
        cell = (_bits(xp, u) >> rest) - ((bias + self.first) << BITS)
        return cell.astype(np.int32), _within(xp, u) if xp is np else _within_traced(u)

    def at(self, xp: ModuleType, columns: Any, u: Any, first_row: Any = 0) -> Any:
        """The function at u.

        columns: coefficients, those of r^k in column k.  first_row: where this function's begin.
        """
        cell, r = self.locate(xp, u)
        # unsigned, and promised in bounds: else JAX adds checks for negative and large indices
        row = (cell + first_row).astype(np.uint32)

        def take(power: int) -> Any:  # one by one: all coefficients of all values would be large
            column = columns[power]
            return column[row] if xp is np else column.at[row].get(mode="promise_in_bounds")

        total = take(DEGREE)
        for power in range(DEGREE - 1, -1, -1):
            total = total * r + take(power)
        return total


def _masked(xp: ModuleType, u: Any, low: bool) -> Any:
    """low: 1 plus the place of u in its cell, in [1, 1 + 1/SUB). Else the octave of u, 2^k."""
    mantissa, bias = int(jnp.finfo(u.dtype).nmant), int(jnp.finfo(u.dtype).maxexp) - 1
    if low:
        bits = (_bits(xp, u) & ((1 << (mantissa - BITS)) - 1)) | (bias << mantissa)
    else:
        bits = (_bits(xp, u) >> mantissa) << mantissa
    return _floats(xp, bits)


def _within(xp: ModuleType, u: Any) -> Any:
    return (_masked(xp, u, True) - 1) * (2 * SUB) - 1


@jax.custom_jvp
def _within_traced(u: Array) -> Array:
    return _within(jnp, u)


@_within_traced.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (u,), (du,) = primals, tangents  # operations on bits have no derivative
    return _within_traced(u), 2 * SUB / _masked(jnp, u, False) * du


def _bits(xp: ModuleType, u: Any) -> Any:
    integer = {4: np.int32, 8: np.int64}[u.dtype.itemsize]
    return u.view(integer) if xp is np else lax.bitcast_convert_type(u, integer)


def _floats(xp: ModuleType, bits: Any) -> Any:
    real = {4: np.float32, 8: np.float64}[bits.dtype.itemsize]
    return bits.view(real) if xp is np else lax.bitcast_convert_type(bits, real)


def _chebyshev() -> tuple[np.ndarray, np.ndarray]:
    """From values at the nodes to a Chebyshev series, and from that to powers.

    They stay two matrices: their product would lose two digits.
    """
    count = DEGREE + 1
    series = 2 / count * np.cos(np.outer(np.arange(count), np.pi - ANGLES))
    series[0] /= 2
    powers = np.zeros((count, count))
    for k in range(count):
        powers[: k + 1, k] = np.polynomial.chebyshev.cheb2poly(np.eye(count)[k])[: k + 1]
    return series, powers


_SERIES, _POWERS = _chebyshev()


def fit(xp: ModuleType, values: Any) -> Any:
    """Polynomials through values at the nodes: (cells, nodes) to (powers, cells)."""
    series = values @ xp.asarray(_SERIES.T, values.dtype)
    return (series @ xp.asarray(_POWERS.T, values.dtype)).T


def gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _gauss_exponential() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of ∫_0^∞ e^{−v} f(v) dv, by panels, while e^{−v} is above rounding."""
    ends, (x, w) = np.array([0.0, 1, 3, 8, 18, 44]), gauss_legendre(14)
    length = np.diff(ends)[:, None]
    nodes = (ends[:-1, None] + length * x).ravel()
    return nodes, (length * w).ravel() * np.exp(-nodes)


EXPONENTIAL = _gauss_exponential()
