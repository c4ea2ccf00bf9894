import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from jepa_sim.model.objectives import product
from jepa_sim.model.state import pad_encoder
from tests.problems import OBJECTIVES, two_features


def problem(start, objective=OBJECTIVES[0], depth=3, predictor_depth=2):
    return js.Problem(two_features(), objective, js.DeepLinear(depth, predictor_depth), start)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_rotated_start_is_balanced_and_leaves_every_gain_at_the_scale(objective):
    start = js.Balanced(1e-3, rotated=True)
    weights = problem(start, objective).weights(jr.key(0))
    assert len(weights.encoder) == 3
    assert len(weights.predictor) == 2
    factors = (*weights.encoder, *weights.predictor)
    for z in factors:
        np.testing.assert_allclose(z @ z.T, 1e-2 * np.eye(2), atol=1e-15)  # (ε^{1/3})² = 1e-2
    features = problem(start).features
    np.testing.assert_allclose(weights.gains(features), 1e-3, rtol=1e-12)
    assert weights.balancedness(3) < 1e-15
    assert np.abs(weights.encoder[0][0, 1]) > 1e-3  # it is really rotated
    other = problem(start, objective).weights(jr.key(1))
    assert np.abs(other.encoder[0] - weights.encoder[0]).max() > 1e-3


def test_rotated_jepa_predictor_is_positive_in_the_latent_space():
    weights = problem(js.Balanced(1e-3, rotated=True)).weights(jr.key(0))
    predictor = np.asarray(product(weights.predictor))
    np.testing.assert_allclose(predictor, predictor[0, 0] * np.eye(2), atol=1e-16)
    assert predictor[0, 0] > 0


def test_random_gaussian_has_encoder_gains_of_the_scale_in_mean_square():
    start = js.RandomGaussian(0.01)
    posed = problem(start, depth=2)
    gains = jax.vmap(lambda key: posed.weights(key).gains(posed.features))(
        jr.split(jr.key(0), 4000)
    )
    np.testing.assert_allclose(np.sqrt(np.mean(np.asarray(gains) ** 2)), 0.01, rtol=0.05)


def test_padding_changes_nothing_but_the_count():
    posed = problem(js.Balanced(0.2, rotated=True), depth=2)
    weights = posed.weights(jr.key(0))
    padded = pad_encoder(weights, 4)
    assert len(padded.encoder) == 4
    np.testing.assert_allclose(product(padded.encoder), product(weights.encoder), rtol=1e-15)
    bare = velocity(posed, weights)
    found = velocity(posed, padded)
    for still in found.encoder[:2]:
        np.testing.assert_array_equal(still, 0)
    for a, b in zip((*found.encoder[2:], *found.predictor), jax.tree.leaves(bare), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    assert padded.balancedness(2) < 1e-15
    assert padded.balancedness(4) > 0.1


def test_a_random_start_asks_for_a_key():
    with pytest.raises(ValueError, match="Argument `key` must be given for a random start"):
        problem(js.RandomGaussian(0.1)).weights()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.DeepLinear(0), "`depth` must be positive, but is 0"),
        (lambda: js.DeepLinear(1, -1), "`predictor_depth` must be positive, but is -1"),
        (lambda: js.DeepLinear(1.5).whole(), "`depth` must be a whole number, at least 1"),
        (lambda: js.Balanced(0.0), "`scale` must be positive, but is 0"),
        (lambda: js.RandomGaussian(np.nan), "`scale` must be finite, but is nan"),
    ],
)
def test_bad_networks_and_starts_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gains_answer_as_weights_do():
    posed = problem(js.Balanced(0.2), depth=2, predictor_depth=1)
    weights = posed.weights()
    u = jnp.full(2, 0.2**0.5)
    reduced = posed.gains(jnp.log(u), 1 - u)
    features = posed.features
    np.testing.assert_allclose(reduced.gains(features), weights.gains(features), rtol=1e-14)
    np.testing.assert_allclose(reduced.gram(features), weights.gram(features), atol=1e-16)
    np.testing.assert_allclose(reduced.alignment(features), weights.alignment(features))
    np.testing.assert_allclose(reduced.singular_values(), weights.singular_values(), rtol=1e-14)
    for objective in OBJECTIVES:
        found = reduced.loss(objective, posed.moments, (1, 1))
        expected = weights.loss(objective, posed.moments, (1, 1))
        np.testing.assert_allclose(found, expected, rtol=1e-13)
