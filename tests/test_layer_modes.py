"""The diagonal network against the matrix flow; more objectives are in `test_neighbours`."""

import numpy as np
import pytest

import jepa_sim as js
from tests.problems import two_features

TIMES = np.array([0.0, 3.0, 20.0])
OBSERVED = (
    js.observables.features,
    js.observables.predictor_gains,
    js.observables.loss,
    js.observables.effective_rank,
)
PACE = {"encoder_rate": 0.7, "predictor_rate": 2.0, "encoder_decay": 0.01, "predictor_decay": 0.02}
LEARNED = js.Training(**PACE)
FITTED = js.Training(**PACE, predictor=js.FastPredictor())


def frames() -> js.Moments:
    """Two context frames, of which the second is closer to the target."""
    power, between = np.diag([1.0, 2.0]), np.diag([0.5, 0.2])
    xx = np.block([[power, between], [between, power]])
    return js.Moments(xx, np.block([[np.diag([0.3, 0.5]), np.diag([0.7, 0.6])]]))


CASES = {
    "predictor of two layers": (two_features(), js.JEPA(), js.DeepLinear(2, 2), LEARNED),
    "slow teacher": (two_features(), js.JEPA(js.MovingAverage(2.0)), js.DeepLinear(2), FITTED),
    "no stop-gradient": (two_features(), js.JEPA(js.NoStopGradient()), js.DeepLinear(2), LEARNED),
    "no predictor": (two_features(), js.WhitenedJoint(3.0), js.DeepLinear(2), LEARNED),
    "frames": (frames(), js.JEPA(), js.DeepLinear(2, frames=(2, 1)), LEARNED),
}


LONG = ("slow teacher", "no predictor", "no stop-gradient", "frames", "predictor of two layers")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[pytest.mark.slow] * (name in LONG))
        for name, case in CASES.items()
    ],
)
def test_features_by_themselves_move_as_in_the_matrix_flow(case):
    moments, objective, network, training = case
    problem = js.Problem(moments, objective, network, js.Unbalanced(0.2, 0.1), training)
    alone, together = (
        js.simulate(problem, TIMES, solver(rtol=1e-10), observables=OBSERVED)
        for solver in (js.LayerModes, js.GradientFlow)
    )
    assert alone.result == together.result == js.ResultCode.success
    assert abs(together.features[-1] / together.features[0] - 1).min() > 0.05  # there is motion
    for observable in OBSERVED:
        name = observable.__name__
        np.testing.assert_allclose(alone[name], together[name], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(alone.rates, together.rates, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("network", "start", "training", "message"),
    [
        (js.DeepLinear(1), js.Misaligned(0.1, 1.0), LEARNED, "`start` must say how a single"),
        (js.DeepLinear(1, width=1), js.RandomGaussian(0.1), LEARNED, "`network.width` must be at"),
        (
            js.DeepLinear(1),
            js.Balanced(0.1),
            js.Training(predictor=js.DirectPred(boost=0.1)),
            "`training.predictor` must set each feature by itself",
        ),
    ],
)
def test_features_that_cannot_move_by_themselves_are_refused(network, start, training, message):
    problem = js.Problem(two_features(), js.JEPA(), network, start, training)
    with pytest.raises(ValueError, match=message):
        js.simulate(problem, TIMES, js.LayerModes(), key=None)


@pytest.mark.slow
def test_a_predictor_at_its_best_leaves_the_encoder_to_its_decay():
    """V̄ = Σ(zy) Σ(zz)⁻¹ leaves no residual of an invertible encoder: w̄ = ε e^{−Lηt}."""
    training = js.Training(encoder_decay=0.1, predictor=js.FastPredictor())
    problem = js.Problem(two_features(), js.JEPA(), js.DeepLinear(2), js.Balanced(0.3), training)
    run = js.simulate(problem, TIMES, js.LayerModes(), observables=OBSERVED)
    expected = 0.3 * np.exp(-2 * 0.1 * TIMES)
    np.testing.assert_allclose(run.features, np.tile(expected[:, None], 2), rtol=1e-6)
    rho = problem.features.rho
    np.testing.assert_allclose(run["predictor_gains"], np.tile(rho, (3, 1)), rtol=1e-12)
