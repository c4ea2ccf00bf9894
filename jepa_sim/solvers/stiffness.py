"""Predict from the closed form how stiff a flow will be, and so what a solve will cost."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.types import Times
from jepa_sim.model.problem import Problem

EASY_STEPS = 200.0  # steps that accuracy takes where nothing is stiff
STIFF = 1000.0  # for more relaxation times ROCK4 takes fewer right-hand sides than Tsit5


def stiffness(problem: Problem, times: Times) -> Float[Array, ""]:
    """Time to the end in units of the fastest relaxation: explicit methods take that many steps.

    The rates are those of the reduced flow (`ReducedFlow.stiffness`) times the larger learning
    rate, and those of decay and of the teacher. The rates of an objective without a reduced flow
    are not known, and count as 0.
    """
    known = problem.objective.has_reduced_flow
    rates = problem.flow.stiffness if known else jnp.zeros_like(problem.features.lam)
    encoder_rate, predictor_rate, *decays = problem.training.numbers(rates.dtype)
    gradient = jnp.maximum(encoder_rate, predictor_rate) * jnp.max(rates)
    fastest = jnp.maximum(gradient, jnp.maximum(*decays))
    time_constant = problem.objective.teacher.time_constant
    if time_constant is not None:
        fastest = jnp.maximum(fastest, 1 / time_constant.astype(rates.dtype))
    return fastest * times[-1]
