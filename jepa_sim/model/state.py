"""The state of a simulation, and what observables can ask of it.

A state is all matrices (`Weights`); a network of width one for every feature (`Separate`); or, from
a balanced start in the reduced theory, one number per feature (`Gains`). All have the same methods,
so observables need not know which one they have.
"""

import abc
import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.types import Scalar
from jepa_sim.data.features import Features, common_features
from jepa_sim.data.moments import Moments
from jepa_sim.model.objectives import AbstractObjective, Factors, Maps, product

Frames = tuple[int, int]


class AbstractState(eqx.Module):
    """What observables may ask of a state."""

    @abc.abstractmethod
    def gains(self, features: Features) -> Float[Array, " d"]:
        """w̄: how strongly the encoder passes each feature, ‖W̄ p‖ of its unit pattern p."""

    @abc.abstractmethod
    def predictor_gains(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        """v̄: how strongly the predictor sends each feature where its target is; may be negative."""

    @abc.abstractmethod
    def phases(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        """The angle by which each feature is turned from what the encoder sees to the output."""

    @abc.abstractmethod
    def loss(
        self, objective: AbstractObjective, moments: Moments, frames: Frames
    ) -> Float[Array, ""]:
        """The population loss."""

    @abc.abstractmethod
    def singular_values(self) -> Float[Array, " r"]:
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

    encoder: L matrices, (k, d) and then (k, k).  predictor: M matrices, the last one (o, k).

    teacher: the moving average of the encoder's factors; None where the objective keeps none.

    There may be more encoder factors than the depth L. The first ones, at the input, are then
    identities that do not move: so networks of several depths share one compiled program.
    """

    encoder: Factors
    predictor: Factors
    teacher: Factors | None = None

    def maps(self, frames: Frames) -> Maps:
        """The products of the factors, as block matrices of n_c context and n_t target frames."""
        w = product(self.encoder)
        teacher = w if self.teacher is None else product(self.teacher)
        return Maps(spread(w, frames[0]), product(self.predictor), spread(teacher, frames[1]))

    def gains(self, features: Features) -> Float[Array, " d"]:
        return column_norms(product(self.encoder) @ features.patterns)

    def predictor_gains(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        """With several frames, the mean over context and the sum over targets, times √(n_c/n_t).

        That is ⟨ô, V̄ ẑ⟩ of unit vectors ẑ (the latent of the pattern in every context frame) and ô
        (its target in every target frame). With actions the target in frame a is what the action
        makes of the pattern, so that v̄ of an aligned network is Σ_a v_a ρ_a / ‖ρ‖.
        """
        teacher = product(self.encoder if self.teacher is None else self.teacher)
        latent = product(self.encoder) @ features.patterns
        context = jnp.tile(latent, (frames[0], 1))
        if features.sent is None:
            target = objective.output_basis(teacher @ features.patterns, features.target_patterns)
            wanted = jnp.tile(features.turned(target), (frames[1], 1))
        else:
            targets = [objective.output_basis(teacher @ sent, sent) for sent in features.sent]
            wanted = jnp.concatenate(targets)
        reached = jnp.sum(wanted * (product(self.predictor) @ context), axis=0)
        size = jnp.linalg.norm(context, axis=0) * jnp.linalg.norm(wanted, axis=0)
        nothing = jnp.equal(size, 0)  # a feature that is not passed on has the gain 0, not 0/0
        return jnp.where(nothing, 0, reached / jnp.add(size, nothing.astype(size.dtype)))

    def phases(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        if features.angle is None:
            return _half_turns(self.predictor_gains(features, objective, frames))
        teacher = product(self.encoder if self.teacher is None else self.teacher)
        latent = product(self.encoder) @ features.patterns
        target = objective.output_basis(teacher @ features.patterns, features.target_patterns)
        reached = product(self.predictor) @ latent
        along = jnp.sum(target * reached, axis=0)
        across = jnp.sum(target[:, features.partner] * reached, axis=0)
        return jnp.arctan2(jnp.where(features.angle == 0, 0, across), along)

    def loss(
        self, objective: AbstractObjective, moments: Moments, frames: Frames
    ) -> Float[Array, ""]:
        return objective.loss(self.maps(frames), moments)

    def singular_values(self) -> Float[Array, " r"]:
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
        surplus = len(self.encoder) - depth  # identities, which are balanced with nothing
        gaps = [
            jnp.where(i >= surplus, jnp.sum((after.T @ after - before @ before.T) ** 2), 0)
            for i, (before, after) in enumerate(itertools.pairwise(factors))
            if after.shape[1] == before.shape[0]  # not across frames
        ]
        # 0 where no two factors are neighbours: one layer of encoder, before a predictor of frames
        return jnp.sqrt(jnp.max(jnp.stack([jnp.zeros((), factors[0].dtype), *gaps])))


def column_norms(z: Float[Array, "_ d"]) -> Float[Array, " d"]:
    """Norms of the columns, whose derivatives are 0 at columns that are 0."""
    power = jnp.sum(z**2, axis=0)
    unseen = power == 0  # where the derivative of √ is infinite
    return jnp.where(unseen, 0, jnp.sqrt(jnp.where(unseen, 1, power)))


class Separate(AbstractState):
    """Every feature by itself, as a network of width one: a diagonal network.

    networks: `Weights` of 1 × 1 factors (n_t × n_c for the predictor of frames) with a leading axis
    over features.
    """

    networks: Weights

    def _encoders(self) -> Float[Array, " d"]:
        return jax.vmap(lambda weights: product(weights.encoder)[0, 0])(self.networks)

    def gains(self, features: Features) -> Float[Array, " d"]:
        return jnp.abs(self._encoders())

    def predictor_gains(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        def one(weights: Weights, share: Float[Array, " _"]) -> Float[Array, ""]:
            w = product(weights.encoder)
            teacher = w if weights.teacher is None else product(weights.teacher)
            sign = jnp.sign(w * objective.output_basis(teacher, jnp.ones_like(w)))
            reached = jnp.sum(share[:, None] * product(weights.predictor))
            return jnp.sum(sign * reached) / frames[0] ** 0.5

        if features.sent is None:
            shares = jnp.full((features.lam.size, frames[1]), frames[1] ** -0.5, features.lam.dtype)
        else:
            rho = features.rho_by_action.T
            size = jnp.sqrt(jnp.sum(rho**2, axis=1, keepdims=True))
            shares = rho / jnp.where(size > 0, size, 1)
        return jax.vmap(one)(self.networks, shares)

    def phases(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        return _half_turns(self.predictor_gains(features, objective, frames))

    def loss(
        self, objective: AbstractObjective, moments: Moments, frames: Frames
    ) -> Float[Array, ""]:
        """The sum over features, as if they were orthogonal (exact where moments commute)."""
        alone = moments.per_feature(moments.features(frames), frames)
        losses = jax.vmap(lambda w, m: w.loss(objective, m, frames))(self.networks, alone)
        return jnp.sum(losses)

    def singular_values(self) -> Float[Array, " r"]:
        return jnp.abs(self._encoders())

    def gram(self, features: Features) -> Float[Array, "d d"]:
        return jnp.diag(self._encoders() ** 2)

    def alignment(self, features: Features) -> Float[Array, " d"]:
        return jnp.ones_like(self._encoders())

    def balancedness(self, depth: Scalar) -> Float[Array, ""]:
        return jnp.max(jax.vmap(lambda weights: weights.balancedness(depth))(self.networks))


class Planes(AbstractState):
    """Every feature by itself where some turn: a network of width two for the plane of each.

    networks: `Weights` of 2 × 2 factors with a leading axis over features. Both features of a pair
    have a copy of their plane; a feature that does not turn has its own, with a twin.
    angle: (d,) θ.
    """

    networks: Weights
    angle: Float[Array, " d"]

    def _of_each(self, ask: Callable[[Weights, Features], Array]) -> Array:
        """What each network says of the first feature of its plane."""

        def ask_one(weights: Weights, size: Float[Array, ""]) -> Array:
            one, plane = jnp.ones(2, size.dtype), jnp.eye(2, dtype=size.dtype)
            angle = jnp.stack([size, -size])
            return ask(weights, common_features(one, one, one, one, plane, angle))

        return jax.vmap(ask_one)(self.networks, jnp.abs(self.angle))

    def gains(self, features: Features) -> Float[Array, " d"]:
        return self._of_each(lambda weights, plane: weights.gains(plane)[0])

    def predictor_gains(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        return self._of_each(lambda w, plane: w.predictor_gains(plane, objective, frames)[0])

    def phases(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        found = self._of_each(lambda w, plane: w.phases(plane, objective, frames)[0])
        return jnp.where(self.angle < 0, -found, found)

    def loss(
        self, objective: AbstractObjective, moments: Moments, frames: Frames
    ) -> Float[Array, ""]:
        """Half of the loss of each plane, which has two features."""
        alone = moments.per_feature(moments.features(frames), frames)
        return (
            jnp.sum(jax.vmap(lambda w, m: w.loss(objective, m, frames))(self.networks, alone)) / 2
        )

    def singular_values(self) -> Float[Array, " r"]:
        return self._of_each(lambda weights, plane: weights.gains(plane)[0])

    def gram(self, features: Features) -> Float[Array, "d d"]:
        return jnp.diag(self.gains(features) ** 2)

    def alignment(self, features: Features) -> Float[Array, " d"]:
        return jnp.ones_like(self.angle)

    def balancedness(self, depth: Scalar) -> Float[Array, ""]:
        return jnp.max(jax.vmap(lambda weights: weights.balancedness(depth))(self.networks))


class Gains(AbstractState):
    """The reduced state from a balanced start: feature i has the singular value u_i in all factors.

    log_u: (d,) ln u.  gap: (d,) 1 − u/u* with its own relative accuracy near the plateau u*.
    depth, predictor_depth: L, M, so that the encoder gain is w̄ = u^L and the predictor's u^M.
    """

    log_u: Float[Array, " d"]
    gap: Float[Array, " d"]
    depth: Float[Array, ""]
    predictor_depth: Float[Array, ""]

    def gains(self, features: Features) -> Float[Array, " d"]:
        return jnp.exp(self.depth * self.log_u)

    def predictor_gains(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        return jnp.exp(self.predictor_depth * self.log_u)

    def phases(
        self, features: Features, objective: AbstractObjective, frames: Frames
    ) -> Float[Array, " d"]:
        return jnp.zeros_like(self.log_u)

    def loss(
        self, objective: AbstractObjective, moments: Moments, frames: Frames
    ) -> Float[Array, ""]:
        """The sum over features, as if they were orthogonal (exact where moments commute)."""
        alone = moments.per_feature(moments.features(frames), frames)

        def one(encoder: Array, predictor: Array, alone: Moments) -> Array:
            maps = Maps(encoder[None, None], predictor[None, None], encoder[None, None])
            return objective.loss(maps, alone)

        encoder = jnp.exp(self.depth * self.log_u)
        predictor = jnp.exp(self.predictor_depth * self.log_u)
        return jnp.sum(jax.vmap(one)(encoder, predictor, alone))

    def singular_values(self) -> Float[Array, " r"]:
        return jnp.exp(self.depth * self.log_u)

    def gram(self, features: Features) -> Float[Array, "d d"]:
        return jnp.diag(self.gains(features) ** 2)

    def alignment(self, features: Features) -> Float[Array, " d"]:
        return jnp.ones_like(self.log_u)

    def balancedness(self, depth: Scalar) -> Float[Array, ""]:
        return jnp.zeros((), self.log_u.dtype)


def _half_turns(predictor_gains: Float[Array, " d"]) -> Float[Array, " d"]:
    """0 where a predictor is positive, π where it is negative."""
    return jnp.where(predictor_gains < 0, jnp.pi, jnp.zeros_like(predictor_gains))


def spread(matrix: Float[Array, "rows columns"], count: int) -> Float[Array, "_ _"]:
    """The block-diagonal matrix that applies `matrix` to every one of `count` frames."""
    return matrix if count == 1 else jnp.kron(jnp.eye(count, dtype=matrix.dtype), matrix)


def gather(blocks: Float[Array, "_ _"], count: int) -> Float[Array, "rows columns"]:
    """The sum of the diagonal blocks: the pull on a shared matrix from the pulls on all frames."""
    if count == 1:
        return blocks
    rows, columns = blocks.shape[0] // count, blocks.shape[1] // count
    return jnp.einsum("iaib->ab", blocks.reshape(count, rows, count, columns))


def pad_encoder(weights: Weights, count: int) -> Weights:
    """The same network, with as many identities at the input as make `count` encoder factors."""

    def pad(factors: Factors) -> Factors:
        first = factors[0]
        identity = jnp.eye(first.shape[-1], dtype=first.dtype)
        identity = jnp.broadcast_to(identity, (*first.shape[:-2], *identity.shape))
        return (identity,) * (count - len(factors)) + factors

    teacher = None if weights.teacher is None else pad(weights.teacher)
    return Weights(pad(weights.encoder), weights.predictor, teacher)
