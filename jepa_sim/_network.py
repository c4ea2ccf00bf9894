"""Deep linear networks: the architecture, its starts, and what a state of it looks like.

A simulation's state is either all matrices (`Weights`) or, from a balanced start in the reduced
theory, one number per feature (`Gains`). Both answer the same questions, so that observables do
not ask which of them they are looking at.
"""

import abc
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim import _checks as checks
from jepa_sim._moments import Features, Moments
from jepa_sim._objective import AbstractObjective, Factors, product
from jepa_sim._types import Scalar, as_float_array


class DeepLinear(eqx.Module):
    """Encoder W̄ = W_L … W_1 and predictor (or decoder) V̄ = V_M … V_1, all d × d, no biases.

    depth: L.  predictor_depth: M.  Whole numbers for networks of matrices; `ClosedForm` and `Modes`
    take any positive real numbers, traced ones too.

    Raises ValueError where one is not positive.
    """

    depth: Scalar
    predictor_depth: Scalar = 1

    def __check_init__(self):
        checks.check_positive("depth", self.depth)
        checks.check_positive("predictor_depth", self.predictor_depth)

    def whole(self) -> tuple[int, int]:
        """(L, M) as whole numbers; ValueError where they are not, or are traced."""
        checks.check_integer_from("depth", self.depth, 1)
        checks.check_integer_from("predictor_depth", self.predictor_depth, 1)
        return int(self.depth), int(self.predictor_depth)


class AbstractState(eqx.Module):
    """What observables may ask of a state."""

    @abc.abstractmethod
    def gains(self, features: Features) -> Float[Array, " d"]:
        """w̄: how strongly the encoder passes each feature, ‖W̄ p‖ of its unit pattern p."""

    @abc.abstractmethod
    def loss(self, objective: AbstractObjective, moments: Moments) -> Float[Array, ""]:
        """The population loss."""

    @abc.abstractmethod
    def singular_values(self) -> Float[Array, " d"]:
        """Singular values of the encoder W̄, in any order."""

    @abc.abstractmethod
    def gram(self, features: Features) -> Float[Array, "d d"]:
        """⟨W̄ pᵢ, W̄ pⱼ⟩ of the unit patterns p: diagonal where features stay apart."""

    @abc.abstractmethod
    def alignment(self, features: Features) -> Float[Array, " d"]:
        """cos of the angle between p and W̄ᵀW̄ p: 1 where the pattern p is a singular vector of W̄."""

    @abc.abstractmethod
    def balancedness(self, depth: Scalar) -> Float[Array, ""]:
        """The largest ‖Z_{i+1}ᵀ Z_{i+1} − Z_i Z_iᵀ‖ of neighbouring factors; the flow keeps it."""


class Weights(AbstractState):
    """All matrices: encoder W_1, …, W_L and predictor V_1, …, V_M, the first applied first.

    There may be more encoder factors than the depth L: the surplus, at the input, are identities
    that do not move. So networks of several depths become one compiled program.
    """

    encoder: Factors
    predictor: Factors

    def velocity(self, objective: AbstractObjective, moments: Moments, depth: Scalar) -> "Weights":
        """The objective's field at these weights: Ż for every Z."""
        velocities = objective.field(self.encoder, self.predictor, moments)
        count = len(self.encoder)
        encoder = tuple(
            jnp.where(i >= count - depth, velocity, jnp.zeros_like(velocity))
            for i, velocity in enumerate(velocities[:count])
        )
        return Weights(encoder, velocities[count:])

    def gains(self, features: Features) -> Float[Array, " d"]:
        return jnp.linalg.norm(product(self.encoder) @ features.patterns, axis=0)

    def loss(self, objective: AbstractObjective, moments: Moments) -> Float[Array, ""]:
        return objective.loss(product(self.encoder), product(self.predictor), moments)

    def singular_values(self) -> Float[Array, " d"]:
        return jnp.linalg.svd(product(self.encoder), compute_uv=False)

    def gram(self, features: Features) -> Float[Array, "d d"]:
        latent = product(self.encoder) @ features.patterns
        return latent.T @ latent

    def alignment(self, features: Features) -> Float[Array, " d"]:
        w, patterns = product(self.encoder), features.patterns
        image = w.T @ (w @ patterns)
        return jnp.sum(patterns * image, axis=0) / jnp.linalg.norm(image, axis=0)

    def balancedness(self, depth: Scalar) -> Float[Array, ""]:
        factors = (*self.encoder, *self.predictor)
        surplus = len(self.encoder) - depth
        gaps = [
            jnp.where(i >= surplus, jnp.sum((after.T @ after - before @ before.T) ** 2), 0)
            for i, (before, after) in enumerate(itertools.pairwise(factors))
        ]
        return jnp.sqrt(jnp.max(jnp.stack(gaps)))


