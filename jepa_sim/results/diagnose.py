"""What became of every feature in a run, and why, in words and in numbers."""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ResultCode, is_concrete
from jepa_sim.model.problem import Problem
from jepa_sim.numerics.display.sheet import Sheet
from jepa_sim.results.evictions import evictions
from jepa_sim.results.history import STEADY, with_history
from jepa_sim.results.status import Status, is_learned
from jepa_sim.results.trajectory import Trajectory
from jepa_sim.theory.flow import ReducedFlow

SMALL = 0.1  # a gain below this share of its plateau is not learned
COMMUTES = 0.01  # plateaus are exact to about a per cent where the commutator is below this
ROUNDING = 1e-8  # the sign of a predictor gain below this share of the largest means nothing


class Finding(NamedTuple):
    """One feature: what became of it, in which numbers, and why."""

    feature: int
    rho: float
    gain: float
    plateau: float
    status: Status
    reason: str


class Diagnosis(NamedTuple):
    """The findings of all features.

    It prints as a table that fits a screen: of many features only the first are shown, and
    `findings` has all of them.
    """

    findings: tuple[Finding, ...]

    def count(self, status: Status) -> int:
        """How many features have this status."""
        return sum(finding.status is status for finding in self.findings)

    def _sheet(self) -> Sheet:
        counts = [f"{self.count(status)} {status.value}" for status in Status if self.count(status)]
        columns = {
            "feature": [f.feature for f in self.findings],
            "ρ": [f.rho for f in self.findings],
            "w̄": [f.gain for f in self.findings],
            "plateau w̄*": [f.plateau for f in self.findings],
            "what, and why": [f"{f.status.value}: {f.reason}" for f in self.findings],
        }
        count = len(self.findings)
        title = f"{count:,} feature{'s'[: count != 1]}: {', '.join(counts)}"
        return Sheet(title, columns=columns)

    def __repr__(self) -> str:
        return self._sheet().text()

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return self._sheet().html()


