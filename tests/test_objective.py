import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim._objective import product
from tests.problems import OBJECTIVES, non_commuting, plateau, two_features

MOMENTS = non_commuting(3)


def factors(depth: int, predictor_depth: int):
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(depth + predictor_depth, 3, 3))
    return tuple(jnp.asarray(z) for z in drawn[:depth]), tuple(map(jnp.asarray, drawn[depth:]))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_field_is_minus_the_gradient_with_the_target_held(objective):
    encoder, predictor = factors(2, 2)
    held = objective.target(product(encoder), jnp.eye(3))

    def loss(encoder, predictor):  # ½ E ‖V̄ W̄ x − T y‖² written out with T held
        prediction = product(predictor) @ product(encoder)
        return (
            jnp.trace(prediction @ MOMENTS.xx @ prediction.T) / 2
            - jnp.trace(prediction @ MOMENTS.yx.T @ held.T)
            + jnp.trace(held @ MOMENTS.yy @ held.T) / 2
        )

    gradients = jax.grad(loss, argnums=(0, 1))(encoder, predictor)
    field = objective.field(encoder, predictor, MOMENTS)
    for velocity, gradient in zip(field, (*gradients[0], *gradients[1]), strict=True):
        np.testing.assert_allclose(velocity, -gradient, rtol=1e-12, atol=1e-12)
    value = objective.loss(product(encoder), product(predictor), MOMENTS)
    np.testing.assert_allclose(value, loss(encoder, predictor), rtol=1e-12)


def test_loss_is_the_expected_squared_error():
    encoder, predictor = factors(1, 1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    y = x @ rng.normal(size=(3, 3)) + rng.normal(size=(50, 3))
    moments = js.Moments.from_samples(x, y, center=False)
    prediction = x @ np.asarray(predictor[0] @ encoder[0]).T
    for objective, target in ((js.JEPA(), y @ np.asarray(encoder[0]).T), (js.MAE(), y)):
        expected = np.mean(np.sum((prediction - target) ** 2, axis=1)) / 2
        found = objective.loss(encoder[0], predictor[0], moments)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_jepa_is_no_gradient_system():
    """The Jacobian of the field is symmetric for MAE, and is not for JEPA."""

    def jacobian(objective):
        encoder, predictor = factors(1, 1)

        def flat(z):
            w, v = z.reshape(2, 3, 3)
            return jnp.concatenate([f.ravel() for f in objective.field((w,), (v,), MOMENTS)])

        return np.asarray(jax.jacobian(flat)(jnp.concatenate([encoder[0], predictor[0]]).ravel()))

    mae, jepa = jacobian(js.MAE()), jacobian(js.JEPA())
    np.testing.assert_allclose(mae, mae.T, atol=1e-12)
    assert np.linalg.norm(jepa - jepa.T) > 0.1 * np.linalg.norm(jepa)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (3, 1), (2, 3)])
def test_reduced_flow_is_the_field_on_the_balanced_diagonal(objective, depth, predictor_depth):
    u = np.array([0.3, 0.7])
    moments = two_features()
    a, b = objective.exponents(depth, predictor_depth)
    lam, variance = np.diag(moments.yx), np.diag(moments.xx)
    expected = u**a * (lam - variance * u**b)
    diagonal = jnp.diag(jnp.asarray(u))
    field = objective.field((diagonal,) * depth, (diagonal,) * predictor_depth, moments)
    for velocity in field:
        np.testing.assert_allclose(velocity, np.diag(expected), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_plateaus(objective):
    problem = js.Problem(two_features(), objective, js.DeepLinear(3, 2), js.Balanced(0.1))
    np.testing.assert_allclose(problem.plateaus, plateau(objective, 3, 2), rtol=1e-14)