class Gains(AbstractState):
    """The reduced state from a balanced start: feature i has the singular value u_i in all factors.

    u: (d,).  gap: (d,) 1 − u/u* with its own relative accuracy near the plateau u*.
    depth, predictor_depth: L, M, so that the encoder gain is w̄ = u^L and the predictor's u^M.
    """

    u: Float[Array, " d"]
    gap: Float[Array, " d"]
    depth: Float[Array, ""]
    predictor_depth: Float[Array, ""]

    def gains(self, features: Features) -> Float[Array, " d"]:
        return self.u**self.depth

    def loss(self, objective: AbstractObjective, moments: Moments) -> Float[Array, ""]:
        """The sum over features, as if they were orthogonal (exact where moments commute)."""
        features = moments.features()
        w = self.u**self.depth
        prediction = self.u**self.predictor_depth * w
        target = objective.target(w, jnp.ones_like(w))
        return jnp.sum(
            prediction**2 * features.variance / 2
            - prediction * target * features.lam
            + target**2 * features.target_variance / 2
        )

    def singular_values(self) -> Float[Array, " d"]:
        return self.u**self.depth

    def gram(self, features: Features) -> Float[Array, "d d"]:
        return jnp.diag(self.gains(features) ** 2)

    def alignment(self, features: Features) -> Float[Array, " d"]:
        return jnp.ones_like(self.u)

    def balancedness(self, depth: Scalar) -> Float[Array, ""]:
        return jnp.zeros((), self.u.dtype)


class AbstractStart(eqx.Module):
    """Where training begins."""

    scale: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def is_random(self) -> bool:
        """Whether `weights` needs a key."""

    @property
    @abc.abstractmethod
    def is_balanced(self) -> bool:
        """Whether the reduced theory applies: every singular value of every factor is the same."""

    @abc.abstractmethod
    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        """The matrices at time 0."""


class Balanced(AbstractStart):
    """All factors have the one singular value ε^{1/L}, so every encoder gain starts at ε = `scale`.

    The start of the reduced theory. As it stands every factor is ε^{1/L} I, which is aligned with
    any features. rotated: factors are rotated by random orthogonal matrices in the hidden layers
    (one set per key) that keep balance and, for JEPA, the predictor positive in the latent space;
    gains of features do not depend on them.

    Raises ValueError where scale is not positive.
    """

    scale: Float[Array, ""] = eqx.field(converter=as_float_array)
    rotated: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        checks.check_positive("scale", self.scale)

    @property
    def is_random(self) -> bool:
        return self.rotated

    @property
    def is_balanced(self) -> bool:
        return True

    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        depth, predictor_depth = network.whole()
        dtype = moments.xx.dtype
        u = jnp.asarray(self.scale, dtype) ** (1 / depth)
        identity = jnp.eye(moments.dimension, dtype=dtype)
        if not self.rotated:
            return Weights((u * identity,) * depth, (u * identity,) * predictor_depth)
        frames = [identity, *_orthogonal(key, depth + predictor_depth - 1, identity)]
        frames.append(objective.target(frames[depth], identity))  # the frame that V̄ ends in
        factors = tuple(u * after @ before.T for before, after in itertools.pairwise(frames))
        return Weights(factors[:depth], factors[depth:])


class RandomGaussian(AbstractStart):
    """Independent normal entries of standard deviation ε^{1/L}/√d in every factor.

    The root mean square of encoder gains is then ε = `scale`. Neither balanced nor aligned: the
    reduced theory does not hold, and a JEPA predictor that starts with negative eigenvalues leaves
    features unlearned for very long.

    Raises ValueError where scale is not positive.
    """

    scale: Float[Array, ""] = eqx.field(converter=as_float_array)

    def __check_init__(self):
        checks.check_positive("scale", self.scale)

    @property
    def is_random(self) -> bool:
        return True

    @property
    def is_balanced(self) -> bool:
        return False

    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        depth, predictor_depth = network.whole()
        d, dtype = moments.dimension, moments.xx.dtype
        deviation = jnp.asarray(self.scale, dtype) ** (1 / depth) / d**0.5
        factors = tuple(deviation * jr.normal(key, (depth + predictor_depth, d, d), dtype))
        return Weights(factors[:depth], factors[depth:])


def pad_encoder(weights: Weights, count: int) -> Weights:
    """The same network with identities at the input that do not move, `count` factors in all."""
    identity = jnp.eye(weights.encoder[0].shape[1], dtype=weights.encoder[0].dtype)
    surplus = count - len(weights.encoder)
    return Weights((identity,) * surplus + weights.encoder, weights.predictor)


def _orthogonal(
    key: PRNGKeyArray | None, count: int, identity: Float[Array, "d d"]
) -> Float[Array, "{count} d d"]:
    """Orthogonal matrices from Haar's measure, by one batched QR (Mezzadri 2007)."""
    assert key is not None  # `Problem.weights` has checked
    q, r = jnp.linalg.qr(jr.normal(key, (count, *identity.shape), identity.dtype))
    return q * jnp.sign(jax.vmap(jnp.diagonal)(r))[:, None, :]
