"""Systems of other papers, solved by the same code, each against its own formula."""

import jax
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

import jepa_sim as js

TIGHT = {"rtol": 1e-10}


def white(s) -> js.Moments:
    """Σxx = I, Σyx = diag(s): the data of Saxe et al."""
    return js.Moments.from_features(s, s)


# Two layers of supervised learning: Saxe et al. 2014 (κ = 0), Dominé et al. 2024 (any κ)

S, START = np.array([1.3, 0.7]), 0.1
TIMES = np.array([0.4, 1.1, 2.0, 5.0])


def two_layers(imbalance, times=TIMES):
    """The product p = v̄ w̄ of every mode at `times`, and the imbalance that is found then."""
    start = js.Unbalanced(START, imbalance)
    problem = js.Problem(white(S), js.MAE(), js.DeepLinear(1), start)
    o = js.observables
    observed = (o.features, o.predictor_gains, o.balancedness)
    run = js.simulate(problem, times, js.LayerModes(**TIGHT), observables=observed)
    return np.asarray(run.features * run["predictor_gains"]), np.asarray(run["balancedness"])


def test_saxe_two_layer_modes():
    t, p0 = TIMES[:, None], START**2
    expected = S * np.exp(2 * S * t) / (np.exp(2 * S * t) - 1 + S / p0)
    np.testing.assert_allclose(two_layers(0.0)[0], expected, rtol=1e-8)


def from_lazy_to_rich(t, s, kappa, p0):
    """ṗ = √(κ² + 4p²) (s − p), solved with p = κ T/(1 − T²) by the half angle T."""
    x, first = np.hypot(kappa, 2 * s), np.tanh(np.arcsinh(2 * p0 / kappa) / 2)
    growth = np.exp(x * t) * (x + kappa + 2 * s * first) / (x - kappa - 2 * s * first)
    half = (x * (growth - 1) / (growth + 1) - kappa) / (2 * s)
    return kappa * half / (1 - half**2)


@pytest.mark.parametrize("imbalance", [-0.007, 0.7, 5.0])
def test_unbalanced_starts_go_from_lazy_to_rich(imbalance):
    p0 = START * (START**2 + imbalance) ** 0.5
    found, kept = two_layers(imbalance)
    # the formula is even in κ
    expected = from_lazy_to_rich(TIMES[:, None], S, abs(imbalance), p0)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    np.testing.assert_allclose(kept, abs(imbalance), rtol=1e-7)


def test_the_lazy_limit_is_exponential():
    kappa, p0 = 1e4, START * (START**2 + 1e4) ** 0.5
    times = TIMES / kappa
    expected = S + (p0 - S) * np.exp(-kappa * times[:, None])
    np.testing.assert_allclose(two_layers(kappa, times)[0], expected, rtol=1e-5)


# Linear Barlow Twins: Simon et al. 2023

GAMMA = np.array([2.0, 1.0, 0.4, 0.1])


def test_simon_gains_rise_as_logistic_curves():
    problem = js.Problem(white(GAMMA[:2]), js.BarlowTwins(), js.DeepLinear(1), js.Balanced(0.01))
    g, s0 = GAMMA[:2], 0.01
    half = np.log(1 / (s0**2 * g) - 1) / (8 * g)
    times = np.sort(np.concatenate([half, [0.05, 3.0]]))
    run = js.simulate(problem, times, js.LayerModes(**TIGHT))
    expected = 1 / (g + (s0**-2.0 - g) * np.exp(-8 * g * times[:, None]))  # they leave out − g
    np.testing.assert_allclose(run.features**2, expected, rtol=1e-7)
    for i in range(2):  # half of the plateau 1/γ
        at = np.argmin(abs(times - half[i]))
        np.testing.assert_allclose(run.features[at, i] ** 2 * g[i], 0.5, rtol=1e-7)


def test_simon_small_random_starts_learn_the_top_directions_step_by_step():
    k, rows = 2, np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    gamma = rows.T @ np.diag(GAMMA) @ rows
    moments = js.Moments(np.eye(4) * 2, gamma)
    start, network = js.RandomGaussian(1e-5), js.DeepLinear(1, width=k)
    problem = js.Problem(moments, js.BarlowTwins(), network, start)
    times = np.concatenate([[0.0], np.linspace(0.5, 4, 200), [30.0]])
    observed = (js.observables.weights,)
    run = js.simulate(
        problem, times, js.GradientFlow(rtol=1e-8), observables=observed, key=jr.key(1)
    )
    w = np.asarray(run["weights"].encoder[0])
    # what each step starts from: the part of the start along it, past those before it
    s0 = abs(np.diag(np.linalg.qr(w[0] @ rows[:k].T)[1]))
    half = np.log(1 / (s0**2 * GAMMA[:k])) / (8 * GAMMA[:k])
    levels = np.linalg.eigvalsh(w @ gamma @ w.swapaxes(1, 2))[:, ::-1]
    measured = [np.interp(0.5, levels[:-1, j], times[:-1]) for j in range(k)]
    np.testing.assert_allclose(measured, half, rtol=1e-3)
    # the others had grown a little by then, and stay: every W Γ Wᵀ = I is at rest
    end = rows[:k].T @ np.diag(1 / GAMMA[:k]) @ rows[:k]
    np.testing.assert_allclose(w[-1].T @ w[-1], end, atol=1e-3)


