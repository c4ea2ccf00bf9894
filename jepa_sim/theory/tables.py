"""The tables of one curve: F_c on both sides of the plateau and for λ ≤ 0, and its inverse.

They depend on c alone, and are made once for it: by numpy where c is known, by JAX where it is
traced. See `jepa_sim.theory` for the mathematics. With x = |ln z|, y = ln(z / |1 − z|) or its like
for 1/z, A = 1 + c:

    below    F = y − D,  D = ∫_0^x (e^{cs} − 1) / (1 − e^{−s}) ds,  E = F − κ
    above    the same with −A in place of c, E = F − κ; far from the plateau E = e^{−Ax} h(x)
    decay    G = ∫_0^X (e^s − 1)^c ds,  X = ln(1 + |ρ| / u^b)

Integrals are sums over cells of Gauss's quadrature; the inverse is Newton's method from the
nearest node, for an unknown in which the size of F cancels.
"""

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jepa_sim.arguments.types import is_concrete
from jepa_sim.theory.cells import DEGREE, EXPONENTIAL, Cells, fit, gauss_legendre

FORWARD = Cells(0, 12)  # of 1 + (1 + c) x
INVERSE = Cells(-5, 11)  # of N' (see `Curve`)
DECAYED = Cells(-5, 13)  # the same where λ ≤ 0
LATE_FROM = 2.0  # N' where the inverse turns from "early" to "late": an edge of its cells
LATER_RANGE = (0.125, 2.0**11)  # N' of LATER is clipped to it: x is within FORWARD for every c
# A x up to which E above the plateau has the formula of the plateau: 1 + NEAR is an edge of FORWARD
NEAR = 2.0
# c x from which e^{−cx} is below rounding: there a quadrature with this weight replaces the sums
FAR = 40.0
SMALL = 1.0  # X up to which G is a quadrature with the weight s^c
BELOW_ZERO, LARGEST_C = -1e-6, 255.0  # c lies between; rounding may put 0 a little below
LEAST_C = 1e-20  # in place of c = 0, by which formulas divide
STEPS = 4  # of Newton's method, from a guess with three digits; 3 pass the quick tests too
NU_MAX = 80.0  # e^−NU_MAX is below rounding; without it e^ν would overflow

_COUNTS = [len(cells.edges[0]) for cells in (*[FORWARD] * 3, *[INVERSE] * 2, *[DECAYED] * 2)]
_FIRST = np.cumsum([0, *_COUNTS])
BELOW, ABOVE, DECAY, FROM_BELOW, FROM_ABOVE, EARLY, LATER = (int(row) for row in _FIRST[:-1])
ROWS = int(_FIRST[-1])


class Curve(eqx.Module):
    """The tables of c, as rows of polynomials; those of this c begin at row `first`.

    decays: whether features may have λ ≤ 0. Where none has, compiled programs leave out what
    decays, which would be half of them.

    The inverse is a function of N' = ln(1 + αm)/α, where m measures what is left until the
    transition. It has x − N while N' is above LATE_FROM, and x e^E later (see `rise` for m and N).
    """

    c: Array
    shift: Array  # κ = γ + ψ(1 + c)
    columns: tuple[Array, ...]  # one for every power
    first: Array
    decays: bool = eqx.field(static=True, default=True)

    def suited_to(self, *lam: Array) -> "Curve":
        """The curve for features with these λ: without decay, if all are known and positive."""
        if not is_concrete(lam) or not all(np.all(np.asarray(each) > 0) for each in lam):
            return self
        return dataclasses.replace(self, decays=False)


def curve_parameter(a: Any, b: Any) -> Any:
    """c = (a − 1)/b, on which alone the curve of the flow u̇ = u^a (λ − σ² u^b) depends."""
    return (a - 1) / b


def make_curve(c: Any, dtype: Any) -> Curve:
    """The curve of c ≥ 0: made now where c is known, and inside the program where it is traced."""
    if is_concrete(c):
        return _known_curve(float(c), jnp.dtype(dtype))
    c = jnp.asarray(c, dtype)
    inside = (c > BELOW_ZERO) & (c < LARGEST_C)
    c = jnp.where(inside, jnp.maximum(c, LEAST_C), jnp.nan)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        shift, columns = _tables(jnp, c)  # by the rules of numpy, as where c is known
    columns = tuple(jnp.unstack(columns.astype(dtype)))
    return Curve(c, shift.astype(dtype), columns, jnp.zeros((), jnp.int32))


