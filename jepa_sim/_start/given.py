"""A start from given factors."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim import _checks as checks
from jepa_sim._moments import Moments
from jepa_sim._network import DeepLinear
from jepa_sim._objective import AbstractObjective, Factors, product
from jepa_sim._start.base import AbstractStart
from jepa_sim._start.frames import shapes
from jepa_sim._state import Weights
from jepa_sim._types import as_float_array


class Given(AbstractStart):
    """The factors themselves, the first applied first.

    encoder: W_1, …, W_L.  predictor: V_1, …, V_M.

    Raises ValueError where an entry is not finite; `simulate` does where shapes do not fit.
    """

    encoder: Factors
    predictor: Factors
    scale: Float[Array, ""]

    def __init__(self, encoder: tuple | list, predictor: tuple | list):
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

    @property
    def is_random(self) -> bool:
        return False

    @property
    def is_level(self) -> bool:
        return False

    @property
    def is_balanced(self) -> bool:
        return False

    @property
    def is_separable(self) -> bool:
        return False

    def weights(
        self,
        moments: Moments,
        objective: AbstractObjective,
        network: DeepLinear,
        key: PRNGKeyArray | None,
    ) -> Weights:
        wanted = shapes(moments, objective, network)
        for name, group, wants in zip(
            ("encoder", "predictor"), (self.encoder, self.predictor), wanted, strict=True
        ):
            found = [factor.shape for factor in group]
            if found != wants:
                checks.fail(f"start.{name}", f"have factors of shapes {wants}", f"of {found}")
        return Weights(self.encoder, self.predictor)
