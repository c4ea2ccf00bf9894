"""Orthonormal bases between the factors of a chain."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import OptionalKey
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.state import Weights


def shapes(
    moments: Moments, objective: AbstractObjective, network: DeepLinear
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Shapes of the encoder's and the predictor's factors, the first applied first."""
    depth, predictor_depth = network.whole()
    context, target = network.frames
    d, dy = frame_sizes(moments, objective, network)
    k = network.latent(d)
    out = k if objective.encodes_target else dy
    encoder = [(k, d)] + [(k, k)] * (depth - 1)
    rows = [k * context] * (predictor_depth - 1) + [out * target]
    return encoder, list(zip(rows, [k * context, *rows], strict=False))


def frame_sizes(
    moments: Moments, objective: AbstractObjective, network: DeepLinear
) -> tuple[int, int]:
    """(d, dy) of one frame. ValueError where moments, objective and network do not fit."""
    context, target = network.frames
    actions = moments.actions
    if actions is not None and network.frames != (1, actions.count):
        rule = f"be (1, {actions.count}), one predictor for each action of the moments"
        checks.fail("network.frames", rule, network.frames)
    for name, size, count in (
        ("moments.xx", moments.dimension, context),
        ("moments.yx", moments.target_dimension, target),
    ):
        if size % count:
            checks.fail(name, f"be a stack of {count} frames", f"of {size} entries")
    d, dy = moments.dimension // context, moments.target_dimension // target
    if objective.encodes_target and dy != d:
        rule = f"have as many rows as columns for `{objective.name}`, which encodes x and y alike"
        checks.fail("moments.yx", rule, f"of {dy} rows and {d} columns per frame")
    if network.frames != (1, 1) and not objective.uses_predictor:
        checks.fail("network.frames", f"be (1, 1) for `{objective.name}`", network.frames)
    return d, dy


class Bases:
    """F_0, …, F_{L+M−1} of a chain, and the last basis of an aligned predictor.

    turned: whether F_0 is random in a network that is no bottleneck too; it is the identity else.
    """

    def __init__(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: OptionalKey,
        *,
        turned: bool = False,
    ):
        encoder, predictor = shapes(moments, objective, network)
        self.depth, self.between = len(encoder), network.frames
        dtype, (k, d) = moments.xx.dtype, encoder[0]
        rank, hidden = min(k, d), len(encoder) + len(predictor) - 1
        if key is None:
            if k < d:
                checks.fail("start", f"be rotated or random for a width {k} below d = {d}", "not")
            self.bases = [jnp.eye(d, dtype=dtype), *[jnp.eye(k, rank, dtype=dtype)] * hidden]
        else:
            inner, _ = jr.split(key)
            first = jnp.eye(d, dtype=dtype)
            if k < d or turned:
                first = first_basis(key, d, dtype)[:, :rank]
            self.bases = [first, *orthogonal(inner, hidden, k, dtype)[:, :, :rank]]
        target = self.bases[0]
        if moments.target_dimension // network.frames[1] != d:
            # y has another dimension: its directions are those that Σyx pairs with those of x
            u, _, vt = jnp.linalg.svd(moments.yx, full_matrices=False)
            target = u @ (vt @ target)
        self.aligned = objective.output_basis(self.bases[self.depth], target)

    def weights(
        self, u: Float[Array, "*r"], v: Float[Array, "*r"], last: Float[Array, "o r"]
    ) -> Weights:
        """Singular values u in the encoder, v in the predictor, which ends in the basis `last`.

        One number stands for all directions.
        """
        pairs = list(itertools.pairwise([*self.bases, last]))
        sizes = [u] * self.depth + [v] * (len(pairs) - self.depth)
        factors = [
            (after * jnp.broadcast_to(size, after.shape)) @ before.T
            for size, (before, after) in zip(sizes, pairs, strict=True)
        ]
        context, target = self.between
        # each frame of the target reads all frames of the context alike; of norm 1
        mean = jnp.full((target, context), (context * target) ** -0.5, last.dtype)
        return Weights(
            tuple(factors[: self.depth]),
            tuple(jnp.kron(mean, z) for z in factors[self.depth :]),
        )


def first_basis(key: PRNGKeyArray, size: int, dtype: jnp.dtype) -> Float[Array, "{size} {size}"]:
    """The random F_0 of `Bases` with this key, before it is cut to the rank of a bottleneck."""
    _, outer = jr.split(key)
    return orthogonal(outer, 1, size, dtype)[0]


def layer_scale(scale: Float[Array, ""], moments: Moments, network: DeepLinear) -> Float[Array, ""]:
    """ε^{1/L}."""
    return jnp.asarray(scale, moments.xx.dtype) ** (1 / network.whole()[0])


def turn_by(angle: Float[Array, ""], size: int) -> Float[Array, "{size} {size}"]:
    """The rotation by `angle` in the planes of entries (0, 1), (2, 3), …"""
    first = jnp.arange(0, size - 1, 2)
    diagonal = jnp.ones(size, angle.dtype).at[: 2 * first.size].set(jnp.cos(angle))
    sine = jnp.broadcast_to(jnp.sin(angle), first.shape)
    turn = jnp.diag(diagonal).at[first, first + 1].set(-sine)
    return turn.at[first + 1, first].set(sine)


def orthogonal(
    key: PRNGKeyArray, count: int, size: int, dtype: jnp.dtype
) -> Float[Array, "{count} {size} {size}"]:
    """Orthogonal matrices from Haar's measure, by one batched QR (Mezzadri 2007)."""
    q, r = jnp.linalg.qr(jr.normal(key, (count, size, size), dtype))
    # the signs of R's diagonal: without them the law of Q depends on the algorithm
    return q * jnp.sign(jax.vmap(jnp.diagonal)(r))[:, None, :]
