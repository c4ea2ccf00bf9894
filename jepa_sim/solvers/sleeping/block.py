"""The live block: all factors of a JEPA, in the basis of its features.

Learning rates α_w, α_v of encoder and predictor may differ: W/√(α_w/α_v) and V have one rate,
α_v (α_w/α_v)^L, and the residual keeps its form. So the block holds these.

Rows and columns that belong to sleeping latents and their features are 0, and the flow keeps them
0. So the block keeps its shape, and needs no mask in its right-hand side. Rows that a bottleneck
does not have are 0 too.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jepa_sim.model.objectives import Factors, layer_pulls, product
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights, column_norms
from jepa_sim.numerics.products import transposed

ALIKE = 0.05  # of the larger ρ: 0.01 takes more right-hand sides, and 0.15 is less exact

# (n + m, k, k) W_1, …, W_n, V_1, …, V_m, the first applied first; the columns of W_1 are features
Chain = Float[Array, "factors k k"]


class Setting(eqx.Module):
    """What does not change during a run; k is the larger of features and latents.

    Features beyond d have λ = 0 and no weights.

    lam, variance: (k,) λ and σ² of every feature.  moves: (n,) False for identities that pad the
    encoder; they come last here, so that W_1 is always the first.  rate: of all factors.
    """

    lam: Float[Array, " k"]
    variance: Float[Array, " k"]
    moves: Bool[Array, " n"]
    rate: Float[Array, ""]
    ratio: Float[Array, ""]

    @property
    def units(self) -> Float[Array, "n 1 1"]:
        """Of the encoder's factors; 1 of identities."""
        return jnp.where(self.moves, self.ratio, 1)[:, None, None]

    @property
    def rho(self) -> Float[Array, " k"]:
        return self.lam / self.variance

    def at_rest(self, q: Float[Array, "*n k"]) -> Float[Array, "*n"]:
        """v̄ at rest of latents that carry q: qᵀΛq/qᵀSq; 0 of no live feature."""
        size = q**2 @ self.variance
        return (q**2 @ self.lam) / jnp.where(size > 0, size, 1)

    @property
    def nearly_equal(self) -> Bool[Array, "k k"]:
        """Pairs of features between which a latent turns slowly, since their ρ are so near."""
        rho = self.rho
        largest = jnp.maximum(rho[:, None], rho[None, :])
        return jnp.abs(rho[:, None] - rho[None, :]) <= ALIKE * largest

    def encoder(self, chain: Chain) -> Factors:
        """W_1, …, W_n."""
        return tuple(chain[: self.moves.size])

    def predictor(self, chain: Chain) -> Factors:
        """V_1, …, V_m."""
        return tuple(chain[self.moves.size :])

    def gains(self, chain: Chain) -> Float[Array, " k"]:
        """w̄ of every feature."""
        return column_norms(product(self.encoder(chain))) * jnp.prod(self.units)

    def velocity(self, chain: Chain) -> Chain:
        """dZ/dt of all factors: R = W̄ Λ − V̄ W̄ S, Λ = diag(λ), S = diag(σ²)."""
        encoder, predictor = self.encoder(chain), self.predictor(chain)
        w, v = product(encoder), product(predictor)
        residual = w * self.lam[None, :] - v @ (w * self.variance[None, :])
        of_encoder, of_predictor = transposed(v) @ residual, residual @ transposed(w)
        pulls = layer_pulls(encoder, of_encoder), layer_pulls(predictor, of_predictor)
        return jnp.where(
            self.all_moves(len(chain)), self.rate * jnp.stack([*pulls[0], *pulls[1]]), 0
        )

    def all_moves(self, count: int) -> Bool[Array, "factors 1 1"]:
        """False for the identities among so many factors."""
        more = count - self.moves.size
        return jnp.pad(self.moves, (0, more), constant_values=True)[:, None, None]


def to_block(weights: Weights, problem: Problem) -> tuple[Setting, Chain]:
    """The chain in the basis of the problem's features, with identities that pad it moved last."""
    features, depth = problem.features, jnp.asarray(problem.network.depth, int)
    encoder, predictor = weights.encoder, weights.predictor
    d = features.lam.size
    k = max(d, predictor[0].shape[1])
    surplus = len(encoder) - depth
    more = (0, k - d)

    def square(factors: Factors) -> Float[Array, "n k k"]:
        return jnp.stack([jnp.pad(z, [(0, k - size) for size in z.shape]) for z in factors])

    stack = jnp.roll(square(encoder), -surplus, axis=0)
    stack = stack.at[0].set(stack[0] @ jnp.pad(features.patterns, (more, more)))
    of_encoder, of_predictor, *_ = problem.training.numbers(stack.dtype)
    setting = Setting(
        jnp.pad(features.lam, more),
        jnp.pad(features.variance, more, constant_values=1),
        jnp.arange(len(encoder)) < depth,
        of_predictor * (of_encoder / of_predictor) ** depth.astype(stack.dtype),
        jnp.sqrt(of_encoder / of_predictor),
    )
    return setting, jnp.concatenate([stack / setting.units, square(predictor)])


def from_block(setting: Setting, chain: Chain, problem: Problem) -> Weights:
    """The matrices in the basis of the data: the inverse of `to_block`."""
    patterns = problem.features.patterns
    d, k, n = patterns.shape[0], chain.shape[1], setting.moves.size
    latent = problem.network.latent(d)
    stack = setting.units * chain[:n]
    stack = stack.at[0].set(stack[0] @ jnp.pad(patterns.T, (0, k - d)))
    encoder = jnp.roll(stack, n - jnp.asarray(problem.network.depth, int), axis=0)
    # only square factors are padded, so that the first one is always (latent, d)
    return Weights(
        (encoder[0, :latent, :d], *encoder[1:, :latent, :latent]),
        tuple(chain[n:, :latent, :latent]),
    )


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
    chain = jnp.swapaxes(reflect_columns(jnp.swapaxes(chain, -1, -2), left), -1, -2)
    return reflect_columns(chain, right)


def reflect_columns(z: Float[Array, "*n k k"], v: Float[Array, "*n k"]) -> Float[Array, "*n k k"]:
    """Z H of the reflection with this vector."""
    v = v * jnp.sqrt(2 / jnp.sum(v**2, axis=-1, keepdims=True))
    return z - jnp.einsum("...ij,...j->...i", z, v)[..., :, None] * v[..., None, :]
