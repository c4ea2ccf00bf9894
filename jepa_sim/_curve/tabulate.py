"""How `table.npy` was made: `python -m jepa_sim._curve.tabulate` writes it again, in some minutes.

F_c by quadrature in extended precision, its inverse by a safeguarded Newton method, Chebyshev
interpolation in both variables of the table, turned into powers. Needs scipy; nothing imports this.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy.special import digamma

from jepa_sim._curve import chart, table

Real = np.longdouble
Array = np.ndarray
Curve = Callable[[Array], tuple[Array, Array]]  # from x = ln(1/q) to F_c and dF_c/dx
NOTHING = 46  # e^−46 is
PI = Real("3.14159265358979323846")


def _gauss_legendre(count: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1] in extended precision, by Newton's method."""
    nodes = np.polynomial.legendre.leggauss(count)[0].astype(Real)
    slope = np.ones_like(nodes)
    for _ in range(3):
        before, last = np.ones_like(nodes), nodes
        for k in range(2, count + 1):
            before, last = last, ((2 * k - 1) * nodes * last - (k - 1) * before) / k
        slope = count * (nodes * last - before) / (nodes * nodes - 1)
        nodes = nodes - last / slope
    return (nodes + 1) / 2, 1 / ((1 - nodes**2) * slope**2)


NODES, WEIGHTS = _gauss_legendre(20)


def _integral(f: Callable[[Array], Array], low: Array, high: Array, panels: int) -> Array:
    width = (high - low) / panels
    total = np.zeros_like(low)
    for k in range(panels):
        left = low + k * width
        total += width * np.sum(WEIGHTS * f(left[:, None] + width[:, None] * NODES), axis=1)
    return total


def _log_odds(x: Array) -> Array:
    return -x - np.log(-np.expm1(-x))


def below(c: Real, x: Array) -> tuple[Array, Array]:
    """F_c = y − ∫_0^x (e^{cs} − 1) / (1 − e^{−s}) ds for c ≥ 0, and its slope."""
    near, far = np.minimum(x, NOTHING), np.maximum(x, NOTHING)
    low = np.maximum(near - NOTHING / c, 0) if c > 0 else near
    rest = (np.expm1(c * far) - np.expm1(c * NOTHING)) / c - (far - NOTHING) if c > 0 else 0
    found = _integral(lambda s: np.expm1(c * s) / -np.expm1(-s), low, near, 16)
    found = np.where(x > NOTHING, found + rest, found)
    return _log_odds(x) - found, -np.exp(c * x) / -np.expm1(-x)


def above(remainder: Real, x: Array) -> tuple[Array, Array]:
    """F_{−A} = ∫_x^∞ e^{−As} / (1 − e^{−s}) ds for A ≥ 1, and its slope; near x = 0 beside y."""
    edge = np.maximum(x, 1 / (remainder + 1))

    def beyond(s: Array) -> Array:
        return np.exp(-remainder * s) / -np.expm1(-(edge[:, None] + s))

    length = np.full_like(x, NOTHING / remainder)
    far = np.exp(-remainder * edge) * _integral(beyond, np.zeros_like(x), length, 24)
    close = _integral(lambda s: np.expm1(-remainder * s) / np.expm1(-s), x, edge, 2)
    return far + (_log_odds(x) - _log_odds(edge) - close), -np.exp(-remainder * x) / -np.expm1(-x)


def _solve(f: Curve, wanted: Array, straighten: Curve, low: Array, high: Array) -> Array:
    """ln x with f(x) = wanted, f decreasing; Newton's method on straighten(f)."""
    target, _ = straighten(wanted)
    log_x = (low + high) / 2
    for step in range(80):
        x = np.exp(log_x)
        found, slope = f(x)
        now, bend = straighten(found)
        low, high = np.where(now > target, log_x, low), np.where(now < target, log_x, high)
        newton = log_x - (now - target) / (bend * slope * x)
        inside = (newton > low) & (newton < high) & (step >= 14)
        moved = np.where(inside, newton, (low + high) / 2)
        if np.all(np.abs(moved - log_x) < 1e-18 * np.abs(log_x)):
            break
        log_x = moved
    return log_x


