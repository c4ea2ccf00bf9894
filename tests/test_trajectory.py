"""Critical times from saved trajectories."""

import dataclasses

import jax
import jax.random as jr
import numpy as np
import pytest

import jepa_sim as js
from tests.problems import non_commuting, two_features


@pytest.mark.parametrize(
    "objective", [js.JEPA(), pytest.param(js.MAE(), marks=pytest.mark.slow)], ids=lambda o: o.name
)
def test_on_any_grid_as_accurate_as_the_solver(objective):
    """The reduced flow is the interpolant, so that even four times are enough."""
    posed = js.Problem(two_features(), objective, js.DeepLinear(3), js.Balanced(1e-2))
    times = js.CriticalGrid(count=28, first=0.1).times(posed)
    run = js.simulate(posed, times, js.ClosedForm())
    few = jax.tree.map(lambda x: x[::9], (run.times, run.values))
    few = dataclasses.replace(run, times=few[0], values=few[1])
    for saved in (run, few):
        for target in ({"fraction": 0.5}, {"fraction": 0.97}, {"level": 0.05}):
            exact = js.critical_times(posed, **target)
            np.testing.assert_allclose(saved.critical_times(**target), exact, rtol=1e-11)


@pytest.mark.slow
def test_not_reached_there_from_the_start_and_failed():
    posed = js.Problem(two_features(), js.JEPA(), js.DeepLinear(2), js.Balanced(0.2))
    run = js.simulate(posed, [0.0, 1.0], js.Modes())
    np.testing.assert_array_equal(run.critical_times(fraction=0.99), [np.inf, np.inf])
    np.testing.assert_array_equal(run.critical_times(level=0.1), [0, 0])
    failed = js.simulate(posed, [1.0, 1e4], js.GradientFlow(max_steps=16))
    assert np.isnan(failed.critical_times(fraction=0.99)).all()


@pytest.mark.release
def test_away_from_the_reduced_theory_the_error_falls_with_the_fourth_power_of_the_grid():
    drawn = 0.1**0.5 * jr.normal(jr.split(jr.key(2))[0], (3, 3, 3))
    start = js.Given(list(drawn[:2]), list(drawn[2:]))
    posed = js.Problem(non_commuting(3), js.JEPA(), js.DeepLinear(2), start)
    solver = js.GradientFlow(rtol=1e-11)

    def found(count):
        times = np.geomspace(0.1, 200, count)
        run = js.simulate(posed, times, solver)
        levels = np.linspace(0.36, 0.44, 9)  # passed by two features, far from commuting
        return np.stack([run.critical_times(level=level) for level in levels])

    reference = found(1601)
    passed = np.isfinite(reference) & (reference > 0.1)
    coarse, fine = (np.max(np.abs(found(n)[passed] / reference[passed] - 1)) for n in (51, 201))
    assert fine < coarse / 64  # 256 at fourth order
    assert fine < 1e-5
