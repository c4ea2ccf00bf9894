"""Training steps that are written out, by autodiff of the loss, and which objective they follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js


def encoded(layers, x):
    for layer in layers:
        x = x @ layer.T
    return x


def gradient(target, scale=0.5, decay=0.0):
    """Of scale · the mean over samples of ‖V̄ W̄ x − target‖², with a penalty ½ decay ‖Z‖²."""

    def of(encoder, predictor, x, y):
        def loss(layers):
            encoder, predictor = layers
            error = encoded(predictor, encoded(encoder, x)) - target(encoder, x, y)
            penalty = sum(jnp.sum(layer**2) for layer in [*encoder, *predictor])
            return scale * jnp.mean(jnp.sum(error**2, axis=1)) + decay / 2 * penalty

        return jax.grad(loss)((list(map(jnp.asarray, encoder)), list(map(jnp.asarray, predictor))))

    return of


def stopped(encoder, x, y):
    return jax.lax.stop_gradient(encoded(encoder, y))


TARGETS = {
    "JEPA": stopped,
    "JEPA without a stop-gradient": lambda encoder, x, y: encoded(encoder, y),
    "MAE": lambda encoder, x, y: y,
    "JEPA, with the input itself as the target": lambda encoder, x, y: stopped(encoder, x, x),
    "MAE, with the input itself as the target": lambda encoder, x, y: x,
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (3, 2)])
def test_a_loss_is_known_by_its_gradient(name, depth, predictor_depth):
    shape = {"depth": depth, "predictor_depth": predictor_depth}
    found = js.identify_objective(gradient(TARGETS[name]), **shape)
    assert found.name == name
    assert found.residual < 1e-12
    np.testing.assert_allclose(found.rates, -1, rtol=1e-12)
    np.testing.assert_allclose(found.decays, 0, atol=1e-12)
    assert sorted(found.left.values())[1] > 0.05  # no other is near
    assert "the gradient; flow time of one step: 1" in str(found)


def test_rates_and_decay_of_both_networks_are_found():
    steps = gradient(stopped, scale=0.25, decay=0.3)

    def update(*arguments):
        encoder, predictor = steps(*arguments)
        return [-0.1 * layer for layer in encoder], [-0.4 * layer for layer in predictor]

    found = js.identify_objective(update)
    assert found.name == "JEPA"
    np.testing.assert_allclose(found.rates, [0.05, 0.2], rtol=1e-10)
    np.testing.assert_allclose(found.decays, [0.03, 0.12], rtol=1e-10)
    assert "learns 4 times as fast" in str(found)
    assert "in flow time 0.6 and 0.6" in str(found)


def test_what_is_none_of_them_is_not_taken_for_one():
    def update(encoder, predictor, x, y):
        def loss(layers):
            made, wanted = (
                z / jnp.linalg.norm(z, axis=1, keepdims=True)
                for z in (encoded(layers[1], encoded(layers[0], x)), stopped(layers[0], x, y))
            )
            return jnp.mean(jnp.sum((made - wanted) ** 2, axis=1))

        return jax.grad(loss)((list(map(jnp.asarray, encoder)), list(map(jnp.asarray, predictor))))

    found = js.identify_objective(update)
    assert not found.is_known
    assert found.residual > 0.2
    assert "No objective that is known here. The nearest is" in str(found)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda e, v, x, y: e, "must return the changes of encoder and predictor, two lists"),
        (lambda e, v, x, y: (e[:1], v, e), "two lists, but is 3"),
        (lambda e, v, x, y: (e[:1], v), r"must return changes of the shapes"),
        (lambda e, v, x, y: ([0 * z for z in e], [0 * z for z in v]), "must change some layer"),
    ],
)
def test_what_is_no_update_is_refused(update, message):
    with pytest.raises(ValueError, match=message):
        js.identify_objective(update, depth=3)
