"""What an agent controls, and what it does not: latent features that actions change.

x is the world before an action, and y after it. Every feature has a signal and a noise, along a
column of an orthogonal basis U, and both are autoregressive as in `Dynamic`. Action a multiplies
the signal of feature i by c_ai, and turns pairs of features by an angle. It leaves the noise alone:

    x = U (z(t) + n(t))     y = U (R_a C_a z(t+1) + n(t+1))     Σyx^a = U (R_a C_a Γ S + Γ_n N) Uᵀ

So where nothing turns, λ_a = c_a γ s² + γ_n n² and ρ_a = λ_a/(s² + n²). c = 1 leaves a feature
alone, −1 flips its sign, 0 forgets it. A feature of signal 0 is a distractor that no action
touches; it is frozen at γ_n = 1. Actions are drawn by their probabilities p_a, whatever x is.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.checks import amplification_expected
from jepa_sim.arguments.types import ArrayLike, as_float_array, is_concrete, to_numpy
from jepa_sim.data.actions import probabilities
from jepa_sim.data.base import AbstractViews, Pair, aligned_moments, rotated
from jepa_sim.data.features import common_features
from jepa_sim.data.latent import Dynamic
from jepa_sim.data.moments import Moments


class Controlled(AbstractViews):
    """A world that an agent sees before and after an action.

    signal, noise: (d,) variances s² and n².  effect: (A, d) c, by what each action multiplies each
    feature.  autocorrelation, noise_autocorrelation: (d,) γ and γ_n from one step to the next, in
    [−1, 1].  Except in `signal`, a single number holds for every feature.  turn: (A, d // 2) angles
    in radians, by which each action turns features 0 and 1, 2 and 3, …; None: by none.
    probability: (A,) p_a; None: all alike.  basis: (d, d) orthogonal U (None: the identity).

    Features keep their order. Their ρ is √(Σ_a ρ_a²), whatever the angle; `rho_by_action` has the
    ρ_a. One predictor for all actions sees `blind_moments`.

    >>> world = js.data.Controlled([1.0, 1.0], noise=0.25, effect=[[1.0, 1.0], [-1.0, 1.0]])
    >>> world.exact_moments().features().rho_by_action
    Array([[ 0.8,  0.8],
           [-0.8,  0.8]], dtype=float64)
    >>> world.blind_moments().features().rho
    Array([0. , 0.8], dtype=float64)

    Raises ValueError where shapes do not fit, a variance is negative or zero in all, a number is
    out of range, the basis is not orthogonal, or features are turned into each other that differ.
    """

    latent: Dynamic
    effect: Float[Array, "a d"]
    turn: Float[Array, "a pairs"]
    probability: Float[Array, " a"]
    is_exchangeable = False

    def __init__(
        self,
        signal: ArrayLike,
        noise: ArrayLike,
        effect: ArrayLike,
        autocorrelation: ArrayLike = 1.0,
        noise_autocorrelation: ArrayLike = 0.0,
        turn: ArrayLike | None = None,
        probability: ArrayLike | None = None,
        basis: ArrayLike | None = None,
    ):
        self.latent = Dynamic(signal, autocorrelation, noise, noise_autocorrelation, basis=basis)
        d = self.latent.signal.size
        if np.ndim(effect) != 2 or np.shape(effect)[1] != d or np.size(effect) == 0:
            rule = f"be of shape (A, {d}), one row for each action"
            checks.fail("effect", rule, f"of shape {np.shape(effect)}")
        checks.check_finite("effect", effect)
        self.effect = as_float_array(effect)
        count = len(self.effect)
        turn = np.zeros((count, d // 2)) if turn is None else turn
        if np.shape(turn) != (count, d // 2):
            rule = f"be of shape ({count}, {d // 2}), one angle for each action and pair"
            checks.fail("turn", rule, f"of shape {np.shape(turn)}")
        checks.check_finite("turn", turn)
        self.turn = as_float_array(turn)
        probability = np.full(count, 1 / count) if probability is None else probability
        self.probability = probabilities("probability", probability, count)
        self._check_pairs()

    def _check_pairs(self) -> None:
        """ValueError where an action turns features into each other that are not alike."""
        latent = self.latent
        numbers = (latent.signal, latent.noise, latent.autocorrelation)
        numbers = (*numbers, latent.noise_autocorrelation, *self.effect)
        if is_concrete(self.turn, *numbers):
            table = np.stack([to_numpy(values) for values in numbers])
            for pair in np.flatnonzero(to_numpy(self.turn).any(axis=0)).tolist():
                if (table[:, 2 * pair] != table[:, 2 * pair + 1]).any():
                    which = f"features {2 * pair} and {2 * pair + 1}"
                    rule = "be 0 for features whose variances, autocorrelations or effects differ"
                    checks.fail(f"turn[:, {pair}]", rule, f"not, for {which}")

    def exact_moments(self) -> Moments:
        """Of x and of y under each action, for a predictor that is told the action."""
        latent, u = self.latent, self.latent.basis
        variance = latent.signal + latent.noise
        noise = jnp.diag(latent.noise)
        turned = self._turns() * self.effect[:, None, :]  # R_a C_a
        now = turned * (latent.autocorrelation * latent.signal)[None, None, :]
        now = now + latent.noise_autocorrelation[None, None, :] * noise[None]
        then = jnp.einsum("aij,j,akj->aik", turned, latent.signal, turned) + noise[None]
        with amplification_expected():
            moments = Moments.from_actions(
                rotated(variance, u), u @ now @ u.T, self.probability, u @ then @ u.T
            )
        made = now / variance[None, None, :]
        rho = jnp.sqrt(jnp.sum(made**2, axis=(0, 1)))
        power = jnp.einsum("a,aii->i", self.probability, then)
        gap = now - now.swapaxes(1, 2)
        asymmetry = jnp.linalg.norm(gap) / jnp.linalg.norm(now)
        known = common_features(rho * variance, rho, variance, power, u)
        known = dataclasses.replace(known, asymmetry=asymmetry, sent=u @ made)
        return moments.with_features(known)

    def blind_moments(self) -> Moments:
        """For a predictor that is not told the action; features in the same order.

        λ = σ² Σ_a p_a ρ_a. Where the turns of a pair do not cancel out, Σyx = Σ_a p_a Σyx^a is not
        symmetric, and features are those of its symmetric part.
        """
        known = self.exact_moments()
        features = known.features()
        lam = features.variance * (self.probability @ features.rho_by_action)
        blind = aligned_moments(features.variance, lam, features.target_variance, features.basis)
        return known.blind().with_features(blind.features())

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent triples (x, y, a), a of shape (count,): 0, …, A − 1."""
        u = to_numpy(self.latent.basis)
        chance = to_numpy(self.probability)
        taken = rng.choice(len(chance), size=count, p=chance / chance.sum())
        z, n = self.latent.states(rng, count)
        turned = to_numpy(self._turns() * self.effect[:, None, :])
        moved = np.einsum("nij,nj->ni", turned[taken], z[1])
        return (z[0] + n[0]) @ u.T, (moved + n[1]) @ u.T, taken

    def _turns(self) -> Float[Array, "a d d"]:
        """R_a: each action's rotations of features 0 and 1, 2 and 3, …"""
        d, first = self.effect.shape[1], 2 * np.arange(self.turn.shape[1])
        whole = jnp.zeros((len(self.effect), d, d), self.effect.dtype)
        whole = whole.at[:, np.arange(d), np.arange(d)].set(1)
        cosine, sine = jnp.cos(self.turn), jnp.sin(self.turn)
        whole = whole.at[:, first, first].set(cosine).at[:, first + 1, first + 1].set(cosine)
        return whole.at[:, first + 1, first].set(sine).at[:, first, first + 1].set(-sine)
