"""What became of every feature in a run, and why: in words and in numbers."""

import enum
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jepa_sim import _checks as checks
from jepa_sim._kinds import checked
from jepa_sim._problem import Problem
from jepa_sim._trajectory import Trajectory
from jepa_sim._types import ResultCode, is_concrete

LEARNED = 0.1  # within so much of the plateau
SMALL = 0.1  # of its plateau: not learned
STEADY = 1e-3  # changes by less than this share from one half of the saved times to the next


class Status(enum.Enum):
    """What became of a feature."""

    learned = "learned"
    growing = "still growing"
    stuck = "stuck"
    collapsed = "collapsed"
    unlearnable = "cannot be learned"
    failed = "failed"


class Finding(NamedTuple):
    """One feature: what became of it, in which numbers, and why."""

    feature: int
    rho: float
    gain: float
    plateau: float
    status: Status
    reason: str


class Diagnosis(NamedTuple):
    """The findings of all features; `str()` of it is a table."""

    findings: tuple[Finding, ...]

    def count(self, status: Status) -> int:
        """How many features have this status."""
        return sum(finding.status is status for finding in self.findings)

    def __str__(self) -> str:
        counts = [f"{self.count(status)} {status.value}" for status in Status if self.count(status)]
        lines = [
            f"{len(self.findings)} features: {', '.join(counts)}",
            f"{'feature':>7}  {'ρ':>8}  {'gain':>9}  {'plateau':>9}  what, and why",
        ]
        for f in self.findings:
            numbers = f"{f.feature:>7}  {f.rho:>8.3g}  {f.gain:>9.3g}  {f.plateau:>9.3g}"
            lines.append(f"{numbers}  {f.status.value}: {f.reason}")
        return "\n".join(lines)


@checked
def diagnose(run: Trajectory) -> Diagnosis:
    """Say of every feature whether it is learned, growing, stuck or collapsed, and why.

    run: one trajectory with the observable `features`; with `predictor_gains` too (saved by
    default) misaligned predictors are recognised. Plateaus, thresholds of weight decay and basins
    are those of the reduced theory (`Problem.rest`), for moments that do not commute an estimate.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=3), js.Balanced(scale=1e-2))
    >>> run = js.simulate(problem, [100.0, 650.0, 680.0], js.ClosedForm())
    >>> [finding.status.value for finding in js.diagnose(run).findings]
    ['learned', 'still growing']

    Raises ValueError where the run is traced, is several, or has fewer than two saved times.
    """
    if not is_concrete(run.result) or np.ndim(run.result) != 0:
        checks.fail("run", "be one trajectory outside of `jit` and `vmap`", "several or traced")
    if run.times.size < 2:
        checks.fail("run.times", "have at least two entries", run.times.size)
    return Diagnosis(tuple(_findings(run)))


def _findings(run: Trajectory) -> Iterator[Finding]:
    problem, features = run.problem, run.problem.features
    rho, gains = np.asarray(features.rho), np.asarray(run.features)
    rest, plateaus = problem.rest, np.asarray(problem.plateaus)
    predictor = run.values.get("predictor_gains") if problem.objective.uses_predictor else None
    result = ResultCode(int(run.result))
    for i, (start, end) in enumerate(zip(gains[0], gains[-1], strict=True)):
        case = _Case(
            problem=problem,
            feature=i,
            rho=float(rho[i]),
            start=float(start),
            end=float(end),
            earlier=float(gains[_half(run), i]),
            plateau=float(plateaus[i]),
            threshold=float(rest.threshold[i]),
            edge=float(rest.edge[i]),
            predictor=np.nan if predictor is None else float(predictor[-1, i]),
        )
        status, reason = case.verdict() if not np.isnan(end) else (Status.failed, result.reason)
        yield Finding(i, case.rho, case.end, case.plateau, status, reason)


def _half(run: Trajectory) -> int:
    """The last save before half of the last time; the first save if there is none."""
    times = np.asarray(run.times)
    return max(int(np.searchsorted(times, times[-1] / 2)) - 1, 0)


class _Case(NamedTuple):
    """All that the verdict on one feature rests on."""

    problem: Problem
    feature: int
    rho: float
    start: float
    end: float
    earlier: float  # at half of the time
    plateau: float
    threshold: float
    edge: float
    predictor: float  # at the end

    def verdict(self) -> tuple[Status, str]:
        known = self.plateau > 0
        if known and abs(self.end / self.plateau - 1) < LEARNED:
            return Status.learned, f"at {self.end / self.plateau:.0%} of its plateau"
        if self.rho <= 0 and not known:
            if self.predictor < 0 and self.end > self.start:
                return Status.learned, f"by a predictor of the sign of ρ, v̄ = {self.predictor:.3g}"
            return Status.unlearnable, f"ρ = {self.rho:.3g} ≤ 0, x does not predict it"
        if self.problem.is_narrow and self.end < SMALL * self.plateau:
            return Status.stuck, "the bottleneck is taken by other features"
        if self.predictor < 0:
            return Status.stuck, f"misaligned predictor, v̄ = {self.predictor:.3g} < 0 unlearns it"
        falling = self.end < (1 - STEADY) * self.earlier
        rising = self.end > (1 + STEADY) * self.earlier
        if self.plateau == 0 or (falling and not (known and self.end > self.plateau)):
            return Status.collapsed, self.why_collapsed()
        if not known:
            if rising:
                return Status.growing, f"{self.change()}; its plateau is not known"
            return Status.learned, "steady; its plateau is not known"
        if falling:
            return Status.growing, f"above its plateau and falling, {self.change()}"
        if rising or self.end < self.start * (1 + STEADY):
            return Status.growing, f"out of time, {self.change()}{self.left()}"
        return Status.stuck, self.why_stuck()

    def why_collapsed(self) -> str:
        if self.problem.objective.teacher.passes_gradient:
            return "no stop-gradient: an encoder of 0 has the least loss"
        decay = float(self.problem.training.encoder_decay)
        if decay >= self.threshold:
            return f"weight decay {decay:.3g} is above its threshold {self.threshold:.3g}"
        if self.start < self.edge < np.inf:
            return (
                f"started at {self.start:.3g}, below the edge {self.edge:.3g} of the basin of 0 "
                f"at weight decay {decay:.3g}"
            )
        return "falling; not explained by the reduced theory"

    def why_stuck(self) -> str:
        if np.isnan(self.predictor):
            return "not moving; save `js.observables.predictor_gains` to see the predictor's sign"
        return (
            f"not moving, at {self.end / self.plateau:.2g} of its plateau, v̄ = {self.predictor:.3g}"
        )

    def change(self) -> str:
        return f"gain {self.earlier:.3g} → {self.end:.3g} in the second half of the time"

    def left(self) -> str:
        """How long the reduced flow still needs, where it applies."""
        problem = self.problem
        if not problem.is_plain or problem.is_narrow or self.end >= 0.9 * self.plateau:
            return ""
        flow = problem.flow
        start, target = (
            jnp.full_like(flow.lam, np.log(x / self.plateau)) / flow.depth
            for x in (self.end, 0.9 * self.plateau)
        )
        time = flow.travel_time(start, target)[self.feature]
        return f"; 90 % of its plateau takes {float(time):.3g} more"
