"""Checks that sampled pairs have the exact moments of their model."""

from collections.abc import Iterable

import numpy as np

import jepa_sim as js
from jepa_sim.data.base import AbstractViews, Pair

BATCH, BATCHES = 500, 64


def check_views(views: AbstractViews, *, seed: int = 0) -> None:
    """Sampled second moments converge to the exact ones, and some pair of views has those."""
    exact = views.exact_moments()
    pairs = views.pairs(BATCH * BATCHES, seed=seed, batch_size=BATCH)
    check_pairs(pairs, exact)
    check_joint(exact)
    sampled = views.sampled_moments(4 * BATCH, seed=seed)
    assert sampled.xx.shape == exact.xx.shape
    if views.is_exchangeable:
        np.testing.assert_allclose(sampled.yx, sampled.yx.T, atol=1e-12)
        np.testing.assert_allclose(sampled.xx, sampled.yy, atol=1e-12)


def check_pairs(pairs: Iterable[Pair], exact: js.Moments) -> None:
    """Errors are within 5 standard errors, at two sizes, and are of their size."""
    found = np.stack([_products(x, y) for x, y in pairs])
    expected = np.concatenate([np.ravel(m) for m in (exact.xx, exact.yx, exact.yy)])
    assert found.shape == (BATCHES, expected.size)
    scatter = found.std(axis=0, ddof=1)
    rounding = 1e-12 * np.abs(expected).max()
    for batches in (BATCHES // 8, BATCHES):
        error = found[:batches].mean(axis=0) - expected
        standard = scatter / batches**0.5
        assert (np.abs(error) <= 5 * standard + rounding).all()
        varies = standard > rounding
        assert 0.2 < np.mean((error[varies] / standard[varies]) ** 2) < 3


def check_joint(moments: js.Moments) -> None:
    """The covariance of x and y together is positive semidefinite."""
    xx, yx, yy = (np.asarray(m) for m in (moments.xx, moments.yx, moments.yy))
    joint = np.block([[xx, yx.T], [yx, yy]])
    np.testing.assert_allclose(joint, joint.T, atol=1e-12 * np.abs(joint).max())
    assert np.linalg.eigvalsh(joint)[0] > -1e-10 * np.abs(joint).max()


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ravel(a.T @ b) / len(x) for a, b in ((x, x), (y, x), (y, y))])
