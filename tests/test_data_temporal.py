"""Temporal masking, against an enumeration of all masks."""

import itertools

import jax
import numpy as np
import pytest

from jepa_sim.data.latent import Dynamic
from jepa_sim.data.masks import AbstractMask, BlockFrames, PixelMask, RandomFrames, Suffix
from jepa_sim.data.spectra import random_basis
from jepa_sim.data.temporal import Temporal
from tests.sampling import BATCH, BATCHES, check_joint, check_pairs, check_views

N, D = 5, 2
SIGNAL, GAMMA = np.array([1.0, 0.6]), np.array([0.9, 0.4])
NOISE, GAMMA_N = np.array([0.3, 0.5]), np.array([0.0, 0.7])
POLICIES = [RandomFrames(2), Suffix(2), BlockFrames(2), BlockFrames(4)]
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])
# a sequence whose present says more about the future than about the past: C(τ) = Aᵗ C(0)
SKEWED = [np.linalg.matrix_power(0.7 * TURN, tau) @ np.eye(2) for tau in range(N)]


def process() -> Dynamic:
    return Dynamic(SIGNAL, GAMMA, NOISE, GAMMA_N, basis=random_basis(D, seed=4))


def all_masks(policy: AbstractMask) -> list[np.ndarray]:
    """Every choice of visible frames; all have the same probability."""
    match policy:
        case RandomFrames():
            chosen = itertools.combinations(range(N), policy.keep)
            return [np.isin(np.arange(N), frames) for frames in chosen]
        case Suffix():
            return [np.arange(N) < N - policy.length]
        case BlockFrames():
            return [
                ~np.isin(np.arange(N), np.arange(first, first + policy.length))
                for first in range(N - policy.length + 1)
            ]


def covariance(lags: np.ndarray, later: int, earlier: int) -> np.ndarray:
    """E[f(later) f(earlier)ᵀ]."""
    if later >= earlier:
        return np.asarray(lags[later - earlier])
    return np.asarray(lags[earlier - later]).T


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("lags", [process().lag_covariances(N), np.array(SKEWED)])
def test_position_blind_moments_are_means_over_pairs_of_frames(policy: AbstractMask, lags):
    found = Temporal(lags, policy).exact_moments()
    pairs = [
        covariance(lags, t, s)
        for visible in all_masks(policy)
        for s in np.flatnonzero(visible)
        for t in np.flatnonzero(~visible)
    ]
    np.testing.assert_allclose(found.yx, np.mean(pairs, axis=0), atol=1e-14)
    np.testing.assert_allclose(found.xx, lags[0], atol=1e-15)
    np.testing.assert_allclose(found.yy, lags[0], atol=1e-15)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("lags", [process().lag_covariances(N), np.array(SKEWED)])
def test_stacked_moments_are_means_over_masks(policy: AbstractMask, lags):
    views = Temporal(lags, policy)
    found, masks = views.stacked_moments(), all_masks(policy)
    context = [s for s in range(N) if any(visible[s] for visible in masks)]
    target = [t for t in range(N) if any(~visible[t] for visible in masks)]
    assert views.frames == (len(context), len(target))

    def stacked(rows: list, columns: list, kept) -> np.ndarray:
        return np.block(
            [
                [np.mean([kept(m, i, j) for m in masks]) * covariance(lags, i, j) for j in columns]
                for i in rows
            ]
        )

    xx = stacked(context, context, lambda m, i, j: m[i] and m[j])
    yx = stacked(target, context, lambda m, i, j: not m[i] and m[j])
    yy = stacked(target, target, lambda m, i, j: not m[i] and not m[j])
    np.testing.assert_allclose(found.xx, xx, atol=1e-14)
    np.testing.assert_allclose(found.yx, yx, atol=1e-14)
    np.testing.assert_allclose(found.yy, yy, atol=1e-14)
    check_joint(found)


def test_lam_and_rho_of_a_feature():
    lags = Dynamic(SIGNAL, GAMMA, NOISE).lag_covariances(4)
    features = Temporal(lags, Suffix(1)).exact_moments().features()
    # the last frame from the first, the second or the third
    lam = SIGNAL * (GAMMA + GAMMA**2 + GAMMA**3) / 3
    np.testing.assert_allclose(np.sort(features.lam), np.sort(lam), rtol=1e-12)
    np.testing.assert_allclose(np.sort(features.rho), np.sort(lam / (SIGNAL + NOISE)), rtol=1e-12)


def test_two_frames_are_a_dynamic_pair():
    lags = process().lag_covariances(2)
    views, pair = Temporal(lags, Suffix(1)), process().exact_moments()
    assert views.frames == (1, 1)
    for moments in (views.exact_moments(), views.stacked_moments()):
        np.testing.assert_allclose(moments.yx, pair.yx, atol=1e-15)
        np.testing.assert_allclose(moments.xx, pair.xx, atol=1e-15)


@pytest.mark.parametrize("policy", POLICIES)
def test_frames_that_are_never_seen_are_left_out(policy: AbstractMask):
    views = Temporal(process().lag_covariances(N), policy)
    expected = {RandomFrames: (5, 5), Suffix: (3, 2)}
    if isinstance(policy, BlockFrames):  # the middle is always under a block of 4
        assert views.frames == ((5, 5) if policy.length == 2 else (2, 5))
    else:
        assert views.frames == expected[type(policy)]
    context, target = views.frames
    moments = views.stacked_moments()
    assert moments.yx.shape == (target * D, context * D)
    assert np.linalg.eigvalsh(moments.xx)[0] > 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("lags", [process().lag_covariances(N), np.array(SKEWED)])
def test_samples_converge(policy: AbstractMask, lags):
    views = Temporal(lags, policy)
    check_views(views)
    pairs = views.stacked_pairs(BATCH * BATCHES, batch_size=BATCH)
    check_pairs(pairs, views.stacked_moments())


def test_moments_are_vmappable_and_differentiable():
    def lam(gamma: jax.Array) -> jax.Array:
        lags = Dynamic([1.0], gamma, [0.5]).lag_covariances(4)
        return Temporal(lags, RandomFrames(2)).exact_moments().yx[0, 0]

    gammas = np.array([0.0, 0.5])
    # of the 12 ordered pairs of 4 frames 6 are one step apart, 4 two and 2 three
    np.testing.assert_allclose(
        jax.vmap(lam)(gammas), (6 * gammas + 4 * gammas**2 + 2 * gammas**3) / 12
    )
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lam))(gammas), (6 + 8 * gammas + 6 * gammas**2) / 12
    )


LAGS = np.stack([np.eye(2), 0.5 * np.eye(2)])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Temporal(np.eye(2), Suffix(1)), r"Argument `lags` must be of shape \(n, d, d\),"),
        (lambda: Temporal(LAGS[:1], Suffix(1)), r"Argument `lags` must be of shape \(n, d, d\),"),
        (lambda: Temporal(LAGS * np.nan, Suffix(1)), "Argument `lags` must be finite"),
        (lambda: Temporal(3 * LAGS[::-1], Suffix(1)), "Argument `lags` must be positive semidef"),
        (lambda: Temporal(LAGS, Suffix(2)), "Argument `length` must be below the number of frames"),
        (lambda: Temporal(LAGS, PixelMask(1.0)), "Argument `policy` must hide a frame while it"),
        (
            lambda: jax.vmap(lambda p: Temporal(LAGS, PixelMask(p)).lags)(np.array([0.5])),
            "Argument `policy` must be known before tracing, but is traced",
        ),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