# Reconstruction against joint embedding: Van Assel et al. 2025

PENALTY = 3.0


def two_views() -> js.Moments:
    """Views of one law. Feature 0 has the largest λρ, and the smallest ρ; nothing is diagonal."""
    lam, rho = np.array([2.0, 0.6, 0.2]), np.array([0.4, 0.9, 0.8])
    mix = np.eye(3) + 0.15 * np.random.default_rng(0).normal(size=(3, 3))
    xx, yx = mix @ np.diag(lam / rho) @ mix.T, mix @ np.diag(lam) @ mix.T
    return js.Moments(xx, yx, xx)


def ends(objective, times):
    start, network = js.RandomGaussian(0.1), js.DeepLinear(1, width=2)
    problem = js.Problem(two_views(), objective, network, start)
    run = js.simulate(
        problem,
        times,
        js.GradientFlow(rtol=1e-8),
        observables=(js.observables.weights, js.observables.features),
        key=jr.key(0),
    )
    return jax.tree.map(lambda z: np.asarray(z[-1]), (run["weights"], run.features))


def test_reconstruction_ends_at_its_optimum_and_keeps_the_noisy_feature():
    moments = two_views()
    weights, _ = ends(js.MAE(), np.array([400.0]))
    optimum = js.reconstruction_optimum(moments, 2)
    np.testing.assert_allclose(weights.predictor[0] @ weights.encoder[0], optimum, atol=1e-6)

    xx, yx = np.asarray(moments.xx), np.asarray(moments.yx)
    root = scipy.linalg.sqrtm(xx)
    left, singular, right = np.linalg.svd(yx @ np.linalg.inv(root))
    singular[2] = 0
    np.testing.assert_allclose(
        optimum, left @ np.diag(singular) @ right @ np.linalg.inv(root), rtol=1e-9, atol=1e-12
    )
    features = moments.features()
    kept = np.linalg.norm(optimum @ features.patterns, axis=0) / features.rho
    assert kept[int(np.argmin(features.rho))] > 0.9
    assert kept.min() < 0.5


def test_joint_embedding_ends_at_its_optimum_and_drops_the_noisy_feature():
    moments = two_views()
    weights, gains = ends(js.WhitenedJoint(PENALTY), np.array([100.0]))
    optimum = np.asarray(js.joint_embedding_optimum(moments, 2))
    xx, yx = np.asarray(moments.xx), np.asarray(moments.yx)
    np.testing.assert_allclose(optimum @ xx @ optimum.T, np.eye(2), atol=1e-12)
    rho, vectors = scipy.linalg.eigh(yx, xx)
    top = vectors[:, 1:]  # scipy's are whitened too
    np.testing.assert_allclose(optimum.T @ optimum, top @ top.T, atol=1e-10)

    # the flow ends in the same subspace, with (1 − δ/(βσ²)) of its size, δ/σ² = 2(1 − ρ)
    share = 1 - 2 * (1 - rho[1:]) / PENALTY
    w = weights.encoder[0]
    np.testing.assert_allclose(w.T @ w, top @ np.diag(share) @ top.T, atol=1e-7)
    assert gains[int(np.argmin(moments.features().rho))] < 1e-7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: js.reconstruction_optimum(m, 0), "`rank` must be a whole number, at least 1"),
        (lambda m: js.reconstruction_optimum(m, 3), "`rank` must be at most 2, but is 3"),
        (lambda m: js.joint_embedding_optimum(m, 1), r"`moments.yx` must be of shape \(3, 3\)"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(js.Moments(np.eye(3), np.ones((2, 3)) / 4))


# Greedy rank of linear autoencoders: Sun et al. 2021

VARIANCE = np.array([1.0, 0.8, 0.6, 1e-7, 1e-7, 1e-7])


def autoencoder(layers, rate, times, scale):
    """`layers` linear layers between encoder and decoder: N + 2 factors."""
    moments = js.Moments(np.diag(VARIANCE), np.diag(VARIANCE))
    network, training = js.DeepLinear(layers + 1), js.Training(rate, rate)
    problem = js.Problem(moments, js.MAE(), network, js.Balanced(scale), training)
    observed = (js.observables.effective_rank, js.observables.weights)
    return js.simulate(problem, times, js.Modes(), observables=observed)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_effective_rank_settles_at_the_true_rank(layers):
    run = autoencoder(layers, 1.0, np.geomspace(1, 1e4, 300), 1e-3)
    rank = np.asarray(run["effective_rank"])
    np.testing.assert_allclose(rank[-1], 3, atol=0.05)
    if layers:  # features come one by one: the rank falls to 1 and climbs
        assert rank.min() < 1.3


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_depths_relax_alike_with_the_rate_over_n_plus_2(layers):
    def speed(rate):
        times = np.linspace(12, 13, 300)
        gap = np.asarray(autoencoder(layers, rate, times, 0.5)["weights"].gap)[:, :3]
        return np.log(gap[0] / gap[-1])

    np.testing.assert_allclose(speed(1 / (layers + 2)), VARIANCE[:3], rtol=0.01)
    np.testing.assert_allclose(speed(1.0), (layers + 2) * VARIANCE[:3], rtol=0.01)
