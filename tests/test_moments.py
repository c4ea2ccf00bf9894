import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import jepa_sim as js
from jepa_sim.data.eigen import _split_ties
from tests.problems import non_commuting


def test_generalised_eigenproblem_agrees_with_scipy():
    moments = non_commuting()
    features = moments.features()
    rho, basis = scipy.linalg.eigh(np.asarray(moments.yx), np.asarray(moments.xx))
    np.testing.assert_allclose(features.rho, rho[::-1], rtol=1e-12)
    np.testing.assert_allclose(features.lam / features.variance, features.rho, rtol=1e-12)
    xx = np.asarray(moments.xx)
    patterns = xx @ basis[:, ::-1]
    size = np.linalg.norm(patterns, axis=0)
    np.testing.assert_allclose(features.variance, size**2, rtol=1e-12)
    signs = np.sign(np.sum(patterns * features.patterns, axis=0))
    np.testing.assert_allclose(features.patterns, patterns / size * signs, atol=1e-12)
    np.testing.assert_allclose(features.basis, basis[:, ::-1] * size * signs, atol=1e-12)
    np.testing.assert_allclose(features.basis.T @ features.patterns, np.eye(6), atol=1e-12)
    # the parts of x do not correlate, so that their variances add up
    np.testing.assert_allclose(features.variance.sum(), np.trace(xx), rtol=1e-12)
    np.testing.assert_allclose(features.lam.sum(), np.trace(moments.yx), rtol=1e-12)


def test_commuting_features_are_the_common_eigenvectors():
    rotation = scipy.stats.ortho_group.rvs(4, random_state=1)
    variance, lam = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 0.5, 0.9])
    moments = js.Moments((rotation * variance) @ rotation.T, (rotation * lam) @ rotation.T)
    features = moments.features()
    order = np.argsort(-lam / variance)
    np.testing.assert_allclose(features.lam, lam[order], rtol=1e-12)
    np.testing.assert_allclose(features.variance, variance[order], rtol=1e-12)
    np.testing.assert_allclose(features.basis.T @ features.basis, np.eye(4), atol=1e-12)
    assert features.commutator < 1e-14


def test_commutator_and_asymmetry_are_measured():
    moments = non_commuting()
    xx, yx = np.asarray(moments.xx), np.asarray(moments.yx)
    norm = np.linalg.norm
    expected = norm(xx @ yx - yx @ xx) / (norm(xx) * norm(yx))
    np.testing.assert_allclose(moments.features().commutator, expected, rtol=1e-12)
    assert expected > 0.05
    skewed = js.Moments(xx, yx + 0.01 * (np.triu(xx) - np.tril(xx)))
    assert skewed.features().asymmetry > 1e-3
    np.testing.assert_allclose(skewed.features().rho, moments.features().rho, rtol=1e-12)


@pytest.mark.float32
def test_from_features_keeps_order_and_target_variance_is_least():
    lam, rho = [0.5, 1.0, -0.2], [0.3, 0.9, -0.5]
    moments = js.Moments.from_features(lam, rho)
    features = moments.features()
    np.testing.assert_allclose(features.lam, lam, rtol=1e-6)
    np.testing.assert_allclose(features.rho, rho, rtol=1e-6)
    np.testing.assert_allclose(np.diag(moments.xx), np.array(lam) / rho, rtol=1e-6)
    regression = np.asarray(moments.yx) @ np.linalg.inv(moments.xx)
    np.testing.assert_allclose(
        moments.yy, regression @ np.asarray(moments.xx) @ regression.T, rtol=1e-6
    )


