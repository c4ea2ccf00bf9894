"""Features that turn in pairs, and predictors that change their sign, from the losses alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from tests.problems import oracle

PAIR = js.Moments.from_features([1.0, 1.0, 0.6], [0.8, 0.8, 0.4], angle=[2.0, -2.0, 0.0])
NEGATIVE = js.Moments.from_features([1.0, -0.7], [0.8, -0.6])
LOSSES = {"jepa": (js.JEPA(), oracle.jepa), "mae": (js.MAE(), oracle.mae)}


def factors(start: float, predictor: float, depth: int, layers: int, d: int):
    """Multiples of the identity: the encoder has the gain `start`, each predictor layer its own."""
    return [start ** (1 / depth) * np.eye(d)] * depth, [predictor * np.eye(d)] * layers


def solved(moments: js.Moments, name: str, depth: int, layers: int, kappa: float, times):
    """The network at the given times by scipy, from the losses alone; κ = w² − v²."""
    xx, yx, yy = (np.asarray(m) for m in (moments.xx, moments.yx, moments.yy))
    system = oracle.System(oracle.data(xx, yx, yy), LOSSES[name][1])
    u = 0.1 ** (1 / depth)
    start = oracle.begin(system, *factors(0.1, (u**2 - kappa) ** 0.5, depth, layers, len(xx)))
    return system, oracle.solve(system, start, times)


def posed(moments: js.Moments, name: str, depth: int, layers: int, kappa: float) -> js.Problem:
    start = js.Unbalanced(0.1, -kappa) if kappa else js.Balanced(0.1)
    return js.Problem(moments, LOSSES[name][0], js.DeepLinear(depth, layers), start)


@pytest.mark.parametrize(
    ("moments", "name", "depth", "layers", "kappa"),
    [
        pytest.param(PAIR, "jepa", 1, 2, 0.0, marks=pytest.mark.slow),
        pytest.param(PAIR, "jepa", 2, 1, -0.002, marks=pytest.mark.slow),
        (PAIR, "jepa", 1, 1, 0.0),
        (PAIR, "mae", 2, 1, 0.0),
        (NEGATIVE, "jepa", 2, 1, 0.05),
    ],
)
def test_critical_times_are_those_of_the_losses(moments, name, depth, layers, kappa):
    problem = posed(moments, name, depth, layers, kappa)
    times = js.critical_times(problem, fraction=0.7)
    assert np.isfinite(times).all()
    at = np.sort(np.unique(np.asarray(times).round(9)))
    _, found = solved(moments, name, depth, layers, kappa, at)
    gains = np.linalg.norm(oracle.chain(found.encoder), axis=-2)
    for feature, time in enumerate(np.asarray(times)):
        reached = gains[np.argmin(abs(at - time)), feature]
        np.testing.assert_allclose(reached, 0.7 * problem.plateaus[feature], rtol=1e-6)


@pytest.mark.parametrize(
    ("moments", "kappa", "dies"),
    [
        (NEGATIVE, -0.005, [False, True]),
        (NEGATIVE, 0.005, [False, False]),
        (PAIR, -0.09, [True, True, False]),
    ],
)
def test_an_encoder_dies_where_its_predictor_passes_too_near_to_zero(moments, kappa, dies):
    problem = posed(moments, "jepa", 1, 1, kappa)
    np.testing.assert_array_equal(problem.plateaus == 0, dies)
    np.testing.assert_array_equal(np.isinf(js.critical_times(problem, fraction=0.5)), dies)
    _, found = solved(moments, "jepa", 1, 1, kappa, [300.0, 3000.0])
    gains = np.linalg.norm(oracle.chain(found.encoder), axis=-2)
    np.testing.assert_array_equal(gains[-1] < 0.5 * gains[0] + 1e-9, dies)
    alive = ~np.array(dies)
    np.testing.assert_allclose(gains[-1][alive], problem.plateaus[alive], rtol=1e-6)


def test_a_small_start_waits_for_the_turn():
    """As ε → 0, M = 1: t → θ/(λ ε sin θ) at L = 1, (2θ − sin 2θ)/(4 λ (√ε sin θ)³) at L = 2."""
    angle = np.array([0.3, -0.3, 1.5, -1.5, 2.9, -2.9])
    moments = js.Moments.from_features([0.7] * 6, [0.6] * 6, angle=angle)

    def times(depth: int) -> np.ndarray:
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth), js.Balanced(1e-5))
        return np.asarray(js.critical_times(problem, fraction=0.5))

    np.testing.assert_allclose(times(1), angle / np.sin(angle) / 0.7e-5, rtol=1e-3)
    deep = (2 * angle - np.sin(2 * angle)) / (4 * 0.7 * (1e-5**0.5 * np.sin(angle)) ** 3)
    np.testing.assert_allclose(times(2), deep, rtol=2e-2)
    assert deep[4] > 300 * deep[0]


def test_without_a_turn_the_line_is_the_reduced_flow():
    plain = js.Moments.from_features([1.0, 0.6], [0.8, 0.4])
    for name, depth, layers in (("jepa", 3, 1), ("jepa", 1, 2), ("mae", 2, 1)):
        problem = posed(plain, name, depth, layers, 0.0)
        line = problem.line
        assert line is not None
        wanted = js.critical_times(problem, fraction=0.7)
        np.testing.assert_allclose(line.hitting_time(0.7 * line.plateau), wanted, rtol=1e-11)


@pytest.mark.slow
def test_times_have_derivatives():
    def time(rho: jax.Array, scale: jax.Array) -> jax.Array:
        moments = js.Moments.from_features(rho * jnp.ones(2), [0.8] * 2, angle=[1.0, -1.0])
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(scale))
        return js.critical_times(problem, fraction=0.5)[0]

    step = 1e-5
    for which in (0, 1):
        at = [jnp.asarray(0.7), jnp.asarray(0.1)]
        up, down = (time(*(x + s * step * (i == which) for i, x in enumerate(at))) for s in (1, -1))
        np.testing.assert_allclose(jax.grad(time, which)(*at), (up - down) / 2 / step, rtol=1e-6)


OBSERVED = (
    js.observables.features,
    js.observables.predictor_gains,
    js.observables.phases,
    js.observables.loss,
)


@pytest.mark.release
@pytest.mark.parametrize(("name", "layers"), [("jepa", 1), ("mae", 2)])
def test_planes_by_themselves_move_as_the_losses_say(name: str, layers: int):
    basis = js.data.random_basis(3, seed=2)
    turned = js.Moments(*(basis @ m @ basis.T for m in (PAIR.xx, PAIR.yx, PAIR.yy)))
    times = np.array([1.0, 8.0, 60.0])
    run = js.simulate(
        posed(turned, name, 2, layers, 0.0), times, js.LayerModes(rtol=1e-10), observables=OBSERVED
    )
    # in the basis of the features
    system, found = solved(PAIR, name, 2, layers, 0.0, times)
    encoder, predictor = oracle.chain(found.encoder), oracle.chain(found.predictor)
    gains = np.linalg.norm(encoder, axis=-2)
    # complex numbers: the plane of entries 0 and 1
    w, v = (m[:, 0, 0] + 1j * m[:, 1, 0] for m in (encoder, predictor))
    phase = np.angle(v * w) if name == "mae" else np.angle(v)
    np.testing.assert_allclose(run.features, gains, rtol=1e-7)
    phases = np.stack([phase, -phase, 0 * phase], 1)
    np.testing.assert_allclose(run["phases"], phases, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(run["predictor_gains"][:, 0], abs(v) * np.cos(phase - 2), rtol=1e-6)
    np.testing.assert_allclose(run.loss, oracle.losses(system, found), rtol=1e-6, atol=1e-9)
    flow = js.simulate(run.problem, times, js.GradientFlow(rtol=1e-10), observables=OBSERVED)
    for observable in OBSERVED:
        observed = observable.__name__
        np.testing.assert_allclose(run[observed], flow[observed], rtol=1e-6, atol=1e-9)


@pytest.mark.release
def test_a_sweep_knows_the_times_of_pairs():
    plain = js.Moments.from_features([1.0, 0.9, 0.6], [0.8, 0.7, 0.4])
    grid = js.Grid(spectrum=[PAIR, plain], objective=[js.JEPA(), js.MAE()], scale=[0.1])
    found = js.sweep(
        grid,
        js.LayerModes(rtol=1e-7),
        times=js.CriticalGrid(count=60),
        observables=[js.observables.phases],
        critical_fraction=[0.5],
        progress=False,
    ).squeeze(drop=True)
    assert (found.result == 0).all()
    for spectrum, moments in enumerate((PAIR, plain)):
        for name in ("jepa", "mae"):
            times = js.critical_times(posed(moments, name, 1, 1, 0.0), fraction=0.5)
            swept = found.critical_time.sel(objective=name, spectrum=spectrum)
            np.testing.assert_allclose(swept, times, rtol=2e-3)
    last = found.phases.isel(time=-1, spectrum=0).sel(objective="jepa")
    np.testing.assert_allclose(last, [2, -2, 0], atol=0.05)
    lines = js.plot.phases(found.sel(objective="jepa", spectrum=0)).lines
    assert [len(line.get_xdata()) for line in lines] == [60, 2]  # φ of the pair, and its θ
    assert lines[1].get_ydata()[0] == 2
    with pytest.raises(ValueError, match="`run` must have features that turn, but is without"):
        js.plot.phases(found.sel(objective="jepa", spectrum=1))


def test_what_has_no_pairs_is_said_so():
    sheared = js.Moments(
        np.eye(2), [[0.2, 0.6], [0.0, 0.2]]
    )  # eigenvectors that are not orthogonal
    unequal = js.Moments(np.diag([1.0, 2.0]), [[0.3, -0.5], [0.5, 0.3]])  # one σ² each
    for moments in (sheared, unequal):
        assert moments.features().angle is None
        assert not moments.turns
        assert "turn     not as pairs" in str(moments)
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(0.1))
        with pytest.warns(js.AsymmetryWarning, match="turns features, but not in pairs"):
            js.critical_times(problem, fraction=0.5)
        with pytest.raises(ValueError, match=r"`yx` must turn features in pairs, but for a share"):
            moments.paired(0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: js.simulate(p, [1.0], js.ClosedForm()), "must have no features that turn for"),
        (lambda p: js.simulate(p, [1.0], js.SleepingFlow()), "must be symmetric within"),
        (
            lambda p: js.simulate(
                dataclasses.replace(p, start=js.RandomGaussian(0.1)), [1.0], js.LayerModes()
            ),
            "`start` must be level for `LayerModes` where features turn",
        ),
        (
            lambda p: js.critical_times(
                dataclasses.replace(p, objective=js.JEPA(js.MovingAverage(1.0))), fraction=0.5
            ),
            "must have no features that turn for `critical_times`",
        ),
    ],
)
def test_what_does_not_turn_features_says_so(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(posed(PAIR, "jepa", 1, 1, 0.0))


@pytest.mark.parametrize(
    ("angle", "found"),
    [
        ([1.0, 1.0, 0.0], "1 for feature 0"),
        ([-1.0, 1.0, 0.0], "-1 for feature 0"),
        ([0.0, 1.0, -1.0], "1 for feature 1"),  # of another λ
        ([4.0, -4.0, 0.0], "a half turn is a negative ρ"),
    ],
)
def test_angles_that_are_no_pairs_are_refused(angle, found: str):
    with pytest.raises(ValueError, match=found):
        js.Moments.from_features([1.0, 1.0, 0.6], [0.8, 0.8, 0.4], angle=angle)


def test_pairs_are_found_in_any_basis():
    """λ, ρ and θ from scipy's eigenvalues of Σyx Σxx⁻¹; two pairs of one ρ and θ differ in σ²."""
    lam, rho, angle = [0.8] * 2 + [0.4] * 2 + [0.3], [0.8] * 4 + [0.3], [1.0, -1.0] * 2 + [0.0]
    basis = js.data.random_basis(5, seed=1)
    known = js.Moments.from_features(lam, rho, angle=angle)
    moments = js.Moments(basis @ known.xx @ basis.T, basis @ known.yx @ basis.T)
    features = moments.features()
    values = np.linalg.eigvals(np.asarray(moments.yx) @ np.linalg.inv(moments.xx))
    found = np.asarray(features.rho) * np.exp(1j * np.asarray(features.angle))
    found, values = (np.sort_complex(x.round(12)) for x in (found, values))
    np.testing.assert_allclose(found, values, atol=1e-11)
    np.testing.assert_allclose(np.sort(features.lam), np.sort(lam), rtol=1e-12)
    inside = features.basis.T @ moments.yx @ features.basis
    again = js.Moments.from_features(features.lam, features.rho, angle=features.angle).yx
    np.testing.assert_allclose(inside, again, atol=1e-12)


