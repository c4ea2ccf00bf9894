"""What happened to a feature before the end of a run, in words: learned, evicted, learned again."""

from collections.abc import Sequence

import numpy as np

from jepa_sim.results.evictions import Eviction
from jepa_sim.results.status import Status

STEADY = 1e-3  # a gain is steady if it changes by less than this share meanwhile
OPEN = (Status.growing, Status.stuck, Status.undetermined)  # an eviction explains them


def with_history(
    feature: int,
    verdict: tuple[Status, str],
    losses: Sequence[Eviction],
    rho: np.ndarray,
    since: np.ndarray,
) -> tuple[Status, str]:
    """The verdict on a feature's end, with what led to it.

    losses: of all features of the run.  rho: (d,).  since: gains since the feature's last loss.
    """
    status, reason = verdict
    own = [loss for loss in losses if loss.feature == feature]
    told = [_path(own, rho)] if own else []
    taken = [loss for loss in losses if loss.by == feature]
    if taken:
        from_whom = ", ".join(f"{_named(x.feature, rho)} at t = {x.lost:.4g}" for x in taken)
        told.append(f"took the latent of {from_whom}")
    if not own or own[-1].by is None or np.isfinite(own[-1].again) or status not in OPEN:
        return status, "; ".join([reason, *told])
    return Status.evicted, "; ".join([*told, _now(since)])


def _path(own: Sequence[Eviction], rho: np.ndarray) -> str:
    """All crossings of half of the plateau, one after the other."""
    steps, again = [], ""
    for loss in own:
        taker = None if loss.by is None else _named(loss.by, rho)
        if loss.carrier is not None:
            meanwhile = f"from t = {loss.learned:.4g} to t = {loss.lost:.4g}"
            which = "" if taker is None else f", which {taker} took"
            steps.append(f"carried {meanwhile} by the latent of {_named(loss.carrier, rho)}{which}")
            continue
        steps.append(f"learned {again}at t = {loss.learned:.4g}")
        how = "lost" if taker is None else f"evicted by {taker}"
        steps.append(f"{how} at t = {loss.lost:.4g}")
        again = "again "
    if np.isfinite(own[-1].again):
        steps.append(f"learned {again}at t = {own[-1].again:.4g}")
    return ", ".join(steps)


def _now(since: np.ndarray) -> str:
    """What the gain does since the feature was lost."""
    low, end = since.min(), since[-1]
    if end > (1 + STEADY) * low:
        return f"its gain rises again, {low:.3g} → {end:.3g}"
    if len(since) > 1 and end < (1 - STEADY) * since[-2]:
        return f"its gain still falls, at {end:.3g}"
    return f"its gain stays at {end:.3g}"


def _named(feature: int, rho: np.ndarray) -> str:
    return f"feature {feature} (ρ = {rho[feature]:.3g})"
