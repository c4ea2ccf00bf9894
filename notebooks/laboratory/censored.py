"""Kendall's τ where some features are not learned in time. Scripts of this folder import it."""

import numpy as np


def kendall(when: np.ndarray, size: np.ndarray) -> float:
    """The mean over runs of τ of being early and large, over pairs that the run decides.

    when: (run, feature), inf for what is not learned in time. Such a feature is later than all that
    are learned; two of them decide nothing.  size: (feature,), or (run, feature).
    """
    with np.errstate(invalid="ignore"):
        early = np.sign(when[:, None, :] - when[:, :, None])  # 1 where the second is later
    early[np.isnan(early)] = 0  # both are never learned
    large = np.sign(size[..., :, None] - size[..., None, :])
    decided = np.abs(early).sum((1, 2))
    return float(np.nanmean((early * large).sum((1, 2)) / np.where(decided > 0, decided, np.nan)))
