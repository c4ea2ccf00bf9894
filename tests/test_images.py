"""Lit patches have the moments that their parameters say."""

import sys

import numpy as np
import pytest

import jepa_sim as js
from jepa_sim._data.images import LitPatches, flat_patterns, read_photograph, sample_photographs

PATCH = 4


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [photograph[:150, :200] for photograph in sample_photographs()]


@pytest.fixture(scope="module")
def patches(photographs: list[np.ndarray]) -> LitPatches:
    return LitPatches(PATCH, photographs=photographs)


def sorted_features(patches: LitPatches) -> tuple[np.ndarray, np.ndarray]:
    """ρ and the share of light, by falling λ."""
    features = patches.exact_moments().features()
    order = np.argsort(-np.asarray(features.lam))
    return np.asarray(features.rho)[order], patches.lighting_share(features)[order]


def test_patches_have_mean_variance_one(patches: LitPatches):
    assert np.trace(patches.covariance) == pytest.approx(PATCH**2)


def test_the_covariance_is_that_of_all_patches(patches: LitPatches):
    windows = [
        np.lib.stride_tricks.sliding_window_view(p, (PATCH, PATCH)).reshape(-1, PATCH**2)
        for p in patches.photographs
    ]
    expected = np.cov(np.concatenate(windows).T, bias=True)
    np.testing.assert_allclose(patches.covariance, expected, rtol=1e-9, atol=1e-12)


def test_patterns_are_orthogonal_and_of_mean_square_one(patches: LitPatches):
    for patterns in (patches.patterns, flat_patterns(PATCH)):
        np.testing.assert_allclose(
            patterns.T @ patterns, PATCH**2 * np.eye(3), atol=1e-12 * PATCH**2
        )


def test_patterns_are_brightness_and_gradients():
    patches = LitPatches(8)
    cosines = patches.patterns.T @ flat_patterns(8) / patches.dimension
    assert (np.diag(cosines) > 0.9).all()


def test_noise_adds_to_the_variance_of_the_lighting_patterns(patches: LitPatches):
    moments = patches.exact_moments()
    added = np.asarray(moments.xx - moments.yx)
    units = patches.patterns / PATCH
    expected = patches.sensor_sd**2 + PATCH**2 * patches.deviations**2
    np.testing.assert_allclose(np.diag(units.T @ added @ units), expected, rtol=1e-12)
    rest = added - units @ np.diag(expected - patches.sensor_sd**2) @ units.T
    np.testing.assert_allclose(rest, patches.sensor_sd**2 * np.eye(PATCH**2), atol=1e-12)


def test_light_is_noisy_and_has_the_largest_covariances():
    rho, share = sorted_features(LitPatches(8))
    assert (share[:3] > 0.6).all()
    assert (share[3:] < 1e-9).all()
    assert (rho[:3] < 0.4).all()
    assert (rho[3:] > 0.6).all()


def test_variance_is_structure_light_and_sensor(patches: LitPatches):
    features = patches.exact_moments().features()
    sensor = patches.sensor_sd**2 / np.asarray(features.variance)
    total = np.asarray(features.rho) + patches.lighting_share(features) + sensor
    np.testing.assert_allclose(total, 1, rtol=1e-9)


def test_moments_commute_with_own_patterns_and_not_with_flat_light(photographs: list[np.ndarray]):
    own = LitPatches(PATCH, photographs=photographs)
    flat = LitPatches(PATCH, photographs=photographs, patterns=flat_patterns(PATCH))
    assert own.exact_moments().features().commutator < 1e-12
    assert flat.exact_moments().features().commutator > 1e-2


def test_sampled_moments_are_the_exact_ones_up_to_sampling_error(patches: LitPatches):
    pairs = 40_000
    sampled, exact = patches.moments(pairs), patches.exact_moments()
    variance = np.diag(exact.xx)
    # One entry errs by sqrt(σᵢ² σⱼ² (kurtosis ≲ 20) / pairs).
    bound = 5 * np.sqrt(20 * np.outer(variance, variance) / pairs)
    assert (np.abs(sampled.xx - exact.xx) < bound).all()
    assert (np.abs(sampled.yx - exact.yx) < bound).all()
    assert np.abs(sampled.xx - exact.yx).max() > bound.max()  # the noise is there
    np.testing.assert_allclose(sampled.yx, sampled.yx.T, atol=1e-12)
    np.testing.assert_allclose(sampled.xx, sampled.yy, atol=1e-12)


def test_a_stream_of_batches_is_one_sample(patches: LitPatches):
    batches = list(patches.pairs(1000, seed=3, batch_size=300))
    assert [len(x) for x, _ in batches] == [300, 300, 300, 100]
    x, y = (np.concatenate(views) for views in zip(*batches, strict=True))
    at_once = js.Moments.from_samples(np.concatenate([x, y]), np.concatenate([y, x]))
    both_ways = (pair for x, y in batches for pair in ((x, y), (y, x)))
    streamed = js.Moments.from_samples(both_ways)
    np.testing.assert_allclose(streamed.xx, at_once.xx, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(streamed.yx, at_once.yx, rtol=1e-9, atol=1e-12)


def test_the_seed_decides(patches: LitPatches):
    first, again, other = (next(patches.pairs(10, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).all()
    assert (first[0] != first[1]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch": 1}, "Argument `patch` must be a whole number, at least 2"),
        ({"sensor_sd": 0.0}, "Argument `sensor_sd` must be positive"),
        (
            {"photographs": [np.ones((3, 9))]},
            "Argument `photographs` must be grey and at least 4 × 4",
        ),
        ({"photographs": [np.ones((9, 9))]}, "Argument `photographs` must have contrast"),
        ({"photographs": []}, "Argument `photographs` must hold at least one photograph"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        LitPatches(**{"patch": PATCH, **arguments})


def test_photographs_are_read_from_files(tmp_path):
    image = pytest.importorskip("PIL.Image")
    colours = np.zeros((5, 6, 3), np.uint8)
    colours[..., 1] = 100
    image.fromarray(colours).save(tmp_path / "green.png")
    np.testing.assert_allclose(read_photograph(tmp_path / "green.png"), np.full((5, 6), 58.7))


def test_a_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"jepa_sim\[images\]"):
        sample_photographs()
