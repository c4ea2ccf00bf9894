"""The levels of fidelity agree with each other, and with limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from tests.problems import LAM, OBJECTIVES, RHO

MOMENTS = js.Moments.from_features([*LAM, 0.3, -0.1], [*RHO, 0.1, -0.2])  # one is never learned
CASES = [(1, 1, 1e-2), (3, 2, 1e-2), (2, 1, 1e-4), (3, 1, 0.5), (1.5, 0.5, 0.1)]


def problem(objective, depth, predictor_depth, scale):
    network = js.DeepLinear(depth, predictor_depth)
    return js.Problem(MOMENTS, objective, network, js.Balanced(scale))


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_modes_agree_with_the_closed_form(objective, case):
    posed = problem(objective, *case)
    times = js.CriticalGrid(count=30).times(posed)
    exact = js.simulate(posed, times, js.ClosedForm())
    modes = js.simulate(posed, times, js.Modes())
    assert modes.result == js.ResultCode.success
    np.testing.assert_allclose(modes.features, exact.features, rtol=3e-7)
    np.testing.assert_allclose(modes.loss, exact.loss, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.float32
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_precision_follows_the_moments(objective):
    posed = problem(objective, 2, 1, 1e-2)
    times = js.CriticalGrid(count=30).times(posed)
    exact = js.simulate(posed, times, js.ClosedForm())
    modes = js.simulate(posed, times, js.Modes())
    assert exact.features.dtype == modes.features.dtype == MOMENTS.xx.dtype
    np.testing.assert_allclose(modes.features, exact.features, rtol=5e-3)


@pytest.mark.slow
def test_all_four_levels_on_one_problem():
    import optax

    posed = problem(js.JEPA(), 2, 1, 0.05)
    times = [0.0, 10.0, 40.0]
    exact = js.simulate(posed, times, js.ClosedForm())
    np.testing.assert_allclose(exact.features[0], 0.05, rtol=1e-14)
    for solver, tolerance in (
        (js.Modes(), 1e-7),
        (js.GradientFlow(), 1e-6),
        (js.Descent(optax.sgd, 1e-3), 1e-2),
    ):
        run = js.simulate(posed, times, solver)
        np.testing.assert_allclose(run.features, exact.features, rtol=tolerance)
        np.testing.assert_allclose(run.loss, exact.loss, rtol=10 * tolerance, atol=tolerance / 100)


def test_a_time_does_not_depend_on_the_others_and_a_restart_equals_a_continuous_run():
    posed = problem(js.JEPA(), 2, 1, 0.1)
    times = jnp.array([3.0, 7.0, 20.0])
    whole = js.simulate(posed, times, js.ClosedForm()).features
    shifted = js.simulate(posed, jnp.array([1.0, 3.0, 7.0]), js.ClosedForm()).features
    np.testing.assert_array_equal(shifted[1:], whole[:2])
    again = problem(js.JEPA(), 2, 1, whole[0, 0])  # where the first feature was at the first time
    later = jnp.array([1.0, 4.0, 17.0])
    restarted = js.simulate(again, later, js.ClosedForm()).features
    np.testing.assert_allclose(restarted[1:, 0], whole[1:, 0], rtol=1e-12)


@pytest.mark.slow
def test_saxe_two_layer_autoencoder():
    """w(t) = s e^{2st} / (e^{2st} − 1 + s/w₀) for whitened input (Saxe et al. 2014, L + M = 2)."""
    s, start = np.array([0.7, 0.5, 0.3, 0.9]), 1e-3
    moments = js.Moments.from_features(s, s)  # Σxx = I, Σyx = diag(s)
    posed = js.Problem(moments, js.MAE(), js.DeepLinear(1, 1), js.Balanced(start**0.5))
    times = np.array([1.0, 5.0, 20.0])
    product = js.simulate(posed, times, js.Modes()).features ** 2
    growth = np.exp(2 * s * times[:, None])
    np.testing.assert_allclose(product, s * growth / (growth - 1 + s / start), rtol=1e-7)


@pytest.mark.slow
def test_depths_scales_and_spectra_are_traced_axes():
    def run(depth, scale, lam):
        moments = js.Moments.from_features(lam, jnp.asarray(RHO))
        posed = js.Problem(moments, js.JEPA(), js.DeepLinear(depth), js.Balanced(scale))
        return js.simulate(posed, jnp.array([5.0]), js.Modes()).features[0]

    depths, scales = jnp.array([1.0, 2.0, 3.5]), jnp.array([0.1, 0.05, 0.2])
    lams = jnp.stack([jnp.asarray(LAM)] * 3) * jnp.array([[1.0], [2.0], [3.0]])
    together = jax.vmap(run)(depths, scales, lams)
    for i in range(3):
        np.testing.assert_allclose(run(depths[i], scales[i], lams[i]), together[i], rtol=1e-12)


def test_a_transition_between_two_floating_point_times_is_said():
    times = [1.0, 2.0, 3.0]
    run = js.simulate(problem(js.JEPA(), 4, 1, 1e-11), times, js.ClosedForm())
    assert run.result == js.ResultCode.unresolved
    run = js.simulate(problem(js.JEPA(), 1, 1, 1e-6), times, js.ClosedForm())
    assert run.result == js.ResultCode.success


@pytest.mark.float32
def test_float32_says_when_it_cannot_resolve():
    posed = problem(js.JEPA(), 3, 1, 1e-6)
    if MOMENTS.xx.dtype == jnp.float32:
        assert js.simulate(posed, [1.0], js.ClosedForm()).result == js.ResultCode.unresolved


@pytest.mark.parametrize("solver", [js.ClosedForm(), js.Modes()], ids=["closed", "modes"])
def test_reduced_solvers_refuse_unbalanced_starts(solver):
    posed = js.Problem(MOMENTS, js.JEPA(), js.DeepLinear(2), js.RandomGaussian(0.1))
    with pytest.raises(ValueError, match=r"must be balanced for `.*`, but is RandomGaussian"):
        js.simulate(posed, [1.0], solver)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "have one axis and at least one entry"),
        ([[1.0]], "have one axis"),
        ([-1.0, 1.0], "not be negative, but is -1"),
        ([1.0, 1.0], "be strictly ascending, but is 1 followed by 1"),
        ([1.0, np.nan], r"be finite, but is nan at \[1\]"),
    ],
)
def test_bad_times_are_named(times, message):
    with pytest.raises(ValueError, match=message):
        js.simulate(problem(js.JEPA(), 1, 1, 0.1), times, js.ClosedForm())


def test_observables_of_ones_own():
    def largest(t, state, problem):
        return jnp.max(state.gains(problem.features))

    posed = problem(js.JEPA(), 1, 1, 0.1)
    run = js.simulate(
        posed, [1.0, 50.0], js.Modes(), observables=(largest, js.observables.features)
    )
    np.testing.assert_array_equal(run["largest"], run.features.max(axis=1))
    with pytest.raises(KeyError, match="Observable `loss` was not saved"):
        _ = run.loss
    with pytest.raises(ValueError, match="`observables` must have names that differ"):
        js.simulate(posed, [1.0], js.Modes(), observables=(largest, largest))


@pytest.mark.slow
def test_effective_rank_and_plateau_fraction():
    moments = js.Moments.from_features([1.0, 1.0, 1e-6], [0.8, 0.8, 0.8])
    posed = js.Problem(moments, js.MAE(), js.DeepLinear(2), js.Balanced(1e-6))
    times = np.array([0.0, 0.5]) * float(js.critical_times(posed, fraction=0.5)[2])
    run = js.simulate(
        posed,
        times,
        js.Modes(),
        observables=(js.observables.effective_rank, js.observables.plateau_fraction),
    )
    np.testing.assert_allclose(run["effective_rank"], [3, 2], rtol=1e-3)  # two learned, one not
    np.testing.assert_allclose(run["plateau_fraction"][1, :2], 1, rtol=1e-6)


def test_a_trajectory_prints_its_summary():
    text = str(js.simulate(problem(js.JEPA(), 2, 1, 0.1), [1.0, 5.0], js.Modes()))
    assert "Trajectory of JEPA, L = 2, M = 1, 4 features" in text
    assert "The trajectory reached its last time." in text


@pytest.mark.slow
def test_depths_that_the_closed_form_does_not_take():
    with pytest.raises(ValueError, match=r"`depth` must make c = .* in \[0, 255\), but is 0.5"):
        js.simulate(problem(js.MAE(), 0.5, 0.5, 0.1), [1.0], js.ClosedForm())

    def run(depth):
        return js.simulate(problem(js.MAE(), depth, 1, 0.1), jnp.array([5.0]), js.ClosedForm())

    runs = jax.vmap(run)(jnp.array([0.5, 1.0]))
    np.testing.assert_array_equal(runs.result, [js.ResultCode.not_finite, js.ResultCode.success])
