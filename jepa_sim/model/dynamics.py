"""How factors move, Ż = rate · (the objective's pull on Z) − decay · Z, and the teacher's copy."""

import equinox as eqx
import jax
import jax.numpy as jnp

from jepa_sim.model.objectives import Factors, layer_pulls
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights, gather


def velocity(problem: Problem, weights: Weights) -> Weights:
    """dZ/dt of all factors, and of the teacher's copy, per unit of flow time."""
    training, (context, target) = problem.training, problem.network.frames
    weights = settle(problem, weights)
    pulls = problem.objective.pulls(weights.maps(problem.network.frames), problem.moments)
    pull = gather(pulls.encoder, context)
    if problem.objective.teacher.passes_gradient:  # the teacher is the encoder: it moves by both
        pull = pull + gather(pulls.teacher, target)

    encoder = _move(weights.encoder, pull, training.encoder_rate, training.encoder_decay)
    # the first factors of a padded network are identities, which must not move
    surplus = len(weights.encoder) - problem.network.depth
    encoder = tuple(
        jnp.where(i >= surplus, speed, jnp.zeros_like(speed)) for i, speed in enumerate(encoder)
    )
    if training.predictor.is_learned:
        rate, decay = training.predictor_rate, training.predictor_decay
        predictor = _move(weights.predictor, pulls.predictor, rate, decay)
    else:
        predictor = jax.tree.map(jnp.zeros_like, weights.predictor)
    return Weights(encoder, predictor, follow(problem, weights))


def follow(problem: Problem, weights: Weights) -> Factors | None:
    """dξ/dt = (W − ξ)/τ of the teacher's copy; None where the objective keeps none."""
    time_constant = problem.objective.teacher.time_constant
    if time_constant is None or weights.teacher is None:
        return None
    return tuple(
        (layer - copy) / time_constant.astype(copy.dtype)
        for layer, copy in zip(weights.encoder, weights.teacher, strict=True)
    )


def settle(problem: Problem, weights: Weights) -> Weights:
    """The weights, with the predictor set by its formula where it is not learned."""
    rule = problem.training.predictor
    if rule.is_learned:
        return weights
    formula = rule.formula(weights.maps(problem.network.frames), problem.moments)
    return eqx.tree_at(lambda w: w.predictor, weights, (formula,))


def _move(factors: Factors, pull: jax.Array, rate: jax.Array, decay: jax.Array) -> Factors:
    rate, decay = rate.astype(pull.dtype), decay.astype(pull.dtype)
    return tuple(
        rate * share - decay * factor
        for share, factor in zip(layer_pulls(factors, pull), factors, strict=True)
    )
