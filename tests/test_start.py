"""Every start has factors with the properties in its documentation."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import scipy.stats

import jepa_sim as js
from jepa_sim.model.objectives import product
from jepa_sim.model.starts import effective
from tests.problems import oracle, two_features

D = 5
FLAT = js.Moments.from_features(np.linspace(1.0, 0.6, D), np.linspace(0.9, 0.3, D))
KEY = jr.key(3)


def begin(start, *, objective=None, depth=2, predictor_depth=1, moments=FLAT, **network):
    network = js.DeepLinear(depth, predictor_depth, **network)
    problem = js.Problem(moments, js.JEPA() if objective is None else objective, network, start)
    return problem, problem.weights(KEY)


def in_latent_space(weights):
    """V̄ in the frame in which the encoder is positive: W̄ = Q P, Qᵀ V̄ Q."""
    u, _, vt = np.linalg.svd(product(weights.encoder))
    frame = u @ vt
    return frame.T @ np.asarray(product(weights.predictor)) @ frame


def test_unbalanced_keeps_its_imbalance_between_encoder_and_predictor():
    problem, weights = begin(js.Unbalanced(0.04, 0.3, rotated=True), predictor_depth=2)
    first, last = weights.encoder
    np.testing.assert_allclose(first @ first.T, last.T @ last, atol=1e-15)
    into, out = weights.predictor
    np.testing.assert_allclose(into.T @ into - last @ last.T, 0.3 * np.eye(D), atol=1e-15)
    np.testing.assert_allclose(into @ into.T, out.T @ out, atol=1e-15)
    np.testing.assert_allclose(weights.gains(problem.features), 0.04, rtol=1e-13)


def test_misaligned_turns_the_predictor_by_its_angle():
    _, weights = begin(js.Misaligned(0.04, 2.0))
    found = np.linalg.eigvals(in_latent_space(weights)) / 0.04**0.5
    np.testing.assert_allclose(np.abs(found), 1, rtol=1e-12)
    angles = [-2, -2, 0, 2, 2]  # one of five dimensions stays
    np.testing.assert_allclose(np.sort(np.angle(found)), angles, atol=1e-12)
    _, straight = begin(js.Misaligned(0.04, 0.0))
    np.testing.assert_allclose(in_latent_space(straight), 0.2 * np.eye(D), atol=1e-14)


@pytest.mark.parametrize("width", [None, 2])
@pytest.mark.parametrize("objective", [js.JEPA(), js.MAE()], ids=lambda o: o.name)
def test_random_balanced_is_balanced_and_not_aligned(objective, width):
    start = js.RandomBalanced(0.04)
    problem, weights = begin(start, objective=objective, predictor_depth=2, width=width)
    rank = width or D
    *_, last = chain = (*weights.encoder, *weights.predictor)
    for before, after in itertools.pairwise(chain):
        np.testing.assert_allclose(after.T @ after, before @ before.T, atol=1e-15)
    sizes = np.linalg.svd(product(weights.encoder), compute_uv=False)
    assert 0.02 < sizes.min() < sizes.max() < 0.08
    # V̄W̄ of an MAE, and the predictor of a JEPA in the latent space, are symmetric and positive
    v, w = product(weights.predictor), product(weights.encoder)
    inner = v @ w if objective.name == "mae" else v
    np.testing.assert_allclose(inner, inner.T, atol=1e-15)
    assert np.linalg.eigvalsh(inner)[-rank] > 0
    assert np.min(weights.alignment(problem.features)) < 0.99
    assert last.shape[0] == (D if objective.name == "mae" else rank)


def test_random_balanced_gains_are_log_uniform():
    problem, _ = begin(js.RandomBalanced(0.04), depth=1)
    many = jax.vmap(problem.weights)(jr.split(jr.key(1), 200))
    sizes = np.linalg.svd(many.encoder[0], compute_uv=False)
    logs = np.log2(sizes.ravel() / 0.04)
    assert scipy.stats.kstest(logs, scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_the_flow_keeps_random_balanced_balanced():
    problem, _ = begin(js.RandomBalanced(0.3))
    saved = (js.observables.balancedness, js.observables.features)
    run = js.simulate(problem, [1.0, 30.0], js.GradientFlow(), observables=saved, key=KEY)
    assert np.max(run["balancedness"]) < 1e-5
    assert np.max(run.features) > 0.5


def test_orthogonal_is_haar_in_the_latent_space():
    """The trace of a Haar orthogonal matrix has mean 0 and variance 1 (Diaconis & Shahshahani)."""
    problem, weights = begin(js.Orthogonal(0.04))
    for z in (*weights.encoder, *weights.predictor):
        np.testing.assert_allclose(z @ z.T, 0.2**2 * np.eye(D), atol=1e-15)
    keys = jr.split(jr.key(0), 400)
    many = jax.vmap(problem.weights)(keys)
    traces = [
        np.trace(in_latent_space(jax.tree.map(lambda x, i=i: x[i], many))) / 0.2 for i in range(400)
    ]
    assert abs(np.mean(traces)) < 0.2
    assert abs(np.var(traces) - 1) < 0.3
    assert scipy.stats.kstest(traces, "norm").pvalue > 1e-3


def test_given_is_what_it_says():
    encoder = [np.eye(D) * 0.1, np.diag(np.arange(1.0, D + 1))]
    problem, weights = begin(js.Given(encoder, [np.ones((D, D))]))
    np.testing.assert_array_equal(weights.encoder[1], encoder[1])
    np.testing.assert_allclose(weights.gains(problem.features), 0.1 * np.arange(1, D + 1))
    np.testing.assert_allclose(problem.scale, 0.1 * np.sqrt(np.mean(np.arange(1, D + 1) ** 2)))


@pytest.mark.parametrize("objective", [js.JEPA(), js.MAE()], ids=lambda o: o.name)
def test_a_bottleneck_starts_balanced_in_a_random_subspace(objective):
    start = js.Balanced(0.04, rotated=True)
    problem, weights = begin(start, objective=objective, width=2)
    first, last = weights.encoder
    (predictor,) = weights.predictor
    assert first.shape == (2, D)
    assert predictor.shape == ((2, 2) if objective.name == "jepa" else (D, 2))
    np.testing.assert_allclose(first @ first.T, 0.04 * np.eye(2), atol=1e-15)
    np.testing.assert_allclose(predictor.T @ predictor, last @ last.T, atol=1e-15)
    np.testing.assert_allclose(np.sum(weights.gains(problem.features) ** 2), 2 * 0.04**2)
    assert problem.is_narrow


def test_a_wide_network_is_balanced_too():
    problem, weights = begin(js.Balanced(0.04), width=7)
    assert weights.encoder[0].shape == (7, D)
    assert weights.balancedness(2) < 1e-15
    np.testing.assert_allclose(weights.gains(problem.features), 0.04, rtol=1e-13)
    _, drawn = begin(js.RandomGaussian(0.04), width=400, depth=1)
    np.testing.assert_allclose(drawn.gains(problem.features), 0.04, rtol=0.15)


def test_gains_that_have_vanished_have_a_derivative():
    problem, weights = begin(js.Balanced(0.04), depth=1)
    nothing = jax.tree.map(jnp.zeros_like, weights)
    _, rate = jax.jvp(lambda w: w.gains(problem.features), (nothing,), (weights,))
    assert np.isfinite(rate).all()


@pytest.mark.parametrize("dy", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_targets_of_another_dimension(dy):
    """Σyx = U diag(λ) Rᵀ, Σxx = R diag(σ²) Rᵀ: MAE's reduced theory with λ and σ² (Saxe)."""
    rng = np.random.default_rng(1)
    u = np.linalg.qr(rng.normal(size=(dy, dy)))[0][:, : min(D, dy)]
    r = np.linalg.qr(rng.normal(size=(D, D)))[0]
    lam, variance = np.linspace(1, 0.5, D)[: min(D, dy)], np.linspace(1.2, 2.0, D)
    moments = js.Moments((r * variance) @ r.T, (u * lam) @ r[:, : lam.size].T)
    problem, weights = begin(js.Balanced(0.1), objective=js.MAE(), depth=1, moments=moments)
    features = problem.features
    order = np.argsort(-lam / np.sqrt(variance[: lam.size]))
    np.testing.assert_allclose(features.lam[: lam.size], lam[order], rtol=1e-12)
    np.testing.assert_allclose(features.variance[: lam.size], variance[order], rtol=1e-12)
    np.testing.assert_allclose(features.lam[lam.size :], 0, atol=1e-12)
    gains = weights.predictor_gains(features, js.MAE(), (1, 1))[: lam.size]
    np.testing.assert_allclose(gains, 0.1, rtol=1e-12)  # aligned
    run = js.simulate(problem, [3.0, 200.0], js.GradientFlow())
    known = js.Moments.from_features(lam[order], (lam / variance[: lam.size])[order])
    same = js.Problem(known, js.MAE(), js.DeepLinear(1), js.Balanced(0.1))
    exact = js.simulate(same, [3.0, 200.0], js.Modes()).features
    np.testing.assert_allclose(run.features[:, : lam.size], exact, rtol=1e-6)


