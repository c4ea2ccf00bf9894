"""A start from given factors."""

import itertools
from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import ArrayLike, OptionalKey, Scalar, as_float_array
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.equilibria import Layers
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective, Factors, product
from jepa_sim.model.starts.base import AbstractStart
from jepa_sim.model.starts.bases import shapes
from jepa_sim.model.state import Weights


class Given(AbstractStart):
    """Your own matrices, in the order in which they are applied.

    encoder: W_1, …, W_L.  predictor: V_1, …, V_M.

    Raises ValueError where an entry is not finite. `simulate` and `Problem.plateaus` raise it where
    there are not as many factors as layers, or shapes do not fit.
    """

    encoder: Factors
    predictor: Factors
    scale: Float[Array, ""]
    is_random: ClassVar[bool] = False
    is_level: ClassVar[bool] = False
    is_balanced: ClassVar[bool] = False
    is_separable: ClassVar[bool] = False
    keeps_differences: ClassVar[bool] = True

    def __init__(self, encoder: Sequence[ArrayLike], predictor: Sequence[ArrayLike]):
        for name, factors in (("encoder", encoder), ("predictor", predictor)):
            if not factors:
                checks.fail(name, "hold at least one matrix", "empty")
            for i, factor in enumerate(factors):
                if np.ndim(factor) != 2:
                    checks.fail(f"{name}[{i}]", "be a matrix", f"of shape {np.shape(factor)}")
                checks.check_finite(f"{name}[{i}]", factor)
            for i, (before, after) in enumerate(itertools.pairwise(factors)):
                if np.shape(after)[1] != np.shape(before)[0]:
                    rule = f"have as many columns as {name}[{i}] has rows, {np.shape(before)[0]}"
                    checks.fail(f"{name}[{i + 1}]", rule, f"of shape {np.shape(after)}")
        self.encoder = tuple(map(as_float_array, encoder))
        self.predictor = tuple(map(as_float_array, predictor))
        w = product(self.encoder)
        self.scale = jnp.sqrt(jnp.sum(w**2) / w.shape[1])

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        wanted = shapes(moments, objective, network)
        for name, wants in zip(("encoder", "predictor"), wanted, strict=True):
            found = [factor.shape for factor in getattr(self, name)]
            if found != wants:
                checks.fail(f"start.{name}", f"have factors of shapes {wants}", f"of {found}")
        return Weights(self.encoder, self.predictor)

    def layers(self, features: Features, objective: AbstractObjective, depth: Scalar) -> Layers:
        """Features are followed from layer to layer.

        The result is known where every factor keeps the features apart.
        """
        patterns = features.patterns
        eps = jnp.finfo(patterns.dtype).eps
        overlap = patterns.T @ patterns - jnp.eye(patterns.shape[1], dtype=patterns.dtype)
        latent, encoder, bent = _follow(self.encoder, patterns)
        output, predictor, bent_further = _follow(self.predictor, latent)
        target = objective.output_basis(latent, features.target_patterns)
        cosine = jnp.sum(output * target, axis=0)
        ends = jnp.equal(jnp.sum(output**2, axis=0), 0) | (jnp.abs(cosine) > 1 - jnp.sqrt(eps))
        off = jnp.maximum(jnp.max(jnp.abs(overlap), axis=0), jnp.maximum(bent, bent_further))
        squares = jnp.concatenate([encoder, predictor])  # a feature sent to 0 cannot be followed on
        sizes = [jnp.linalg.norm(factor, 2) for factor in (*self.encoder, *self.predictor)]
        return Layers(
            encoder,
            predictor,
            jnp.where(cosine < 0, -jnp.ones_like(cosine), 1),
            ends & (off < jnp.sqrt(eps)) & (jnp.min(squares, axis=0) > 0),
            jnp.full_like(cosine, 1) * jnp.max(jnp.stack(sizes)).astype(cosine.dtype) ** 2,
        )


def _follow(
    factors: Factors, directions: Float[Array, "_ d"]
) -> tuple[Float[Array, "_ d"], Float[Array, "n d"], Float[Array, " d"]]:
    """Where unit directions are sent, by which squared factor each layer changes their lengths,
    and how far they are from being its singular vectors."""
    squares, bent = [], jnp.zeros_like(directions[0])
    for factor in factors:
        z = factor.astype(directions.dtype)
        image = z @ directions
        size = jnp.sqrt(jnp.sum(image**2, axis=0))
        image = image / jnp.where(size == 0, 1, size)[None, :]  # 1: no 0/0
        gap = jnp.sqrt(jnp.sum((z.T @ image - directions * size[None, :]) ** 2, axis=0))
        norm = jnp.sqrt(jnp.sum(z**2))
        bent = jnp.maximum(bent, gap / jnp.where(norm == 0, 1, norm))
        directions = image
        squares.append(size**2)
    return directions, jnp.stack(squares), bent
