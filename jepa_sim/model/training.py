"""How factors are trained: learning rates, weight decay, and how the predictor is found."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar, as_float_array, is_concrete, to_numpy
from jepa_sim.model.predictors import AbstractPredictor, Learned


class Training(Checked):
    """Ż = rate · (the objective's pull on Z) − decay · Z, for every factor Z.

    encoder_rate, predictor_rate: learning rates relative to the unit of flow time.
    decay: weight decay η of all factors, not multiplied by the rates (as in Tian et al. 2021).
    encoder_decay, predictor_decay: η of one group of factors, in place of `decay`.
    predictor: `Learned()`, the default, or `DirectPred()`, `FastPredictor()`, `GivenPredictor(…)`
    or `IdentityPredictor()`.
    All numbers may be traced.
    is_scaled: whether the flow is known to be that of the reduced theory, in another unit of time:
    one rate for all factors, no decay, and a learned predictor.

    Raises ValueError where a rate is not positive or a decay is negative.
    """

    encoder_rate: Float[Array, ""]
    predictor_rate: Float[Array, ""]
    encoder_decay: Float[Array, ""]
    predictor_decay: Float[Array, ""]
    predictor: AbstractPredictor
    is_scaled: bool = eqx.field(static=True)

    def __init__(
        self,
        encoder_rate: Scalar = 1.0,
        predictor_rate: Scalar = 1.0,
        decay: Scalar = 0.0,
        *,
        encoder_decay: Scalar | None = None,
        predictor_decay: Scalar | None = None,
        predictor: AbstractPredictor | None = None,
    ):
        predictor = Learned() if predictor is None else predictor
        encoder_decay = decay if encoder_decay is None else encoder_decay
        predictor_decay = decay if predictor_decay is None else predictor_decay
        checks.check_positive("encoder_rate", encoder_rate)
        checks.check_positive("predictor_rate", predictor_rate)
        checks.check_not_negative("encoder_decay", encoder_decay)
        checks.check_not_negative("predictor_decay", predictor_decay)
        self.encoder_rate, self.predictor_rate = map(as_float_array, (encoder_rate, predictor_rate))
        self.encoder_decay = as_float_array(encoder_decay)
        self.predictor_decay = as_float_array(predictor_decay)
        self.predictor = predictor
        self.is_scaled = (
            predictor.is_learned
            # one traced number for both is known to be equal to itself
            and (predictor_rate is encoder_rate or _is(encoder_rate, predictor_rate))
            and _is(encoder_decay, 0.0)
            and _is(predictor_decay, 0.0)
        )

    def numbers(self, dtype: jnp.dtype) -> list[Float[Array, ""]]:
        """α_w, α_v, η_w and η_v: the rates and decays of encoder (w) and predictor (v)."""
        rates = (self.encoder_rate, self.predictor_rate)
        return [x.astype(dtype) for x in (*rates, self.encoder_decay, self.predictor_decay)]


def _is(value: Scalar, wanted: Scalar) -> bool:
    """Whether a number is known to be `wanted`."""
    return is_concrete(value, wanted) and bool(to_numpy(value) == to_numpy(wanted))
