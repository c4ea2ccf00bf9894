"""A problem: what is simulated, and nothing of how."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jepa_sim._moments import Features, Moments
from jepa_sim._network import AbstractStart, DeepLinear, Gains, Weights
from jepa_sim._objective import AbstractObjective


class Problem(eqx.Module):
    """Moments, an objective, a network and its start."""

    moments: Moments
    objective: AbstractObjective
    network: DeepLinear
    start: AbstractStart

    @property
    def features(self) -> Features:
        """The features of the moments."""
        return self.moments.features()

    @property
    def depth(self) -> Float[Array, ""]:
        """L as a floating-point number."""
        return jnp.asarray(self.network.depth, self.moments.xx.dtype)

    @property
    def predictor_depth(self) -> Float[Array, ""]:
        """M as a floating-point number."""
        return jnp.asarray(self.network.predictor_depth, self.moments.xx.dtype)

    @property
    def scale(self) -> Float[Array, ""]:
        """ε, the encoder gain of the start."""
        return jnp.asarray(self.start.scale, self.moments.xx.dtype)

    @property
    def exponents(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """(a, b) of the reduced flow u̇ = u^a (λ − σ² u^b), as floating-point numbers."""
        a, b = self.objective.exponents(self.depth, self.predictor_depth)
        return jnp.asarray(a), jnp.asarray(b)

    @property
    def plateaus(self) -> Float[Array, " d"]:
        """w̄* = ρ^{L/b}: where the encoder gain of each feature settles; 0 where ρ ≤ 0."""
        _, b = self.exponents
        rho = self.features.rho
        learned = rho > 0
        return jnp.where(learned, jnp.where(learned, rho, 1) ** (self.depth / b), 0)

    def weights(self, key: PRNGKeyArray | None = None) -> Weights:
        """The matrices at time 0. ValueError where the start is random and there is no key."""
        if self.start.is_random and key is None:
            raise ValueError("Argument `key` must be given for a random start, but is None.")
        return self.start.weights(self.moments, self.objective, self.network, key)

    def reduced(self, what: str) -> "Problem":
        """The problem as the reduced theory takes it: with depths that are traced numbers.

        ValueError, naming `what` needs it, where the start is not balanced.
        """
        if not self.start.is_balanced:
            raise ValueError(
                f"Argument `problem.start` must be balanced for `{what}`, "
                f"but is {type(self.start).__name__}."
            )
        return eqx.tree_at(
            lambda p: (p.network.depth, p.network.predictor_depth),
            self,
            (self.depth, self.predictor_depth),
        )

    def gains(self, u: Float[Array, " d"], gap: Float[Array, " d"]) -> Gains:
        """The reduced state at the singular values u."""
        return Gains(u, gap, self.depth, self.predictor_depth)
