"""An encoder shared by the frames of a sequence, with a predictor over positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jepa_sim as js
from jepa_sim.model.dynamics import velocity

LATENT = js.data.Dynamic([1.0, 1.0, 0.5], [0.9, 0.5, 0.9], [0.2, 0.2, 1.0])
POLICY = js.data.Suffix(2)
SEQUENCE = js.data.Temporal(LATENT.lag_covariances(5), POLICY)
MOMENTS, FRAMES = SEQUENCE.stacked_moments(), SEQUENCE.frames


def problem(objective, depth=1, start=None):
    start = js.Balanced(0.05) if start is None else start
    return js.Problem(MOMENTS, objective, js.DeepLinear(depth, frames=FRAMES), start)


@pytest.mark.parametrize("objective", [js.JEPA(), js.MAE()], ids=lambda o: o.name)
def test_shared_weights_move_by_the_sum_over_frames(objective):
    """Minus the gradient of the loss over whole sequences, in the matrix that all frames use."""

    rng = np.random.default_rng(0)
    context, target = FRAMES
    rows = 3 * target
    w, v = jnp.asarray(rng.normal(size=(3, 3))), jnp.asarray(rng.normal(size=(rows, 3 * context)))

    def loss(w, v):
        prediction = v @ jnp.kron(jnp.eye(context), w)
        held = jax.lax.stop_gradient(jnp.kron(jnp.eye(target), w))
        wanted = held if objective.name == "jepa" else jnp.eye(rows)
        return (
            jnp.trace(prediction @ MOMENTS.xx @ prediction.T) / 2
            - jnp.trace(prediction @ MOMENTS.yx.T @ wanted.T)
            + jnp.trace(wanted @ MOMENTS.yy @ wanted.T) / 2
        )

    found = velocity(problem(objective), js.Weights((w,), (v,)))
    expected = jax.grad(loss, argnums=(0, 1))(w, v)
    np.testing.assert_allclose(found.encoder[0], -expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.predictor[0], -expected[1], rtol=1e-12, atol=1e-12)
    value = js.Weights((w,), (v,)).loss(objective, MOMENTS, FRAMES)
    np.testing.assert_allclose(value, loss(w, v), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [js.JEPA(), js.MAE()], ids=lambda o: o.name)
@pytest.mark.parametrize("depth", [1, 2])
def test_plateaus_are_powers_of_the_norm_of_the_regression_over_frames(objective, depth):
    """w² − ‖V‖² is kept; V ends as B = Σyx Σxx⁻¹ of the feature for JEPA, V w for MAE."""
    lags = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    expected = []
    for signal, gamma, noise in zip([1.0, 1.0, 0.5], [0.9, 0.5, 0.9], [0.2, 0.2, 1.0], strict=True):
        covariance = signal * gamma**lags + noise * np.eye(5)
        regression = covariance[3:, :3] @ np.linalg.inv(covariance[:3, :3])
        power = depth if objective.name == "jepa" else depth / (depth + 1)
        expected.append(np.linalg.norm(regression) ** power)
    posed = problem(objective, depth)
    expected = np.array(expected)[[0, 2, 1]]  # by falling ρ
    np.testing.assert_allclose(posed.plateaus, expected, rtol=1e-12)
    run = js.simulate(posed, [3000.0], js.LayerModes())
    np.testing.assert_allclose(run.features[-1], expected, rtol=1e-6)


@pytest.mark.slow
def test_layer_modes_are_the_matrix_flow_of_frames():
    times = [1.0, 10.0, 30.0]
    flow = js.simulate(problem(js.JEPA()), times, js.GradientFlow())
    modes = js.simulate(problem(js.JEPA()), times, js.LayerModes())
    np.testing.assert_allclose(flow.features, modes.features, rtol=1e-6)
    np.testing.assert_allclose(flow["predictor_gains"], modes["predictor_gains"], rtol=1e-6)
    np.testing.assert_allclose(flow.loss, modes.loss, rtol=1e-6)


@pytest.mark.release
def test_a_sweep_of_frames_has_the_features_of_one_frame():
    grid = js.Grid(
        spectrum=MOMENTS,
        objective=[js.JEPA()],
        scale=[0.05],
        network=lambda depth, predictor_depth: js.DeepLinear(depth, predictor_depth, frames=FRAMES),
    )
    run = js.sweep(grid, js.LayerModes(), times=[1.0, 10.0, 30.0], progress=False)
    alone = js.simulate(problem(js.JEPA()), [1.0, 10.0, 30.0], js.LayerModes())
    assert run.sizes["feature"] == 3
    np.testing.assert_allclose(run.features.squeeze(), alone.features, rtol=1e-7)


def test_one_frame_of_one_feature_against_scipy():
    """ẇ = Σᵢ vᵢ Rᵢ summed over frames, written out for a scalar and a 2 × 1 predictor."""
    xx, yx = np.array([[1.5]]), np.array([[0.9], [0.4]])
    moments = js.Moments(xx, yx)
    network = js.DeepLinear(1, frames=(1, 2))
    posed = js.Problem(moments, js.JEPA(), network, js.Balanced(0.2))

    def flow(t, z):
        w, v = z[0], z[1:, None]
        residual = w * yx - v * w * xx
        return np.concatenate([[np.sum(v * residual)], (residual * w)[:, 0]])

    v0 = 0.2 / 2**0.5
    exact = scipy.integrate.solve_ivp(flow, (0, 20), [0.2, v0, v0], rtol=1e-11, atol=1e-13)
    run = js.simulate(posed, [20.0], js.GradientFlow())
    np.testing.assert_allclose(run.features[-1, 0], exact.y[0, -1], rtol=1e-7)


def test_one_layer_of_encoder_has_no_neighbour_to_be_balanced_with():
    found = problem(js.JEPA()).weights().balancedness(1)
    assert found == 0