def stack_curves(values: np.ndarray, dtype: Any) -> Curve:
    """The curves of several c as one table, from which lanes choose by `take_curve`."""
    made = [_known(float(c)) for c in values]
    shift = np.stack([shift for shift, _ in made])
    c = np.where(np.isnan(shift), np.nan, np.maximum(values, LEAST_C))
    columns = tuple(np.concatenate(parts) for parts in zip(*(c for _, c in made), strict=True))
    first = jnp.zeros(len(values), jnp.int32)
    return Curve(
        jnp.asarray(c, dtype),
        jnp.asarray(shift, dtype),
        tuple(jnp.asarray(column, dtype) for column in columns),
        first,
    )


def take_curve(curves: Curve, which: Array) -> Curve:
    """One of several curves; the tables are not copied."""
    first = which.astype(jnp.int32) * ROWS
    return Curve(curves.c[which], curves.shift[which], curves.columns, first, curves.decays)


@lru_cache(maxsize=64)
def _known_curve(c: float, dtype: Any) -> Curve:
    with jax.ensure_compile_time_eval():  # a tracer must not stay in the cache
        curves = stack_curves(np.array([c]), dtype)
        return Curve(curves.c[0], curves.shift[0], curves.columns, curves.first[0])


@lru_cache(maxsize=4096)
def _known(c: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    if not BELOW_ZERO < c < LARGEST_C:
        return np.array(np.nan), (np.full(ROWS, np.nan),) * (DEGREE + 1)
    with np.errstate(all="ignore"):
        shift, columns = _tables(np, np.float64(max(c, LEAST_C)))
    return np.asarray(shift), tuple(columns)


def _tables(xp: ModuleType, c: Any) -> tuple[Any, Any]:
    """κ, and all polynomials, (powers, rows)."""
    a = 1 + c
    below, _ = _sums(xp, c, a)
    below = xp.where(c * _x(a)[:, :1] > FAR, _far_below(xp, c, a), below)
    near, edge = _sums(xp, -a, a)
    far = _far_above(xp, a, FORWARD.nodes - 1)
    # E is the same from both formulas where they meet
    meet = NEAR / a
    shift = _logit(xp, meet) - edge[_NEAR_CELLS] - xp.exp(-NEAR) * _far_above(xp, a, NEAR)
    above = xp.where((np.arange(len(far)) < _NEAR_CELLS)[:, None], near, far)
    decay = _decays(xp, c, a)
    forward = [fit(xp, values) for values in (below, above, decay)]
    known = (c, shift, (below, above, decay), forward)
    if xp is not np:  # the inverse is differentiated by its equation
        known = lax.stop_gradient(known)
    c, level, values, columns = known
    inverses = (
        _from_below(xp, c, level, values[0], columns[0]),
        _from_above(xp, c, level, values[1], columns[1]),
        *_from_decay(xp, c, values[2], columns[2]),
    )
    return shift, xp.concatenate([*forward, *(fit(xp, each) for each in inverses)], axis=1)


_NEAR_CELLS = int(np.searchsorted(FORWARD.edges[0], 1 + NEAR))


def _x(a: Any) -> Any:
    """(cells, nodes) of x."""
    return (FORWARD.nodes - 1) / a


def _logit(xp: ModuleType, x: Any) -> Any:
    """y of e^{−x}: −ln(e^x − 1)."""
    return -x - xp.log(-xp.expm1(-x))


def _softplus(xp: ModuleType, y: Any) -> Any:
    return xp.logaddexp(y, 0 * y)


def _panels(xp: ModuleType, integrand: Any, low: Any, high: Any) -> Any:
    """∫ from low to high, with more nodes toward `high`, where an exponential would grow."""
    x, w = gauss_legendre(14)
    length = (high - low)[..., None]
    return xp.sum(2 * w * x * length * integrand(high[..., None] - length * x**2), -1)


def _edges_and_nodes(a: Any) -> tuple[Any, Any]:
    """Of x: the cells' lower ends (cells, 1); their nodes and upper ends (cells, nodes + 1)."""
    low, length = FORWARD.edges
    nodes = np.concatenate([FORWARD.nodes, (low + length)[:, None]], axis=1)
    return (low[:, None] - 1) / a, (nodes - 1) / a


def _cumulative(xp: ModuleType, parts: Any, start: Any) -> tuple[Any, Any]:
    """From integrals since the cells' lower ends to whole ones: at nodes, and at lower ends."""
    ends = start + xp.cumsum(parts[:, -1])
    edges = xp.concatenate([xp.reshape(start, (1,)), ends[:-1]])
    return edges[:, None] + parts[:, :-1], edges


def _sums(xp: ModuleType, rate: Any, a: Any) -> tuple[Any, Any]:
    """D / (e^{rate x} − 1) at the nodes, and D at the cells' lower ends."""
    low, nodes = _edges_and_nodes(a)
    most = 1.5 * FAR / xp.maximum(rate, 1e-3)  # beyond, it would overflow, and is not used
    low, nodes = (xp.minimum(x, most) for x in (low, nodes))
    parts = _panels(xp, lambda s: xp.expm1(rate * s) / -xp.expm1(-s), low + 0 * nodes, nodes)
    values, edges = _cumulative(xp, parts, 0 * a)
    return values / xp.expm1(rate * nodes[:, :-1]), edges


def _far_below(xp: ModuleType, c: Any, a: Any) -> Any:
    """The same for c x > FAR: ∫ e^{−v} … dv with v = c (x − s)."""
    v, w = EXPONENTIAL
    x = _x(a)
    s = xp.maximum(x[..., None] - v / c, 1e-3 / a)
    return xp.sum(w * xp.expm1(-c * s) / xp.expm1(-s), -1) / (c * -xp.expm1(-c * x))


def _far_above(xp: ModuleType, a: Any, ax: Any) -> Any:
    """h = ∫_0^∞ e^{−v} / (1 − e^{−x − v/A}) dv / A."""
    v, w = EXPONENTIAL
    return xp.sum(w / -xp.expm1(-(np.asarray(ax)[..., None] + v) / a), -1) / a


def _decays(xp: ModuleType, c: Any, a: Any) -> Any:
    """G / (X (e^X − 1)^c) at the nodes."""
    v, w = EXPONENTIAL
    x = _x(a)
    s = xp.maximum(x[..., None] - v / c, 1e-3 / a)
    ratio = xp.log(xp.expm1(-s) / xp.expm1(-x)[..., None])
    far = xp.sum(w * xp.exp(c * ratio), -1) / (c * x)

    low, nodes = _edges_and_nodes(a)
    p = xp.expm1(xp.minimum(nodes, SMALL))
    small = xp.sum(w / (1 + p[..., None] * xp.exp(-v / a)), -1) / a * p / nodes  # by the weight
    most = 1.5 * FAR / xp.maximum(c, 1e-3)
    low, nodes = xp.minimum(low, most), xp.minimum(nodes, most)
    is_small = nodes[:, -1:] <= SMALL
    base = nodes * xp.exp(c * _log_expm1(xp, nodes))
    lowest = xp.where(is_small, SMALL, low)
    parts = _panels(
        xp, lambda s: xp.exp(c * _log_expm1(xp, s)), lowest + 0 * nodes, xp.maximum(nodes, lowest)
    )
    start = xp.max(xp.where(is_small, small * base, 0)[:, -1])
    values, _ = _cumulative(xp, parts, start)
    found = xp.where(is_small[:, :1], small[:, :-1], values / base[:, :-1])
    return xp.where(c * x[:, :1] > FAR, far, found)


def _guess(xp: ModuleType, wanted: Any, measure: Any, x: Any) -> Any:
    """x where `measure`, which grows with x and is known at its nodes, has the wanted values."""
    return xp.exp(xp.interp(wanted, measure.ravel(), xp.log(x).ravel()))


def _newton(xp: ModuleType, step: Callable, *unknowns: Any) -> tuple:
    if xp is not np:
        return lax.fori_loop(0, STEPS, lambda _, found: step(*found), unknowns)
    for _ in range(STEPS):
        unknowns = step(*unknowns)
    return unknowns


def _from_below(xp: ModuleType, c: Any, shift: Any, values: Any, columns: Any) -> Any:
    """x − N, N = ln(1 + αm)/c, while early, and x e^E late, with E = P − m, P m = π²/4."""
    a, alpha, x = 1 + c, xp.minimum(c, 1), _x(1 + c)
    is_far = c * x > FAR
    size = xp.expm1(xp.where(is_far, 1, c * x)) * values
    e = _logit(xp, x) - shift - size
    root = (xp.sqrt(e * e + np.pi**2) + xp.abs(e)) / 2
    m = xp.where(e < 0, root, np.pi**2 / 4 / root)
    nu = xp.where(is_far, c * x + xp.log(alpha * values), xp.log1p(alpha * m))
    wanted = INVERSE.nodes
    x = _guess(xp, np.log(wanted), xp.log(nu / alpha), x)

    nu, n, early = alpha * wanted, wanted / xp.maximum(c, 1), wanted >= LATE_FROM
    m = xp.expm1(xp.minimum(nu, NU_MAX)) / alpha
    p = np.pi**2 / 4 / m

    def step(beyond: Any, y_more: Any) -> tuple[Any, Any]:
        """Of x − N while early, of y − P late."""
        x = xp.where(early, n + beyond, 1)
        d = FORWARD.at(xp, columns, 1 + a * x)
        power, nothing = xp.exp(c * xp.where(early, beyond, 0)), xp.exp(-nu)
        error = (power - nothing) * d + xp.expm1(-nu) / alpha
        error = error - nothing * (_logit(xp, x) - p - shift)
        beyond = beyond + error * xp.expm1(-x) / power
        x = xp.where(early, 1, _softplus(xp, -(p + y_more)))
        d = xp.expm1(c * x) * FORWARD.at(xp, columns, 1 + a * x)
        return beyond, y_more - (y_more - d + m - shift) * xp.exp(-c * x)

    beyond, y_more = _newton(xp, step, x - n, _logit(xp, x) - p)
    late = xp.exp(p - m) * _softplus(xp, -(p + xp.where(early, 0, y_more)))
    return xp.where(early, beyond, late)


def _from_above(xp: ModuleType, c: Any, shift: Any, values: Any, columns: Any) -> Any:
    """The same above the plateau, with N = ln(1 + m)/A, E = P = 1/m."""
    a = 1 + c

    def scaled(table: Any, x: Any) -> Any:  # e^{Ax} E
        near = 1 + a * x < 1 + NEAR
        y = _logit(xp, x)
        by_plateau = xp.exp(xp.where(near, a * x, 0)) * (y - shift - xp.expm1(-a * x) * table)
        return xp.where(near, by_plateau, table)

    x, wanted = _x(a), INVERSE.nodes
    nu = a * x + xp.log(xp.exp(-a * x) + 1 / scaled(values, x))
    x = _guess(xp, np.log(wanted), xp.log(nu), x)
    n, early = wanted / a, wanted >= LATE_FROM
    p = 1 / xp.expm1(xp.minimum(wanted, NU_MAX))

    def step(beyond: Any, y_more: Any) -> tuple[Any, Any]:
        x = xp.where(early, n + beyond, 1)
        e = scaled(FORWARD.at(xp, columns, 1 + a * x), x)
        error = a * beyond - xp.log(e) - xp.log1p(-xp.exp(-wanted))
        beyond = beyond + error * xp.expm1(-x) * e
        x = xp.where(early, 1, _softplus(xp, -(p + y_more)))
        d = xp.expm1(-a * x) * FORWARD.at(xp, columns, 1 + a * x)
        return beyond, y_more - (y_more - d - shift) * xp.exp(a * x)

    beyond, y_more = _newton(xp, step, x - n, _logit(xp, x) - p)
    late = xp.exp(p) * _softplus(xp, -(p + xp.where(early, 0, y_more)))
    return xp.where(early, beyond, late)


def _from_decay(xp: ModuleType, c: Any, values: Any, columns: Any) -> tuple[Any, Any]:
    """ln(|ρ|/u^b) + ln(1 + 1/G)/A while G is small, and X − ln(1 + αG)/c later."""
    a, alpha, x_nodes = 1 + c, xp.minimum(c, 1), _x(1 + c)
    log_g = xp.log(x_nodes * values) + c * _log_expm1(xp, x_nodes)
    wanted = DECAYED.nodes
    x = _guess(xp, -wanted - np.log1p(-np.exp(-wanted)), log_g, x_nodes)
    log_p = _log_expm1(xp, x)

    def early_step(beyond: Any) -> tuple[Any]:
        p = xp.exp(xp.maximum(beyond - wanted / a, -NU_MAX))
        g = FORWARD.at(xp, columns, 1 + a * xp.log1p(p)) * xp.log1p(p) / p
        error = a * beyond + xp.log(g) + xp.log1p(-xp.exp(-wanted))
        return (beyond - error * (1 + p) * g,)

    (beyond,) = _newton(xp, early_step, log_p + wanted / a)
    late = np.clip(wanted, *LATER_RANGE)
    measure = xp.log(_softplus(xp, xp.log(alpha) + log_g) / alpha)
    x = _guess(xp, np.log(late), measure, x_nodes)
    nu, n = alpha * late, late / xp.maximum(c, 1)

    def late_step(more: Any) -> tuple[Any]:
        x = n + more
        power = xp.exp(c * (_log_expm1(xp, x) - n))
        error = -xp.expm1(-nu) / alpha - x * FORWARD.at(xp, columns, 1 + a * x) * power
        return (more + error / power,)

    (more,) = _newton(xp, late_step, x - n)
    return beyond, more


def _log_expm1(xp: ModuleType, x: Any) -> Any:
    return x + xp.log(-xp.expm1(-x))