def test_sampled_targets_of_another_dimension():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    moments = js.Moments.from_samples(x, y)
    np.testing.assert_allclose(moments.yx, np.cov(y.T, x.T, ddof=0)[:2, 2:], rtol=1e-12)
    moved = js.simulate(
        js.Problem(moments, js.MAE(), js.DeepLinear(1, width=2), js.RandomGaussian(0.1)),
        [1.0],
        js.Descent(optax.sgd, 0.1, batch_size=8),
        key=KEY,
    )
    assert np.isfinite(moved.loss).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.Unbalanced(0.1, jnp.nan), "`imbalance` must be finite"),
        (
            lambda: begin(js.Unbalanced(0.04, -0.3)),
            r"`imbalance` must be above −ε\^\(2/L\) = -0.04",
        ),
        (lambda: js.Misaligned(0.1, jnp.inf), "`angle` must be finite, but is inf"),
        (lambda: js.Orthogonal(-1.0), "`scale` must be positive, but is -1"),
        (
            lambda: js.Given([np.ones((3, 2)), np.ones((3, 2))], [np.eye(3)]),
            r"`encoder\[1\]` must have as many columns as encoder\[0\] has rows, 3",
        ),
        (lambda: js.Given([np.ones(3)], [np.eye(3)]), r"`encoder\[0\]` must be a matrix"),
        (lambda: js.Given([], []), "`encoder` must hold at least one matrix, but is empty"),
        (
            lambda: begin(js.Given([np.eye(D)], [np.eye(D)])),
            r"`start\.encoder` must have factors of shapes \[\(5, 5\), \(5, 5\)\]",
        ),
        (lambda: begin(js.Balanced(0.1), width=2), "`start` must be rotated or random for a width"),
        (lambda: js.DeepLinear(1, width=0), "`width` must be a whole number, at least 1"),
        (lambda: js.DeepLinear(1, 2, frames=(2, 1)), "`predictor_depth` must be 1 with `frames`"),
        (
            lambda: begin(js.Balanced(0.1), frames=(2, 1)),
            r"`moments\.xx` must be a stack of 2 frames",
        ),
        (
            lambda: begin(js.Balanced(0.1), moments=js.Moments(np.eye(3), np.ones((2, 3)))),
            r"`moments\.yx` must have as many rows as columns for `jepa`",
        ),
        (lambda: js.JEPA(js.MovingAverage(0.0)), "`time_constant` must be positive, but is 0"),
        (lambda: js.Training(decay=-0.1), "`encoder_decay` must not be negative, but is -0.1"),
        (lambda: js.Training(encoder_rate=0.0), "`encoder_rate` must be positive, but is 0"),
        (lambda: js.WhitenedJoint(-1.0), "`penalty` must be positive, but is -1"),
    ],
)
def test_bad_starts_networks_and_training_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_reduced_theory_says_what_it_does_not_take():
    problem = js.Problem(
        two_features(),
        js.JEPA(js.MovingAverage(1.0)),
        js.DeepLinear(1),
        js.Balanced(0.1),
    )
    with pytest.raises(ValueError, match=r"weight decay.*for `ClosedForm` \(see `LayerModes`\)"):
        js.simulate(problem, [1.0], js.ClosedForm())
    posed, _ = begin(js.Orthogonal(0.1))
    with pytest.raises(ValueError, match="`start` must be balanced for `critical_times`"):
        js.critical_times(posed, fraction=0.5)
    posed, _ = begin(js.Balanced(0.1, rotated=True), width=2)
    with pytest.raises(ValueError, match=r"`network\.width` must be at least d = 5 for `Modes`"):
        js.simulate(posed, [1.0], js.Modes())