def test_samples_in_one_pass_agree_with_numpy_however_they_are_cut():
    rng = np.random.default_rng(0)
    # a mean so large that naive sums lose all digits
    x = rng.normal(size=(1000, 3)) @ np.diag([1, 2, 3]) + 1e6
    y = 0.5 * x + rng.normal(size=x.shape)
    joint = np.cov(x - 1e6, y - 0.5e6, rowvar=False, bias=True)
    for cuts in ([], [1, 2, 500], list(range(50, 1000, 50))):
        batches = zip(np.split(x, cuts), np.split(y, cuts), strict=True)
        moments = js.Moments.from_samples(batches)
        np.testing.assert_allclose(moments.xx, joint[:3, :3], atol=1e-7)
        np.testing.assert_allclose(moments.yx, joint[3:, :3], atol=1e-7)
        np.testing.assert_allclose(moments.yy, joint[3:, 3:], atol=1e-7)
    np.testing.assert_allclose(js.Moments.from_samples(x, y).yx, joint[3:, :3], atol=1e-7)


def test_uncentred_samples_give_raw_second_moments():
    x = np.random.default_rng(0).normal(size=(200, 2)) + 3
    batches = [(x[:150], 2 * x[:150]), (x[150:], 2 * x[150:])]
    moments = js.Moments.from_samples(batches, center=False)
    np.testing.assert_allclose(moments.yx, 2 * x.T @ x / 200, rtol=1e-12)


def test_shrinkage_is_that_of_ledoit_and_wolf_and_of_ridge_regression():
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    x = 3 + rng.normal(size=(8, 5)) * np.array(
        [9, 3, 1, 1, 1]
    )  # fewer samples than x and y have entries
    y = x + rng.normal(size=x.shape)
    xx, s = covariance.ledoit_wolf(x)
    moments = js.Moments.from_samples([(x[:3], y[:3]), (x[3:], y[3:])], shrinkage=s)
    np.testing.assert_allclose(moments.xx, xx, rtol=1e-12)
    plain = np.cov(x, y, rowvar=False, bias=True)
    ridge = s / (1 - s) * np.trace(plain[:5, :5]) / 5
    regression = np.linalg.solve(plain[:5, :5] + ridge * np.eye(5), plain[:5, 5:]).T
    np.testing.assert_allclose(moments.yx @ jnp.linalg.inv(moments.xx), regression, rtol=1e-9)
    js.Moments.from_samples(x[:4], y[:4], shrinkage=0.1)  # which do not span the five dimensions


def test_a_stream_is_never_held_together():
    rng = np.random.default_rng(0)

    def stream():
        for _ in range(300):
            x = rng.normal(size=(100, 2))
            yield x, 0.5 * x + rng.normal(size=x.shape)

    moments = js.Moments.from_samples(stream())
    np.testing.assert_allclose(moments.yx, 0.5 * np.eye(2), atol=5 / np.sqrt(30_000))


def test_features_are_differentiable():
    moments = non_commuting(3)

    def total(yx):
        return jnp.sum(js.Moments(moments.xx, yx).features().rho ** 2)

    step = 1e-6 * np.eye(3)
    slope = (total(moments.yx + step) - total(moments.yx - step)) / 2e-6
    gradient = jnp.sum(jax.grad(total)(moments.yx) * np.eye(3))
    np.testing.assert_allclose(gradient, slope, rtol=1e-7)


