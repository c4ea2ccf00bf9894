"""From singular values per feature and time to observables; shared by the two reduced solvers."""

import jax
from jaxtyping import Array, Float

from jepa_sim._problem import Problem
from jepa_sim._solve.base import Observe


def observe_gains(
    problem: Problem,
    times: Float[Array, " t"],
    u: Float[Array, "d t"],
    gap: Float[Array, "d t"],
    observe: Observe,
) -> dict:
    """Observables at every time, from u and 1 − u/u* of every feature."""

    def at(t: Float[Array, ""], u: Float[Array, " d"], gap: Float[Array, " d"]) -> dict:
        return observe(t, problem.gains(u, gap))

    return jax.vmap(at)(times, u.T, gap.T)