@checked
def diagnose(run: Trajectory) -> Diagnosis:
    """Say of every feature whether it is learned, growing, evicted, stuck or collapsed, and why.

    run: one trajectory with the observable `features`. Misaligned predictors are recognised if it
    has `predictor_gains` too, which is saved by default. A feature is evicted if it passed half of
    its plateau, lost its latent to another feature, and is not back there at the end (see
    `evictions`); if it was learned again, the reason says so too. With `latent_cosines`
    the reason names the feature whose latent carried it meanwhile. Plateaus, thresholds of weight
    decay and basins are those of the reduced theory (`Problem.equilibria`); where moments do not
    commute, they are estimates, and a feature that rests above half of its plateau is learned. A
    feature that neither the run nor the theory decides is undetermined, with a reason.

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


# One program: it compiles sooner than its operations one by one.
_travel_time = eqx.filter_jit(ReducedFlow.travel_time)


def _findings(run: Trajectory) -> Iterator[Finding]:
    problem, features = run.problem, run.problem.features
    rho, gains = np.asarray(features.rho), np.asarray(run.features)
    equilibria, plateaus = problem.equilibria, np.asarray(problem.plateaus)
    known = gains[-1] >= np.asarray(run.floor)  # below it the solver cannot tell a gain from 0
    predictor = np.where(known | np.isnan(gains[-1]), _predictor_gains(run), 0)
    starts, layers = _starting_gains(run), problem.layers
    says_layers = problem.start.is_balanced or problem.start.keeps_differences
    result = ResultCode(int(run.result))
    losses = evictions(run)
    line = problem.line if features.angle is not None or (rho < 0).any() else None
    kappa = np.full(rho.size, np.nan) if line is None else np.asarray(line.kappa)
    angle = np.zeros(rho.size) if features.angle is None else np.asarray(features.angle)
    for i, end in enumerate(np.where(known | np.isnan(gains[-1]), gains[-1], 0)):
        case = _Case(
            problem=problem,
            feature=i,
            rho=float(rho[i]),
            start=float(starts[i]),
            end=float(end),
            earlier=float(gains[_half(run), i]),
            plateau=float(plateaus[i]),
            threshold=float(equilibria.threshold[i]),
            edge=float(equilibria.edge[i]),
            predictor=float(predictor[i]),
            turned=float(layers.sign[i]) * float(rho[i]) < 0,
            aligned=bool(layers.is_known[i]) and says_layers,
            kappa=float(kappa[i]),
            angle=float(angle[i]),
            commutes=float(features.commutator) < COMMUTES,
        )
        status, reason = case.verdict() if not np.isnan(end) else (Status.failed, result.reason)
        if status is not Status.failed:
            lost = max((loss.lost for loss in losses if loss.feature == i), default=-np.inf)
            since = gains[np.asarray(run.times) > lost, i]
            status, reason = with_history(i, (status, reason), losses, rho, since)
        yield Finding(i, case.rho, case.end, case.plateau, status, reason)


def _predictor_gains(run: Trajectory) -> np.ndarray:
    """v̄ at the end; 0 where it is only rounding, NaN where it was not saved."""
    saved = run.values.get("predictor_gains") if run.problem.objective.uses_predictor else None
    if saved is None:
        return np.full(run.features.shape[1], np.nan)
    last = np.asarray(saved[-1])
    return np.where(np.abs(last) < ROUNDING * np.nanmax(np.abs(last), initial=0), 0, last)


def _starting_gains(run: Trajectory) -> np.ndarray:
    """Encoder gains at time 0; NaN where the start is random and they were not saved."""
    problem, gains = run.problem, np.asarray(run.features)
    if run.times[0] == 0:
        return gains[0]
    if problem.starts_level:
        return np.full(gains.shape[1], float(problem.scale))
    if problem.start.is_random:
        return np.full(gains.shape[1], np.nan)
    return np.asarray(problem.weights().gains(problem.features))


def _half(run: Trajectory) -> int:
    """The last save before half of the last time; the first save if there is none."""
    times = np.asarray(run.times)
    return max(int(np.searchsorted(times, times[-1] / 2)) - 1, 0)


class _Case(NamedTuple):
    """All that decides the verdict on one feature."""

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
    turned: bool  # whether the predictor has the wrong sign at the start, as far as is known
    aligned: bool  # whether the start is aligned with the feature
    kappa: float  # w² − v² of encoder and predictor where it is kept, else NaN
    angle: float  # by which the feature turns
    commutes: bool  # else its plateau is an estimate

    @property
    def falling(self) -> bool:
        return self.end < (1 - STEADY) * self.earlier

    @property
    def rising(self) -> bool:
        return self.end > (1 + STEADY) * self.earlier

    @property
    def pull(self) -> float:
        """v̄ times the sign of ρ: where it is positive, the feature is learned."""
        return self.predictor * np.sign(self.rho)

    def verdict(self) -> tuple[Status, str]:
        if self.problem.training.predictor.is_fixed:
            return self.fixed()
        if is_learned(self.end, self.plateau) and not self.pull < 0:
            return Status.learned, f"at {self.end / self.plateau:.0%} of its plateau{self.how()}"
        if self.rho <= 0 and self.plateau == 0:
            return self.negative()
        if self.problem.is_narrow and self.end < SMALL * self.plateau and not self.rising:
            return Status.stuck, "other features fill the bottleneck"
        if self.angle != 0 and (self.plateau == 0 or self.pull < 0):
            return self.turning()
        if self.pull < 0 or (self.turned and self.aligned and self.falling and not self.pull > 0):
            return self.misaligned()
        if self.plateau == 0 or self.end == 0:
            return self.collapsing()
        if np.isinf(self.plateau):
            return self.unbounded()
        if np.isnan(self.plateau):
            return self.without_plateau()
        return self.towards_plateau()

    def fixed(self) -> tuple[Status, str]:
        """The predictor is given: nothing limits the encoder but the sign of v̄ (ρ − v̄)."""
        if self.plateau == 0 or self.end == 0:
            return self.collapsing()
        return self.unbounded() if np.isinf(self.plateau) else self.without_plateau()

    def how(self) -> str:
        """What a learned predictor had to do, beyond growing."""
        if self.angle != 0:
            return f", and turned by θ = {self.angle:.3g}"
        if self.rho < 0 < self.kappa:
            return f": κ = w² − v² = {self.kappa:.3g} > 0 let the predictor change its sign"
        return ""

    def turning(self) -> tuple[Status, str]:
        """The predictor of a pair is more than a quarter turn off, or dies on the way."""
        if self.plateau == 0:
            return self.collapsing()
        how = f"its predictor still has to turn towards θ = {self.angle:.3g}"
        return Status.growing, f"{how}, and points the other way so far: v̄ = {self.predictor:.3g}"

    def negative(self) -> tuple[Status, str]:
        """ρ ≤ 0, where an aligned start would not be learned."""
        if self.pull > 0 and self.end > self.start * (1 + STEADY):
            how = f"its predictor has the sign of ρ, v̄ = {self.predictor:.3g}"
            return (Status.growing if self.rising else Status.learned), how
        if self.rho < 0 and self.kappa <= 0:
            return Status.unlearnable, (
                f"ρ = {self.rho:.3g} needs a predictor that changes its sign, but κ = w² − v² = "
                f"{self.kappa:.3g} is kept, so the encoder reaches 0 first (κ > 0 would be learned)"
            )
        return Status.unlearnable, f"ρ = {self.rho:.3g}: an aligned start learns only positive ρ"

    def misaligned(self) -> tuple[Status, str]:
        """The predictor sends the feature away from its target."""
        v = "" if np.isnan(self.predictor) else f", v̄ = {self.predictor:.3g}"
        if self.aligned and self.turned and self.plateau > 0:
            how = f"the predictor started with the wrong sign{v}, and will change it"
            return Status.growing, f"{how}: the encoder is the larger of the two"
        is_lost = self.aligned and self.plateau == 0
        if is_lost or not (self.falling or self.rising):
            return Status.stuck, f"the predictor is misaligned{v}, so the feature is unlearned"
        return Status.undetermined, f"the predictor is misaligned{v}, and may still turn"

    def collapsing(self) -> tuple[Status, str]:
        """The gain is 0, or is to become 0."""
        why = self.why_collapsed()
        if self.end == 0 or self.falling:
            return Status.collapsed, why
        return Status.undetermined, f"the gain does not fall yet, but will collapse: {why}"

    def why_collapsed(self) -> str:
        training, decay = self.problem.training, float(self.problem.training.encoder_decay)
        if self.problem.objective.teacher.passes_gradient:
            return "without stop-gradient the loss is least for an encoder of 0"
        if training.predictor.is_fixed and self.plateau == 0:
            return f"the predictor is given, and its gain is not between 0 and ρ = {self.rho:.3g}"
        if decay > 0 and float(training.predictor_decay) == 0 and self.threshold == 0:
            return (
                f"only the encoder has weight decay, {decay:.3g}: once the predictor is learned, "
                "nothing keeps the encoder from decaying"
            )
        if decay > 0 and decay >= self.threshold:
            return f"weight decay {decay:.3g} is above its threshold {self.threshold:.3g}"
        if decay > 0 and self.start < self.edge < np.inf:
            return (
                f"it started at {self.start:.3g}, and with weight decay {decay:.3g} every start "
                f"below {self.edge:.3g} collapses"
            )
        has_predictor = self.problem.objective.uses_predictor
        if self.angle != 0 and self.plateau == 0:
            return (
                f"the predictor shrinks while it turns by θ = {self.angle:.3g}, and κ = w² − v² = "
                f"{self.kappa:.3g} is kept, so the encoder reaches 0 first"
            )
        if decay == 0 and self.plateau == 0 and self.aligned and has_predictor:
            if self.turned:
                return "the predictor starts with the wrong sign, and the encoder reaches 0 first"
            return "the predictor starts above ρ, and the encoder reaches 0 while it falls"
        return "the reduced theory does not explain it"

    def unbounded(self) -> tuple[Status, str]:
        """The predictor alone decays, or is given and too small."""
        training = self.problem.training
        why = f"only the predictor has weight decay, {float(training.predictor_decay):.3g}"
        if training.predictor.is_fixed:
            why = f"the predictor is given, and its gain is between 0 and ρ = {self.rho:.3g}"
        if self.rising:
            return Status.growing, f"{why}, so the encoder grows without bound: {self.change()}"
        if self.falling or self.predictor == 0:
            return Status.undetermined, f"{why}, but the encoder does not grow: {self.change()}"
        return Status.undetermined, f"{why}; the run does not show yet whether the encoder grows"

    def without_plateau(self) -> tuple[Status, str]:
        unknown = "its plateau is not known"
        if self.rising:
            return Status.growing, f"{self.change()}; {unknown}"
        if self.falling:
            return Status.undetermined, f"it falls: {self.change()}; {unknown}"
        if self.end > self.start * (1 + STEADY):
            return Status.learned, f"its gain is steady; {unknown}"
        return Status.undetermined, f"it has not grown, and {unknown}"

    def towards_plateau(self) -> tuple[Status, str]:
        if self.falling:
            if self.end > self.plateau:
                return Status.growing, f"it falls from above its plateau: {self.change()}"
            if self.start < self.edge:
                return Status.collapsed, self.why_collapsed()
            return Status.undetermined, f"it falls: {self.change()}; {self.why_collapsed()}"
        has_moved = self.end > self.start * (1 + STEADY)
        if self.rising or (not has_moved and (self.aligned or self.pull > 0)):
            return Status.growing, f"the run ends too early: {self.change()}{self.left()}"
        if has_moved:
            is_near = not self.commutes and self.end > self.plateau / 2 and not self.pull < 0
            status = Status.learned if is_near else Status.stuck
            return status, self.where_stuck("its gain no longer changes")
        return Status.undetermined, self.where_stuck("its gain has hardly changed")

    def where_stuck(self, how: str) -> str:
        if np.isnan(self.predictor):
            return f"{how}; save `js.observables.predictor_gains` to see the sign of the predictor"
        share = self.end / self.plateau
        about = "" if self.commutes else ", an estimate since moments do not commute"
        return f"{how}, and is {share:.2g} of its plateau{about}; v̄ = {self.predictor:.3g}"

    def change(self) -> str:
        return f"gain {self.earlier:.3g} → {self.end:.3g} in the second half of the run"

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
        time = _travel_time(flow, start, target)[self.feature]
        return f"; 90 % of its plateau takes {float(time):.3g} more"