@pytest.mark.parametrize("by", ["attributes", "properties"])
def test_a_start_of_ones_own_says_what_it_is(by):
    """By class attributes, or by properties where they depend on its fields."""
    said = {"is_random": False, "is_level": True, "is_balanced": True, "is_separable": True}

    class Own(js.AbstractStart):
        scale: float
        if by == "attributes":
            is_random = False
            is_level = is_balanced = is_separable = True
        else:
            is_random = property(lambda self: False)
            is_level = is_balanced = is_separable = property(lambda self: self.scale > 0)

        def weights(self, moments, objective, network, key):
            return js.Balanced(self.scale).weights(moments, objective, network, key)

    start = Own(0.1)
    assert {name: getattr(start, name) for name in said} == said
    assert not start.keeps_differences
    posed = js.Problem(two_features(), js.JEPA(), js.DeepLinear(2), start)
    times = js.critical_times(posed, fraction=0.5)
    balanced = js.Problem(two_features(), js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))
    np.testing.assert_array_equal(times, js.critical_times(balanced, fraction=0.5))


def test_a_start_must_say_what_it_is():
    class Silent(js.AbstractStart):
        scale: float
        is_random = is_level = is_balanced = False

        def weights(self, moments, objective, network, key):
            raise NotImplementedError

    with pytest.raises(TypeError, match="is_separable"):
        Silent(0.1)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_right_basis_of_random_balanced_is_that_of_its_weights(depth):
    problem, weights = begin(js.RandomBalanced(0.04), depth=depth)
    gains, basis = problem.start.right_basis(problem.features, KEY)
    w = np.asarray(product(weights.encoder))
    np.testing.assert_allclose(w.T @ w, (basis * gains[None, :] ** 2) @ basis.T, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3])
