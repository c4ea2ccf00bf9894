"""The closed form against quadrature in 60 digits (`tests/problems/reduced_flow.py`).

A result is right when it is exact for inputs that differ by at most 8 units in the last place each,
up to 8 such units of its own.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from mpmath import mpf

from jepa_sim._curve import ReducedFlow, make_curve, stack_curves, take_curve
from tests.problems.reduced_flow import Flow, odds, units_of_error

UNITS = 8
SIZE = 40  # one shape, one compilation
EPS = np.finfo(np.float64).eps
DTYPE = np.dtype(float)


def flow_of(lam, variance, scale, depth, a, b):
    """A flow of one feature, or of several with arrays of λ and σ²."""
    dtype = jnp.zeros(()).dtype
    lam, variance = (jnp.atleast_1d(jnp.asarray(x, dtype)) for x in (lam, variance))
    lam, variance = jnp.broadcast_arrays(lam, variance)
    others = (jnp.asarray(x, dtype) for x in (scale, depth, a, b))
    return ReducedFlow(lam, variance, *others, make_curve((a - 1) / b, dtype))


@pytest.fixture(scope="module")
def over_rows():
    """ln u, 1 − u/u* and the time to hit a target, of rows of one feature each."""

    @jax.jit
    @jax.vmap
    def run(row, curve, log_ratio):
        t, lam, variance, *others = row
        flow = ReducedFlow(lam[None], variance[None], *others, curve)
        log_u, gap = flow.evolve(t[None])
        return log_u[0, 0], gap[0, 0], flow.hitting_time(log_ratio[None])[0]

    def every(rows, log_ratio=-1.0):
        dtype = jnp.zeros(()).dtype
        padded = np.concatenate([rows, [rows[0]] * (SIZE - len(rows))]).astype(dtype)
        a, b = padded[:, 5].astype(float), padded[:, 6].astype(float)
        curves = stack_curves((a - 1) / b, dtype)
        each = jax.vmap(lambda i: take_curve(curves, i))(jnp.arange(SIZE))
        targets = np.broadcast_to(np.asarray(log_ratio, dtype), (len(rows),))
        targets = np.concatenate([targets, np.full(SIZE - len(rows), targets[0])])
        columns = tuple(jnp.asarray(padded).T)
        found = run(columns, each, jnp.asarray(targets))
        return [np.asarray(values)[: len(rows)] for values in found]

    return every


def exponents(rng, depth, predictor_depth):
    if rng.random() < 0.5:
        return 2 * depth + predictor_depth - 1, predictor_depth
    return depth + predictor_depth - 1, depth + predictor_depth


def draw(rng, kind, least_scale=-12.0):
    """A row of inputs of the stated domain, at a time when it is anywhere on its way."""
    while True:
        whole = rng.random() < 0.5
        depth = float(rng.integers(1, 9)) if whole else 10 ** rng.uniform(0, 1.5)
        predictor_depth = float(rng.integers(1, 5)) if whole else rng.uniform(1, 4)
        a, b = exponents(rng, depth, predictor_depth)
        lam, rho = 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-2, 1)
        top = float(depth / b * np.log10(rho))  # of the start, in decades
        if kind == "below" and top < least_scale:
            continue
        decades = rng.uniform(least_scale, min(top, 0) if kind == "below" else 0)
        decades = top + 10 ** rng.uniform(-6, 0.9) if kind == "above" else decades
        lam = {"decay": -lam, "zero": 0.0}.get(kind, lam)
        row = (lam, abs(lam) / rho if lam else rho, 10**decades, depth, a, b)
        flow = Flow(*row)
        if kind in ("below", "above"):
            last = 680 if rng.random() < 0.2 else 20
            y = mpf(rng.uniform(float(odds(-abs(flow.start))), last))
            l = mp.log1p(mp.exp(-y)) * (1 if flow.start > 0 else -1)
        else:
            l = flow.start - mpf(10) ** rng.uniform(-3, 1)
        t = flow.time(l)
        if 1e-30 < t < 1e30:
            return float(t), *row


FAR = [  # c = 254 and 140 from below, from above, with λ < 0; near the plateau; c beside an integer
    (1.0, 1.0, 0.9, 0.5, 128.0, 255.0, 1.0),
    (0.3, 1.2, 1.0, 0.3, 8.0, 15.0, 0.1),
    (9.0, 1.0, 3.0, 0.9, 128.0, 255.0, 1.0),
    (0.3, -1.2, 1.0, 0.3, 8.0, 15.0, 0.1),
    (20.0, 0.7, 1.0, 0.7 * (1 - 1e-9), 1.0, 2.0, 1.0),
    (1e3, 0.7, 1.0, 1e-2, 2.0, 4.0 + 1e-13, 1.0),
    (1e3, 0.7, 1.0, 1e-2, 2.0, 4.0 - 1e-13, 1.0),
]


def is_told(row, gap, eps=EPS):
    """Whether neighbouring times are not on both sides of the transition, nor the gap is 0."""
    flow = Flow(*row[1:])
    return flow.lam <= 0 or (eps * row[0] * flow.rate < 1e3 and abs(gap) > 1e-30)


@pytest.mark.parametrize(
    ("kind", "count"), [("below", 30), ("above", 15), ("decay", 12), ("zero", 5), ("far", 7)]
)
def test_is_exact_for_inputs_8_units_away(over_rows, kind, count):
    rng = np.random.default_rng(len(kind))
    rows = FAR if kind == "far" else [draw(rng, kind) for _ in range(count)]
    log_u, gap, _ = over_rows(rows)
    checked = [
        units_of_error(Flow(*row[1:]), row[0], *found)
        for row, *found in zip(rows, log_u, gap, strict=True)
        if is_told(row, found[1])
    ]
    assert len(checked) >= 0.7 * count
    assert max(checked) < (2 if kind == "decay" else 1) * UNITS, checked
