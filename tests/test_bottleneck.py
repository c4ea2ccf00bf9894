"""What a bottleneck keeps: against the matrix flow, and against optima of few rows."""

import jax
import jax.random as jr
import numpy as np
import pytest

import jepa_sim as js

LAM, RHO = [1.4, 0.6, 1.0, 0.8], [0.45, 0.9, 0.6, 0.5]


def narrow(objective: js.AbstractObjective, width: int, lam=LAM) -> js.Problem:
    moments = js.Moments.from_features(lam, RHO)
    start = js.RandomBalanced(1e-2)
    return js.Problem(moments, objective, js.DeepLinear(1, width=width), start)


@pytest.mark.slow
def test_a_jepa_keeps_the_features_of_largest_rho():
    """From four starts; features 1 and 2 have the largest ρ, and 0 and 2 the largest λ."""
    problem = narrow(js.JEPA(), 2)
    runs = jax.vmap(
        lambda key: js.simulate(problem, [0.0, 2e4], js.GradientFlow(), key=key).features
    )
    ends = runs(jr.split(jr.key(0), 4))[:, -1]
    np.testing.assert_array_equal(problem.kept, [False, True, True, False])
    wanted = np.where(problem.kept, problem.plateaus, 0)
    np.testing.assert_allclose(ends, np.tile(wanted, (4, 1)), atol=1e-3)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_an_mae_keeps_what_reduced_rank_regression_keeps(width):
    problem = narrow(js.MAE(), width)
    best = np.asarray(js.reconstruction_optimum(problem.moments, width))
    np.testing.assert_array_equal(problem.kept, np.linalg.norm(best, axis=0) > 1e-6)


def test_barlow_twins_keeps_the_largest_lambda():
    np.testing.assert_array_equal(narrow(js.BarlowTwins(), 2).kept, [True, False, True, False])


def test_what_is_not_known_or_not_learned():
    assert narrow(js.WhitenedJoint(1.0), 2).kept is None
    assert narrow(js.JEPA(js.NoStopGradient()), 2).kept is None
    assert "features 1, 2 for good" in str(narrow(js.JEPA(), 2))
    lam, rho = [1.0, -1.0, 0.5], [0.5, -0.9, 0.3]
    moments = js.Moments.from_features(lam, rho)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(1), js.Balanced(1e-2))
    np.testing.assert_array_equal(problem.kept, [True, False, True])