def test_an_effective_start_is_aligned_with_a_gain_for_every_feature(depth):
    gains = np.array([0.3, 0.01])
    start = effective(jnp.asarray(gains), jnp.eye(2), two_features().features(), depth, 1)
    problem = js.Problem(two_features(), js.MAE(), js.DeepLinear(depth), start)
    np.testing.assert_allclose(problem.weights().gains(problem.features), gains, rtol=1e-12)
    times = [1.0, 30.0]
    exact = js.simulate(problem, times, js.ClosedForm()).features
    np.testing.assert_allclose(js.simulate(problem, times, js.Modes()).features, exact, rtol=1e-6)
    flow = js.simulate(problem, times, js.GradientFlow()).features
    np.testing.assert_allclose(flow, exact, rtol=1e-5)


@pytest.mark.slow
def test_an_mae_of_two_layers_follows_its_effective_start():
    """Times of the matrix flow by scipy: the level start is off by ten times as much."""
    lam, rho = np.array([1.0, 0.5, 0.25]), np.array([0.8, 0.3, 0.6])
    moments, network = js.Moments.from_features(lam, rho), js.DeepLinear(1)
    problem = js.Problem(moments, js.MAE(), network, js.RandomBalanced(1e-3))
    weights = problem.weights(jr.split(KEY)[0])  # as `simulate` does
    system = oracle.System(oracle.data(np.diag(lam / rho), np.diag(lam)), oracle.mae)
    begun = oracle.begin(
        system, [np.asarray(weights.encoder[0])], [np.asarray(weights.predictor[0])]
    )
    times = np.linspace(0, 40, 4001)
    solved = oracle.solve(system, begun, times)
    gains = np.linalg.norm(solved.encoder[0], axis=-2)
    logs = np.log(2 * gains / np.sqrt(rho))  # the plateau is √ρ
    first = np.array([np.interp(0.0, log, times) for log in logs.T])
    exact = js.critical_times(problem, fraction=0.5, key=KEY)
    level = js.Problem(moments, js.MAE(), network, js.Balanced(1e-3))
    rough = js.critical_times(level, fraction=0.5)
    assert np.abs(exact / first - 1).max() < 2e-3
    assert np.abs(rough / first - 1).max() > 2e-2
    run = js.simulate(problem, np.linspace(0, 40, 400), js.ClosedForm(), key=KEY)
    np.testing.assert_allclose(run.critical_times(fraction=0.5), exact, rtol=1e-6)
    with pytest.raises(ValueError, match="`key` must be given for a random start"):
        js.critical_times(problem, fraction=0.5)
    jepa = js.Problem(moments, js.JEPA(), network, js.RandomBalanced(1e-3))
    with pytest.raises(ValueError, match="`start` must be balanced"):
        js.critical_times(jepa, fraction=0.5, key=KEY)
