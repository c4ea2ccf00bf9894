"""What an objective is."""

import abc
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.objectives.maps import Maps
from jepa_sim.model.teachers import AbstractTarget, StopGradient

if TYPE_CHECKING:  # pyright does not know equinox's own (microsoft/pyright#4965)
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


Coefficients = tuple[Float[Array, "*lanes d"], Float[Array, "*lanes d"]]  # λ and σ²


class Rest(eqx.Module):
    """Learned features at rest: gains of encoder and predictor, and how both are trained.

    encoder, predictor: (d,) w̄ and v̄; v̄ < 0 where ρ < 0.  depth, predictor_depth: L and M.
    pace: α_v/α_w.  encoder_decay, predictor_decay: η_w and η_v.
    """

    encoder: Float[Array, " d"]
    predictor: Float[Array, " d"]
    depth: Float[Array, ""]
    predictor_depth: Float[Array, ""]
    pace: Float[Array, ""]
    encoder_decay: Float[Array, ""]
    predictor_decay: Float[Array, ""]

    @property
    def inner_encoder(self) -> Float[Array, " d"]:
        """w^{L−1}: all layers but the first."""
        return self.encoder ** ((self.depth - 1) / self.depth)

    @property
    def inner_predictor(self) -> Float[Array, " d"]:
        """v^{M−1}, but for its sign: all layers but the last."""
        return jnp.abs(self.predictor) ** ((self.predictor_depth - 1) / self.predictor_depth)


class AbstractObjective(Checked):
    """An objective owns its loss, its pulls, and, if it has one, its reduced flow.

    The reduced flow u̇ = u^a (λ − σ² u^b) is given by the methods `exponents` and `coefficients`.
    An objective that leaves them out works with every solver that integrates: `GradientFlow`,
    `LayerModes` and `Descent`. Its plateaus are NaN, and what needs the reduced flow
    (`ClosedForm`, `Modes`, `critical_times`) raises a ValueError.

    A subclass sets these class attributes, or has properties of the same names where they depend
    on its fields. name: what the objective is called in a sweep's result.
    encodes_target: whether y goes through an encoder too; y must then be of the dimension of x.
    uses_predictor: whether a predictor (or decoder) is part of the objective.
    has_effective_starts: whether random starts that are balanced act as aligned ones, with a gain
    of its own for every feature (`starts/effective.py`); False unless it is set.
    """

    name: AbstractClassVar[str]
    encodes_target: AbstractClassVar[bool]
    uses_predictor: AbstractClassVar[bool]
    has_effective_starts: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "output_frame" in cls.__dict__:  # its name in version 0.1, which 0.3 will not know
            about = "Method `output_frame` is called `output_basis` since version 0.2."
            warnings.warn(about, DeprecationWarning, stacklevel=2)
            cls.output_basis = cls.__dict__["output_frame"]

    @property
    def teacher(self) -> AbstractTarget:
        """How the teacher follows the encoder, and whether gradients pass through it.

        Here it is the encoder itself, without gradient.
        """
        return StopGradient()

    def pulls(self, maps: Maps, moments: Moments) -> Maps:
        """Minus the gradient of the loss with respect to each of the maps by itself.

        Here it is taken by autodiff. A formula of the objective's own is faster; those of jepa_sim
        override this.
        """
        gradient = jax.grad(lambda maps: self.loss(maps, moments))(maps)
        return jax.tree.map(jnp.negative, gradient)

    @abc.abstractmethod
    def loss(self, maps: Maps, moments: Moments) -> Float[Array, ""]:
        """The population loss."""

    @abc.abstractmethod
    def output_basis(
        self, latent: Float[Array, "k r"], target: Float[Array, "dy r"]
    ) -> Float[Array, "o r"]:
        """Where an aligned predictor sends the directions `latent` of the latent space.

        target: the directions of the same features in the target space.
        """

    def exponents(self, depth: Scalar, predictor_depth: Scalar) -> tuple[Scalar, Scalar]:
        """(a, b) of the reduced flow u̇ = u^a (λ − σ² u^b) from a balanced start.

        u is the singular value shared by all factors of a feature; its encoder gain is w̄ = u^L.
        depth L and predictor_depth M are any positive numbers. NaN where the objective has no
        reduced flow, as here.
        """
        return jnp.nan, jnp.nan

    def coefficients(self, features: Features) -> Coefficients:
        """(λ, σ²) of the reduced flow of every feature; NaN where there is none, as here."""
        unknown = jnp.full_like(features.lam, jnp.nan)
        return unknown, unknown

    def preference(self, features: Features) -> Float[Array, " d"]:
        """(d,) by what a bottleneck chooses: it keeps the features in which this is largest.

        NaN where the objective does not know it, as here.
        """
        return jnp.full_like(features.lam, jnp.nan)

    @property
    def moves_straight(self) -> bool:
        """Whether what it learns of a feature moves on a straight line (`theory/line.py`)."""
        return False

    @property
    def has_reduced_flow(self) -> bool:
        """Whether the objective has `exponents` and `coefficients` of its own."""
        own, none = type(self), AbstractObjective
        return own.exponents is not none.exponents and own.coefficients is not none.coefficients

    def turning(
        self,
        lam: Float[Array, " d"],
        variance: Float[Array, " d"],
        depth: Scalar,
        predictor_depth: Scalar,
    ) -> Float[Array, "d d"]:
        """(d, d) g_ji: how fast the latent of a learned feature j turns towards a small feature i.

        It is the rate of exponential growth, at the state in which j is learned and i is not, of
        what j's latent carries of i. λ and σ² are those of the reduced flow, per unit of flow time.
        NaN where the objective does not know it, as here.
        """
        return jnp.full((lam.size, lam.size), jnp.nan, lam.dtype)

    def turning_at(
        self, lam: Float[Array, " d"], variance: Float[Array, " d"], rest: Rest
    ) -> Float[Array, "d d"]:
        """(d, d) g_ji with learning rates that differ, or with weight decay.

        λ and σ² are those of the reduced flow, with α_w in them. NaN where the objective does not
        know it, as here.
        """
        return jnp.full((lam.size, lam.size), jnp.nan, lam.dtype)

    def turning_from(
        self, rate: Float[Array, "d d"], log_rise: Float[Array, " d"], depth: Scalar
    ) -> Float[Array, "d d"]:
        """(d, d) g_ji where feature i has the singular value u_i, from g_ji where it has 0.

        log_rise: (d,) ln(u_j*/u_i).  The rate is left as it is where the objective does not know
        better, as here.
        """
        return rate
