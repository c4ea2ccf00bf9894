"""What is known of sleeping latents, and how it changes while they sleep."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jepa_sim.solvers.sleeping.block import Setting

NEAR = 0.01  # in ln r: steps end as near as this to the time at which a latent wakes
NEWTON = 6  # steps for s: from above they converge, quadratically


class Sleepers(eqx.Module):
    """Sleeping latents, each known by the feature o that it carries; k features, n + m factors.

    asleep: (k,) whether the latent of this feature sleeps.  slot: (k,) its row in the latent
    spaces.  log_ratio, sign: (k, k) of r_k = (what the latent of o carries of k)/(of o), row o.
    kappa: (n + m, k) squares of the gains of all factors, less the smallest v_b² when it fell
    asleep; the flow keeps them.  gap, since: (k,) v̄ at rest less v̄, when it fell asleep;
    and that time.
    woken_as: (k,) by slot, the feature that a latent carried when it woke; −1 for none.
    tilt: (n + m, k, k) rows of sleeping latents in all factors but the first: what they receive of
    live latents. The conservation laws of the layers keep them, since the start is not balanced.
    most: the ratio below which a latent may sleep, and at which one that grows wakes it. What
    sleeps is linear in the ratios, so that errors are of the order of its square.
    """

    asleep: Bool[Array, " k"]
    slot: Int[Array, " k"]
    log_ratio: Float[Array, "k k"]
    sign: Float[Array, "k k"]
    kappa: Float[Array, "factors k"]
    gap: Float[Array, " k"]
    since: Float[Array, " k"]
    woken_as: Int[Array, " k"]
    tilt: Float[Array, "factors k k"]
    most: Float[Array, ""]

    def layers(self, setting: Setting, v: Float[Array, " k"]) -> Float[Array, "factors k"]:
        """Gains √(s + κ) of all factors, 1 of those that pad; s is such that Π v_b = v."""
        of_predictor = self.kappa[setting.moves.size :]
        depth = len(of_predictor)
        log_v = jnp.log(jnp.where(v > 0, v, 1))
        x = 2 * log_v / depth  # ln s, exact where all v_b are equal; else too large
        for _ in range(NEWTON if depth > 1 else 0):
            s = jnp.exp(x)[None, :]
            excess = jnp.sum(jnp.log(s + of_predictor), axis=0) / 2 - log_v
            x = x - excess / (jnp.sum(s / (s + of_predictor), axis=0) / 2)
        squares = jnp.where(v > 0, jnp.exp(x), 0)[None, :] + self.kappa
        some = squares > 0  # at 0 the derivative of √ is infinite
        w = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)
        return jnp.where(setting.all_moves(len(w))[:, :, 0], w, 1)

    def rest(self, setting: Setting) -> Float[Array, " k"]:
        """v̄ at rest of sleeping latents, qᵀΛq/qᵀSq; ρ of features that do not sleep."""
        return jnp.where(self.asleep, setting.at_rest(self.directions()), setting.rho)

    def encoder(self, setting: Setting) -> Float[Array, "n k"]:
        """Gains of the encoder's factors at rest."""
        return self.layers(setting, self.rest(setting))[: setting.moves.size]

    def growth(self, setting: Setting) -> Float[Array, "k k"]:
        """d ln|r_k|/dt = c² v̄ (σ_k² (ρ_k − v̄) − σ_o² (ρ_o − v̄)), c the layers' after the first.

        v̄ is that at rest. Ratios to features that are not live stand still.
        """
        v = self.rest(setting)
        c = jnp.prod(self.encoder(setting)[1:], axis=0)
        pull = setting.lam[None, :] - v[:, None] * setting.variance[None, :]
        moves = self.asleep[:, None] & ~self.asleep[None, :]
        speed = (setting.rate * c**2 * v)[:, None]
        own = jnp.sum(jnp.where(jnp.eye(v.size, dtype=bool), pull, 0), axis=1)
        return jnp.where(moves, speed * (pull - own[:, None]), 0)

    def after(self, growth: Float[Array, "k k"], passed: Float[Array, ""]) -> "Sleepers":
        """After that time, if ratios grow like this."""
        return dataclasses.replace(self, log_ratio=self.log_ratio + growth * passed)

    @property
    def place(self) -> Float[Array, "k k"]:
        """1 at (sleeper o, its row of the latent spaces)."""
        at = self.slot[:, None] == jnp.arange(self.asleep.size)[None, :]
        return (self.asleep[:, None] & at).astype(self.most.dtype)

    def wait(self, setting: Setting) -> Float[Array, " k"]:
        """The time until each latent has to wake; inf for those that need not.

        A latent sleeps on while a feature of nearly equal ρ takes it over, see `shared`.
        """
        growth = self.growth(setting)
        left = jnp.log(self.most) - self.log_ratio
        left = jnp.where(left > NEAR, left, 0)
        grows = (growth > 0) & ~setting.nearly_equal
        return jnp.min(jnp.where(grows, left / jnp.where(grows, growth, 1), jnp.inf), axis=1)

    def predictor(self, setting: Setting, t: Float[Array, ""]) -> Float[Array, " k"]:
        """v̄ of sleeping latents, which goes on to rest at the rate w̄² σ² Σ_b (v̄/v_b)²."""
        rest = self.rest(setting)
        gains = self.layers(setting, rest)
        w = jnp.prod(gains[: setting.moves.size], axis=0)
        v = gains[setting.moves.size :]
        shares = jnp.sum((rest[None, :] / jnp.where(v > 0, v, 1)) ** 2, axis=0)
        passed = jnp.maximum(t - self.since, 0)
        speed = setting.rate * w**2 * setting.variance * shares
        return rest - self.gap * jnp.exp(-speed * passed)

    def directions(self) -> Float[Array, "k k"]:
        """(1, r)/‖·‖ over its own and the live features, one row for each sleeper."""
        own = jnp.eye(self.asleep.size, dtype=bool)
        ratio = jnp.where(self.asleep[None, :], 0, self.sign * jnp.exp(self.log_ratio))
        ratio = jnp.where(own, 1, ratio)
        return ratio / jnp.linalg.norm(ratio, axis=1, keepdims=True)


def nobody(setting: Setting, count: int, most: Float[Array, ""]) -> Sleepers:
    """No latent of a chain of so many factors sleeps."""
    k, dtype = setting.lam.size, most.dtype
    none, no_pair = jnp.zeros(k, dtype), jnp.full((k, k), -jnp.inf, dtype)
    slots = jnp.zeros(k, int)
    return Sleepers(
        slots > 0, slots, no_pair, jnp.ones_like(no_pair), jnp.zeros((count, k), dtype), none, none,
        slots - 1, jnp.zeros((count, k, k), dtype), most,
    )  # fmt: skip
