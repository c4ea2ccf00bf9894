"""Observables from the singular value of every feature at every time, for both reduced solvers."""

import jax
from jaxtyping import Array, Float

from jepa_sim.arguments.types import Times
from jepa_sim.model.problem import Problem
from jepa_sim.solvers.base import Observe


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
