"""How fast latents of learned features turn towards others: a problem put into the formulas for it.

With one learning rate and no decay it is `AbstractObjective.turning`. Else it is `turning_at` the
gains w̄ and v̄ at rest. Without decay w̄^t v̄ = ρ, with t = 0 for a JEPA and 1 for an MAE, and w̄ has
what is kept of the start (`equilibria.py`). With one decay for all factors, and learning rates α_w
and α_v, v²/α_v − w²/α_w decays as well, so that v/w = √(α_v/α_w).

It is not known where the decays of both sides differ: after a feature is learned its layers then
move on slowly, and the rate with them. Nor is it known where layers differ from the start on.

On the way up what j's latent carries of i, relative to its own, changes as
(λ_i/λ_j − 1) (d ln w_j + η_w dt), since decay takes from both alike. So the rise that counts is
ln(w_j*/w_j(0)) + η_w t_j, and learning rates change it by w* alone.
"""

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.model.objectives import Coefficients, Rest

if TYPE_CHECKING:
    from jepa_sim.model.problem import Problem


def turning_of(
    problem: "Problem", coefficients: Coefficients, times: Float[Array, " d"]
) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    """(d, d) g_ji, all NaN where it is not known, and (d,) the rise of j until times t_j."""
    if problem.turns_as_known:
        return _plain(problem, coefficients)
    if problem.rests_as_known:
        return _at_rest(problem, coefficients, times)
    size = times.size
    return jnp.full((size, size), jnp.nan, times.dtype), jnp.zeros_like(times)


def _plain(
    problem: "Problem", coefficients: Coefficients
) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    lam, variance = coefficients
    _, b = problem.exponents
    learned = lam > 0
    log_plateau = jnp.log(jnp.where(learned, lam, 1) / variance) / b
    rise = jnp.where(learned, log_plateau - jnp.log(problem.start_gains) / problem.depth, 0)
    rate = problem.objective.turning(lam, variance, problem.depth, problem.predictor_depth)
    return rate, rise


def _at_rest(
    problem: "Problem", coefficients: Coefficients, times: Float[Array, " d"]
) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    lam, variance = coefficients
    (_, b), depth, predictor_depth = problem.exponents, problem.depth, problem.predictor_depth
    encoder_rate, predictor_rate, decay, other_decay = problem.training.numbers(lam.dtype)
    pace = predictor_rate / encoder_rate
    encoder = problem.equilibria.stable
    learned = encoder > 0
    w_bar = jnp.where(learned, encoder, 1)
    free = lam / variance / w_bar ** ((b - predictor_depth) / depth)
    held = pace ** (predictor_depth / 2) * w_bar ** (predictor_depth / depth)
    predictor = jnp.where(learned, jnp.where(decay > 0, held, free), 0)
    rest = Rest(encoder, predictor, depth, predictor_depth, pace, decay, other_decay)
    rate = problem.objective.turning_at(lam, variance, rest)
    known = (decay == other_decay) & jnp.all(jnp.isfinite(encoder))
    held_back = decay * jnp.where(jnp.isfinite(times), times, 0)
    rise = (jnp.log(w_bar) - jnp.log(problem.start_gains)) / depth + held_back
    return jnp.where(known, rate, jnp.nan), jnp.where(learned, rise, 0)
