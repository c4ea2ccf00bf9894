"""The closed form against quadrature in 60 digits (`tests/problems/reduced_flow.py`).

A result is right if it is exact, up to 8 units in its last place, for inputs that differ by at most
8 units in the last place each.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from mpmath import mpf

from jepa_sim.theory import ReducedFlow, make_curve, stack_curves, take_curve
from jepa_sim.theory.logarithm import log1p
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
        columns = tuple(jnp.asarray(padded).T)
        a, b = padded[:, 5].astype(float), padded[:, 6].astype(float)
        curves = stack_curves((a - 1) / b, dtype).suited_to(columns[1])
        each = jax.vmap(lambda i: take_curve(curves, i))(jnp.arange(SIZE))
        targets = np.broadcast_to(np.asarray(log_ratio, dtype), (len(rows),))
        targets = np.concatenate([targets, np.full(SIZE - len(rows), targets[0])])
        found = run(columns, each, jnp.asarray(targets))
        return [np.asarray(values)[: len(rows)] for values in found]

    return every


def exponents(rng, depth, predictor_depth):
    if rng.random() < 0.5:
        return 2 * depth + predictor_depth - 1, predictor_depth
    return depth + predictor_depth - 1, depth + predictor_depth


def draw(rng, kind, least_scale=-12.0):
    """A row of inputs within the documented domain, at any time of the flow."""
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
    (1e3, -1e-9, 1.0, 0.5, 128.0, 255.0, 1.0),
    (30.0, 0.0, 1.0, 0.5, 128.0, 255.0, 1.0),
    (0.8, 1.0, 1.2, 0.5, 128.0, 255.0, 1.0),
    (0.3, 1.2, 1.0, 0.3, 8.0, 15.0, 0.1),
    (9.0, 1.0, 3.0, 0.9, 128.0, 255.0, 1.0),
    (0.3, -1.2, 1.0, 0.3, 71.0, 142.0, 1.0),
    (20.0, 0.7, 1.0, 0.7 * (1 - 1e-9), 1.0, 2.0, 1.0),
    (1e3, 0.7, 1.0, 1e-2, 2.0, 4.0 + 1e-13, 1.0),
    (1e3, 0.7, 1.0, 1e-2, 2.0, 4.0 - 1e-13, 1.0),
]


def is_told(row, gap, eps=EPS):
    """Whether neighbouring times are not on both sides of the transition, nor the gap is 0."""
    flow = Flow(*row[1:])
    return flow.lam <= 0 or (eps * row[0] * flow.rate < 1e3 and abs(gap) > 1e-300)


@pytest.mark.parametrize(
    ("kind", "count"), [("below", 30), ("above", 15), ("decay", 12), ("zero", 5), ("far", 9)]
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
    assert max(checked) < UNITS, checked


def test_limits(over_rows):
    rng = np.random.default_rng(1)
    rows = [draw(rng, kind)[1:] for kind in ("below", "above", "decay", "zero")]
    log_u, gap, _ = over_rows([(0.0, *row) for row in rows])
    np.testing.assert_array_max_ulp(log_u, np.array([np.log(r[2]) / r[3] for r in rows]), 2)
    log_u, gap, _ = over_rows([(np.inf, *row) for row in rows])
    plateaus = [np.log(row[0] / row[1]) / row[5] for row in rows[:2]]
    np.testing.assert_allclose(log_u, [*plateaus, -np.inf, -np.inf], rtol=1e-15)
    np.testing.assert_array_equal(gap, [0, 0, -np.inf, -np.inf])
    log_u, gap, _ = over_rows([(3.0, 0.5, 1.0, 0.25, 2.0, 4.0, 1.0)])  # u(0) = u* = 1/2
    assert log_u == np.log(0.5)
    assert gap == 0


def test_what_is_out_of_reach_stays_at_its_start(over_rows):
    """The time of the transition is beyond the range of floats, or beyond that of their spacing."""
    rows = [(1e3, 1e-3, 1.0, 1e-12, 1.0, 100.0, 101.0), (1.0, 1e-3, 1e-6, 1e-12, 128.0, 255.0, 1.0)]
    log_u, gap, _ = over_rows(rows)
    starts = np.array([np.log(row[3]) / row[4] for row in rows])
    np.testing.assert_allclose(log_u, starts, rtol=1e-12)
    assert np.isfinite(gap).all()


def test_logistic_and_elementary_curves(over_rows):
    """c = 0 is the logistic function in u^b; c = 1, M = 1 is ln(x / (1 − x)) − 1/x."""
    lam, variance, scale = 0.8, 1.6, 1e-4
    t = np.linspace(0, 20, 9)
    log_u, _, _ = over_rows([(t_i, lam, variance, scale, 1.0, 1.0, 2.0) for t_i in t])
    start = scale**2 / 0.5
    odds_of_z = start / (1 - start) * np.exp(2 * lam * t)
    np.testing.assert_allclose(np.exp(2 * log_u) / 0.5, odds_of_z / (1 + odds_of_z), rtol=2e-14)

    x, start = np.array([0.1, 0.5, 0.999]), scale / 0.5
    s, s_start = np.log(x / (1 - x)) - 1 / x, np.log(start / (1 - start)) - 1 / start
    rows = [(1.0, lam, variance, scale, 1.0, 2.0, 1.0)] * 3
    _, _, time = over_rows(rows, np.log(x))
    np.testing.assert_allclose(time, (s - s_start) / (variance * 0.5**2), rtol=1e-14)


def test_continuous_in_the_exponents(over_rows):
    for c in (1.0, 2.0, 7.0, 0.5, 2.5):
        offsets = np.array([-1e-13, -1e-14, 0, 1e-14, 1e-13])
        log_u, _, _ = over_rows([(12.0, 0.7, 1.0, 0.2, 1.0, 1 + c + o, 1.0) for o in offsets])
        np.testing.assert_allclose(log_u, log_u[2], rtol=1e-11)


def test_hitting_time(over_rows):
    rng = np.random.default_rng(3)
    rows = [draw(rng, "below") for _ in range(16)]
    flows = [Flow(*row[1:]) for row in rows]
    share = [float(flow.start / flow.b) * rng.uniform() ** 4 for flow in flows]
    _, _, times = over_rows(rows, share)
    for flow, target, time in zip(flows, share, times, strict=True):
        l = flow.b * mpf(target)
        off = abs(flow.time(l) - mpf(float(time)))
        moved = abs(l / flow.speed(l)) * EPS + float(time) * EPS
        assert off < UNITS * (flow.drift(l, True, np_spacing) + moved)


def np_spacing(x):
    return mpf(float(np.spacing(abs(float(x)))))


def test_what_is_hit_at_once_and_never(over_rows):
    cases = [  # target, λ, σ², ε, L, a, b, time
        (-1.0, 0.5, 1.0, 0.4, 1.0, 2.0, 1.0, 0.0),  # starts there
        (0.1, 0.5, 1.0, 0.1, 1.0, 2.0, 1.0, np.inf),  # beyond the plateau
        (0.0, 0.5, 1.0, 0.1, 1.0, 2.0, 1.0, np.inf),
        (0.1, 0.5, 1.0, 0.9, 1.0, 2.0, 1.0, 0.0),  # from above
        (2.0, 0.5, 1.0, 0.9, 1.0, 2.0, 1.0, np.inf),
        (-1.0, 0.0, 1.0, 0.9, 1.0, 2.0, 1.0, np.inf),
        (-1.0, -0.5, 1.0, 0.9, 1.0, 2.0, 1.0, np.inf),
    ]
    _, _, times = over_rows([(1.0, *case[1:7]) for case in cases], [case[0] for case in cases])
    np.testing.assert_array_equal(times, [case[7] for case in cases])


def test_travel_time():
    """Also for short ways, 1e-9 of their start, where a difference of two times would cancel."""
    below = np.array([-20.0, -3.0, -1e-9, -3.0, -2.0, -0.3, -1e-6])
    after = np.array([-3.0, -0.1, -1e-12, -20.0, -2 * (1 - 1e-9), -0.3 * (1 - 1e-9), -0.9e-6])
    starts, ends = np.concatenate([below, -below / 5]), np.concatenate([after, -after / 5])
    lam, variance, a, b = 0.7, 1.3, 3.4, 1.2
    flow = flow_of(np.full(14, lam), variance, 0.1, 1.0, a, b)
    times = np.asarray(flow.travel_time(jnp.asarray(starts), jnp.asarray(ends)))
    for start, end, time in zip(starts, ends, times, strict=True):
        exact = Flow(lam, variance, 0.1, 1.0, a, b)
        exact.start = exact.b * mpf(start)
        # of log ratios that have 1.2 times themselves as l, rounded
        rounded = 4 * EPS * max(abs(start), abs(end)) / abs(end - start)
        assert abs(mpf(time) / exact.time(exact.b * mpf(end)) - 1) < 1e-14 + rounded
    flow = flow_of(np.full(4, lam), variance, 0.1, 1.0, a, b)
    ends = flow.travel_time(
        jnp.asarray([-1.0, 0.0, -1.0, -1.0]), jnp.asarray([0.0, -1.0, 1.0, -1.0])
    )
    np.testing.assert_array_equal(ends, [np.inf, -np.inf, np.nan, 0])
    never = flow_of(-lam, variance, 0.1, 1.0, a, b)
    assert np.isnan(never.travel_time(jnp.asarray([-2.0]), jnp.asarray([-1.0])))


def u_of(t, lam, variance, scale, depth, a, b):
    flow = flow_from(lam, variance, scale, depth, a, b)
    return jnp.exp(flow.evolve(t[None])[0][0, 0])


def time_of(log_ratio, lam, variance, scale, depth, a, b):
    return flow_from(lam, variance, scale, depth, a, b).hitting_time(log_ratio[None])[0]


def flow_from(lam, variance, scale, depth, a, b):
    """The exponents are traced: the curve is made inside the program."""
    curve = make_curve((a - 1) / b, DTYPE)
    return ReducedFlow(lam[None], variance[None], scale, depth, a, b, curve)


GRADIENT_POINTS = [  # λ, σ², scale, depth, a, b and where on the way
    (0.3, 1.3, 1.5, 1e-2, 2.3, 5.2, 1.7),
    (0.6, 0.7, 1.5, 1e-3, 1.5, 2.5, 2.5),
    (1.3, 1.3, 2.9, 0.9, 2.0, 4.0, 1.0),
    (0.5, -0.7, 1.5, 0.3, 2.0, 4.0, 1.0),
    (0.2, -0.7, 0.2, 0.9, 2.0, 4.3, 1.3),
]


def time_at(u, *problem):
    flow = Flow(1, 1, 1, 1, 1, 1)
    flow.lam, flow.variance, flow.scale, flow.depth, flow.a, flow.b = map(mpf, problem)
    flow.c, flow.power = (flow.a - 1) / flow.b, flow.b
    flow.log_rho = mp.log(abs(flow.lam) / flow.variance)
    flow.start = flow.b * mp.log(flow.scale) / flow.depth - flow.log_rho
    flow.rate = flow.b * abs(flow.lam) * mp.exp(flow.c * flow.log_rho)
    return flow.time(flow.b * mp.log(u) - flow.log_rho)


def slopes_of_time(u, problem):
    """Central differences with 60 digits."""
    step, values = mpf(10) ** -18, [mpf(float(x)) for x in (u, *problem)]
    sides = [
        [time_at(*(v + s * step * (i == j) for j, v in enumerate(values))) for s in (1, -1)]
        for i in range(7)
    ]
    return [(up - down) / (2 * step) for up, down in sides]


@pytest.mark.slow
def test_derivatives_match_finite_differences():
    """du/dθ = −(∂t/∂θ) / (∂t/∂u), in a and b too, through the curve that they have."""
    rows = []
    for part, *problem in GRADIENT_POINTS:
        lam, variance, scale, depth, _, b = map(mpf, problem)
        top = (lam / variance) ** (1 / b) if lam > 0 else scale ** (1 / depth)
        rows.append((float(time_at(part * top, *problem)), *problem))
    # a feature with λ = 0, and one at time 0, for finite derivatives
    rows += [(2.0, 0.0, 1.5, 0.5, 2.0, 4.0, 1.0), (0.0, 0.5, 1.5, 0.1, 2.0, 4.0, 1.0)]
    u, slopes = jax.jit(jax.vmap(jax.value_and_grad(u_of, range(7))))(*jnp.asarray(rows).T)
    slopes = np.array(slopes).T
    assert np.isfinite(slopes).all()
    for row, u_i, found in zip(rows[:5], np.asarray(u), slopes, strict=False):
        change = slopes_of_time(u_i, row[1:])
        expected = [1 / change[0]] + [-x / change[0] for x in change[1:]]
        np.testing.assert_allclose(found, np.array(expected, dtype=float), rtol=1e-10)
    before = jnp.exp(flow_of(-1e-7, 1.5, 0.5, 2.0, 4.0, 1.0).evolve(jnp.asarray([2.0]))[0][0, 0])
    np.testing.assert_allclose(slopes[5, 1], (u[5] - before) / 1e-7, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_outside_of_jit_at_the_plateau_and_beside_it(mode):
    """Where u(0) = u* the feature stays on its plateau, d ln u*/dλ = 1/(b λ)."""

    def log_u(lam):
        flow = ReducedFlow(
            lam * jnp.array([1.0, 1.0, -1.0]),
            jnp.array([2.0, 1.0, 1.0]),
            *(jnp.asarray(x, float) for x in (0.25, 2, 4, 1)),
            make_curve(3.0, DTYPE),
        )
        return flow.evolve(jnp.array([3.0, 50.0]))[0]

    found, step = mode(log_u)(1.0), 1e-6
    np.testing.assert_allclose(found[0], 1.0)
    about = (log_u(1 + step) - log_u(1 - step)) / (2 * step)
    np.testing.assert_allclose(found[1:], about[1:], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_where_no_feature_decays(mode):
    """With v = d ln u/dt, ∂ln u/∂t = v(u) and ∂ln u/∂ln u(0) = v(u)/v(u(0))."""
    lam, times = jnp.array([1.0, 0.3]), jnp.array([3.0, 50.0])
    curve = make_curve(1.5, DTYPE).suited_to(lam)
    assert not curve.decays

    def flow(scale):
        others = (jnp.asarray(x, float) for x in (2, 4, 2))
        return ReducedFlow(lam, jnp.array([2.0, 0.4]), scale, *others, curve)

    def log_u(scale, times):
        return flow(scale).evolve(times)[0]

    scale = jnp.asarray(0.01)
    later, speed = mode(log_u, 1)(scale, times), flow(scale).speed
    now = jax.vmap(speed, 1, 1)(log_u(scale, times))
    np.testing.assert_allclose(later, now[..., None] * jnp.eye(2)[None], rtol=1e-12, atol=1e-15)
    start = speed(flow(scale).log_start)
    np.testing.assert_allclose(
        mode(log_u)(scale, times) * 2 * scale, now / start[:, None], rtol=1e-12
    )


@pytest.mark.slow
def test_gradients_of_times():
    """Both modes against central differences with 60 digits; finite where nothing is hit."""
    log_ratio, *problem = -0.5, 0.7, 1.3, 0.05, 2.3, 3.4, 1.2
    u = mp.exp(mpf(log_ratio)) * (mpf(0.7) / mpf(1.3)) ** (1 / mpf(1.2))
    change = slopes_of_time(u, problem)
    lam, variance, b = mpf(0.7), mpf(1.3), mpf(1.2)
    top = change[0] * u  # ∂t/∂ln u, at a fixed ratio to u*
    expected = [top, *change[1:]]
    expected[1] += top / (b * lam)
    expected[2] -= top / (b * variance)
    expected[6] -= top * mp.log(lam / variance) / b**2
    expected = np.array(expected, dtype=float)
    arguments = [jnp.asarray(x) for x in (log_ratio, *problem)]
    slopes = jax.jit(jax.grad(time_of, range(7)))
    np.testing.assert_allclose(slopes(*arguments), expected, rtol=1e-11)
    tangents = [jnp.asarray(x) for x in (0.3, -0.1, 0.2, 0.7, 0.4, -0.5, 0.6)]
    _, along = jax.jvp(jax.jit(time_of), arguments, tangents)
    np.testing.assert_allclose(along, np.dot(expected, np.array(tangents)), rtol=1e-11)
    never = [jnp.asarray(x) for x in (0.1, 0.5, 1.0, 0.1, 1.0, 2.0, 1.0)]
    assert np.isfinite(slopes(*never)).all()


def test_a_curve_of_a_traced_number_is_that_of_the_number():
    made = jax.jit(jax.vmap(lambda c: make_curve(c, DTYPE)))(jnp.asarray([0.0, 2.4, 260.0]))
    for i, c in enumerate((0.0, 2.4)):
        for traced, known in zip(made.columns, make_curve(c, DTYPE).columns, strict=True):
            np.testing.assert_allclose(traced[i], known, rtol=0, atol=1e-9)
    assert np.isnan(made.c[2])
    assert np.isnan(make_curve(260.0, DTYPE).c)


def test_resolution():
    problem = (0.7, 1.3, 1e-8, 2.0, 4.0, 1.0)
    flow = flow_of([0.7, -0.7], *problem[1:])
    exact = Flow(*problem)
    at_transition = float(exact.time(mpf(-0.1)) * exact.rate)
    np.testing.assert_allclose(flow.resolution(float), [EPS * at_transition, 0], rtol=1e-3)
    assert flow_of(0.7, 1.3, 0.9, 2.0, 4.0, 1.0).resolution(float) == 0  # from above
    assert flow.resolution(jnp.float32)[0] > 1


@pytest.mark.float32
def test_logarithm():
    """ln(1 + y) against 60 digits."""
    rng, dtype = np.random.default_rng(0), jnp.zeros(()).dtype
    y = np.concatenate([10 ** rng.uniform(-30, 30, 300), -(10 ** rng.uniform(-30, -0.01, 300))])
    y = np.concatenate([y, rng.uniform(-0.9, 3, 300), [0.0]]).astype(dtype)
    found = np.asarray(jax.jit(log1p)(jnp.asarray(y)))
    exact = np.array([float(mp.log1p(mpf(float(x)))) for x in y])
    assert (np.abs(found - exact) <= 2 * np.finfo(dtype).eps * np.abs(exact)).all()


@pytest.mark.float32
def test_float32(over_rows):
    rng = np.random.default_rng(5)
    rows = [draw(rng, kind, -5) for kind in ("below", "above", "decay") for _ in range(12)]
    rows = np.array(rows, dtype=np.float32)
    log_u, gap, _ = over_rows(rows)
    assert log_u.dtype == gap.dtype == jnp.zeros(()).dtype
    if log_u.dtype == np.float64:
        return  # the other precision is the test's own
    checked = [
        units_of_error(Flow(*row[1:]), row[0], *found, dtype=np.float32)
        for row, *found in zip(rows, log_u, gap, strict=True)
        if is_told(row, found[1], np.finfo(np.float32).eps) and not 0 < abs(found[1]) < 1e-35
    ]
    assert len(checked) > 20
    assert max(checked) < 2 * UNITS, checked


def equations(jaxpr):
    """All equations of a program, with those of inner functions."""
    inner = [
        v for e in jaxpr.eqns for v in jax.tree.leaves(list(e.params.values()), is_leaf=is_jaxpr)
    ]
    return len(jaxpr.eqns) + sum(equations(getattr(v, "jaxpr", v)) for v in inner if is_jaxpr(v))


def is_jaxpr(value):
    return hasattr(value, "jaxpr") or hasattr(value, "eqns")


def test_programs_are_small():
    """Tracing takes half of the time of a first answer."""
    flow, t = flow_of([0.7, -0.7], 1.3, 1e-2, 2.0, 4.0, 1.0), jnp.linspace(0.0, 5.0, 3)
    assert equations(jax.make_jaxpr(lambda f, t: f.evolve(t))(flow, t).jaxpr) < 1300
    target = jnp.asarray([-0.1, -0.1])
    assert equations(jax.make_jaxpr(lambda f, t: f.hitting_time(t))(flow, target).jaxpr) < 500
