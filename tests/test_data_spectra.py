"""Spectra: low rank, power laws, pairs that do not commute."""

import jax
import numpy as np
import pytest

from jepa_sim.data.spectra import LowRank, non_commuting, power_law, random_basis
from tests.sampling import check_joint, check_views

BASIS = random_basis(5, seed=1)


def test_a_random_basis_is_orthogonal_and_the_seeds():
    np.testing.assert_allclose(BASIS.T @ BASIS, np.eye(5), atol=1e-14)
    np.testing.assert_array_equal(BASIS, random_basis(5, seed=1))
    assert np.abs(BASIS - random_basis(5, seed=2)).max() > 0.1


def test_low_rank_autoencoding():
    moments = LowRank([2.0, 1.0], 0.1, dimension=5, basis=BASIS).exact_moments()
    features = moments.features()
    np.testing.assert_allclose(features.lam, [2.1, 1.1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(features.rho, 1)
    clean = 2 * np.outer(BASIS[:, 0], BASIS[:, 0]) + np.outer(BASIS[:, 1], BASIS[:, 1])
    for matrix in (moments.xx, moments.yx, moments.yy):
        np.testing.assert_allclose(matrix, clean + 0.1 * np.eye(5), atol=1e-14)


def test_low_rank_denoising():
    moments = LowRank([2.0, 1.0], 0.1, dimension=5, basis=BASIS, denoising=True).exact_moments()
    features = moments.features()
    np.testing.assert_allclose(features.lam, [2, 1, 0, 0, 0])
    np.testing.assert_allclose(features.rho, [2 / 2.1, 1 / 1.1, 0, 0, 0])
    assert np.linalg.matrix_rank(moments.yx) == 2
    np.testing.assert_allclose(moments.yy, moments.yx, atol=1e-15)


@pytest.mark.parametrize("denoising", [False, True])
def test_low_rank_samples_converge(denoising: bool):
    check_views(LowRank([2.0, 1.0], 0.1, dimension=5, basis=BASIS, denoising=denoising))


def test_power_law():
    features = power_law(4, 1.5, noise=0.2, noise_exponent=0.5).exact_moments().features()
    i = np.arange(1, 5)
    np.testing.assert_allclose(features.lam, i**-1.5, rtol=1e-12)
    np.testing.assert_allclose(features.rho, 1 / (1 + 0.2 * i**1.0), rtol=1e-12)
    steep = power_law(4, 1.0, noise=1.0, noise_exponent=2.0).exact_moments().features()
    assert (np.diff(steep.rho) > 0).all()  # the features of large λ are the noisy ones
    check_views(power_law(3, 1.0, noise=0.1, noise_exponent=2.0))


def test_power_law_is_differentiable_in_its_exponents():
    def diagonal(exponent: jax.Array) -> jax.Array:
        return power_law(3, exponent, noise_exponent=2 * exponent).exact_moments().xx.diagonal()

    log = np.log(np.arange(1, 4))
    expected = -log * np.exp(-log) - 2 * log * np.exp(-2 * log)
    np.testing.assert_allclose(jax.jacfwd(diagonal)(1.0), expected, rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 5, 6])
def test_the_angle_dials_from_commuting_to_independent_bases(dimension: int):
    found = {a: non_commuting(dimension, a, seed=3) for a in (0.0, 0.1, 0.2, 0.5, 1.0)}
    commutators = [float(v.exact_moments().features().commutator) for v in found.values()]
    assert commutators[0] < 1e-12
    if dimension > 2:
        assert (np.diff(commutators[:4]) > 0).all()
        assert commutators[-1] > 0.03
    turns = {a: np.asarray(v.basis).T @ np.asarray(v.noise_basis) for a, v in found.items()}
    for turn in turns.values():
        np.testing.assert_allclose(turn.T @ turn, np.eye(dimension), atol=1e-13)
    # a geodesic: equal steps are equal turns
    np.testing.assert_allclose(turns[0.1] @ turns[0.1], turns[0.2], atol=1e-13)
    np.testing.assert_allclose(turns[0.5] @ turns[0.5], turns[1.0], atol=1e-13)
    assert np.abs(np.abs(turns[1.0]) - np.eye(dimension)).max() > 0.1
    for views in found.values():
        moments = views.exact_moments()
        np.testing.assert_array_equal(views.signal, found[0.0].signal)
        for matrix in (moments.yx, moments.xx - moments.yx):
            eigenvalues = np.linalg.eigvalsh(matrix)
            assert eigenvalues[0] >= 0.1 - 1e-12
            assert eigenvalues[-1] <= 1 + 1e-12
        check_joint(moments)


def test_the_ends_of_the_dial_are_uniformly_random():
    # the trace of a uniformly random rotation has mean 0 and mean square 1
    turns = [non_commuting(4, 1.0, seed=seed) for seed in range(200)]
    traces = [np.sum(np.asarray(v.basis) * np.asarray(v.noise_basis)) for v in turns]
    assert abs(np.mean(traces)) < 5 / 200**0.5
    assert 0.6 < np.mean(np.square(traces)) < 1.5


def test_non_commuting_samples_converge():
    check_views(non_commuting(4, 0.6, seed=1))


def test_moments_are_differentiable_in_the_angle():
    def xx(angle: jax.Array) -> jax.Array:
        return non_commuting(3, angle, seed=1).exact_moments().xx

    slope = jax.vmap(jax.jacfwd(xx))(np.array([0.0, 0.4]))
    for angle, found in zip((1e-5, 0.4), slope, strict=True):
        between = (xx(angle + 1e-5) - xx(angle - 1e-5)) / 2e-5
        np.testing.assert_allclose(found, between, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LowRank([1.0, 0.0], 1.0, dimension=3), r"Argument `signal` must be positive, but"),
        (lambda: LowRank([1.0], 0.0, dimension=3), "Argument `noise` must be positive, but is 0"),
        (lambda: LowRank([1.0], [1.0], dimension=3), "Argument `noise` must be one real number"),
        (lambda: LowRank(np.ones(3), 1.0, dimension=2), "Argument `dimension` must be a whole nu"),
        (lambda: power_law(0), "Argument `dimension` must be a whole number, at least 1, but is 0"),
        (lambda: power_law(2, np.inf), "Argument `exponent` must be finite, but is inf"),
        (lambda: power_law(2, noise=-1.0), "Argument `noise` must be at least 0, but is -1"),
        (lambda: non_commuting(1, 0.5), "Argument `dimension` must be a whole number, at least 2"),
        (lambda: non_commuting(3, 1.5), "Argument `angle` must be at least 0 and at most 1, but"),
        (lambda: non_commuting(3, 1, smallest=1.0), "Argument `smallest` must lie strictly betwe"),
        (lambda: random_basis(0), "Argument `dimension` must be a whole number, at least 1"),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
