"""Views of real images have the moments that follow from their parameters."""

import numpy as np
import pytest

import jepa_sim as js
from jepa_sim.data.base import AbstractSource, Gaussian
from jepa_sim.data.images import Digits, Patches, read_photograph, sample_photographs
from jepa_sim.data.masking import Hidden, Masked, grid_covariance
from jepa_sim.data.masks import BlockMask, PixelMask
from jepa_sim.data.views import Lit, Noisy, Shifted, flat_patterns
from tests.sampling import check_joint, check_views

PATCH = 4


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [photograph[:150, :200] for photograph in sample_photographs()]


@pytest.fixture(scope="module")
def patches(photographs: list[np.ndarray]) -> Patches:
    return Patches(PATCH, photographs)


@pytest.fixture(scope="module")
def lit(patches: Patches) -> Lit:
    return Lit(patches)


def sorted_features(lit: Lit) -> tuple[np.ndarray, np.ndarray]:
    """ρ and the share of light, by falling λ."""
    features = lit.exact_moments().features()
    order = np.argsort(-np.asarray(features.lam))
    return np.asarray(features.rho)[order], lit.lighting_share(features)[order]


def test_patches_have_mean_variance_one(patches: Patches):
    assert np.trace(patches.covariance) == pytest.approx(PATCH**2)
    assert (patches.dimension, patches.side) == (PATCH**2, PATCH)


