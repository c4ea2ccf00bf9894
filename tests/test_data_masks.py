"""Masks and masked views, against an enumeration of all masks."""

import itertools

import jax
import numpy as np
import pytest

from jepa_sim.data.base import AbstractSource, Gaussian
from jepa_sim.data.masking import Hidden, Masked, Remasked, Whole, grid_covariance
from jepa_sim.data.masks import (
    AbstractMask,
    BlockFrames,
    BlockMask,
    PixelMask,
    RandomFrames,
    Suffix,
)
from jepa_sim.data.spectra import random_basis
from tests.sampling import check_views

KEEP = 0.3
MASKS = [
    (PixelMask(KEEP), 6),
    (PixelMask(1.0), 4),
    (BlockMask((3, 4), (2, 2)), 12),
    (BlockMask((3, 4), (3, 1)), 12),
    (BlockMask((5,), (4,)), 5),
    (BlockMask((2, 2, 3), (1, 2, 2)), 12),
    (RandomFrames(1), 5),
    (RandomFrames(3), 6),
    (Suffix(2), 5),
    (BlockFrames(2), 6),
    (BlockFrames(4), 5),
]


def all_masks(mask: AbstractMask, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Every possible mask, (count, n), and its probability."""
    match mask:
        case PixelMask():
            found = np.array(list(itertools.product([0.0, 1.0], repeat=places)))
            keep = float(mask.keep)
            return found, np.prod(np.where(found == 1, keep, 1 - keep), axis=1)
        case BlockMask():
            found = []
            for corner in itertools.product(
                *(range(n - b + 1) for n, b in zip(mask.shape, mask.block, strict=True))
            ):
                grid = np.ones(mask.shape)
                grid[tuple(slice(a, a + b) for a, b in zip(corner, mask.block, strict=True))] = 0
                found.append(grid.ravel())
        case RandomFrames():
            found = [
                np.isin(np.arange(places), chosen).astype(float)
                for chosen in itertools.combinations(range(places), mask.keep)
            ]
        case Suffix():
            found = [np.array([1.0] * (places - mask.length) + [0.0] * mask.length)]
        case BlockFrames():
            found = []
            for first in range(places - mask.length + 1):
                line = np.ones(places)
                line[first : first + mask.length] = 0
                found.append(line)
    return np.array(found), np.full(len(found), 1 / len(found))


@pytest.mark.parametrize(("mask", "places"), MASKS)
def test_what_is_visible_together_is_a_mean_over_all_masks(mask: AbstractMask, places: int):
    mask.check(places)
    masks, probability = all_masks(mask, places)
    expected = np.einsum("k,ki,kj->ij", probability, masks, masks)
    np.testing.assert_allclose(mask.both_visible(places), expected, atol=1e-14)


@pytest.mark.parametrize(("mask", "places"), MASKS)
def test_drawn_masks_are_masks_there_are_and_as_frequent(mask: AbstractMask, places: int):
    count = 4000
    masks, probability = all_masks(mask, places)
    drawn = mask.draw(np.random.default_rng(0), count, places)
    matches = (drawn[:, None] == (masks[None] > 0)).all(axis=2)
    assert (matches.sum(axis=1) == 1).all()
    error = matches.mean(axis=0) - probability
    assert (np.abs(error) <= 5 * np.sqrt(probability * (1 - probability) / count)).all()


def covariance(d: int) -> np.ndarray:
    basis = random_basis(d, seed=3)
    return basis @ np.diag(np.linspace(0.1, 2, d)) @ basis.T


@pytest.mark.parametrize("target", [Whole(), Hidden(), Remasked()])
@pytest.mark.parametrize(
    "mask", [PixelMask(KEEP), BlockMask((2, 3), (1, 2)), BlockMask((6,), (2,))]
)
def test_masked_moments_are_means_over_all_masks(mask: AbstractMask, target):
    c, noise = covariance(6), 0.1
    found = Masked(Gaussian(c), mask, target, noise=noise).exact_moments()
    xx, yx, yy = np.zeros((3, 6, 6))
    masks, probability = all_masks(mask, 6)
    for m, p in zip(masks, probability, strict=True):
        for other, q in zip(masks, probability, strict=True):
            t = {Whole: np.ones(6), Hidden: 1 - m, Remasked: other}[type(target)]
            share = p * q
            xx += share * np.outer(m, m) * c
            yx += share * np.outer(t, m) * c
            yy += share * np.outer(t, t) * c
    np.testing.assert_allclose(found.xx, xx + noise * np.eye(6), atol=1e-14)
    np.testing.assert_allclose(found.yx, yx, atol=1e-14)
    np.testing.assert_allclose(found.yy, yy + noise * np.eye(6), atol=1e-14)


@pytest.mark.parametrize("target", [Whole(), Hidden(), Remasked()])
@pytest.mark.parametrize("mask", [PixelMask(KEEP), BlockMask((2, 3), (1, 2))])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_samples_converge(mask: AbstractMask, target, noise: float):
    check_views(Masked(Gaussian(covariance(6)), mask, target, noise=noise))


@pytest.mark.float32
def test_formulas_of_the_pixel_mask():
    c = covariance(5)
    diagonal = np.diag(np.diag(c))
    for target, yx in (
        (Whole(), KEEP * c),
        (Remasked(), KEEP**2 * c),
        (Hidden(), KEEP * (1 - KEEP) * (c - diagonal)),
    ):
        moments = Masked(Gaussian(c), PixelMask(KEEP), target).exact_moments()
        xx = KEEP**2 * c + KEEP * (1 - KEEP) * diagonal
        np.testing.assert_allclose(moments.xx, xx, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(moments.yx, yx, rtol=1e-5, atol=1e-6)


def test_nothing_masked_is_an_autoencoder():
    moments = Masked(Gaussian(covariance(4)), PixelMask(1.0)).exact_moments()
    np.testing.assert_allclose(moments.xx, covariance(4), atol=1e-15)
    np.testing.assert_allclose(moments.yx, moments.xx, atol=1e-15)
    np.testing.assert_allclose(moments.features().rho, 1, rtol=1e-12)


def test_pixel_masks_commute_where_parts_have_one_variance_and_blocks_do_not():
    source = Gaussian(grid_covariance((3, 4), 2.0))
    pixels = Masked(source, PixelMask(KEEP)).exact_moments().features()
    assert pixels.commutator < 1e-14
    assert (np.diff(pixels.lam) < 1e-12).all()  # by falling ρ, and so by falling λ
    blocks = Masked(source, BlockMask((3, 4), (2, 2))).exact_moments().features()
    assert blocks.commutator > 0.03
    assert (np.diff(blocks.lam) > 0).any()


def test_moments_are_differentiable_in_the_share_that_is_kept():
    c = covariance(3)

    def yx(keep: jax.Array) -> jax.Array:
        return Masked(Gaussian(c), PixelMask(keep), Hidden()).exact_moments().yx

    slope = jax.vmap(jax.jacfwd(yx))(np.array([0.2, 0.6]))
    expected = [(1 - 2 * p) * (c - np.diag(np.diag(c))) for p in (0.2, 0.6)]
    np.testing.assert_allclose(slope, expected, atol=1e-14)


def test_grid_covariance():
    c = np.asarray(grid_covariance((2, 3), 1.5, 2.0))
    np.testing.assert_allclose(c[0, 5], 2 * np.exp(-np.sqrt(5) / 1.5))  # (0, 0) and (1, 2)
    np.testing.assert_allclose(np.diag(c), 2)
    assert np.linalg.eigvalsh(c)[0] > 0


def source() -> AbstractSource:
    return Gaussian(np.eye(4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PixelMask(0.0), "Argument `keep` must be positive, but is 0"),
        (lambda: PixelMask(1.5), "Argument `keep` must be at least 0 and at most 1, but is 1.5"),
        (lambda: PixelMask([0.5]), "Argument `keep` must be one real number, but is"),
        (
            lambda: BlockMask((2, 2), (2, 2)),
            r"Argument `block` must be smaller than `shape` \(2, 2\), but is \(2, 2\)",
        ),
        (lambda: BlockMask((2, 2), (3, 1)), "Argument `block` must be smaller than"),
        (lambda: BlockMask((2, 2), (1,)), "Argument `block` must have 2 axes, as `shape` has, but"),
        (lambda: BlockMask((2, 0), (1, 1)), "Argument `shape` must be a whole number, at least 1"),
        (
            lambda: Masked(source(), BlockMask((2, 3), (1, 1))),
            r"Argument `shape` must have 4 places in all, but is \(2, 3\)",
        ),
        (
            lambda: Masked(Gaussian(np.eye(3)), BlockMask((3,), (2,))),
            r"Argument `mask` must show every place at times, unless there is `noise`, but is Blo.*"
            "which never shows place 1",
        ),
        (
            lambda: Masked(source(), PixelMask(0.5), noise=-1),
            "Argument `noise` must be at least 0, but is -1",
        ),
        (lambda: RandomFrames(0), "Argument `keep` must be a whole number, at least 1, but is 0"),
        (
            lambda: RandomFrames(4).check(4),
            "Argument `keep` must be below the number of frames, 4, but is 4",
        ),
        (lambda: Suffix(0), "Argument `length` must be a whole number, at least 1, but is 0"),
        (lambda: Suffix(4).check(4), "Argument `length` must be below the number of frames, 4"),
        (lambda: BlockFrames(0), "Argument `length` must be a whole number, at least 1, but is 0"),
        (lambda: BlockFrames(5).check(4), "Argument `length` must be below the number of frame"),
        (lambda: Gaussian([[1.0, 2.0], [2.0, 1.0]]), "Argument `covariance` must be positive semi"),
        (lambda: grid_covariance((2, 2), 0.0), "Argument `length` must be positive, but is 0"),
        (
            lambda: Masked(Gaussian(np.diag([1.0, 0.0])), PixelMask(0.5)).exact_moments(),
            "Argument `xx` must be positive definite",
        ),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
