"""Starts of independent random factors."""

from typing import ClassVar

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import as_float_array
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import AbstractObjective
from jepa_sim.model.starts.base import AbstractStart
from jepa_sim.model.starts.frames import Frames, layer_scale, orthogonal, shapes
from jepa_sim.model.state import Weights


class Orthogonal(AbstractStart):
    """Every factor is ε^{1/L} times an independent random orthogonal matrix (Haar's measure).

    Balanced within the encoder and the predictor, but the predictor is not aligned: in the latent
    space it is a random orthogonal matrix, and a JEPA leaves part of the features unlearned for
    very long.

    Raises ValueError where scale is not positive.
    """

    scale: Float[Array, ""] = eqx.field(converter=as_float_array)
    is_random: ClassVar[bool] = True
    is_level: ClassVar[bool] = True
    is_balanced: ClassVar[bool] = False
    is_separable: ClassVar[bool] = True

    def __check_init__(self):
        checks.check_positive("scale", self.scale)

    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        frame_key, last_key = jr.split(key)
        u = layer_scale(self.scale, moments, network)
        frames = Frames(moments, objective, network, frame_key)
        turn = orthogonal(last_key, 1, frames.aligned.shape[1], u.dtype)[0]
        return frames.weights(u, u, frames.aligned @ turn)


class RandomGaussian(AbstractStart):
    """Independent normal entries of standard deviation ε^{1/L}/√rows in every factor.

    The root mean square of encoder gains is then ε = `scale`. Neither balanced nor aligned: the
    reduced theory does not hold, and a JEPA predictor that starts with negative eigenvalues leaves
    features unlearned for very long.

    Raises ValueError where scale is not positive.
    """

    scale: Float[Array, ""] = eqx.field(converter=as_float_array)
    is_random: ClassVar[bool] = True
    is_level: ClassVar[bool] = False
    is_balanced: ClassVar[bool] = False
    is_separable: ClassVar[bool] = True

    def __check_init__(self):
        checks.check_positive("scale", self.scale)

    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        assert key is not None  # `Problem.weights` has checked
        u = layer_scale(self.scale, moments, network)
        encoder, predictor = shapes(moments, objective, network)
        keys = iter(jr.split(key, len(encoder) + len(predictor)))

        def draw(shape: tuple[int, int]) -> Float[Array, "_ _"]:
            return u / shape[0] ** 0.5 * jr.normal(next(keys), shape, u.dtype)

        return Weights(tuple(map(draw, encoder)), tuple(map(draw, predictor)))
