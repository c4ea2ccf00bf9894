"""Latent features under noise have the λ and ρ of their formulas."""

import jax
import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.data.latent import Dynamic, Static
from jepa_sim.data.spectra import random_basis
from tests.sampling import check_views

SIGNAL, NOISE = np.array([1.0, 0.5, 0.0, 0.2]), np.array([0.2, 0.0, 1.0, 2.0])
GAMMA, GAMMA_N = np.array([0.9, -0.5, 0.3, 0.0]), np.array([0.0, 0.4, 1.0, -0.6])
BASIS, OTHER = random_basis(4, seed=1), random_basis(4, seed=2)


def test_static_features():
    features = Static(SIGNAL, NOISE, BASIS).exact_moments().features()
    np.testing.assert_allclose(features.lam, SIGNAL)
    np.testing.assert_allclose(features.rho, SIGNAL / (SIGNAL + NOISE))
    np.testing.assert_allclose(features.variance, SIGNAL + NOISE)
    np.testing.assert_allclose(features.basis, BASIS)


def test_dynamic_features():
    views = Dynamic(SIGNAL, GAMMA, NOISE, GAMMA_N, lag=3, basis=BASIS)
    features = views.exact_moments().features()
    lam = GAMMA**3 * SIGNAL + GAMMA_N**3 * NOISE
    np.testing.assert_allclose(features.lam, lam, rtol=1e-12)
    np.testing.assert_allclose(features.rho, lam / (SIGNAL + NOISE), rtol=1e-12)
    assert features.rho[2] == 1  # noise alone, and frozen
    np.testing.assert_allclose(features.basis, BASIS)


def test_trajectories_are_centred():
    """Against matrices of all frames, and samples of whole trajectories centred as groups."""
    frames, lag = 5, 2
    views = Dynamic([1.0, 2.0], [0.9, 1.0], [0.3, 0.2], [0.0, -0.4], lag, centered_over=frames)
    apart = abs(np.subtract.outer(range(frames), range(frames)))
    center = np.eye(frames) - 1 / frames
    features = views.exact_moments().features()
    for i, parts in enumerate([((1.0, 0.9), (0.3, 0.0)), ((2.0, 1.0), (0.2, -0.4))]):
        whole = center @ sum(size * np.power(gamma, apart) for size, gamma in parts) @ center
        np.testing.assert_allclose(features.lam[i], np.diag(whole, lag).mean(), rtol=1e-12)
        np.testing.assert_allclose(features.variance[i], np.diag(whole)[:-lag].mean(), rtol=1e-12)
    moments = js.Moments.from_samples(*views.draw(np.random.default_rng(0), 200_000))
    exact = views.exact_moments()
    np.testing.assert_allclose(moments.xx, exact.xx, atol=0.01)
    np.testing.assert_allclose(moments.yx, exact.yx, atol=0.01)
    np.testing.assert_allclose(moments.yy, exact.yy, atol=0.01)


def test_groups_lose_their_means():
    rng = np.random.default_rng(0)
    x, y, groups = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)), np.arange(60) // 20
    still = 10 * rng.normal(size=(3, 2))[groups]  # never changes within a group
    shifted = js.Moments.from_samples(x + still, y + 3 * still, groups=groups)
    blocks = [np.cov(np.hstack([x, y])[groups == i].T, bias=True) for i in range(3)]
    whole = np.mean(blocks, axis=0)
    np.testing.assert_allclose(shifted.xx, whole[:2, :2], rtol=1e-12)
    np.testing.assert_allclose(shifted.yx, whole[2:, :2], atol=1e-13)


@pytest.mark.parametrize(
    "views", [Static(SIGNAL, NOISE, BASIS), Dynamic(SIGNAL, GAMMA, NOISE, GAMMA_N, 2, BASIS)]
)
def test_known_features_solve_the_moments(views: Static | Dynamic):
    moments = views.exact_moments()
    known = moments.features()
    basis = np.asarray(known.basis)
    for matrix, diagonal in (
        (moments.xx, known.variance),
        (moments.yx, known.lam),
        (moments.yy, known.target_variance),
    ):
        np.testing.assert_allclose(matrix, basis @ np.diag(diagonal) @ basis.T, atol=1e-14)


def test_a_noise_basis_of_its_own():
    moments = Static(SIGNAL, NOISE, BASIS, OTHER).exact_moments()
    yx = BASIS @ np.diag(SIGNAL) @ BASIS.T
    np.testing.assert_allclose(moments.yx, yx, atol=1e-14)
    np.testing.assert_allclose(moments.xx, yx + OTHER @ np.diag(NOISE) @ OTHER.T, atol=1e-14)
    assert moments.features().commutator > 0.05


