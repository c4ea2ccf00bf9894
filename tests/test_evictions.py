"""Features that are learned, evicted by a cleaner one, and learned again."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

import jepa_sim as js
from jepa_sim.results.evictions import evictions_of
from jepa_sim.results.variables import FOR_GOOD

LAM, RHO, EPS = np.array([1.0, 2.0]), np.array([0.9, 0.3]), 1e-3
OFF = EPS * (np.eye(2) + 1e-6 * np.array([[0.0, 1.0], [1.0, 0.0]]))
MOMENTS = js.Moments.from_features(LAM, RHO)
TIMES = np.arange(0.0, 1001.0, 2.0)
OBSERVED = (js.observables.features, js.observables.predictor_gains, js.observables.latent_cosines)


@pytest.fixture(scope="module")
def run():
    """λ = [1, 2], ρ = [.9, .3], L = 1, off the diagonal by 1e-6."""
    start = js.Given([OFF], [EPS * np.eye(2)])
    problem = js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(1), start)
    return js.simulate(problem, TIMES, js.GradientFlow(), observables=OBSERVED)


class Passes:
    """An event of scipy: the gain of a feature passes half of its plateau in one direction."""

    def __init__(self, feature, direction):
        self.feature, self.direction = feature, direction

    def __call__(self, t, state):
        gain = np.linalg.norm(state[:4].reshape(2, 2)[:, self.feature])
        return gain - RHO[self.feature] / 2


@pytest.fixture(scope="module")
def crossings():
    """(feature, whether upwards) → times at half of the plateau, by scipy and written out here."""
    xx, yx = np.diag(LAM / RHO), np.diag(LAM)

    def move(t, state):
        w, v = state.reshape(2, 2, 2)
        residual = w @ yx - v @ w @ xx
        return np.concatenate([(v.T @ residual).ravel(), (residual @ w.T).ravel()])

    start = np.concatenate([OFF.ravel(), EPS * np.eye(2).ravel()])
    found, options = {}, {"method": "LSODA", "rtol": 1e-11, "atol": 1e-18}
    for feature in (0, 1):
        for direction in (1, -1):
            event = Passes(feature, direction)
            solution = scipy.integrate.solve_ivp(move, (0, 1000), start, events=event, **options)
            found[feature, direction > 0] = solution.t_events[0]
    return found


@pytest.mark.slow
def test_first_and_last_crossings_are_those_of_scipy(run, crossings):
    assert [len(crossings[key]) for key in ((0, True), (0, False), (1, True), (1, False))] == [
        *(1, 0, 2, 1)
    ]
    first, last = run.critical_times(fraction=0.5), run.learned_times(fraction=0.5)
    np.testing.assert_allclose(first, [crossings[0, True][0], crossings[1, True][0]], rtol=2e-5)
    np.testing.assert_allclose(last, [crossings[0, True][0], crossings[1, True][1]], rtol=2e-5)
    assert first[0] == last[0]  # the same numbers, not nearly
    np.testing.assert_allclose(first[1], 506, atol=1)
    np.testing.assert_allclose(last[1], 798, atol=1)


def test_an_order_of_first_and_one_of_last_crossings(run):
    order = run.order(fraction=0.5)
    assert (order["order_rho"], order["order_lam"], order["flips"]) == (-1, 1, 0)
    learned = (order["learned_order_rho"], order["learned_order_lam"], order["learned_flips"])
    assert learned == (1, -1, 1)
    assert (order["first_noisy"], order["learned_first_noisy"]) == (0, 1)


def test_what_is_not_there_at_the_end_is_not_learned_for_good(run):
    """At t = 700 feature 1 is evicted, and not learned again yet."""
    saved = slice(None, int(np.searchsorted(TIMES, 700.0)))
    values = {name: value[saved] for name, value in run.values.items()}
    short = js.Trajectory(run.problem, run.times[saved], values, None, run.result, run.stats)
    assert short.learned_times(fraction=0.5)[1] == np.inf
    [lost] = js.evictions(short)
    assert (lost.feature, lost.by, lost.again) == (1, 0, np.inf)
    finding = js.diagnose(short).findings[1]
    assert finding.status is js.Status.evicted
    assert "evicted by feature 0 (ρ = 0.9) at t = 587" in finding.reason
    assert "its gain rises again" in finding.reason
    failed = js.Trajectory(
        run.problem, run.times, {"features": run.features.at[-1].set(jnp.nan)}, None, run.result, {}
    )
    np.testing.assert_array_equal(np.isnan(failed.learned_times(fraction=0.5)), True)
    assert [lost.by for lost in js.evictions(failed)] == [0]  # as far as the run went


def test_evictions_and_their_times_are_those_of_scipy(run, crossings):
    [lost] = js.evictions(run)
    assert (lost.feature, lost.by, lost.carrier) == (1, 0, None)
    found = (lost.learned, lost.lost, lost.again)
    expected = (crossings[1, True][0], crossings[1, False][0], crossings[1, True][1])
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    rough = evictions_of(*map(np.asarray, (run.times, run.features, RHO, RHO, LAM)))
    np.testing.assert_allclose(rough[0][1:4], expected, rtol=2e-3)
    assert rough[0].by == 0


def test_a_diagnosis_tells_the_story(run):
    clean, noisy = js.diagnose(run).findings
    assert clean.status is noisy.status is js.Status.learned
    assert "took the latent of feature 1 (ρ = 0.3) at t = 587" in clean.reason
    story = "learned at t = 506.2, evicted by feature 0 (ρ = 0.9) at t = 587.3, learned again at"
    assert story in noisy.reason


def test_a_stored_run_of_the_closed_form_has_both_and_stores_one(tmp_path):
    planned = js.plan(
        js.Grid(spectrum=MOMENTS, objective=[js.JEPA()], seed=[0, 1]), js.ClosedForm(), times=[1.0]
    )
    found = js.campaign(tmp_path / "run", planned, progress=False)
    assert not (tmp_path / "run/data.zarr/learned_time").exists()
    for first, last in FOR_GOOD.items():
        np.testing.assert_array_equal(found[first], found[last])
    assert found.learned_time.attrs["long_name"].startswith("last time")


def test_a_takeover_by_its_formula():
    """The flow along one latent, d ln r/dt = v (λᵢ − λⱼ − v (σᵢ² − σⱼ²)), v quasi-steady."""
    log_r, variance = np.linspace(-6, 6, 400), LAM / RHO
    r2 = np.exp(2 * log_r)
    v = (r2 * LAM[0] + LAM[1]) / (r2 * variance[0] + variance[1])
    speed = v * (LAM[0] - LAM[1] - v * (variance[0] - variance[1]))
    t = scipy.integrate.cumulative_simpson(1 / speed, x=log_r, initial=0)
    gains = (v / np.sqrt(1 + r2))[:, None] * np.stack([np.exp(log_r), np.ones(400)], axis=1)
    [lost] = evictions_of(t, gains, RHO, RHO, LAM)
    assert (lost.feature, lost.by, lost.learned, lost.again) == (1, 0, t[0], np.inf)
    np.testing.assert_allclose(np.interp(lost.lost, t, gains[:, 1]), RHO[1] / 2, rtol=1e-3)
    # which of the two is the cleaner decides: with their ρ exchanged it was no eviction
    [lost] = evictions_of(t, gains, RHO, RHO[::-1], np.ones(2))
    assert lost.by is None


def test_a_gain_that_falls_alone_was_not_evicted():
    t = np.linspace(0, 10, 200)
    gains = np.stack([0.9 * np.exp(-t), np.full(200, 0.3)], axis=1)
    [lost] = evictions_of(t, gains, RHO, RHO, LAM)
    assert (lost.feature, lost.by, lost.again) == (0, None, np.inf)
    np.testing.assert_allclose(lost.lost, np.log(2), rtol=1e-6)  # linear in the logarithm


def test_a_gain_may_be_carried_by_the_latent_of_another(run):
    """Where moments do not commute, a pattern has a part along another one."""
    t = np.linspace(0, 1000, len(TIMES))
    mine = np.where((t > 300) & (t < 500), 0.2, 1e-3)
    # it rises when the other falls, and took nothing: the latent was its own before
    host = np.where(t > 300, np.where(t < 500, 0.5, 0.9), 1e-3)
    values = {
        "features": jnp.asarray(np.stack([host, mine], axis=1)),
        "latent_cosines": jnp.ones((len(t), 2, 2)),
    }
    carried = js.Trajectory(run.problem, jnp.asarray(t), values, None, run.result, {})
    [lost] = js.evictions(carried)
    assert (lost.by, lost.carrier) == (None, 0)
    reason = js.diagnose(carried).findings[1].reason
    assert "by the latent of feature 0 (ρ = 0.9)" in reason
    assert "carried from t = 3" in reason


@pytest.mark.parametrize(
    ("solver", "exact"),
    [
        (js.ClosedForm(), True),
        pytest.param(js.GradientFlow(), False, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_sweeps_have_the_same_columns_of_first_and_last_crossings(solver, exact, run):
    if exact:
        grid = js.Grid(spectrum=MOMENTS, objective=[js.JEPA()], scale=[EPS])
    else:

        def start(scale):
            return js.Given([scale / EPS * OFF], [scale * jnp.eye(2)])

        grid = js.Grid(spectrum=MOMENTS, objective=[js.JEPA()], scale=[EPS], start=start)
    planned = js.plan(grid, solver, times=TIMES[1:], critical_fraction=[0.5])
    assert (set(FOR_GOOD.values()) <= set(planned.shapes())) is not exact
    found = js.sweep(grid, solver, times=TIMES[1:], critical_fraction=[0.5], progress=False)
    lane = found.squeeze()
    for first, last in FOR_GOOD.items():
        assert lane[last].attrs["long_name"] != lane[first].attrs["long_name"]
        if exact:
            np.testing.assert_array_equal(lane[first], lane[last])
            continue
        order = run.order(fraction=0.5)
        times = {
            "critical_time": run.critical_times(fraction=0.5),
            "learned_time": run.learned_times(fraction=0.5),
        }
        for name in (first, last):
            np.testing.assert_allclose(lane[name], {**order, **times}[name], rtol=1e-6)
    assert ("fell below that fraction again" in found.remarks) is not exact
