"""What became of a feature, and what its gain alone says of that."""

import enum

import numpy as np

LEARNED = 0.1  # a feature is learned if its gain is within this share of its plateau


class Status(enum.Enum):
    """What became of a feature."""

    learned = "learned"
    growing = "still growing"
    evicted = "evicted"
    stuck = "stuck"
    collapsed = "collapsed"
    unlearnable = "cannot be learned"
    undetermined = "undetermined"
    failed = "failed"


def is_learned(gain: float, plateau: float) -> bool:
    """Whether a gain is at a plateau that is known, positive and finite."""
    return bool(0 < plateau < np.inf and abs(gain / plateau - 1) < LEARNED)


def by_gains(gains: np.ndarray, plateau: float, *, is_evicted: bool) -> Status:
    """What became of a feature, by its gains (t,), its plateau and its evictions alone.

    `diagnose` knows more, where the problem is known. is_evicted: whether another feature took its
    latent, and it was not learned again.
    """
    if np.isnan(gains[-1]):
        return Status.failed
    if is_learned(gains[-1], plateau):
        return Status.learned
    if is_evicted:
        return Status.evicted
    return Status.collapsed if gains[-1] < gains[0] else Status.growing
