"""Every cause that a diagnosis names, produced and found."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim import Status

FEATURES = js.Moments.from_features([1.0, 0.8, 0.5, -0.3], [0.9, 0.5, 0.2, -0.4])
TWINS = js.Moments(FEATURES.xx, FEATURES.yx, FEATURES.xx)  # two views of one law


def run(last, *, target=None, scale=0.1, decay=0.0):
    objective = js.JEPA() if target is None else js.JEPA(target)
    network, start = js.DeepLinear(1), js.Balanced(scale)
    problem = js.Problem(TWINS, objective, network, start, js.Training(decay=decay))
    return js.simulate(problem, np.linspace(0, last, 50), js.LayerModes())


def statuses(diagnosis):
    return [finding.status for finding in diagnosis.findings]


@pytest.fixture(scope="module")
def short():
    return run(20)


@pytest.mark.slow
def test_learned_growing_and_not_learnable(short):
    diagnosis = js.diagnose(short)
    assert statuses(diagnosis) == [
        Status.learned,
        Status.learned,
        Status.growing,
        Status.unlearnable,
    ]
    growing = diagnosis.findings[2]
    assert "ends too early" in growing.reason
    more = float(growing.reason.split("takes ")[1].split(" more")[0])
    exact = js.critical_times(short.problem, fraction=0.9)[2]
    np.testing.assert_allclose(20 + more, exact, rtol=1e-2)  # printed to three digits
    assert "4 features: 2 learned, 1 still growing, 1 cannot be learned" in str(diagnosis)


def test_weight_decay_above_its_threshold_and_starts_below_the_basin():
    found = js.diagnose(run(400, decay=0.05))
    assert statuses(found)[1:3] == [Status.learned, Status.collapsed]
    assert found.findings[2].reason == "weight decay 0.05 is above its threshold 0.025"
    low = js.diagnose(run(400, scale=0.02, decay=0.04))
    assert statuses(low)[:2] == [Status.collapsed, Status.collapsed]
    assert "every start below" in low.findings[0].reason


def test_no_stop_gradient():
    found = js.diagnose(run(200, target=js.NoStopGradient()))
    assert statuses(found)[:3] == [Status.collapsed] * 3
    assert "without stop-gradient" in found.findings[0].reason


def test_features_that_rest_near_a_plateau_that_is_an_estimate():
    turn = np.eye(4)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    yx = turn @ np.diag([1.0, 0.8, 0.5, 0.4]) @ turn.T
    moments = js.Moments(np.diag([1.0, 2.0, 2.5, 1.0]), yx)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(0.1))
    trajectory = js.simulate(problem, np.linspace(0, 200, 50), js.GradientFlow())
    lower = np.asarray(trajectory.features) * [1.0, 0.8, 0.4, 1.0]
    values = {**trajectory.values, "features": jnp.asarray(lower)}
    found = js.diagnose(dataclasses.replace(trajectory, values=values))
    assert statuses(found) == [Status.learned, Status.learned, Status.stuck, Status.learned]
    assert all("an estimate since moments do not" in found.findings[i].reason for i in (1, 2))


def test_a_misaligned_predictor():
    d = FEATURES.dimension
    signs = np.diag([1.0, -1.0, 1.0, 1.0])
    start = js.Given([0.1 * np.eye(d)], [0.1 * signs])
    problem = js.Problem(FEATURES, js.JEPA(), js.DeepLinear(1), start)
    times = np.linspace(0, 200, 50)
    trajectory = js.simulate(problem, times, js.GradientFlow())
    # w = −v: ẇ = −λw² + σ²w³ falls as 1/(λt) for ever
    np.testing.assert_allclose(trajectory.features[-1, 1], 1 / (10 + 0.8 * 200), rtol=0.05)
    found = js.diagnose(trajectory)
    assert statuses(found)[:3] == [Status.learned, Status.stuck, Status.learned]
    assert "predictor is misaligned" in found.findings[1].reason
    bare = dataclasses.replace(trajectory, values={"features": trajectory.features})
    assert statuses(js.diagnose(bare))[1] is Status.stuck  # the predictor is known from the start


def test_a_negative_regression_coefficient_and_a_predictor_of_its_sign():
    start = js.Given([0.1 * np.eye(4)], [0.1 * np.diag([1.0, 1.0, 1.0, -1.0])])
    problem = js.Problem(FEATURES, js.JEPA(), js.DeepLinear(1), start)
    found = js.diagnose(js.simulate(problem, np.linspace(0, 200, 50), js.GradientFlow()))
    assert statuses(found)[3] is Status.learned
    np.testing.assert_allclose(found.findings[3].gain, 0.4, rtol=1e-3)


ONE = js.Moments.from_features([0.8], [0.8])


def one(start, last, objective=None, **training):
    """A run of one feature, ρ = 0.8, at L = M = 1, of which the first save is not the start."""
    objective = js.JEPA() if objective is None else objective
    problem = js.Problem(ONE, objective, js.DeepLinear(1), start, js.Training(**training))
    return js.simulate(problem, np.linspace(last / 50, last, 50), js.LayerModes())


@pytest.mark.slow
def test_values_below_the_tolerance_have_no_sign():
    moments = js.Moments.from_features([1.0, 1.0, 0.5], [0.9, 0.5, 0.2])
    objective, network = js.JEPA(js.MovingAverage(2.5)), js.DeepLinear(2)
    problem = js.Problem(moments, objective, network, js.Balanced(0.1), js.Training(decay=0.1))
    found = js.simulate(problem, np.linspace(0, 3000, 50), js.LayerModes())
    np.testing.assert_allclose(found.floor, (1e-8 * 0.1**0.5) ** 2)  # atol^L
    assert (found.features[-1] < found.floor).all()  # e^{−300} would be right
    assert "gains above 1e-17" in str(found)
    diagnosis = js.diagnose(found)
    assert statuses(diagnosis) == [Status.collapsed] * 3
    assert [finding.gain for finding in diagnosis.findings] == [0, 0, 0]
    assert "above its threshold" in diagnosis.findings[1].reason


@pytest.mark.parametrize(
    ("objective", "grown"),
    [(js.JEPA(), 0.8 * (2 * 0.02 * 4000) ** 0.5), (js.MAE(), (4 * 0.02 * 0.64 * 4000) ** 0.25)],
    ids=["jepa", "mae"],
)
def test_decay_of_the_predictor_alone_lets_the_encoder_grow(objective, grown):
    found = one(js.Balanced(0.1), 4000, objective, predictor_decay=0.02)
    np.testing.assert_allclose(found.features[-1], grown, rtol=0.02)  # ρ√(2ηt), (4ηρ²t)^¼
    np.testing.assert_array_equal(found.problem.plateaus, np.inf)
    [finding] = js.diagnose(found).findings
    assert finding.status is Status.growing
    assert "without bound" in finding.reason
    assert finding.plateau == np.inf


def test_decay_of_the_encoder_alone_is_named():
    [finding] = js.diagnose(one(js.Balanced(0.1), 4000, encoder_decay=0.02)).findings
    assert finding.status is Status.collapsed
    assert "only the encoder" in finding.reason
    [finding] = js.diagnose(one(js.Balanced(0.1), 2, encoder_decay=1e-3)).findings
    assert finding.status is Status.undetermined  # it still grows, and will collapse


@pytest.mark.parametrize(
    ("v", "w", "last", "status"),
    [
        (-0.2, 0.5, 0.5, Status.growing),  # falling while the predictor turns
        (-0.2, 0.5, 50, Status.learned),
        (-0.5, 0.2, 50, Status.stuck),  # the encoder reaches 0 first
        (2.0, 0.1, 50, Status.collapsed),  # the same where the predictor starts far above ρ
    ],
)
def test_a_given_start_is_judged_by_what_its_layers_keep(v, w, last, status):
    problem = js.Problem(ONE, js.JEPA(), js.DeepLinear(1), js.Given([[[w]]], [[[v]]]))
    times = np.linspace(last / 50, last, 50)
    [finding] = js.diagnose(js.simulate(problem, times, js.GradientFlow())).findings
    assert finding.status is status
    kept = 0.8**2 + w**2 - v**2  # w̄ = √(ρ² + κ), κ = w² − v², where the predictor can turn
    rests = kept > 0 and abs(v) < w
    np.testing.assert_allclose(finding.plateau, kept**0.5 if rests else 0, rtol=1e-12)


def test_a_predictor_may_outlive_its_encoder():
    problem = js.Problem(ONE, js.JEPA(), js.DeepLinear(1), js.Given([[[0.3]]], [[[1.5]]]))
    found = js.simulate(problem, np.linspace(0, 100, 50), js.GradientFlow())
    kept = (1.5**2 - 0.3**2) ** 0.5  # v² − w² is kept, and w → 0
    np.testing.assert_allclose(found["predictor_gains"][-1], kept, rtol=1e-6)
    [finding] = js.diagnose(found).findings
    assert "predictor starts above ρ" in finding.reason


@pytest.mark.slow
def test_a_misaligned_predictor_may_turn():
    moments = js.Moments.from_features([1.0, 1.0], [0.9, 0.7])
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Misaligned(0.1, 2.5))

    def found(last):
        times = np.linspace(0, last, 50)
        return statuses(js.diagnose(js.simulate(problem, times, js.GradientFlow(), key=jr.key(0))))

    assert found(10.0) == [Status.undetermined] * 2
    assert found(2000.0) == [Status.learned] * 2


def test_what_nothing_decides_is_undetermined():
    start = js.Given([[[0.4, 0.3], [0.1, 0.5]]], [[[0.5, 0.0], [0.3, -0.3]]])
    moments = js.Moments.from_features([0.8, 0.3], [0.8, 0.5])
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), start)
    assert np.isnan(problem.plateaus).all()  # neither aligned nor small
    found = js.diagnose(js.simulate(problem, [0.5, 1.0], js.GradientFlow()))
    assert Status.undetermined in statuses(found)
    assert all(finding.reason for finding in found.findings)


@pytest.mark.slow
def test_a_bottleneck_and_a_failed_run():
    network, start = js.DeepLinear(1, width=2), js.Balanced(0.1, rotated=True)
    problem = js.Problem(FEATURES, js.MAE(), network, start)
    times = np.linspace(0, 2000, 50)
    found = js.diagnose(js.simulate(problem, times, js.GradientFlow(), key=jr.key(0)))
    assert found.count(Status.learned) == 2
    assert "bottleneck" in found.findings[2].reason
    broken = js.simulate(problem, times, js.GradientFlow(max_steps=16), key=jr.key(0))
    failed = js.diagnose(broken)
    assert failed.count(Status.failed) == 4
    assert "max_steps" in failed.findings[0].reason


def test_bad_runs_are_named(short):
    with pytest.raises(ValueError, match=r"`run\.times` must have at least two entries, but is 1"):
        js.diagnose(dataclasses.replace(short, times=short.times[:1], rates=None))
    with pytest.raises(ValueError, match="`run` must be one trajectory outside of `jit`"):
        eqx.filter_eval_shape(js.diagnose, short)
