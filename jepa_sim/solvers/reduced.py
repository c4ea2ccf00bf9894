"""What both solvers of the reduced flow share."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.types import OptionalKey, Times
from jepa_sim.model.problem import Problem
from jepa_sim.solvers.base import AbstractSolver, Observe


def observe_gains(
    problem: Problem,
    times: Times,
    log_u: Float[Array, "d t"],
    gap: Float[Array, "d t"],
    observe: Observe,
) -> dict:
    """Observables at every time, from ln u and 1 − u/u* of every feature."""

    def at(t: Float[Array, ""], log_u: Float[Array, " d"], gap: Float[Array, " d"]) -> dict:
        return observe(t, problem.gains(log_u, gap))

    return jax.vmap(at)(times, log_u.T, gap.T)


class AbstractReduced(AbstractSolver):
    """A solver of the reduced flow, which has one number for every feature."""

    is_random: ClassVar[bool] = False
    keeps_apart: ClassVar[bool] = True

    def work(self, problem: Problem, times: Times) -> Float[Array, ""]:
        return jnp.ones((), times.dtype)

    def started(self, problem: Problem, key: OptionalKey) -> Problem:
        return problem.effective(key)