@pytest.mark.slow
def test_a_diagnosis_explains_the_sign_and_the_turn():
    def reasons(moments: js.Moments, kappa: float, last: float) -> list[str]:
        problem = posed(moments, "jepa", 1, 1, kappa)
        times = np.linspace(0.0, last, 40)
        return [
            f.reason for f in js.diagnose(js.simulate(problem, times, js.LayerModes())).findings
        ]

    assert "κ = w² − v² = 0.005 > 0 let the predictor" in reasons(NEGATIVE, 0.005, 300.0)[1]
    lost = reasons(NEGATIVE, -0.005, 300.0)[1]
    assert "needs a predictor that changes its sign" in lost
    assert "κ = w² − v² = -0.005 is kept, so the encoder reaches 0 first" in lost
    assert "and turned by θ = -2" in reasons(PAIR, 0.0, 300.0)[1]
    assert "still has to turn towards θ = 2" in reasons(PAIR, 0.0, 2.0)[0]
    assert "shrinks while it turns by θ = 2" in reasons(PAIR, -0.09, 300.0)[0]


def test_it_is_not_known_whether_pairs_displace_each_other():
    """Neither with stop-gradient nor with a slow teacher: no rate of pairs is known."""
    moments = js.Moments.from_features([1.0, 1.0], [0.5, 0.5], angle=[1.2, -1.2])
    for target in (js.StopGradient(), js.MovingAverage(10.0)):
        parts = (js.JEPA(target), js.DeepLinear(1), js.Balanced(1e-2))
        assert not js.Problem(moments, *parts).turns_as_known