def _bisect(f: Callable[[Array], Array], wanted: Array, low: float, high: float) -> Array:
    """Where an increasing function has the wanted values."""
    under, over = np.full_like(wanted, low), np.full_like(wanted, high)
    for _ in range(90):
        middle = (under + over) / 2
        small = f(middle) < wanted
        under, over = np.where(small, middle, under), np.where(small, over, middle)
    return (under + over) / 2


def log_v_below(c: Real, p: Array) -> Array:
    """ln v, v = (1 + c) ln(1/q), at positions on the chart."""
    centre = Real(digamma(1 + float(c)) + np.euler_gamma)

    def value(u: Array) -> Array:
        return np.where(u < 0, -np.expm1(-np.minimum(u, 0)), u)

    def place(u: Array) -> Array:
        return chart.position(np, *chart.below(np, c, value(u)))

    def straighten(f: Array) -> tuple[Array, Array]:
        bend = 1 + np.maximum(centre - f, 0)
        return np.where(f > centre, f - centre, -np.log(bend)), 1 / bend

    highest = np.log(np.minimum(4000, 11000 / c)) if c > 0 else np.log(4000)
    low, high = np.full_like(p, -400), np.full_like(p, highest)
    wanted = centre + value(_bisect(place, p, -3000.0, 60.0))
    return _solve(partial(below, c), wanted, straighten, low, high) + np.log(1 + c)


def log_v_above(remainder: Real, p: Array) -> Array:
    """ln v, v = A ln(1/q), at positions on the chart."""

    def place(e: Array) -> Array:
        return chart.position(np, np.exp(e), np.exp(-e), 1)

    def straighten(f: Array) -> tuple[Array, Array]:
        low = np.minimum(f, 1)
        return np.where(f > 1, f - 1, np.log(low)), 1 / low

    low, high = np.full_like(p, -400), np.full_like(p, np.log(4000))
    wanted = np.exp(_bisect(place, p, -11000.0, 20.0))
    return _solve(partial(above, remainder), wanted, straighten, low, high) + np.log(remainder)


def _chebyshev(count: int) -> tuple[Array, Array, Array]:
    """Nodes on [−1, 1]; from values there to a Chebyshev series; from that to powers.

    The two steps are not to be multiplied out: that would lose eight digits.
    """
    angles = PI * (2 * np.arange(count).astype(Real) + 1) / (2 * count)
    series = 2 / Real(count) * np.cos(np.outer(np.arange(count), angles))
    series[0] /= 2
    powers = np.zeros((count, count), Real)
    for k in range(count):
        powers[: k + 1, k] = np.polynomial.chebyshev.cheb2poly(np.eye(count)[k])[: k + 1]
    return np.cos(angles), series, powers


def block(octave: tuple[bool, int]) -> Array:
    """(powers of z, cells, powers of r) of one octave of c or A."""
    is_above, exponent = octave
    r, series_r, powers_r = _chebyshev(table.DEGREE + 1)
    z, series_z, powers_z = _chebyshev(table.DEGREE_C + 1)
    cells = table.LOWEST + table.CELL * (np.arange(table.CELLS) + 0.5)
    p = (cells[:, None] + table.CELL / 2 * r).ravel()
    solve = log_v_above if is_above else log_v_below
    values = np.stack([solve(Real(table.parameter(exponent, node)), p) for node in z])
    values = values.reshape(z.size, table.CELLS, r.size)
    series = np.einsum("iz,rj,zcj->icr", series_z, series_r, values)
    return np.einsum("iz,rj,zcj->icr", powers_z, powers_r, series).astype(float)


def main() -> None:
    octaves = [(False, k) for k in range(table.FIRST, table.LAST)]
    octaves += [(True, k) for k in range(table.LAST)]
    with ProcessPoolExecutor() as pool:
        np.save(table.PATH, np.stack(list(pool.map(block, octaves))))


if __name__ == "__main__":
    main()