def test_the_covariance_is_that_of_all_patches(patches: Patches):
    windows = np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(p, (PATCH, PATCH)).reshape(-1, PATCH**2)
            for p in patches.photographs
        ]
    )
    expected = np.cov(windows.T, bias=True)
    np.testing.assert_allclose(patches.covariance, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(patches.mean, windows.mean(axis=0), rtol=1e-9, atol=1e-12)


def test_digits():
    digits = Digits()
    assert digits.images.shape == (1797, 64)
    np.testing.assert_allclose(digits.images.mean(axis=0), 0, atol=1e-12)
    assert np.trace(digits.covariance) == pytest.approx(64)
    assert (np.diag(digits.covariance) == 0).sum() == 3
    expected = np.cov(digits.images.T, bias=True)
    np.testing.assert_allclose(digits.covariance, expected, atol=1e-12)


def test_patterns_are_orthogonal_and_of_mean_square_one(lit: Lit):
    for patterns in (lit.patterns, flat_patterns(PATCH)):
        np.testing.assert_allclose(
            patterns.T @ patterns, PATCH**2 * np.eye(3), atol=1e-12 * PATCH**2
        )


def test_patterns_are_brightness_and_gradients():
    lit = Lit(Patches(8))
    cosines = lit.patterns.T @ flat_patterns(8) / 64
    assert (np.diag(cosines) > 0.9).all()


def test_noise_adds_to_the_variance_of_the_lighting_patterns(lit: Lit):
    moments = lit.exact_moments()
    added = np.asarray(moments.xx - moments.yx)
    units = lit.patterns / PATCH
    expected = lit.sensor_sd**2 + PATCH**2 * lit.deviations**2
    np.testing.assert_allclose(np.diag(units.T @ added @ units), expected, rtol=1e-12)
    rest = added - units @ np.diag(expected - lit.sensor_sd**2) @ units.T
    np.testing.assert_allclose(rest, lit.sensor_sd**2 * np.eye(PATCH**2), atol=1e-12)


def test_light_is_noisy_and_has_the_largest_covariances():
    rho, share = sorted_features(Lit(Patches(8)))
    assert (share[:3] > 0.6).all()
    assert (share[3:] < 1e-9).all()
    assert (rho[:3] < 0.4).all()
    assert (rho[3:] > 0.6).all()


def test_variance_is_structure_light_and_sensor(lit: Lit):
    features = lit.exact_moments().features()
    sensor = lit.sensor_sd**2 / np.asarray(features.variance)
    total = np.asarray(features.rho) + lit.lighting_share(features) + sensor
    np.testing.assert_allclose(total, 1, rtol=1e-9)


def test_moments_commute_with_own_patterns_and_not_with_flat_light(patches: Patches):
    own, flat = Lit(patches), Lit(patches, patterns=flat_patterns(PATCH))
    assert own.exact_moments().features().commutator < 1e-12
    assert flat.exact_moments().features().commutator > 1e-2


def test_features_under_white_noise(patches: Patches):
    features = Noisy(patches, 0.5).exact_moments().features()
    lam = np.linalg.eigvalsh(patches.covariance)[::-1]
    np.testing.assert_allclose(features.lam, lam, rtol=1e-9)
    np.testing.assert_allclose(features.rho, lam / (lam + 0.5), rtol=1e-9)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_shifted_moments_are_means_over_all_pairs_of_offsets(shift: int):
    side, size = 4, 4 - shift
    rng = np.random.default_rng(0)
    root = rng.standard_normal((16, 16))
    covariance = root @ root.T
    found = Shifted(Gaussian(covariance), shift, noise=0.3).exact_moments()
    offsets = [(i, j) for i in range(shift + 1) for j in range(shift + 1)]
    images = root.reshape(side, side, 16)  # an image for every column of the root

    def window(i: int, j: int) -> np.ndarray:
        return images[i : i + size, j : j + size].reshape(size**2, 16)

    xx = np.mean([window(*a) @ window(*a).T for a in offsets], axis=0)
    yx = np.mean([window(*a) @ window(*b).T for a in offsets for b in offsets], axis=0)
    np.testing.assert_allclose(found.xx, xx + 0.3 * np.eye(size**2), atol=1e-12)
    np.testing.assert_allclose(found.yx, yx, atol=1e-12)
    np.testing.assert_allclose(found.yy, found.xx, atol=0)


def test_shifts_average_out_what_is_fine(patches: Patches):
    still, moved = (Shifted(patches, s).exact_moments().features() for s in (0, 2))
    np.testing.assert_allclose(still.rho, 1, rtol=1e-6)
    assert moved.rho[0] > 0.4
    assert moved.rho[-1] < 0.05
    check_joint(Shifted(patches, 2).exact_moments())


SMOOTH = Gaussian(grid_covariance((3, 3), 2.0))


@pytest.mark.parametrize("make", [Patches, Digits])
def test_sources_have_the_covariance_they_say(make, photographs: list[np.ndarray]):
    """As views without noise, which are autoencoding: Σxx = Σyx = Σyy."""
    source = make(3, photographs) if make is Patches else make()
    z = source.draw(np.random.default_rng(0), 40_000)
    products = z[:, :, None] * z[:, None, ::7]
    error = products.mean(axis=0) - source.covariance[:, ::7]
    standard = products.std(axis=0) / 40_000**0.5
    assert (np.abs(error) <= 5 * standard + 1e-12).all()
    assert (np.abs(z.mean(axis=0)) <= 5 * z.std(axis=0) / 200 + 1e-12).all()


@pytest.mark.parametrize(
    "views",
    [
        Noisy(SMOOTH, 0.3),
        Lit(SMOOTH, patterns=flat_patterns(3), brightness_sd=1.0),
        Shifted(SMOOTH, 1, noise=0.2),
    ],
)
def test_samples_converge(views):
    check_views(views)


def test_samples_of_real_images_converge(photographs: list[np.ndarray]):
    small = Patches(3, photographs)
    for views in (
        Lit(small),
        Shifted(small, 1),
        Masked(small, BlockMask((3, 3), (2, 2)), Hidden(), noise=0.1),
    ):
        check_views(views)


def test_masked_digits_need_noise():
    digits = Digits()
    with pytest.raises(ValueError, match="Argument `xx` must be positive definite"):
        Masked(digits, PixelMask(0.5)).exact_moments()
    features = Masked(digits, PixelMask(0.5), noise=0.1).exact_moments().features()
    assert features.rho[0] > 1  # the target is whole: to fill in is to amplify
    np.testing.assert_allclose(features.rho[-3:], 0, atol=1e-12)


def test_a_stream_of_batches_is_one_sample(lit: Lit):
    batches = list(lit.pairs(1000, seed=3, batch_size=300))
    assert [len(x) for x, _ in batches] == [300, 300, 300, 100]
    x, y = (np.concatenate(views) for views in zip(*batches, strict=True))
    at_once = js.Moments.from_samples(np.concatenate([x, y]), np.concatenate([y, x]))
    both_ways = (pair for x, y in batches for pair in ((x, y), (y, x)))
    streamed = js.Moments.from_samples(both_ways)
    np.testing.assert_allclose(streamed.xx, at_once.xx, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(streamed.yx, at_once.yx, rtol=1e-9, atol=1e-12)


def test_the_seed_decides(lit: Lit):
    first, again, other = (next(lit.pairs(10, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).all()
    assert (first[0] != first[1]).all()


def source() -> AbstractSource:
    return SMOOTH


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Patches(1), "Argument `patch` must be a whole number, at least 2"),
        (
            lambda: Patches(4, [np.ones((3, 9))]),
            "Argument `photographs` must be grey and at least 4 × 4",
        ),
        (lambda: Patches(4, [np.ones((9, 9))]), "Argument `photographs` must have contrast"),
        (lambda: Patches(4, []), "Argument `photographs` must hold at least one photograph"),
        (lambda: Lit(source(), sensor_sd=0.0), "Argument `sensor_sd` must be positive"),
        (lambda: Lit(source(), patterns=np.ones((4, 3))), r"Argument `patterns` must be of shape"),
        (lambda: Lit(Gaussian(np.eye(5))), "Argument `source` must give square images, but is of"),
        (lambda: Noisy(source(), -1.0), "Argument `noise` must be at least 0, but is -1"),
        (lambda: Shifted(source(), -1), "Argument `shift` must be a whole number, at least 0"),
        (lambda: Shifted(source(), 2), "Argument `shift` must be at most 1, the image less two p"),
        (lambda: Shifted(source(), 1, noise=-1), "Argument `noise` must be at least 0, but is -1"),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


def test_photographs_are_read_from_files(tmp_path):
    image = pytest.importorskip("PIL.Image")
    colours = np.zeros((5, 6, 3), np.uint8)
    colours[..., 1] = 100
    image.fromarray(colours).save(tmp_path / "green.png")
    np.testing.assert_allclose(read_photograph(tmp_path / "green.png"), np.full((5, 6), 58.7))
