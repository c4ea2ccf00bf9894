"""Where the features of a problem come to rest, and the straight way there where it is known.

The equations are those of `equilibria.py` and `theory/line.py`; here a problem is put into them.
"""

import dataclasses
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.types import is_concrete
from jepa_sim.model.equilibria import Equilibria, equilibria, settled
from jepa_sim.theory import Line, Told

if TYPE_CHECKING:
    from jepa_sim.model.problem import Problem


def plateaus_of(problem: "Problem") -> Float[Array, " d"]:
    """See `Problem.plateaus`."""
    if problem.network.frames != (1, 1):
        return _of_frames(problem)
    objective, training = problem.objective, problem.training
    by_formula = training.predictor.plateaus(problem.features, objective, training)
    if by_formula is not None:
        return by_formula if not problem.moments.turns else jnp.full_like(by_formula, jnp.nan)
    if not problem.is_plain:
        return problem.equilibria.stable
    lam, variance = objective.coefficients(problem.features)
    learned = lam > 0
    ratio = jnp.where(learned, lam, 1) / variance  # 1: a power of λ ≤ 0 has no derivative
    return jnp.where(learned, ratio ** (problem.depth / problem.exponents[1]), 0)


def _of_frames(problem: "Problem") -> Float[Array, " d"]:
    """‖B‖^{L/b}, with B = Σyx Σxx⁻¹ over the frames of one feature.

    ‖B‖ stands in place of ρ: the predictor ends as B, and its norm stays balanced with the
    layers. With actions B = (ρ_a)_a. The predictors start alike. They stay alike where λ_a and
    σ_a² are so too and nothing turns. If λ_a < 0 then, all reach 0 at once, and the encoder too.
    """
    features, alone = (
        problem.features,
        problem.moments.per_feature(problem.features, problem.network.frames),
    )
    if alone.actions is None:
        regression = jnp.linalg.solve(alone.xx, alone.yx.swapaxes(1, 2))
        size = jnp.sqrt(jnp.sum(regression**2, axis=(1, 2)))
        dies = jnp.zeros(size.shape, bool)
    else:
        size, power = features.rho, alone.actions.xx[..., 0, 0]
        margin = 1e4 * jnp.finfo(size.dtype).eps
        moves = alone.yx[..., 0]
        unlike = jnp.ptp(moves, axis=1) > margin * jnp.max(jnp.abs(moves), axis=1)
        unlike |= jnp.ptp(power, axis=1) > margin * jnp.max(power, axis=1)
        unlike |= jnp.sum((moves / power) ** 2, axis=1) < (1 - margin) * size**2  # it turns
        dies = ~unlike & (moves[:, 0] < 0)
    ends = size ** (problem.depth / problem.exponents[1])
    return jnp.where(dies, 0, ends) * (1 if problem.ends_at_plateaus else jnp.nan)


def equilibria_of(problem: "Problem") -> Equilibria:
    """See `Problem.equilibria`."""
    features, objective = problem.features, problem.objective
    lam, variance = objective.coefficients(features)
    if objective.teacher.passes_gradient:
        predicted = lam * features.rho  # what x predicts of the target's variance
        if problem.moments.actions is not None and features.sent is not None:
            power = jnp.sum(features.sent**2, axis=1)
            predicted = variance * (problem.moments.actions.probability @ power)
        # a margin: λ and ρ come from an eigenproblem, whose rounding is far above eps
        rounding = 1e4 * jnp.finfo(lam.dtype).eps * features.target_variance
        collapses = features.target_variance > predicted + rounding
        nothing = jnp.where(collapses, jnp.zeros_like(lam), jnp.nan)
        return Equilibria(nothing, nothing, jnp.where(collapses, jnp.inf, jnp.nan))
    is_single = problem.training.predictor.is_learned and problem.network.frames == (1, 1)
    if not (is_single and objective.has_reduced_flow):
        unknown = jnp.full_like(lam, jnp.nan)
        return Equilibria(unknown, unknown, unknown)
    predictor_depth = problem.predictor_depth if objective.uses_predictor else None
    training, tau = problem.training, objective.teacher.time_constant
    exponents, depth = problem.exponents, problem.depth
    found = equilibria(lam, variance, exponents, depth, predictor_depth, training, tau)
    if predictor_depth is None:
        return found
    start = problem.layers
    kept = settled(
        *(lam, variance, exponents, (depth, predictor_depth), training, start),
        has_copy=tau is not None,
    )
    decays = (training.encoder_decay > 0) | (training.predictor_decay > 0)
    # under decay it is not known what is kept of a start, unless all layers stay alike
    alike = (training.encoder_rate == training.predictor_rate) & (
        training.encoder_decay == training.predictor_decay
    )
    squares = jnp.concatenate([start.encoder, start.predictor])
    alike = alike & (jnp.max(squares, axis=0) == jnp.min(squares, axis=0)) & (start.sign > 0)
    with_decay = jnp.where(((lam < 0) | (start.sign < 0)) & ~alike, jnp.nan, found.stable)
    if features.angle is not None:
        found, kept = _turned(problem, found, kept, features.angle)
        with_decay = found.stable
    return dataclasses.replace(found, stable=jnp.where(decays, with_decay, kept))


