"""Self-distillation with weight decay: Tian et al. 2021, and the basins of Ponce et al. 2025."""

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate

import jepa_sim as js

# Tian et al.: s = w² of a mode, p of the predictor, the teacher ξ = τ w; inputs of variance
# 1 + σ², so ours, and λ = 1

VARIANCE = np.array([1.5, 1.1])
OBSERVED = (js.observables.features, js.observables.predictor_gains)


def byol(times, gain, imbalance, *, predictor_rate=1.0, decay=0.0, beta=0.3, variance=VARIANCE):
    """(p, s) of every mode at `times`."""
    moments = js.Moments(np.diag(variance), np.eye(2))
    start, objective = js.Unbalanced(gain, imbalance), js.JEPA(js.MovingAverage(1 / beta))
    training = js.Training(predictor_rate=predictor_rate, decay=decay)
    problem = js.Problem(moments, objective, js.DeepLinear(1), start, training)
    solver = js.LayerModes(rtol=1e-9)
    run = js.simulate(problem, np.asarray(times), solver, observables=OBSERVED)
    order = np.argsort(-np.asarray(run.problem.features.variance))
    assert run.result == js.ResultCode.success
    return np.asarray(run["predictor_gains"])[:, order], np.asarray(run.features)[:, order] ** 2


