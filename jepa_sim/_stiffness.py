"""How stiff a flow will be, from the closed form: what its integration will cost."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim._problem import Problem


def stiffness(problem: Problem, times: Float[Array, " t"]) -> Float[Array, ""]:
    """Time to the end in units of the fastest relaxation: explicit methods take that many steps.

    The rates are those of the reduced flow u̇ = u^a (λ − σ² u^b): b λ ρ^{(a−1)/b} at the plateau u*
    of every feature, |a λ u^{a−1} − (a + b) σ² u^{a+b−1}| at the start u = ε^{1/L}, both times the
    larger learning rate; and the rate of decay and of the teacher.
    """
    (lam, variance), (a, b) = problem.coefficients, problem.exponents
    learned = lam > 0
    log_rho = jnp.log(jnp.where(learned, lam, 1) / variance)
    at_plateau = jnp.where(learned, b * lam * jnp.exp((a - 1) / b * log_rho), 0)
    u = problem.scale ** (1 / problem.depth)
    at_start = jnp.abs(a * lam * u ** (a - 1) - (a + b) * variance * u ** (a + b - 1))
    training = problem.training
    rate = jnp.maximum(training.encoder_rate, training.predictor_rate)
    decay = jnp.maximum(training.encoder_decay, training.predictor_decay).astype(lam.dtype)
    gradient = rate.astype(lam.dtype) * jnp.max(jnp.maximum(at_plateau, at_start))
    fastest = jnp.maximum(gradient, decay)
    time_constant = problem.objective.teacher.time_constant
    if time_constant is not None:
        fastest = jnp.maximum(fastest, 1 / time_constant.astype(lam.dtype))
    return fastest * times[-1]
