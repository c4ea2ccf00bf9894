"""Moments of samples, batch by batch."""

from typing import Any, ClassVar

import numpy as np

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import check_kind
from jepa_sim.arguments.types import ArrayLike, to_numpy


class RunningMoments:
    """Means and centred second moments of all samples seen so far (x and y stacked)."""

    size: ClassVar[int] = 2  # arrays of a batch

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

    def moments(
        self, shrinkage: float, mean: np.ndarray | None = None, which: str = ""
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Σxx, Σyx and Σyy about the samples' own mean, or another.  which: of all samples."""
        if self.count == 0:
            checks.fail("x", "hold at least one sample", "empty")
        joint = self.scatter / self.count
        if mean is not None:
            joint = joint + np.outer(self.mean - mean, self.mean - mean)
        d = self.columns[0]
        xx, yx, yy = joint[:d, :d], joint[d:, :d], joint[d:, d:]
        xx, yy = _shrunk(xx, shrinkage), _shrunk(yy, shrinkage)
        yx = (1 - shrinkage) * yx
        least = np.linalg.eigvalsh(xx)[0]
        if least <= np.finfo(float).eps * d * np.trace(xx):
            found = f"{self.count} samples{which} whose smallest variance is {least:.3g}"
            checks.fail("x", f"span all {d} dimensions", found)
        return xx, yx, yy


class RunningActions:
    """The same of the samples of every action by themselves, about the mean of all samples."""

    size: ClassVar[int] = 3

    def __init__(self, center: bool):
        self.center = center
        self.each: dict[int, RunningMoments] = {}

    def add(self, x: ArrayLike, y: ArrayLike, actions: ArrayLike, where: str) -> None:
        x, y, actions = to_numpy(x), to_numpy(y), np.asarray(actions)
        name = "actions" + where
        if np.shape(actions) != np.shape(x)[:1]:
            rule = f"be one number for each of {len(x)} samples"
            checks.fail(name, rule, f"of shape {np.shape(actions)}")
        if not (np.isfinite(actions) & (actions >= 0) & (actions == np.round(actions))).all():
            checks.fail(name, "be whole numbers from 0", "others in some places")
        for a in np.unique(actions).tolist():
            chosen = actions == a
            part = self.each.setdefault(int(a), RunningMoments(self.center))
            part.add(x[chosen], y[chosen], where)

    def moments(self, shrinkage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What `Moments.from_actions` takes; probabilities are the shares of the samples."""
        missing = set(range(max(self.each, default=0) + 1)) - set(self.each)
        if missing:
            checks.fail(
                "actions",
                f"hold every whole number up to {max(self.each, default=0)}",
                f"without {min(missing)}",
            )
        parts = [self.each[a] for a in range(len(self.each))]
        share = np.array([part.count for part in parts], float)
        share /= share.sum()
        mean = share @ np.stack([part.mean for part in parts])
        found = [part.moments(shrinkage, mean, f" of action {a}") for a, part in enumerate(parts)]
        xx, yx, yy = map(np.stack, zip(*found, strict=True))
        return xx, yx, share, yy


def gathered(
    x: Any, y: Any, actions: Any, groups: Any, center: bool
) -> RunningMoments | RunningActions:
    """The moments of all samples; see `Moments.from_samples` for the arguments."""
    if actions is not None and y is None:
        checks.fail("actions", "be the third entry of each batch where x yields batches", "given")
    if groups is not None:
        if y is None:
            checks.fail("groups", "be left out where x yields batches", "given")
        x, y = (_less_group_means(name, a, groups) for name, a in (("x", x), ("y", y)))
    whole = (x, y) if actions is None else (x, y, actions)
    batches: Any = (whole,) if y is not None else x
    running: RunningMoments | RunningActions | None = None
    for number, batch in enumerate(batches):
        sizes = (2, 3) if running is None else (running.size,)
        if not isinstance(batch, tuple | list) or len(batch) not in sizes:
            rule = "be an array (with `y`) or yield pairs (x, y), or (x, y, actions) throughout"
            checks.fail("x", rule, f"{type(batch)}")
        if running is None:
            running = (RunningMoments if len(batch) == 2 else RunningActions)(center)
        running.add(*batch, where=f" of batch {number}" if y is None else "")
    if running is None:
        checks.fail("x", "hold at least one sample", "empty")
    return running


def _less_group_means(name: str, values: Any, groups: ArrayLike) -> np.ndarray:
    """(n, c) samples less the mean of those that have the same one of (n,) labels."""
    values, groups = to_numpy(values), np.asarray(groups)
    if np.shape(groups) != np.shape(values)[:1]:
        rule = f"be one label for each of the {len(values)} samples of `{name}`"
        checks.fail("groups", rule, f"of shape {np.shape(groups)}")
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((counts.size, *values.shape[1:]))
    np.add.at(sums, group, values)
    return values - (sums / counts[:, None])[group]


def _shrunk(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    """(1 − s) Σ + s (tr Σ / d) I."""
    d = len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)
