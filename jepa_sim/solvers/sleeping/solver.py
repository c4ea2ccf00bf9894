"""The solver: the problems that it takes, and how its block is observed."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import ResultCode, is_concrete
from jepa_sim.model.objectives import JEPA
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights
from jepa_sim.model.teachers import StopGradient
from jepa_sim.results.crossings import Saves
from jepa_sim.solvers.base import (
    AbstractMatrixSolver,
    Observe,
    Solution,
    all_finite,
    blank_unless,
    finite_code,
)
from jepa_sim.solvers.integrate import tolerances
from jepa_sim.solvers.sleeping.block import Chain, from_block, to_block
from jepa_sim.solvers.sleeping.march import March
from jepa_sim.solvers.sleeping.sleepers import Sleepers
from jepa_sim.solvers.sleeping.turns import whole
from jepa_sim.solvers.stiffness import EASY_STEPS

COMMUTE = 1e-6  # relative; measured moments that commute are above rounding


class SleepingFlow(AbstractMatrixSolver):
    """The matrix flow of latents that still change, for a JEPA where moments commute.

    A learned latent that carries almost nothing of the features that could displace it *sleeps*: it
    is taken out of the matrices. What it carries of a feature k, relative to its own feature o,
    changes as

        d ln r_k/dt = w̄² ρ_o σ_k² (ρ_k − ρ_o) / w_1²        (w_1 the first layer's gain)

    and it wakes before a cleaner feature takes it over. No saturated latent is left to make the
    flow stiff: right-hand sides grow as ln(1/ε), those of `GradientFlow` as a power of 1/ε.

    rtol: relative error of a step, as in `GradientFlow`; sleeping latents carry at most 0.5 √rtol
    of others, since what is neglected is of the order of its square. Times at which features are
    learned differ from the matrix flow's by about `rtol` or less in the median. Single times may
    differ by much more, where a feature only just passes a level, or two are carried alike. A run
    at rtol/10 changes both settings: `compare_times` shows what differs in it. A run records the
    gains at each step. `critical_times`, `learned_times` and `evictions` are computed from this
    record, so they do not depend on which times are saved. Large starts are less exact: gains at
    rest are off by 1 % at ε = 0.1 and L = 2. An encoder of a slower rate counts as a larger start,
    by the root of the ratio of rates in each layer. Features of equal ρ do not displace each other.
    A latent that carries parts of two features of nearly equal ρ sleeps while it turns from one to
    the other. One that carries parts of three of them stays awake until other latents carry the
    rest; until then the flow is stiff.

    max_steps: a run that needs more has the result code `out_of_steps`.

    It takes `JEPA()` with stop-gradient, any learning rates, no weight decay, and moments that
    commute, at all depths of encoder and predictor and with bottlenecks. Starts are of any kind.
    Observables see all matrices. The latent spaces are turned, layer by layer, by orthogonal
    matrices that no observable but `weights` sees. This solver has no derivatives, because latents
    are taken out and put back in one step.

    >>> moments = js.Moments.from_features(lam=[1.0, 2.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=1), js.RandomGaussian(1e-3))
    >>> times = [100.0, 1000.0]
    >>> js.simulate(problem, times, js.SleepingFlow(), key=jax.random.key(0)).features.shape
    (2, 2)

    Raises ValueError where `rtol` or `max_steps` is not positive; in `simulate` and `sweep` where
    it does not apply, with the rule that the problem breaks.
    """

    rtol: float = 1e-3
    max_steps: int = eqx.field(static=True, default=20_000)
    is_random: ClassVar[bool] = False
    is_exact: ClassVar[bool] = False

    def __check_init__(self):
        checks.check_positive("rtol", self.rtol)
        checks.check_integer_from("max_steps", self.max_steps, 1)

    def prepare(self, problem: Problem) -> Problem:
        problem.check()
        _check(problem)
        return problem

    def work(self, problem: Problem, times: Float[Array, " t"]) -> Float[Array, ""]:
        # about 150 steps, each of which takes as long as ten of `GradientFlow`; no lane is stiff
        return jnp.full((), 10 * EASY_STEPS, times.dtype)

    def begin(self, problem: Problem, key: PRNGKeyArray | None) -> Weights:
        return problem.weights(key)

    def solve_from(
        self,
        start: Weights,
        problem: Problem,
        times: Float[Array, " t"],
        observe: Observe,
        key: PRNGKeyArray | None,
    ) -> Solution:
        setting, chain = to_block(start, problem)

        def save(t: Float[Array, ""], live: Chain, sleepers: Sleepers) -> dict:
            chain = whole(setting, live, sleepers, t)
            found = from_block(setting, chain, problem)
            values, gains = observe(t, found), setting.gains(chain)
            return {"values": values, "gains": gains, "finite": all_finite(found)}

        rtol = jnp.asarray(self.rtol, times.dtype)
        point, saved, record = March(setting, times, save, rtol, self.max_steps).run(chain)
        reached = jnp.arange(times.size) < point.saved
        code = jnp.where(
            point.saved == times.size,
            ResultCode.success,
            jnp.where(point.steps < self.max_steps, ResultCode.not_finite, ResultCode.out_of_steps),
        )
        values = blank_unless(reached, saved)
        stats = {"steps": point.steps, "accepted": point.accepted, "rhs": point.rhs}
        _, atol = tolerances(start, self.rtol, None)
        code = finite_code(saved["finite"] | ~reached, code)
        by_step = record.until(times[-1], values["gains"][-1])
        d = problem.features.lam.size
        return Solution(
            times,
            values["values"],
            code,
            stats,
            atol=jnp.asarray(atol, times.dtype),
            by_step=Saves(by_step.times, by_step.gains[:, :d], by_step.rates[:, :d]),
        )


def _check(problem: Problem) -> None:
    """ValueError unless the theory of sleeping latents holds for the problem."""
    objective, training, network = problem.objective, problem.training, problem.network

    def fail(name: str, rule: str, found: object) -> None:
        checks.fail(name, f"{rule} for `SleepingFlow` (`GradientFlow` runs it)", found)

    if not isinstance(objective, JEPA):
        fail("objective", "be JEPA", objective.name)
    if not isinstance(objective.teacher, StopGradient):
        fail("objective.target", "be StopGradient()", objective.teacher)
    if network.frames != (1, 1):
        fail("network.frames", "be (1, 1)", network.frames)
    decays = (training.encoder_decay, training.predictor_decay)
    without_decay = is_concrete(*decays) and not any(float(decay) for decay in decays)
    if not (training.is_scaled or (training.predictor.is_learned and without_decay)):
        fail("training", "have no decay and a learned predictor", training)
    features = problem.features
    for name, size in (("commute", features.commutator), ("be symmetric", features.asymmetry)):
        if is_concrete(size) and float(size) > COMMUTE:
            fail("moments", f"{name} within {COMMUTE:g}", f"off by {float(size):.2g}")