def test_what_never_changes_is_static():
    frozen = Dynamic(SIGNAL, 1.0, NOISE, lag=7, basis=BASIS).exact_moments()
    static = Static(SIGNAL, NOISE, BASIS).exact_moments()
    for name in ("xx", "yx", "yy"):
        np.testing.assert_allclose(getattr(frozen, name), getattr(static, name), rtol=1e-12)
    forgotten = Dynamic(SIGNAL, 0.5, NOISE, lag=200).exact_moments()
    np.testing.assert_allclose(forgotten.yx, np.zeros((4, 4)), atol=1e-50)


def test_lag_covariances():
    views = Dynamic(SIGNAL, GAMMA, NOISE, GAMMA_N, lag=3, basis=BASIS)
    lags = views.lag_covariances(5)
    for tau in range(5):
        diagonal = GAMMA**tau * SIGNAL + GAMMA_N**tau * NOISE
        np.testing.assert_allclose(lags[tau], BASIS @ np.diag(diagonal) @ BASIS.T, atol=1e-14)
    np.testing.assert_allclose(lags[3], views.exact_moments().yx, atol=1e-14)


@pytest.mark.parametrize(
    "views",
    [
        Static(SIGNAL, NOISE, BASIS),
        Static(SIGNAL, NOISE, BASIS, OTHER),
        Dynamic(SIGNAL, GAMMA, NOISE, GAMMA_N, 2, BASIS),
    ],
)
def test_samples_converge(views: Static | Dynamic):
    check_views(views)


def test_moments_are_vmappable_and_differentiable():
    def yx(gamma: jax.Array) -> jax.Array:
        return Dynamic(SIGNAL, gamma, NOISE, GAMMA_N, lag=2).exact_moments().yx

    gammas = np.array([0.0, 0.3, 1.0])
    every = jax.vmap(yx)(gammas)
    for gamma, one in zip(gammas, every, strict=True):
        np.testing.assert_allclose(
            one, Dynamic(SIGNAL, gamma, NOISE, GAMMA_N, 2).exact_moments().yx
        )
    slopes = jax.vmap(jax.jacfwd(yx))(gammas)
    expected = 2 * gammas[:, None] * SIGNAL
    np.testing.assert_allclose(np.diagonal(slopes, axis1=1, axis2=2), expected)


def test_lags_are_differentiable_where_nothing_lasts():
    lags = jax.jacfwd(lambda g: Dynamic([2.0], g, [1.0]).lag_covariances(3))(0.0)
    np.testing.assert_array_equal(lags.ravel(), [0, 2, 0])


def test_the_seed_decides_and_batches_add_up():
    views = Static(SIGNAL, NOISE)
    first, again, other = (next(views.pairs(5, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0][:, :2] != other[0][:, :2]).all()
    assert [len(x) for x, _ in views.pairs(700, batch_size=300)] == [300, 300, 100]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Static([], 1.0), "Argument `signal` must be a list of at least one number, but"),
        (lambda: Static([1.0, -1.0], 1.0), "Argument `signal` must be at least 0, but is -1 at"),
        (lambda: Static([1.0], [1.0, 1.0]), "Argument `noise` must be one number or 1, but is of"),
        (lambda: Static([1.0, 0.0], 0.0), r"Argument `signal \+ noise` must be positive, but is 0"),
        (
            lambda: Static([1.0, 1.0], 0.0, [[1, 0], [1, 1]]),
            "Argument `basis` must be orthogonal, one feature per column, but is off by 1",
        ),
        (lambda: Static([1.0, 1.0], 0.0, noise_basis=[[1]]), "Argument `noise_basis` must be of"),
        (
            lambda: Dynamic([1.0], 1.5, 0.0),
            "Argument `autocorrelation` must be at least -1 and at most 1, but is 1.5",
        ),
        (
            lambda: Dynamic([1.0], 1.0, 0.0, [-2.0]),
            r"Argument `noise_autocorrelation` must be at least -1 and at most 1, but is -2 at \[0",
        ),
        (
            lambda: Dynamic([1.0, 1.0], [0.5, 1.0], 0.0, centered_over=4),
            "Argument `centered_over` must leave some variance .* but is none of feature 1",
        ),
        (
            lambda: js.Moments.from_samples(np.eye(3), np.eye(3), groups=[0, 1]),
            "Argument `groups` must be one label for each of the 3 samples of `x`, but is of shape",
        ),
        (lambda: Dynamic([1.0], 1.0, 0.0, lag=0), "Argument `lag` must be a whole number, at leas"),
        (lambda: Static([1.0], 1.0).pairs(0), "Argument `count` must be a whole number, at least"),
        (
            lambda: Static([1.0], 1.0).pairs(1, batch_size=0),
            "Argument `batch_size` must be a whole number, at least 1, but is 0",
        ),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
