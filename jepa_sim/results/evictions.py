"""Which features lost what they had learned, and to which other feature.

A JEPA's latents turn towards features of larger ρ, a deep MAE's towards larger ρλ. So a latent that
carries feature j may be taken over by a feature i that was not learned yet: j's gain falls to
nearly nothing while i's rises in its place, and a small latent may learn j again later.

A fall is an eviction by i if, while j's gain falls from 9/10 to 1/10 of what it was, i's rises past
its own level, and if i has the larger ρ or ρλ. Of several such features it is the one that shares
j's latent the most where the run has the observable `latent_cosines`, and else the one that rises
the most.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import Scalar, is_concrete
from jepa_sim.results.critical import check_target, critical_level
from jepa_sim.results.crossings import passing
from jepa_sim.results.trajectory import Trajectory

RISE = 0.25  # an evictor's gain, squared and in units of its plateau, rises by at least so much
SHARED = 0.5  # latents of a larger cosine are shared


class Eviction(NamedTuple):
    """A feature that was learned, and lost again.

    feature: its number.  learned: when its gain had risen past the level.  lost: when it fell below
    it again.  again: when it rose past it the next time; inf where that is not in the run.
    by: the feature that took its latent; None where no feature did, as far as the run shows.
    carrier: the feature of larger gain whose latent carried it until then, so that it had none of
    its own; None where it had one, or where `latent_cosines` was not saved.
    """

    feature: int
    learned: float
    lost: float
    again: float
    by: int | None
    carrier: int | None = None


@checked
def evictions(run: Trajectory, *, fraction: Scalar = 0.5) -> tuple[Eviction, ...]:
    """The features that passed a fraction of their plateau and fell below it again, by time.

    run: one trajectory with the observable `features`; with `latent_cosines` it is more certain
    which feature took the latent.  fraction: of each feature's own plateau, in (0, 1).  Times are
    flow times, interpolated as in `Trajectory.critical_times`. Save several times within the short
    time that a takeover lasts: what happens between two saved times is not seen. Only runs of
    `SleepingFlow` do not need this, since they have the gains at each step.

    >>> moments = js.Moments.from_features(lam=[1.0, 2.0], rho=[0.9, 0.3])
    >>> start = js.Given([[[1e-3, 1e-9], [1e-9, 1e-3]]], [[[1e-3, 0.0], [0.0, 1e-3]]])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=1), start)
    >>> run = js.simulate(problem, range(0, 1001, 5), js.GradientFlow())
    >>> [lost] = js.evictions(run)
    >>> lost.feature, lost.by, round(lost.learned), round(lost.lost), round(lost.again)
    (1, 0, 506, 587, 798)

    Raises ValueError where the run is traced or is several, or the fraction is out of range.
    """
    if not is_concrete(run.result) or np.ndim(run.result) != 0:
        checks.fail("run", "be one trajectory outside of `jit` and `vmap`", "several or traced")
    problem = run.problem
    level = critical_level(problem, *check_target(problem, fraction, None))
    saves = run.known_gains
    cosines = run.values.get("latent_cosines")
    if cosines is not None:  # those that were saved next after each of these times
        after = np.searchsorted(np.asarray(run.times), np.asarray(saves.times[:, 0]))
        cosines = np.asarray(cosines)[np.minimum(after, len(cosines) - 1)]
    features = problem.features
    sizes = (saves.gains, level, problem.plateaus, features.rho, features.lam)
    found = list(_falls(*map(np.asarray, sizes), cosines=cosines))
    if found:
        problem = problem.with_curve()

    def at(feature: int, after: int) -> float:
        every = jnp.full(level.shape, after)
        return float(_passing(problem, saves, level, every)[feature])

    return _timed(found, np.asarray(saves.times[:, 0]), at)


def evictions_of(
    times: np.ndarray, gains: np.ndarray, plateaus: np.ndarray, rho: np.ndarray, lam: np.ndarray
) -> tuple[Eviction, ...]:
    """`evictions` where only (t,) times, (t, d) gains and (d,) numbers of features are known.

    Between two saved times the logarithm of the gain is taken to be linear in time.
    """
    level = 0.5 * np.where(plateaus > 0, plateaus, np.nan)

    def at(feature: int, after: int) -> float:
        with np.errstate(divide="ignore"):
            low, high = np.log(gains[after - 1 : after + 1, feature])
        share = (np.log(level[feature]) - low) / (high - low)
        return float(times[after - 1] + share * (times[after] - times[after - 1]))

    return _timed(_falls(gains, level, plateaus, rho, lam), times, at)


_passing = eqx.filter_jit(passing)


class _Fall(NamedTuple):
    """A fall through the level: the first saves after each crossing, and who was involved."""

    feature: int
    up: int
    down: int
    again: int | None
    by: int | None
    carrier: int | None


def _timed(
    found: Iterable[_Fall], times: np.ndarray, at: Callable[[int, int], float]
) -> tuple[Eviction, ...]:
    """With times in place of saves.  at: when a feature passes its level before a save."""

    def when(feature: int, after: int | None) -> float:
        if after is None:
            return np.inf
        return at(feature, after) if after > 0 else float(times[0])

    timed = []
    for fall in found:
        up, down, again = (when(fall.feature, k) for k in (fall.up, fall.down, fall.again))
        timed.append(Eviction(fall.feature, up, down, again, fall.by, fall.carrier))
    return tuple(sorted(timed, key=lambda eviction: eviction.lost))


def _falls(
    gains: np.ndarray,
    level: np.ndarray,
    plateaus: np.ndarray,
    rho: np.ndarray,
    lam: np.ndarray,
    cosines: np.ndarray | None = None,
) -> Iterator[_Fall]:
    """Every fall of a gain (t, d) through its level (d,).  cosines: (t, d, d) of latents."""
    known = ~np.isnan(gains).any(axis=1)
    if not known.all():  # a run that failed is looked at until then
        gains = gains[: int(np.argmin(known))]
    above = gains >= level
    relative = gains / np.where((plateaus > 0) & np.isfinite(plateaus), plateaus, np.inf)
    for last, j in np.argwhere(above[:-1] & ~above[1:]).tolist():
        down = last + 1
        before, later = np.flatnonzero(~above[:down, j]), np.flatnonzero(above[down:, j])
        up = int(before[-1]) + 1 if before.size else 0
        again = down + int(later[0]) if later.size else None
        # from the last save at 9/10 of the largest gain to the first at 1/10, or to the lowest
        here, after = gains[up:down, j], gains[down:again, j]
        begin = up + int(np.flatnonzero(here >= 0.9 * here.max())[-1])
        low = np.flatnonzero(after <= 0.1 * here.max())
        end = down + int(low[0] if low.size else after.argmin())
        shared, carrier = np.zeros(len(rho), bool), None
        if cosines is not None:
            shared = cosines[begin : end + 1, :, j].max(axis=0) > SHARED
            carrier = _carrier(gains[up : begin + 1], cosines[up : begin + 1, :, j], j)
        rise = relative[end] ** 2 - relative[begin] ** 2
        turns = (rho > rho[j]) | (rho * lam > rho[j] * lam[j]) | shared
        takes = (rise > RISE) & above[end] & turns
        takes[j] = False
        by = int(np.lexsort((rise, shared, takes))[-1]) if takes.any() else None
        # a carrier that rises is no evictor: the latent was its own all the time
        yield _Fall(j, up, down, again, None if by == carrier else by, carrier)


def _carrier(gains: np.ndarray, cosines: np.ndarray, j: int) -> int | None:
    """The feature of larger gain whose latent carried j; None where j had its own."""
    share = np.where((gains > gains[:, [j]]).all(axis=0), np.mean(cosines, axis=0), 0)
    i = int(share.argmax())
    return i if share[i] > SHARED else None
