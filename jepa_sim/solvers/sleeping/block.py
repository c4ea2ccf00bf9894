"""The live block: all factors of a JEPA with one layer of predictor, in the basis of its features.

Rows and columns that belong to sleeping latents and their features are 0, and the flow keeps them
0. So the block keeps its shape, and needs no mask in its right-hand side.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jepa_sim.model.objectives import layer_pulls, product
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights

# (n + 1, k, k) W_1, …, W_n and V, the first applied first; the columns of W_1 are features
Chain = Float[Array, "factors k k"]


class Setting(eqx.Module):
    """What does not change during a run, with k features: those beyond d have λ = 0 and no weights.

    lam, variance: (k,) λ and σ² of every feature.  moves: (n,) False for identities that pad the
    encoder; they come last here, so that W_1 is always the first.  rate: of all factors.
    """

    lam: Float[Array, " k"]
    variance: Float[Array, " k"]
    moves: Bool[Array, " n"]
    rate: Float[Array, ""]

    @property
    def rho(self) -> Float[Array, " k"]:
        return self.lam / self.variance

    def velocity(self, chain: Chain) -> Chain:
        """dZ/dt of all factors: R = W̄ Λ − V W̄ S, Λ = diag(λ), S = diag(σ²)."""
        encoder, v = tuple(chain[:-1]), chain[-1]
        w = product(encoder)
        residual = w * self.lam[None, :] - v @ (w * self.variance[None, :])
        speed = jnp.stack([*layer_pulls(encoder, v.T @ residual), residual @ w.T])
        moves = jnp.append(self.moves, True)[:, None, None]
        return jnp.where(moves, self.rate * speed, 0)


def to_block(weights: Weights, problem: Problem) -> tuple[Setting, Chain]:
    """The chain in the basis of the problem's features, with identities that pad it moved last."""
    features, depth = problem.features, problem.network.depth
    encoder, (v,) = weights.encoder, weights.predictor
    k, d = v.shape[1], features.lam.size
    surplus = len(encoder) - depth
    more = (0, k - d)
    # a padded encoder is square: its widths would differ between depths otherwise
    square = [jnp.pad(z, ((0, 0), more)) if z.shape[1] < k else z for z in encoder]
    stack = jnp.roll(jnp.stack(square), -surplus, axis=0)
    basis = jnp.pad(features.patterns, (more, more))
    stack = stack.at[0].set(stack[0] @ basis)
    setting = Setting(
        jnp.pad(features.lam, more),
        jnp.pad(features.variance, more, constant_values=1),
        jnp.arange(len(encoder)) < depth,
        problem.training.encoder_rate.astype(v.dtype),
    )
    return setting, jnp.concatenate([stack, v[None]])


def from_block(chain: Chain, problem: Problem) -> Weights:
    """The matrices in the basis of the data: the inverse of `to_block`."""
    patterns = problem.features.patterns
    d, count = patterns.shape[0], chain.shape[0] - 1
    surplus = count - problem.network.depth
    if chain.shape[1] > d:  # then nothing pads the encoder
        first, rest = chain[0, :, :d] @ patterns.T, chain[1:-1]
        return Weights((first, *rest), (chain[-1],))
    basis = patterns.T
    stack = chain[:-1].at[0].set(chain[0] @ basis)
    return Weights(tuple(jnp.roll(stack, surplus, axis=0)), (chain[-1],))


def encoder_of(chain: Chain) -> Float[Array, "k k"]:
    """W̄ on the features."""
    return product(tuple(chain[:-1]))


def reflection(q: Float[Array, "*n k"], at: Bool[Array, " k"]) -> Float[Array, "*n k"]:
    """v of the reflection H = 1 − 2 v vᵀ/vᵀv that turns unit vectors q into ±e, e the axis `at`.

    The sign is that of −qᵀe. So a q close to e leaves what is orthogonal to both nearly where it
    is; the other sign would reverse a direction next to e.
    """
    along = jnp.sum(jnp.where(at, q, 0), axis=-1, keepdims=True)
    return q + jnp.where(at, jnp.where(along < 0, -1, 1).astype(q.dtype), 0)


def reflect(
    chain: Float[Array, "*n k k"], left: Float[Array, "*n k"], right: Float[Array, "*n k"]
) -> Float[Array, "*n k k"]:
    """H_left Z H_right of the reflections with these vectors."""
    left, right = (v * jnp.sqrt(2 / jnp.sum(v**2, axis=-1, keepdims=True)) for v in (left, right))
    chain = chain - left[..., :, None] * jnp.einsum("...i,...ij->...j", left, chain)[..., None, :]
    return chain - jnp.einsum("...ij,...j->...i", chain, right)[..., :, None] * right[..., None, :]
