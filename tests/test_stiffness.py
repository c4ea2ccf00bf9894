"""The predicted cost of a flow, against the steps of its integration."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jepa_sim as js
from jepa_sim.model.dynamics import velocity
from jepa_sim.solvers.base import split_by_work
from jepa_sim.solvers.stiffness import stiffness
from tests.problems import two_features


def posed(objective, depth, scale, **training):
    start = js.Balanced(scale)
    network = js.DeepLinear(depth)
    return js.Problem(two_features(), objective, network, start, js.Training(**training))


@pytest.mark.parametrize("objective", [js.JEPA(), js.MAE()], ids=lambda o: o.name)
@pytest.mark.parametrize(("depth", "predictor_depth"), [(1, 1), (2, 1), (2, 2)])
def test_rates_are_the_jacobians_spectral_radius_at_the_plateau(objective, depth, predictor_depth):
    network = js.DeepLinear(depth, predictor_depth)
    problem = js.Problem(two_features(), objective, network, js.Balanced(0.1))
    patterns, u = problem.features.patterns, problem.plateaus ** (1 / depth)
    layer = (patterns * u[None, :]) @ patterns.T
    rest = jax.tree.map(lambda _: layer, problem.weights())
    flat, unravel = ravel_pytree(rest)
    speed = ravel_pytree(velocity(problem, rest))[0]
    np.testing.assert_allclose(speed, 0, atol=1e-12)  # the plateau it is
    jacobian = jax.jacobian(lambda x: ravel_pytree(velocity(problem, unravel(x)))[0])(flat)
    radius = np.abs(np.linalg.eigvals(np.asarray(jacobian))).max()
    predicted = stiffness(problem, jnp.asarray([1.0]))
    # some pairs of features relax a little faster than each feature alone
    assert 0.85 * radius <= float(predicted[()]) <= radius * (1 + 1e-9)


def test_decay_teacher_and_rates_count():
    times = jnp.asarray([10.0])
    assert stiffness(posed(js.MAE(), 1, 0.1, decay=50.0), times) == pytest.approx(500)
    teacher = js.JEPA(js.MovingAverage(0.01))
    assert stiffness(posed(teacher, 1, 0.1), times) == pytest.approx(1000)
    alike = stiffness(posed(js.MAE(), 1, 0.1), times)
    fast = stiffness(posed(js.MAE(), 1, 0.1, predictor_rate=20.0), times)
    assert fast == pytest.approx(20 * float(alike))


def test_lanes_go_to_the_solver_that_suits_their_work():
    work = np.asarray([1.0, 1e6, np.nan])
    [(easy, first), (stiff, last)] = split_by_work(js.GradientFlow(rtol=1e-3), work)
    np.testing.assert_array_equal(easy, [True, False, True])  # what cannot be predicted is easy
    np.testing.assert_array_equal(stiff, ~easy)
    assert isinstance(first.solver, diffrax.Tsit5)
    assert isinstance(last.solver, js.ROCK4)
    assert first.rtol == last.rtol == 1e-3
    [(_, only)] = split_by_work(js.GradientFlow(), work[:1])
    assert isinstance(only.solver, diffrax.Tsit5)
    for given in (js.GradientFlow(diffrax.Tsit5()), js.ClosedForm()):
        [(every, same)] = split_by_work(given, work)
        assert same is given
        assert every.all()


def test_implicit_methods_are_known():
    assert js.GradientFlow(diffrax.Kvaerno5()).is_implicit
    assert js.Modes(diffrax.Kvaerno5()).is_implicit
    assert not any(s.is_implicit for s in (js.GradientFlow(), js.Modes(), js.ClosedForm()))


@pytest.mark.slow
def test_the_flow_takes_a_stabilised_method_where_the_closed_form_says_stiff():
    problem = posed(js.JEPA(), 2, 3e-3)
    times = js.CriticalGrid(count=12, first=0.1).times(problem)
    assert float(stiffness(problem, times)) > 1000
    exact = js.simulate(problem, times, js.ClosedForm()).features
    chosen = js.simulate(problem, times, js.GradientFlow())
    assert chosen.result == js.ResultCode.success
    np.testing.assert_allclose(chosen.features, exact, rtol=1e-4)
    # what the stability of Tsit5, 3.3 relaxation times a step, leaves it at best
    assert int(chosen.stats["rhs"]) < 0.75 * 6 * float(stiffness(problem, times)) / 3.3
    easy = js.simulate(problem, times[:2] / 100, js.GradientFlow())
    assert easy.stats["rhs"] == 6 * easy.stats["steps"]  # Tsit5's
