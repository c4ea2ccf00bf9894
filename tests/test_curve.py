"""The closed form against quadrature of t = ∫ dv / (v^a (λ − σ² v^b)) with 45 digits.

A result is judged by its residual: the time at which the exact flow has the u that was returned,
less the time asked for, times du/dt. So the reference needs no inversion, and shares no formula
with the code.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from mpmath import mpf

from jepa_sim._curve import evolve, hitting_time, resolution, table, tabulate, travel_time
from jepa_sim._curve.inverse import invert, make_inverse

mp.mp.dps = 45
NODES = 30
SIZE = 240  # one shape, one compilation
EPS = np.finfo(np.float64).eps


@cache
def gauss_legendre():
    def legendre(x):
        before, now = mpf(1), x
        for n in range(1, NODES):
            before, now = now, ((2 * n + 1) * x * now - n * before) / (n + 1)
        return now, NODES * (x * now - before) / (x * x - 1)

    rule = []
    for start in np.polynomial.legendre.leggauss(NODES)[0]:
        x = mpf(start)
        for _ in range(3):
            value, slope = legendre(x)
            x -= value / slope
        rule.append((x, 2 / ((1 - x * x) * legendre(x)[1] ** 2)))
    return rule


def integral(f, start, stop):
    pieces = max(1, int(mp.ceil(abs(stop - start) / 3)))
    half = (stop - start) / pieces / 2
    middles = [start + (2 * i + 1) * half for i in range(pieces)]
    return half * sum(w * f(m + half * x) for m in middles for x, w in gauss_legendre())


def odds(l):
    """ln(z / (1 − z)) from l = ln z < 0."""
    return l - mp.log(-mp.expm1(l))


def exact_time(l, lam, sigma2, scale, depth, a, b):
    """The time at which ln(u^b / |ρ|) is l (ln u is l, where λ is 0)."""
    lam, sigma2, scale, depth, a, b = map(mpf, (lam, sigma2, scale, depth, a, b))
    log_start = mp.log(scale) / depth
    if lam == 0:
        power = a + b - 1
        return (mp.exp(-power * l) - mp.exp(-power * log_start)) / (power * sigma2)
    rho, c = abs(lam) / sigma2, (a - 1) / b
    start, rate = b * log_start - mp.log(rho), b * abs(lam) * rho**c
    if lam < 0:
        return integral(lambda s: mp.exp(-c * s) / (1 + mp.exp(s)), l, start) / rate
    if start > 0:
        c, start, l = -1 - c, -start, -l
    first, last, flat = odds(start), odds(l), mpf(140)
    rise = integral(lambda y: mp.exp(c * mp.log1p(mp.exp(-y))), min(first, flat), min(last, flat))
    return (rise + max(last, flat) - max(first, flat)) / rate


def rate_of_log(l, lam, sigma2, a, b):
    """d ln u / dt."""
    lam, sigma2, a, b = map(mpf, (lam, sigma2, a, b))
    u = mp.exp(l) if lam == 0 else mp.exp((l + mp.log(abs(lam) / sigma2)) / b)
    growth = -mp.expm1(l) * lam if lam > 0 else lam - sigma2 * u**b
    return u ** (a - 1) * growth


def residual(t, u, gap, lam, sigma2, scale, depth, a, b):
    """Relative error of gap within 1e-2 of the plateau, and of u elsewhere."""
    near = lam > 0 and abs(gap) < 1e-2
    if near:
        l = mpf(b) * mp.log1p(-mpf(float(gap)))
    else:
        rho = abs(mpf(lam)) / mpf(sigma2) if lam else mpf(1)
        l = (mpf(b) if lam else 1) * mp.log(mpf(float(u))) - mp.log(rho)
    error = (exact_time(l, lam, sigma2, scale, depth, a, b) - mpf(t)) * rate_of_log(
        l, lam, sigma2, a, b
    )
    return float(abs(error * (1 - mpf(float(gap))) / mpf(float(gap)) if near else error))


def evolve_u(*args):
    log_u, gap = evolve(*args)
    return jnp.exp(log_u), gap


def exponents(objective, depth, predictor_depth):
    if objective == "jepa":
        return 2 * depth + predictor_depth - 1, predictor_depth
    return depth + predictor_depth - 1, depth + predictor_depth


def draw(rng, kind):
    """A problem of the specified domain, and a time at which it is anywhere on its way."""
    integer = rng.random() < 0.4
    depth = float(rng.integers(1, 9)) if integer else rng.uniform(1, 8)
    predictor_depth = float(rng.integers(1, 5)) if integer else rng.uniform(1, 4)
    a, b = exponents(rng.choice(["jepa", "mae"]), depth, predictor_depth)
    lam, sigma2 = 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-3, 3)
    lam, sigma2 = lam, max(min(sigma2, lam * 1e3), lam * 1e-3)
    top = float(depth / b * np.log10(lam / sigma2))  # of the start, in decades
    scale = 10 ** rng.uniform(-12, 0)
    if kind == "below":
        scale = (
            10 ** rng.uniform(min(-12, top - 3), min(top, 2))
            if rng.random() < 0.9
            else 10 ** (top - 1e-5)
        )
    if kind == "above":
        scale = 10 ** (top + 10 ** rng.uniform(-6, 0.9))
    if kind == "negative":
        lam = -lam
    if kind == "zero":
        lam = 0.0
        l = mp.log(mpf(scale)) / mpf(depth) - mpf(10) ** rng.uniform(-3, 1)
    else:
        start = mpf(b) * mp.log(mpf(scale)) / mpf(depth) - mp.log(abs(mpf(lam)) / mpf(sigma2))
        if kind == "negative":
            l = start - mpf(10) ** rng.uniform(-4, 1.5)
        else:
            first = odds(-abs(start))
            y = mpf(rng.uniform(float(first), 690 if rng.random() < 0.2 else 20))
            l = -mp.log1p(mp.exp(-y)) * (-1 if start > 0 else 1)
    problem = (lam, sigma2, scale, depth, a, b)
    return float(exact_time(l, *problem)), *problem


EXTREMES = [  # c = 140, −17, 16.4; a start near the plateau; c just off an integer
    (0.3, 1.2, 1.0, 0.3, 8.0, 15.0, 0.1),
    (2.0, 1.2, 1.0, 30.0, 8.5, 17.0, 1.0),
    (0.01, 1.2, 1.0, 3.0, 8.0, 15.1, 0.1),
    (40.0, 0.5, 1.0, 0.1, 2.0, 5.1, 0.25),
    (20.0, 0.7, 1.0, 0.7 * (1 - 1e-9), 1.0, 2.0, 1.0),
    (1e3, 0.7, 1.0, 1e-2, 2.0, 4.0 + 1e-13, 1.0),
    (1e3, 0.7, 1.0, 1e-2, 2.0, 4.0 - 1e-13, 1.0),
]


@pytest.fixture(scope="module")
def run():
    compiled = jax.jit(jax.vmap(evolve_u))

    def run(rows):
        columns = np.array(rows, dtype=np.float64).T
        padded = np.concatenate(
            [columns, np.repeat(columns[:, :1], SIZE - len(rows), axis=1)], axis=1
        )
        u, gap = compiled(*jnp.asarray(padded))
        return np.asarray(u)[: len(rows)], np.asarray(gap)[: len(rows)]

    return run


@pytest.fixture(scope="module")
def hit():
    return jax.jit(jax.vmap(hitting_time))


def rate_of_odds(lam, sigma2, a, b):
    return b * lam * (lam / sigma2) ** ((a - 1) / b)


def test_matches_quadrature(run):
    rng = np.random.default_rng(0)
    counts = {"below": 130, "above": 40, "negative": 30, "zero": 10}
    rows = [draw(rng, kind) for kind, count in counts.items() for _ in range(count)] + EXTREMES
    u, gap = run(rows)
    checked = 0
    for row, u_i, gap_i in zip(rows, u, gap, strict=True):
        t, lam, sigma2, _, _, a, b = row
        if lam > 0 and (EPS * t * rate_of_odds(lam, sigma2, a, b) > 100 or abs(gap_i) < 1e-300):
            continue  # neighbouring times lie on both sides of the transition
        assert residual(t, u_i, gap_i, *row[1:]) < 1e-12, (row, u_i, gap_i)
        checked += 1
    assert checked > 190


def test_limits(run):
    rng = np.random.default_rng(1)
    rows = [draw(rng, kind) for kind in ("below", "above", "negative", "zero")]
    starts = [row[1:] for row in rows] + [draw(rng, "below")[1:] for _ in range(30)]
    u, _ = run([(0.0, *start) for start in starts])
    np.testing.assert_allclose(u, [start[2] ** (1 / start[3]) for start in starts], rtol=1e-14)
    u, gap = run([(np.inf, *row[1:]) for row in rows])
    plateaus = [(row[1] / row[2]) ** (1 / row[6]) for row in rows[:2]]
    np.testing.assert_allclose(u, [*plateaus, 0, 0], rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(gap, [0, 0, -np.inf, -np.inf])
    u, gap = run([(3.0, 0.5, 1.0, 0.25, 2.0, 4.0, 1.0)])  # u(0) = u* = 1/2
    assert u == 0.5
    assert gap == 0


def test_logistic_and_elementary_curves(run, hit):
    """c = 0 is the logistic function in u^b; c = 1, M = 1 is ln(x / (1 − x)) − 1/x."""
    lam, sigma2, scale = 0.8, 1.6, 1e-4
    t = np.linspace(0, 20, 9)
    u, _ = run([(t_i, lam, sigma2, scale, 1.0, 1.0, 2.0) for t_i in t])
    start = scale**2 / 0.5
    odds_of_z = start / (1 - start) * np.exp(2 * lam * t)
    np.testing.assert_allclose(u**2 / 0.5, odds_of_z / (1 + odds_of_z), rtol=1e-13)

    x, start = np.array([0.1, 0.5, 0.999]), scale / 0.5
    s, s_start = np.log(x / (1 - x)) - 1 / x, np.log(start / (1 - start)) - 1 / start
    rows = [(log_x, lam, sigma2, scale, 1.0, 2.0, 1.0) for log_x in np.log(x)] * 4
    time = hit(*jnp.asarray(rows).T)[:3]
    np.testing.assert_allclose(time, (s - s_start) / (sigma2 * 0.5**2), rtol=1e-13)


def test_continuous_in_the_exponents(run):
    """Where c passes an integer a power turns into a logarithm; where it passes a half, n jumps."""
    for c in (0.0, 1.0, 2.0, 3.0, 7.0, 0.5, 1.5, 2.5):
        offsets = np.array([-1e-13, -1e-14, 0, 1e-14, 1e-13])
        rows = [(12.0, 0.7, 1.0, 0.2, 1.0, 1 + c + offset, 1.0) for offset in offsets]
        u, _ = run(rows)
        np.testing.assert_allclose(u, u[2], rtol=1e-11)


def test_hitting_time(hit, run):
    rng = np.random.default_rng(3)
    rows = np.array([draw(rng, "below") for _ in range(12)])
    problems = rows[:, 1:]
    log_start = np.log(problems[:, 2]) / problems[:, 3]
    log_plateau = np.log(problems[:, 0] / problems[:, 1]) / problems[:, 5]
    targets = (log_start - log_plateau) * rng.uniform(0, 1, 12)
    times = np.asarray(hit(*jnp.asarray(np.column_stack([targets, problems])).T))
    for target, time, problem in zip(targets, times, problems, strict=True):
        exact = exact_time(mpf(problem[5]) * mpf(target), *problem)
        assert abs(mpf(time) / exact - 1) < 1e-12
    special = [
        (-1.0, 0.5, 1.0, 0.4, 1.0, 2.0, 1.0, 0.0),  # starts there
        (0.1, 0.5, 1.0, 0.1, 1.0, 2.0, 1.0, np.inf),  # beyond the plateau
        (0.0, 0.5, 1.0, 0.1, 1.0, 2.0, 1.0, np.inf),
        (0.1, 0.5, 1.0, 0.9, 1.0, 2.0, 1.0, 0.0),  # from above
        (2.0, 0.5, 1.0, 0.9, 1.0, 2.0, 1.0, np.inf),
        (-1.0, 0.0, 1.0, 0.9, 1.0, 2.0, 1.0, np.inf),
        (-1.0, -0.5, 1.0, 0.9, 1.0, 2.0, 1.0, np.inf),
    ]
    padded = np.array(special + special[:5])
    np.testing.assert_array_equal(hit(*jnp.asarray(padded[:, :7]).T), padded[:, 7])


def test_travel_time():
    below = np.array([-20.0, -3.0, -1e-9, -3.0, -1.0, 0.0, -1.0, -1.0])
    after = np.array([-3.0, -0.1, -1e-12, -20.0, 0.0, -1.0, 1.0, -1.0])
    above = -below[:4] / 5, -after[:4] / 5
    starts, ends = np.concatenate([below, above[0]]), np.concatenate([after, above[1]])
    lam, sigma2, a, b = 0.7, 1.3, 3.4, 1.2
    times = travel_time(starts, ends, lam, sigma2, a, b)
    for start, end, time in zip(starts, ends, np.asarray(times), strict=True):
        if start * end > 0 and start != end:
            scale = mp.exp(mpf(start) + mp.log(mpf(lam) / mpf(sigma2)) / mpf(b))
            sign = 1 if abs(end) < abs(start) else -1
            exact = exact_time(mpf(b) * mpf(end), lam, sigma2, scale, 1.0, a, b)
            assert abs(mpf(time) / exact - 1) < 1e-12
            assert np.sign(time) == sign
    np.testing.assert_array_equal(times[4:8], [np.inf, -np.inf, np.nan, 0])
    assert np.isnan(travel_time(-2.0, -1.0, -0.7, sigma2, a, b))


GRADIENT_POINTS = [  # λ, σ², scale, depth, a, b and where on the way
    (0.3, 1.3, 1.5, 1e-2, 2.3, 5.2, 1.7),
    (0.9, 1.3, 1.5, 1e-3, 2.0, 4.0, 1.0),
    (0.6, 0.7, 1.5, 1e-3, 1.5, 2.5, 2.5),
    (1.3, 1.3, 2.9, 0.9, 2.0, 4.0, 1.0),
    (0.5, -0.7, 1.5, 0.3, 2.0, 4.0, 1.0),
    (0.2, -0.7, 0.2, 0.9, 2.0, 4.3, 1.3),
    (0.97, -0.7, 1.5, 3.0, 2.0, 4.0, 1.0),
]


def time_at(u, lam, sigma2, scale, depth, a, b):
    l = mpf(b) * mp.log(u) - mp.log(abs(mpf(lam)) / mpf(sigma2))
    return exact_time(l, lam, sigma2, scale, depth, a, b)


def test_derivatives_match_finite_differences():
    """du/dθ = −(∂t/∂θ) / (∂t/∂u), by central differences with 45 digits."""
    rows = []
    for part, *problem in GRADIENT_POINTS:
        lam, sigma2, scale, depth, _, b = map(mpf, problem)
        top = (lam / sigma2) ** (1 / b) if lam > 0 else scale ** (1 / depth)
        rows.append((float(time_at(part * top, *problem)), *problem))
    # a feature with λ = 0, and one at time 0, for finite derivatives
    rows += [(2.0, 0.0, 1.5, 0.5, 2.0, 4.0, 1.0), (0.0, 0.5, 1.5, 0.1, 2.0, 4.0, 1.0)]
    u_and_slopes = jax.jit(jax.vmap(jax.value_and_grad(lambda *x: evolve_u(*x)[0], range(7))))
    u, slopes = u_and_slopes(*jnp.asarray(rows).T)
    slopes = np.array(slopes).T
    assert np.isfinite(slopes).all()
    step = mpf(10) ** -15
    for row, u_i, slopes_i in zip(
        rows[: len(GRADIENT_POINTS)], np.asarray(u), slopes, strict=False
    ):
        values = [mpf(float(u_i)), *map(mpf, row[1:])]
        steps = [[v + step * (i == j) for j, v in enumerate(values)] for i in range(7)]
        back = [[v - step * (i == j) for j, v in enumerate(values)] for i in range(7)]
        change = [
            (time_at(*x) - time_at(*y)) / (2 * step) for x, y in zip(steps, back, strict=True)
        ]
        expected = [1 / change[0]] + [-x / change[0] for x in change[1:]]
        np.testing.assert_allclose(slopes_i, np.array(expected, dtype=float), rtol=1e-10)
    u_before, _ = evolve_u(2.0, -1e-7, 1.5, 0.5, 2.0, 4.0, 1.0)
    np.testing.assert_allclose(slopes[7, 1], (u[7] - u_before) / 1e-7, rtol=1e-6)


def test_gradients_of_times():
    """Both modes against central differences with 45 digits; finite where nothing is hit."""
    problem = (-0.5, 0.7, 1.3, 0.05, 2.3, 3.4, 1.2)
    slopes = jax.jit(jax.grad(hitting_time, range(7)))
    step = mpf(10) ** -15

    def exact(values):
        log_ratio, *rest = values
        return exact_time(rest[-1] * log_ratio, *rest)

    expected = []
    for i in range(7):
        sides = ([mpf(v) + s * step * (i == j) for j, v in enumerate(problem)] for s in (1, -1))
        expected.append(float(mp.fsub(*map(exact, sides)) / (2 * step)))
    np.testing.assert_allclose(slopes(*problem), expected, rtol=1e-11)
    tangents = [jnp.asarray(x) for x in (0.3, -0.1, 0.2, 0.7, 0.4, -0.5, 0.6)]
    _, along = jax.jit(partial(jax.jvp, hitting_time))([jnp.asarray(x) for x in problem], tangents)
    np.testing.assert_allclose(along, np.dot(expected, tangents), rtol=1e-11)
    assert np.isfinite(slopes(0.1, 0.5, 1.0, 0.1, 1.0, 2.0, 1.0)).all()


def test_broadcasts(run):
    t = jnp.linspace(0.0, 5.0, 3)[:, None]
    u, gap = evolve_u(t, jnp.asarray([[0.5, -0.5]]), 1.0, 0.1, 2, 4, 1)
    assert u.shape == gap.shape == (3, 2)
    single, _ = run([(5.0, 0.5, 1.0, 0.1, 2.0, 4.0, 1.0)])
    np.testing.assert_allclose(u[2, 0], single[0], rtol=1e-15)


def test_resolution(hit):
    problem = (0.7, 1.3, 1e-8, 2.0, 4.0, 1.0)
    rows = [problem, (0.7, 1.3, 0.9, 2.0, 4.0, 1.0), (-0.7, *problem[1:])]
    columns = jnp.asarray(rows).T
    transition = float(hit(*jnp.asarray([(-0.1, *problem)] * 12).T)[0])
    expected = EPS * transition * rate_of_odds(0.7, 1.3, 4.0, 1.0)
    np.testing.assert_allclose(resolution(*columns, jnp.float64), [expected, 0, 0], rtol=1e-3)
    assert resolution(*columns, jnp.float32)[0] > 1


@pytest.mark.float32
def test_float32():
    rng = np.random.default_rng(5)
    rows = [draw(rng, kind) for kind in ("below", "above", "negative", "zero") for _ in range(20)]
    rows = np.array([row for row in rows if 1e-35 < row[0] < 1e35], dtype=np.float32)
    t, lam, sigma2, _, _, a, b = rows.T.astype(np.float64)
    spacing = np.finfo(np.float32).eps * t * rate_of_odds(np.abs(lam), sigma2, a, b)
    rows = rows[np.isfinite(rows).all(axis=1) & ((spacing < 1e-2) | (lam <= 0))]
    padded = np.concatenate([rows, np.repeat(rows[:1], 80 - len(rows), axis=0)])
    u, gap = jax.jit(jax.vmap(evolve_u))(*jnp.asarray(padded).T)
    assert u.dtype == gap.dtype == jnp.float32
    for row, u_i, gap_i in zip(
        rows[::2].astype(float),
        np.asarray(u)[: len(rows) : 2],
        np.asarray(gap)[: len(rows) : 2],
        strict=True,
    ):
        if u_i > 1e-30 and abs(gap_i) > 1e-30:
            assert residual(row[0], u_i, gap_i, *row[1:]) < 2e-5, (row, u_i, gap_i)


def test_the_table_is_what_its_quadrature_says(run):
    """Between the nodes of the table, in every octave of c, on both sides of the plateau."""
    rng = np.random.default_rng(7)
    rows, expected = [], []
    for above in (False, True):
        octaves = range(0 if above else table.FIRST, table.LAST)
        for exponent, z in zip(octaves, rng.uniform(-1, 1, 100), strict=False):
            c = table.parameter(exponent, z) - above
            x = 10 ** rng.uniform(-6, 1, 8) / max(c, 1)
            curve = partial(tabulate.above, tabulate.Real(1 + c))
            if not above:
                curve = partial(tabulate.below, tabulate.Real(c))
            value = curve(x.astype(tabulate.Real))[0]
            inverse = make_inverse(jnp.asarray(c))
            found = jax.vmap(partial(invert, inverse, jnp.asarray(above)))(
                jnp.asarray(value, float)
            )
            slope = curve(x.astype(tabulate.Real))[1].astype(float)
            rounding = 4 * EPS * np.abs(value.astype(float) / slope)
            rows.append(np.abs(-found - x))
            expected.append(5e-13 * np.minimum(x, 1) + rounding)
    assert (np.array(rows) <= np.array(expected)).all()


@pytest.mark.slow
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="needs extended precision")
def test_the_table_can_be_made_again():
    places = np.array([-0.95, -0.3, 0.1, 0.8])
    z, r = (places[:, None] ** np.arange(n + 1) for n in (table.DEGREE_C, table.DEGREE))
    made, stored = (
        np.einsum("ip,pcq,jq->icj", z, block, r)
        for block in (tabulate.block((False, 0)), table.load()[-table.FIRST])
    )
    np.testing.assert_allclose(made, stored, rtol=0, atol=1e-13)
