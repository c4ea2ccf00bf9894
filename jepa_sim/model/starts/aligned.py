"""Starts whose predictor is aligned with the encoder, or turned from it by a known angle."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import OptionalKey, Scalar, as_float_array, is_concrete, to_numpy
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments
from jepa_sim.model.equilibria import Layers, level
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.starts.base import AbstractScaled
from jepa_sim.model.starts.bases import Bases, layer_scale, orthogonal, turn_by
from jepa_sim.model.state import Weights


class Balanced(AbstractScaled):
    """All factors have the one singular value ε^{1/L}, so every encoder gain starts at ε = `scale`.

    This is the start of the reduced theory. Without rotations every factor is ε^{1/L} I, which is
    aligned with any features. rotated: factors are rotated by random orthogonal matrices in the
    hidden layers (one set per key). These keep balance and, for JEPA, the predictor positive in the
    latent space. The start is exactly aligned all the same, since W̄ᵀW̄ = ε² I, and gains of features
    do not depend on the rotations while alignment is stable (`RandomBalanced` is rotated and not
    aligned). A bottleneck must be rotated: it starts from a random subspace.

    Raises ValueError where scale is not positive.
    """

    rotated: bool = eqx.field(static=True, default=False)
    is_level: ClassVar[bool] = True
    is_balanced: ClassVar[bool] = True
    is_separable: ClassVar[bool] = True

    @property
    def is_random(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether `weights` needs a key: for the rotations."""
        return self.rotated

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        u = layer_scale(self.scale, moments, network)
        bases = Bases(moments, objective, network, key if self.rotated else None)
        return bases.weights(u, u, bases.aligned)


class Unbalanced(AbstractScaled):
    """As `Balanced`, but the predictor's singular values v are not the encoder's u: v² − u² = κ.

    So W₂ᵀW₂ − W₁W₁ᵀ = κI between the last layer of the encoder and the first of the predictor, and
    the flow keeps this. In the words of Dominé et al. (2024) a large |κ| is lazy, since one side
    hardly moves, and κ = 0 is rich.

    scale: ε.  imbalance: κ > −ε^{2/L}.  rotated: see `Balanced`.

    Raises ValueError where scale is not positive; in `simulate` where the imbalance is too small.
    """

    imbalance: Float[Array, ""] = eqx.field(converter=as_float_array)
    rotated: bool = eqx.field(static=True, default=False)
    is_level: ClassVar[bool] = True
    is_balanced: ClassVar[bool] = False
    is_separable: ClassVar[bool] = True
    keeps_differences: ClassVar[bool] = True

    def __check_init__(self):
        checks.check_finite("imbalance", self.imbalance)

    @property
    def is_random(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether `weights` needs a key: for the rotations."""
        return self.rotated

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        u = layer_scale(self.scale, moments, network)
        if is_concrete(self.scale, self.imbalance):
            least = -(to_numpy(self.scale) ** (2 / network.whole()[0]))
            if to_numpy(self.imbalance) <= least:
                checks.fail("imbalance", f"be above −ε^(2/L) = {least:.6g}", self.imbalance)
        square = u**2 + self.imbalance.astype(u.dtype)
        bases = Bases(moments, objective, network, key if self.rotated else None)
        return bases.weights(u, jnp.sqrt(square), bases.aligned)

    def layers(self, features: Features, objective: AbstractObjective, depth: Scalar) -> Layers:
        """Encoder layers have the square ε^{2/L}, predictor layers κ more."""
        lam = features.lam
        square = jnp.full_like(lam, 1) * self.scale.astype(lam.dtype) ** (2 / depth)
        predictor = square + self.imbalance.astype(lam.dtype)
        return level(square, predictor)


class Misaligned(AbstractScaled):
    """As `Balanced` and rotated, but the predictor is turned by an angle in the latent space.

    All planes of a random set of orthogonal planes are turned by `angle` (radians; with an odd
    number of dimensions one direction is not turned): 0 is aligned, π is minus the aligned
    predictor. A JEPA learns a feature only where the predictor is positive on it. The reduced
    theory accepts a small angle, and `trust` says how far it holds.

    Raises ValueError where scale is not positive or the angle not finite.
    """

    angle: Float[Array, ""] = eqx.field(converter=as_float_array)
    is_random: ClassVar[bool] = True
    is_level: ClassVar[bool] = True
    is_balanced: ClassVar[bool] = False
    is_separable: ClassVar[bool] = False
    is_nearly_aligned: ClassVar[bool] = True

    def __check_init__(self):
        checks.check_finite("angle", self.angle)

    def misalignment(self, dimension: int) -> Float[Array, ""]:
        """|angle|/√d: an entry of the turned predictor off its diagonal, as a root mean square."""
        return jnp.abs(self.angle) / dimension**0.5

    def weights(
        self, moments: Moments, objective: AbstractObjective, network: DeepLinear, key: OptionalKey
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        basis_key, plane_key = jr.split(key)
        u = layer_scale(self.scale, moments, network)
        bases = Bases(moments, objective, network, basis_key)
        rank = bases.aligned.shape[1]
        planes = orthogonal(plane_key, 1, rank, u.dtype)[0]
        turn = planes @ turn_by(self.angle.astype(u.dtype), rank) @ planes.T
        return bases.weights(u, u, bases.aligned @ turn)