def test_tian_modes_of_predictor_and_encoder():
    alpha, eta, beta, times = 2.0, 0.04, 0.3, np.array([1.0, 6.0, 40.0])
    s0, p0 = 0.3, 0.2
    p, s = byol(times, s0**0.5, p0**2 - s0, predictor_rate=alpha, decay=eta, beta=beta)

    def flow(t, state, variance):
        p, s, tau = state
        error = tau - variance * p
        change = 2 * p * s * error - 2 * eta * s
        return [
            alpha * s * error - eta * p,
            change,
            beta * (1 - tau) - tau * change / (2 * s),
        ]

    for i, variance in enumerate(VARIANCE):
        expected = scipy.integrate.solve_ivp(
            flow, (0, 40), [p0, s0, 1.0], args=(variance,), t_eval=times, rtol=1e-11, atol=1e-13
        ).y
        np.testing.assert_allclose(p[:, i], expected[0], rtol=1e-6)
        np.testing.assert_allclose(s[:, i], expected[1], rtol=1e-6)
    kept = (s0 - p0**2 / alpha) * np.exp(-2 * eta * times[:, None])
    np.testing.assert_allclose(s - p**2 / alpha, np.broadcast_to(kept, s.shape), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("predictor_rate", [1.0, 4.0])
def test_tian_threshold_of_collapse(predictor_rate):
    """1/(4σ²) at any predictor rate; both modes at once, each of the same distance to its own."""
    top = 1 / (2 * VARIANCE[0])  # p where the two states at rest meet
    times = [10.0, 1000.0, 3000.0]
    for share, expected in ((0.99, (1 + 0.01**0.5) * top), (1.01, 0.0)):
        eta = share / (4 * VARIANCE[0])
        p, _ = byol(
            times,
            1.1 * top / predictor_rate**0.5,
            (1.1 * top) ** 2 * (1 - 1 / predictor_rate),
            predictor_rate=predictor_rate,
            decay=eta,
            variance=VARIANCE[0] * np.ones(2),
        )
        np.testing.assert_allclose(p[-1], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_tian_a_fast_predictor_leaves_the_encoder_where_it_starts():
    s0, p0, times = 0.25, 0.1, [1.0, 10.0, 200.0]
    for alpha in (1.0, 100.0):
        p, s = byol(times, s0**0.5, p0**2 - s0, predictor_rate=alpha, beta=1e3)
        np.testing.assert_allclose(p[-1], 1 / VARIANCE, rtol=1e-6)
        np.testing.assert_allclose(s[-1], s0 + (VARIANCE**-2.0 - p0**2) / alpha, rtol=1e-4)


@pytest.mark.slow
def test_tian_direct_pred_is_a_flow_of_the_encoder_alone():
    """p = √s of the latent: ẇ = σ λ w² (1 − w/w*), w* = λ/σ³, which has a closed form."""
    lam, sigma, scale = np.array([0.8, 0.5]), np.array([1.2, 0.9]), 0.05
    moments = js.Moments(np.diag(sigma**2), np.diag(lam))
    training = js.Training(predictor=js.DirectPred())
    problem = js.Problem(
        moments, js.JEPA(), js.DeepLinear(1), js.Balanced(scale, rotated=True), training
    )
    times = np.array([5.0, 15.0, 25.0, 200.0])
    run = js.simulate(problem, times, js.GradientFlow(rtol=1e-10), key=jr.key(0))
    # features are in falling ρ = λ/σ²
    rho = lam / sigma**2
    lam, sigma = lam[np.argsort(-rho)], sigma[np.argsort(-rho)]
    top = lam / sigma**3
    x = np.asarray(run.features) / top
    np.testing.assert_allclose(x[-1], 1, rtol=1e-7)

    def clock(x):
        return np.log(x / (1 - x)) - 1 / x

    passed = (clock(x[:3]) - clock(scale / top)) / (sigma * lam * top)
    np.testing.assert_allclose(passed, np.broadcast_to(times[:3, None], (3, 2)), rtol=1e-7)


@pytest.mark.parametrize(
    "rule",
    [js.DirectPred(), js.FastPredictor(), js.GivenPredictor(0.5)],
    ids=lambda r: type(r).__name__,
)
@pytest.mark.parametrize(
    ("objective", "network", "words"),
    [
        (js.JEPA(), js.DeepLinear(1, 2), "`network.predictor_depth` must be 1 with"),
        (js.MAE(), js.DeepLinear(1), "`objective` must be JEPA with"),
        (js.JEPA(), js.DeepLinear(1, width=3), "`network.width` must be at most d = 2 with"),
    ],
)
def test_a_formula_fits_one_layer_of_predictor_and_jepa(rule, objective, network, words):
    moments, training = (
        js.Moments.from_features([1.0, 0.5], [0.9, 0.3]),
        js.Training(predictor=rule),
    )
    start = js.RandomGaussian(0.1)
    with pytest.raises(ValueError, match=f"{words} {type(rule).__name__}, but is"):
        js.Problem(moments, objective, network, start, training).check()
    js.Problem(moments, js.JEPA(), js.DeepLinear(2), start, training).check()


def given(predictor, depth=1, size=0.6, objective=None, **training):
    """A JEPA of three features whose predictor does not learn."""
    moments = js.Moments.from_features([1.0, 0.5, 2.0], [0.9, 0.3, 1.0])
    training, start = js.Training(predictor=predictor, **training), js.Balanced(size)
    return js.Problem(moments, objective or js.JEPA(), js.DeepLinear(depth), start, training)


def exact(problem, v, times):
    """w̄ by u̇ = v σ² (ρ − v) u^{2L−1}, solved by hand."""
    features, depth = problem.features, float(problem.depth)
    growth = np.outer(times, v * features.variance * (features.rho - v))
    u = float(problem.scale) ** (1 / depth)
    u = u * np.exp(growth) if depth == 1 else (u ** (2 - 2 * depth) - 2 * growth) ** -0.5
    return u**depth


@pytest.mark.parametrize(
    ("predictor", "depth", "v", "plateaus"),
    [
        (js.IdentityPredictor(), 1, 1.0, [0, 0, np.nan]),
        (js.GivenPredictor(0.9), 2, 0.9, [np.nan, 0, np.inf]),
        (js.GivenPredictor(-0.2), 2, -0.2, [0, 0, 0]),
    ],
)
def test_a_predictor_that_does_not_learn(predictor, depth, v, plateaus):
    """Features grow without bound where v is between 0 and ρ, rest where v = ρ, else collapse."""
    problem = given(predictor, depth)
    times = np.array([0.5, 2.0, 4.0])
    for solver in (js.LayerModes(rtol=1e-9), js.GradientFlow(dfx.Tsit5(), rtol=1e-9)):
        run = js.simulate(problem, times, solver)
        np.testing.assert_allclose(run.features, exact(problem, v, times), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(problem.plateaus, plateaus)
    end = {0.0: js.Status.collapsed, np.inf: js.Status.growing}
    for found, plateau in zip(js.diagnose(run).findings, plateaus, strict=True):
        assert found.status is end.get(plateau, js.Status.undetermined)
        assert np.isnan(plateau) or "the predictor is given" in found.reason


def test_plateaus_of_a_given_predictor():
    """Decay works against growth; without stop-gradient all collapses; a matrix says nothing."""
    half, free = js.GivenPredictor(0.5), js.JEPA(js.NoStopGradient())
    for problem, plateaus in (
        (given(half), [np.inf, 0, np.inf]),
        (given(half, decay=0.1), [np.nan, 0, np.nan]),
        (given(half, objective=free), [0, 0, 0]),
        (given(js.GivenPredictor(0.5 * np.eye(3))), [np.nan] * 3),
    ):
        np.testing.assert_array_equal(problem.plateaus, plateaus)
        assert problem.kept is None


def test_a_given_matrix_is_square_finite_and_as_wide_as_the_latent():
    for matrix, words in (
        (np.ones((2, 3)), "`matrix` must be a square matrix"),
        ([[np.nan]], "`matrix` must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            js.GivenPredictor(matrix)
    with pytest.raises(ValueError, match=r"`matrix` must be of shape \(3, 3\)"):
        given(js.GivenPredictor(np.eye(2))).check()
    with pytest.raises(ValueError, match=r"set each feature by itself for `LayerModes`"):
        js.simulate(given(js.GivenPredictor(np.eye(3))), [1.0], js.LayerModes())


def test_direct_pred_takes_single_frames():
    moments = js.Moments(np.eye(4), 0.5 * np.eye(4))
    network, start = js.DeepLinear(1, frames=(2, 2)), js.RandomGaussian(0.1)
    for rule in (js.Learned(), js.FastPredictor()):
        js.Problem(moments, js.JEPA(), network, start, js.Training(predictor=rule)).check()
    problem = js.Problem(moments, js.JEPA(), network, start, js.Training(predictor=js.DirectPred()))
    with pytest.raises(ValueError, match=r"`network.frames` must be \(1, 1\) with DirectPred"):
        problem.check()


def test_plateaus_of_direct_pred():
    """ρ/σ, 0 where ρ is negative; not known with decay, a boost, or without stop-gradient."""
    moments = js.Moments.from_features([1.0, -0.5], [0.5, -0.25])

    def plateaus(boost=0.0, objective=None, **training):
        training = js.Training(predictor=js.DirectPred(boost), **training)
        parts = js.DeepLinear(2), js.Balanced(0.1), training
        return js.Problem(moments, objective or js.JEPA(), *parts).plateaus

    np.testing.assert_allclose(plateaus(), [0.5 / 2**0.5, 0], rtol=1e-12)
    assert np.isnan(plateaus(decay=0.1)).all()
    assert np.isnan(plateaus(boost=0.1)).all()
    assert np.isnan(plateaus(objective=js.JEPA(js.NoStopGradient()))).all()


# Ponce et al.: a scalar input, σ² ~ U[0, 3], λ ~ U[−1, 1], decay η ~ U[0.01, 0.1], of which those
# draws are kept that have states at rest beside 0, spheres of radii (|λ| ∓ √(λ² − 4σ²η))/(2σ²).
# The width 2, the law of the start and the teacher's time constant are ours.


def draw(key, count):
    low, high = jnp.array([0.0, -1.0, 0.01]), jnp.array([3.0, 1.0, 0.1])
    variance, lam, decay = jr.uniform(key, (10 * count, 3), minval=low, maxval=high).T
    kept = jnp.flatnonzero(lam**2 >= 4 * variance * decay)[:count]
    return variance[kept], lam[kept], decay[kept]


@pytest.mark.release
@pytest.mark.parametrize(
    ("target", "share"), [(js.StopGradient(), 0.820), (js.MovingAverage(50.0), 0.928)]
)
def test_ponce_share_of_starts_that_end_on_the_outer_sphere(target, share):
    count = 1000

    @eqx.filter_vmap
    def norm(variance, lam, decay, key):
        moments = js.Moments(variance[None, None], lam[None, None])
        network, start = js.DeepLinear(1, width=2), js.RandomGaussian(1.0)
        problem = js.Problem(moments, js.JEPA(target), network, start, js.Training(decay=decay))
        solver = js.GradientFlow(dfx.Kvaerno3(), rtol=1e-4)  # the flow is stiff where σ² is small
        times, observed = jnp.array([2000.0]), (js.observables.features,)
        return js.simulate(problem, times, solver, observables=observed, key=key).features[0, 0]

    variance, lam, decay = draw(jr.key(0), count)
    found = norm(variance, lam, decay, jr.split(jr.key(1), count))
    outer = (abs(lam) + jnp.sqrt(lam**2 - 4 * variance * decay)) / (2 * variance)
    learned, lost = abs(found / outer - 1) < 0.05, found < 1e-2 * outer
    assert (learned | lost).mean() > 0.995
    deviation = (share * (1 - share) / count) ** 0.5
    assert abs(learned.mean() - share) < 3 * deviation
