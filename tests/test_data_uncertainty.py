"""Standard errors of λ and ρ, against the jackknife and against fresh samples."""

import numpy as np
import pytest
import scipy.linalg

import jepa_sim as js

MIXING = np.array([[1.0, 0.4, 0.0], [0.0, 1.2, -0.5], [0.3, 0.0, 0.7]])


def draw(rng, n: int):
    """Two views whose moments do not commute, with tails heavier than a Gaussian's."""
    heavy = np.sqrt(6 / rng.chisquare(8, size=(n, 1)))
    z = rng.normal(size=(n, 3)) * np.array([2.0, 1.0, 0.5]) * heavy
    x, y = (z @ MIXING.T + rng.normal(size=(n, 3)) * np.array([0.3, 0.6, 0.9]) for _ in range(2))
    return x, y


def estimates(x, y):
    """(2, d): λ and ρ, by scipy."""
    joint = np.cov(x, y, rowvar=False, bias=True)
    d = x.shape[1]
    xx, yx = joint[:d, :d], joint[d:, :d]
    rho, basis = scipy.linalg.eigh((yx + yx.T) / 2, xx)
    size = np.sum((xx @ basis) ** 2, axis=0)
    return np.array([rho * size, rho])[:, ::-1]


@pytest.mark.parametrize("per_group", [1, 2])
def test_standard_errors_are_those_of_the_jackknife(per_group):
    x, y = draw(np.random.default_rng(0), 1000)
    groups = np.tile(np.arange(1000), per_group)
    if per_group == 2:  # every pair in both orders
        x, y = np.concatenate([x, y]), np.concatenate([y, x])
    found = js.data.standard_errors(x, y, groups=groups)
    without = np.array([estimates(x[groups != g], y[groups != g]) for g in range(1000)])
    jackknife = np.sqrt(999 * np.var(without, axis=0))
    np.testing.assert_allclose(np.array(found), jackknife, rtol=0.03)


def test_standard_errors_are_those_of_fresh_samples():
    rng = np.random.default_rng(1)
    found = js.data.standard_errors(*draw(rng, 20_000))
    spread = np.std([estimates(*draw(rng, 1000)) for _ in range(2000)], axis=0)
    np.testing.assert_allclose(np.array(found) * np.sqrt(20), spread, rtol=0.1)


RHO = np.array([0.9, 0.65, 0.4, 0.15])


def scenes(rng, n: int, rho=RHO, views: int = 2):
    """(n, d) Gaussian views of n scenes, with variance 1 and these ρ."""
    z = rng.normal(size=(n, len(rho))) * np.sqrt(rho)
    return [z + rng.normal(size=z.shape) * np.sqrt(1 - rho) for _ in range(views)]


def three_views(rng, n: int):
    """All six ordered pairs of three views of each scene, which share views."""
    views = scenes(rng, n, views=3)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    return [np.concatenate([views[pair[k]] for pair in pairs]) for k in (0, 1)]


def ratio(draw_pairs, repeats: int = 1000, **options):
    """(2, d): the mean standard error of data sets over the spread of their estimates."""
    rng = np.random.default_rng(3)
    spread = np.std([estimates(*draw_pairs(rng)) for _ in range(repeats)], axis=0)
    errors = [js.data.standard_errors(*draw_pairs(rng), **options) for _ in range(50)]
    return np.mean(errors, axis=0) / spread


def test_standard_errors_hold_from_a_hundred_samples_a_dimension():
    np.testing.assert_allclose(ratio(lambda rng: scenes(rng, 400)), 1, atol=0.1)


def test_pairs_that_share_views_are_one_group():
    groups = np.tile(np.arange(400), 6)
    np.testing.assert_allclose(ratio(lambda rng: three_views(rng, 400), groups=groups), 1, atol=0.1)
    assert (ratio(lambda rng: three_views(rng, 400))[1, 1:] < 0.75).all()  # as the docstring says


@pytest.mark.parametrize(("apart", "low", "high"), [(6, 0.9, 1.1), (0, 1.08, 1.4)])
def test_standard_errors_of_features_that_are_close_are_too_large(apart, low, high):
    rho = 0.5 + np.array([0.5, -0.5]) * apart * 0.027  # the standard error at n = 1000
    found = ratio(lambda rng: scenes(rng, 1000, rho))[1]
    assert ((low < found) & (found < high)).all()


def test_of_gaussian_samples_it_is_the_error_of_a_regression():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40_000, 1)) * 2
    y = 0.5 * x + rng.normal(size=x.shape) + 1
    found = js.data.standard_errors(x, y, center=True)
    np.testing.assert_allclose(found.rho, 1 / (2 * np.sqrt(40_000)), rtol=0.03)
    # of a covariance: Var(xy) = σx² σy² + λ²
    np.testing.assert_allclose(found.lam, np.sqrt((4 * 2 + 2**2) / 40_000), rtol=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones((5, 1))}, r"`y` must be of the shape of x, \(5, 2\)"),
        ({"groups": np.arange(4)}, r"`groups` must be of shape \(5,\)"),
        ({"groups": np.zeros(5)}, "`groups` must hold at least two different numbers"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, y = np.random.default_rng(0).normal(size=(2, 5, 2))
    with pytest.raises(ValueError, match=message):
        js.data.standard_errors(**{"x": x, "y": y, **change})
