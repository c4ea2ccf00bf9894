"""States at rest under weight decay, and the edge of the basin of 0, against simulation."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.model import equilibria

LAM, RHO, LATE = 1.0, 0.8, np.array([1e3, 2e4])
EVEN = {}
UNEVEN = {"encoder_rate": 0.7, "predictor_rate": 2.0, "ratio": 0.7}


def posed(depth, decay, tau=None, *, ratio=1.0, **rates):
    """One feature of a JEPA. ratio: of the predictor's decay to the encoder's, `decay`."""
    moments = js.Moments.from_features([LAM], [RHO])
    objective = js.JEPA(js.StopGradient() if tau is None else js.MovingAverage(tau))
    training = js.Training(**rates, encoder_decay=decay, predictor_decay=ratio * decay)
    return js.Problem(moments, objective, js.DeepLinear(depth), js.Balanced(0.1), training)


@eqx.filter_jit
def at_rest(problem):
    """One program for each depth and kind of teacher: as single operations it takes seconds."""
    return problem.equilibria


def end(problem, gain, late=LATE):
    """The final encoder gain of a start at `gain`, with v = r u as in a state at rest."""
    training, u = problem.training, gain ** (1 / problem.network.depth)
    square = training.encoder_decay * training.predictor_rate
    square = square / (training.predictor_decay * training.encoder_rate)
    start = js.Unbalanced(gain, (square - 1) * u**2)
    problem = js.Problem(problem.moments, problem.objective, problem.network, start, training)
    observed = (js.observables.features,)
    run = js.simulate(problem, late, js.LayerModes(rtol=1e-7), observables=observed)
    assert run.result == js.ResultCode.success
    return float(run.features[-1, 0])


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_feature_survives_below_the_threshold_of_decay_and_collapses_above_it(depth):
    q = 2 * depth
    expected = LAM / RHO * RHO**q * (q - 1) ** (q - 1) / q**q
    np.testing.assert_allclose(at_rest(posed(depth, 1e-3)).threshold, expected, rtol=1e-12)
    below, above = posed(depth, 0.99 * expected), posed(depth, 1.01 * expected)
    stable = float(at_rest(below).stable[0])
    np.testing.assert_allclose(end(below, 1.02 * stable), stable, rtol=1e-5)
    assert end(above, 1.02 * stable) < 1e-4
    assert at_rest(above).stable[0] == 0
    assert np.isinf(at_rest(above).edge[0])


def test_the_older_name_works_and_warns():
    with pytest.warns(DeprecationWarning, match="`Problem.rest` is called `Problem.equilibria`"):
        older = posed(2, 1e-3).rest
    assert float(older.threshold[0]) == float(posed(2, 1e-3).equilibria.threshold[0])


def test_rates_and_decays_of_their_own_move_the_threshold():
    threshold = float(at_rest(posed(2, 1e-3, **UNEVEN)).threshold[0])
    assert abs(threshold / float(at_rest(posed(2, 1e-3)).threshold[0]) - 1) > 0.2
    below, above = posed(2, 0.99 * threshold, **UNEVEN), posed(2, 1.01 * threshold, **UNEVEN)
    stable = float(at_rest(below).stable[0])
    np.testing.assert_allclose(end(below, 1.02 * stable), stable, rtol=1e-5)
    assert end(above, 1.02 * stable) < 1e-4


@pytest.mark.slow
def test_a_deep_jepa_spirals_from_the_larger_root_where_the_predictor_decays_too_little():
    """M = 1: near the threshold, η_v/η_w < (L−1)/L. A slow teacher holds it there."""
    threshold = float(at_rest(posed(2, 1e-3, ratio=0.2)).threshold[0])
    held = posed(2, 0.9 * threshold, 1e3, ratio=0.2)
    spiral = posed(2, 0.9 * threshold, ratio=0.2)
    stable = float(at_rest(held).stable[0])
    np.testing.assert_allclose(end(held, 1.02 * stable), stable, rtol=1e-3)
    assert end(spiral, 1.02 * stable) < 1e-4
    assert np.isnan(at_rest(spiral).stable).all()
    assert np.isnan(at_rest(spiral).edge).all()
    gentle = posed(2, 0.5 * threshold, ratio=0.2)
    stable = float(at_rest(gentle).stable[0])
    np.testing.assert_allclose(end(gentle, 1.02 * stable), stable, rtol=1e-5)


@pytest.mark.parametrize("pace", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("depth", [1, 2])
def test_starts_above_the_edge_are_learned_and_below_it_collapse(depth, pace):
    threshold = float(at_rest(posed(depth, 1e-3, **pace)).threshold[0])
    problem = posed(depth, 0.5 * threshold, **pace)
    edge, stable = float(at_rest(problem).edge[0]), float(at_rest(problem).stable[0])
    np.testing.assert_allclose(end(problem, 1.01 * edge), stable, rtol=1e-5)
    assert end(problem, 0.99 * edge) < 1e-4 * edge


def test_a_slow_teacher_moves_neither_the_stable_state_nor_the_edge():
    rest = at_rest(posed(2, 0.02))
    for tau in (0.1, 10.0, 1000.0):
        problem, late = posed(2, 0.02, tau), LATE + 100 * tau
        above, below = 1.01 * float(rest.edge[0]), 0.99 * float(rest.edge[0])
        np.testing.assert_allclose(end(problem, above, late), rest.stable, rtol=1e-5)
        assert end(problem, below, late) < 1e-4 * rest.edge[0]


def test_the_two_states_of_one_layer_are_the_roots_of_a_quadratic():
    """L = 1: w (λ − σ² w) = η, the radii of the two spheres of Ponce et al. (2025)."""
    eta, variance = 0.05, LAM / RHO
    root = (LAM**2 - 4 * variance * eta) ** 0.5
    rest = at_rest(posed(1, eta))
    np.testing.assert_allclose(rest.stable, (LAM + root) / (2 * variance), rtol=1e-13)
    np.testing.assert_allclose(rest.edge, (LAM - root) / (2 * variance), rtol=1e-13)


@pytest.mark.parametrize("state", ["stable", "edge", "threshold"])
def test_states_at_rest_are_differentiable(state):
    @jax.jit
    def value(x):
        moments = js.Moments.from_features(x[:1], x[1:2])
        training = js.Training(x[2], x[3], encoder_decay=x[4], predictor_decay=x[5])
        network = js.DeepLinear(2)
        problem = js.Problem(moments, js.JEPA(), network, js.Balanced(0.1), training)
        return getattr(problem.equilibria, state)[0]

    x = jnp.array([LAM, RHO, 0.7, 2.0, 0.01, 0.008])
    steps = 1e-7 * jnp.eye(6)
    slopes = [(value(x + step) - value(x - step)) / 2e-7 for step in steps]
    np.testing.assert_allclose(jax.grad(value)(x), jnp.stack(slopes), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("objective", [js.JEPA(), js.MAE()], ids=lambda o: o.name)
def test_an_imbalance_that_is_kept_moves_the_plateau(objective):
    """v² − u² = κ for ever: v = ρ for JEPA and u v = ρ for MAE, at one layer each."""
    rho, kappa = np.array([0.9, 0.5]), 0.2
    moments = js.Moments.from_features([1.0, 0.8], rho)
    start = js.Unbalanced(0.1, kappa)
    problem = js.Problem(moments, objective, js.DeepLinear(1), start)
    if objective.name == "jepa":
        expected = np.sqrt(rho**2 - kappa)
    else:
        expected = np.sqrt(np.sqrt(kappa**2 / 4 + rho**2) - kappa / 2)
    np.testing.assert_allclose(problem.plateaus, expected, rtol=1e-12)
    lost = dataclasses.replace(problem, start=js.Unbalanced(0.1, 0.5))  # above 0.5²
    assert objective.name == "mae" or problem.plateaus[1] > 0 == lost.plateaus[1]


@pytest.mark.slow
def test_an_unknown_plateau_is_no_time():
    rule = js.Training(decay=0.01, predictor=js.DirectPred())
    moments = js.Moments.from_features([1.0, 0.8], [0.9, 0.5])
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(0.1), rule)
    assert np.isnan(problem.plateaus).all()
    run = js.simulate(problem, [1.0, 30.0], js.LayerModes())
    assert np.isnan(run.critical_times(fraction=0.5)).all()
    assert np.isnan(run.order(fraction=0.5)["flips"])


def test_other_numbers_need_no_other_program(monkeypatch):
    traced = []
    polished = equilibria._polished
    monkeypatch.setattr(equilibria, "_polished", lambda *a: traced.append(a) or polished(*a))
    moments = js.Moments.from_features([1.0] * 7, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    found = []
    for decay in (1e-3, 2e-3):
        training = js.Training(decay=decay)
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(1e-2), training)
        found.append((problem.plateaus, len(traced)))
    (one, first), (other, second) = found
    assert 0 < first == second
    assert (one > other).all()
