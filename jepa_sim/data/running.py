"""Moments of samples, batch by batch."""

import numpy as np

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import check_kind
from jepa_sim.arguments.types import ArrayLike, to_numpy


class RunningMoments:
    """Means and centred second moments of all samples seen so far (x and y stacked)."""

    def __init__(self, center: bool):
        self.center = center
        self.count = 0

    def add(self, x: ArrayLike, y: ArrayLike, where: str) -> None:
        for name, value in (("x", x), ("y", y)):
            check_kind(name + where, value, ArrayLike)
            if np.ndim(value) != 2 or np.size(value) == 0:
                found = f"of shape {np.shape(value)}"
                checks.fail(name + where, "have the axes (sample, d), none empty", found)
            checks.check_finite(name + where, value)
        if np.shape(x)[0] != np.shape(y)[0]:
            rule = f"have as many rows as x, {np.shape(x)[0]}"
            checks.fail("y" + where, rule, f"of {np.shape(y)[0]}")
        both = np.concatenate([to_numpy(x), to_numpy(y)], axis=1)
        if self.count == 0:
            self.columns = (np.shape(x)[1], np.shape(y)[1])
            self.mean = np.zeros(both.shape[1])
            self.scatter = np.zeros((both.shape[1], both.shape[1]))
        for name, value, columns in zip("xy", (x, y), self.columns, strict=True):
            if np.shape(value)[1] != columns:
                found = f"of {np.shape(value)[1]} columns"
                checks.fail(name + where, f"have {columns} columns", found)
        n, total = len(both), self.count + len(both)
        mean = both.mean(axis=0) if self.center else self.mean
        centred, shift = both - mean, mean - self.mean
        self.scatter += centred.T @ centred + np.outer(shift, shift) * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    def moments(self, shrinkage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.count == 0:
            checks.fail("x", "hold at least one sample", "empty")
        joint = self.scatter / self.count
        d = self.columns[0]
        xx, yx, yy = joint[:d, :d], joint[d:, :d], joint[d:, d:]
        xx, yy = _shrunk(xx, shrinkage), _shrunk(yy, shrinkage)
        yx = (1 - shrinkage) * yx
        least = np.linalg.eigvalsh(xx)[0]
        if least <= np.finfo(float).eps * d * np.trace(xx):
            found = f"{self.count} samples whose smallest variance is {least:.3g}"
            checks.fail("x", f"span all {d} dimensions", found)
        return xx, yx, yy


def _shrunk(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    """(1 − s) Σ + s (tr Σ / d) I."""
    d = len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)