EYE = np.eye(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.Moments(np.ones((2, 3)), EYE), r"`xx` must be a square matrix.*\(2, 3\)"),
        (lambda: js.Moments([[1, 0.5], [0, 1]], EYE), r"`xx` must be symmetric, but is 0.5 at \[0"),
        (
            lambda: js.Moments([[1, 2], [2, 1]], EYE),
            "`xx` must be positive definite.*eigenvalue -1",
        ),
        (lambda: js.Moments(EYE, np.eye(3)), r"`yx` must be of shape \(dy, 2\)"),
        (lambda: js.Moments(EYE, EYE * np.nan), r"`yx` must be finite, but is nan at \[0, 0\]"),
        (lambda: js.Moments(EYE, EYE, EYE / 2), "`yy` must be at least Σyx Σxx⁻¹ Σxy"),
        (lambda: js.Moments.from_features([1, 1], [0.5]), r"`rho` must be of the shape of `lam`"),
        (
            lambda: js.Moments.from_features([1.0], [-0.5]),
            "`lam / rho` must be positive, but is -2",
        ),
        (lambda: js.Moments.from_features([1.0], [0.0]), "`rho` must not be zero"),
        (lambda: js.Moments.from_features([np.inf], [1.0]), "`lam` must be finite, but is inf"),
        (lambda: js.Moments.from_samples([]), "`x` must hold at least one sample"),
        (lambda: js.Moments.from_samples(EYE, np.eye(3)), "`y` must have as many rows as x, 2"),
        (lambda: js.Moments.from_samples(np.ones((5, 2)), np.ones((5, 2))), "`x` must span all 2"),
        (
            lambda: js.Moments.from_samples(EYE, EYE, shrinkage=1.0),
            "`shrinkage` must be at least 0 and below 1, but is 1",
        ),
        (lambda: js.Moments.from_samples([EYE]), r"yield pairs \(x, y\)"),
        (
            lambda: js.Moments.from_samples([(EYE, EYE), (EYE, EYE * np.nan)]),
            "`y of batch 1` must be finite",
        ),
    ],
)
def test_bad_moments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ties_of_rho_are_told_apart_where_the_variances_differ_by_orders():
    """Rounding splits equal ρ by eps · cond(Σxx); such ties are still resolved by variance."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    variance = np.array([1.0, 0.8, 0.6, 1e-6, 1e-6, 1e-6])
    xx = (q * variance) @ q.T
    found = js.Moments((xx + xx.T) / 2, (xx + xx.T) / 2).features()
    np.testing.assert_allclose(np.sort(found.lam)[::-1], variance, rtol=1e-6)


def test_a_covariance_that_is_singular_to_rounding_is_refused():
    """Else ρ is a quotient of two rounding errors: 9e14 was seen."""
    x = np.random.default_rng(0).normal(size=(3, 2))
    with pytest.raises(ValueError, match="`xx` must be positive definite, but is singular to ro"):
        js.Moments(x @ x.T, np.eye(3))
    thin = np.diag([1.0, 1.0, 1e-12])  # small, and known
    assert np.isfinite(js.Moments(thin, thin / 2).features().rho).all()
    power_law = js.Moments.from_features(np.arange(1, 201.0) ** -4, np.full(200, 0.5))
    np.testing.assert_array_equal(power_law.features().rho, 0.5)


def test_rho_above_one_is_warned_of_once_it_is_known():
    with pytest.warns(js.AmplifiedWarning, match=r"ρ is 1\.5, above 1"):
        js.Moments(np.eye(2), np.diag([1.5, 0.5]))
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.warns(js.AmplifiedWarning, match="exchanged"):
        js.Moments.from_samples(x / 2, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        js.Moments(np.eye(2), np.eye(2))  # ρ = 1, a frozen feature
        source = js.data.Gaussian(np.eye(2) + 0.5)
        js.data.Masked(source, js.data.PixelMask(0.5)).exact_moments()  # a part predicts the whole


def test_a_large_tie_keeps_its_place_beside_other_features():
    """Of thirty features of one ρ one has a small variance, and the solver may hand out any basis
    of them: here one in which all have a share of it."""
    size = np.array([10.0, *np.ones(30)])  # |v| = 1/σ
    turn = np.eye(31)
    turn[:30, :30] = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30)))[0]
    basis, rho = jnp.asarray(size[:, None] * turn), jnp.asarray([*np.full(30, 0.9), 0.5])
    rotation = np.asarray(_split_ties(rho, basis))
    np.testing.assert_allclose(abs(rotation[30]), [*np.zeros(30), 1], atol=1e-12)
    found = np.linalg.norm(basis @ rotation, axis=0)
    np.testing.assert_allclose(found, [*np.ones(29), 10, 1], rtol=1e-10)