def _turned(
    problem: "Problem", found: Equilibria, kept: Float[Array, " d"], angle: Float[Array, " d"]
) -> tuple[Equilibria, Float[Array, " d"]]:
    """Equilibria, and gains without decay; NaN where it is not known how a pair gets there.

    At rest a pair is as a feature of its modulus ρ. On the way its predictor turns by θ, and
    how far it shrinks meanwhile is known on a straight line only.
    """
    unknown = (angle != 0) & problem.start.keeps_differences
    line = problem.line
    kept = jnp.where(unknown, jnp.nan, kept) if line is None else line.plateau
    edge = jnp.where(angle != 0, jnp.nan, found.edge)
    stable = jnp.where(unknown, jnp.nan, found.stable)
    return dataclasses.replace(found, edge=edge, stable=stable), kept


def told_of(problem: "Problem") -> Told | None:
    """See `Problem.told`."""
    objective, start, moments = problem.objective, problem.start, problem.moments
    is_level = start.is_level and start.is_separable and not start.keeps_differences
    if not (objective.moves_straight and is_level and problem.training.is_scaled):
        return None
    # b is M for a JEPA, whatever the depth of its encoder, and above 1 for an MAE
    known = problem.network.predictor_depth
    is_jepa = is_concrete(known, objective) and objective.exponents(1.0, float(known))[1] == 1
    if moments.actions is None or problem.is_narrow or not is_jepa:
        return None
    features = problem.features
    alone = moments.per_feature(features, problem.network.frames)
    assert alone.actions is not None
    power = alone.actions.xx[..., 0, 0]
    first = problem.start_gains ** (1 / problem.depth) / moments.actions.count**0.5
    start_of_all = jnp.broadcast_to(jnp.reshape(first, (-1, 1)), power.shape)
    rate = problem.training.encoder_rate.astype(power.dtype) * power
    return Told(alone.yx[..., 0] / power, rate, start_of_all, problem.depth)


def line_of(problem: "Problem") -> Line | None:
    """See `Problem.line`."""
    objective, start, features = problem.objective, problem.start, problem.features
    is_single = problem.network.frames == (1, 1) and not problem.is_narrow
    is_aligned = start.is_level and start.is_separable and problem.training.is_scaled
    if not (objective.moves_straight and is_single and is_aligned):
        return None
    a, b = problem.exponents
    predictor = problem.start_gains ** (b / problem.depth)
    kappa = jnp.zeros_like(features.lam)
    if start.keeps_differences:
        known = (problem.network.depth, problem.network.predictor_depth)
        if not is_concrete(known) or objective.exponents(*map(float, known))[1] != 1:
            return None
        layers = problem.layers
        predictor = jnp.sqrt(layers.predictor[0])
        kappa = layers.encoder[0] - layers.predictor[0]
    angle = jnp.zeros_like(kappa) if features.angle is None else features.angle
    _, variance = problem.coefficients
    powers = (a + b - 1) / (2 * b), problem.depth / (2 * b)
    predictor = jnp.broadcast_to(predictor, kappa.shape)
    return Line(features.rho, b * variance, angle, predictor, kappa, *powers)
