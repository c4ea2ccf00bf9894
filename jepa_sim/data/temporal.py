"""Temporal masking: frames of a sequence, some of them visible, the others to be predicted.

The linear analogue of a temporally masked video JEPA (UI-JEPA, arXiv 2409.04081). A stationary
sequence of n frames in R^d has the lag covariances C(τ) = E[f(t+τ) f(t)ᵀ]; a policy draws which
frames are visible. There are two kinds of views, and both have known moments.

Position-blind: x is a visible frame and y a hidden one, without their positions:

    Σxx = Σyy = C(0),   Σyx = Σ_{s,t} w_ts C(t−s),   w_ts ∝ P(s visible, t hidden)

With an autoregressive feature (s², γ) in white noise n², λ = s² Σ w_ts γ^|t−s|, ρ = λ/(s² + n²).

Stacked: x holds all frames that can be visible, zero where they are hidden, y all that can be
hidden, zero where they are visible; with m the mask and M = E[m mᵀ],

    Σxx = M ⊗ C,   Σyx = E[(1−m) mᵀ] ⊗ C,   Σyy = E[(1−m)(1−m)ᵀ] ⊗ C      block by block

where block (s, t) of M ⊗ C is M_st C(s−t). These are the moments for an encoder shared by frames,
I_n ⊗ W̄, and a predictor over positions. x leaves out frames that are never visible, y those that
are never hidden.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.checks import amplification_expected
from jepa_sim.arguments.types import ArrayLike, as_float_array, is_concrete, to_numpy
from jepa_sim.data.base import AbstractViews, Pair, in_batches, normal
from jepa_sim.data.masks import AbstractMask, complement
from jepa_sim.data.moments import Moments


class Temporal(AbstractViews):
    """Visible and hidden frames of a stationary sequence.

    lags: (n, d, d) lag covariances C(0), …, C(n−1), for a sequence of n ≥ 2 frames. Those of an
    autoregressive process, with noise that may be correlated too, are
    `Dynamic(…).lag_covariances(n)`.
    policy: `RandomFrames(keep)`, `Suffix(length)` or `BlockFrames(length)`.

    Raises ValueError where shapes do not fit, no sequence has these covariances, or the policy
    does not fit n frames. `stacked_moments` raises it where visible frames determine each other,
    as those of a frozen feature without white noise under `Suffix`.
    """

    lags: Float[Array, "n d d"]
    policy: AbstractMask
    is_exchangeable = False

    def __init__(self, lags: ArrayLike, policy: AbstractMask):
        shape = np.shape(lags)
        if len(shape) != 3 or shape[0] < 2 or shape[1] != shape[2] or shape[1] < 1:
            checks.fail("lags", "be of shape (n, d, d), n at least 2", f"of shape {shape}")
        checks.check_finite("lags", lags)
        policy.check(shape[0])
        self.lags, self.policy = as_float_array(lags), policy
        both = self._both_visible()
        if not (both.diagonal()[None, :] - both).any():
            checks.fail("policy", "hide a frame while it shows another", f"{policy}")
        if is_concrete(lags):
            checks.check_covariance("lags", _flat(self._blocks()), definite=False)

    @property
    def length(self) -> int:
        """n, the frames of a sequence."""
        return self.lags.shape[0]

    @property
    def frames(self) -> tuple[int, int]:
        """(n_c, n_t), how many frames x and y of the stacked views are made of."""
        context, target = self._chosen()
        return len(context), len(target)

    def exact_moments(self) -> Moments:
        """Position-blind, (d, d): every pair of a visible and a hidden frame counts the same."""
        later, earlier = (jnp.asarray(w, self.lags.dtype) for w in self._lag_weights())
        yx = jnp.tensordot(later, self.lags, 1) + jnp.tensordot(earlier, self.lags, 1).T
        return Moments(self.lags[0], yx, self.lags[0])

    def stacked_moments(self) -> Moments:
        """Moments of masked sequences: Σxx (n_c d, n_c d), Σyx (n_t d, n_c d), Σyy (n_t d, n_t d).

        Frames follow each other, each with its d entries: entry a of the i-th frame is at i d + a.
        """
        both, blocks = self._both_visible(), self._blocks()
        single = both.diagonal()
        context, target = self._chosen()

        def masked(weights: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Array:
            chosen = jnp.asarray(weights[np.ix_(rows, columns)], self.lags.dtype)
            return _flat(chosen[:, None, :, None] * blocks[rows][:, :, columns])

        with amplification_expected():
            return Moments(
                masked(both, context, context),
                masked(single[None, :] - both, target, context),
                masked(np.asarray(complement(both)), target, target),
            )

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` pairs (visible frame, hidden frame), each from its own sequence."""
        frames, weights = self._sequences(rng, count), self._pair_weights()
        chosen = rng.choice(weights.size, size=count, p=weights.ravel())
        target, context = np.divmod(chosen, self.length)
        each = np.arange(count)
        return frames[each, context], frames[each, target]

    def draw_stacked(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` masked sequences: x (count, n_c d) visible, y (count, n_t d) hidden frames."""
        frames = self._sequences(rng, count)
        visible = self.policy.draw(rng, count, self.length)[:, :, None]
        context, target = self._chosen()
        x, y = (visible * frames)[:, context], (~visible * frames)[:, target]
        return x.reshape(count, -1), y.reshape(count, -1)

    def stacked_pairs(
        self, count: int = 100_000, *, seed: int = 0, batch_size: int = 8192
    ) -> Iterator[Pair]:
        """`count` masked sequences, stacked as in `stacked_moments`, in batches."""
        return in_batches(self.draw_stacked, count, seed=seed, batch_size=batch_size)

    def sampled_stacked_moments(self, count: int, *, seed: int = 0) -> Moments:
        """The estimate of `stacked_moments` from `count` masked sequences."""
        with amplification_expected():
            return Moments.from_samples(self.stacked_pairs(count, seed=seed))

    def _sequences(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "count n d"]:
        flat = normal(rng, count, _flat(self._blocks()))
        return flat.reshape(count, self.length, -1)

    def _blocks(self) -> Float[Array, "n d n d"]:
        """Block (s, t) is C(s−t), and C(−τ) = C(τ)ᵀ."""
        n = self.length
        both_ways = jnp.concatenate([self.lags[:0:-1].swapaxes(1, 2), self.lags])
        s = np.arange(n)
        return both_ways[s[:, None] - s[None, :] + n - 1].swapaxes(1, 2)

    def _both_visible(self) -> np.ndarray:
        """M on the host, since shapes depend on it."""
        both = self.policy.both_visible(self.length)
        if not is_concrete(both):
            checks.fail("policy", "be known before tracing", "traced")
        return to_numpy(both)

    def _chosen(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames that are visible at times, and frames that are hidden at times."""
        single = self._both_visible().diagonal()
        return np.flatnonzero(single > 0), np.flatnonzero(single < 1)

    def _pair_weights(self) -> Float[np.ndarray, "n n"]:
        """w_ts ∝ P(s visible, t hidden), t first; they add up to 1."""
        both = self._both_visible()
        weights = np.maximum(both.diagonal()[None, :] - both, 0)
        return weights / weights.sum()

    def _lag_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Shares of pairs whose target is τ frames later, and whose target is τ frames earlier."""
        weights = self._pair_weights()
        later = [weights.diagonal(-tau).sum() for tau in range(self.length)]
        earlier = [weights.diagonal(tau).sum() for tau in range(self.length)]
        return np.array(later), np.array([0, *earlier[1:]])  # τ = 0 is counted once, as later


def _flat(blocks: Float[Array, "s a t b"]) -> Float[Array, "s*a t*b"]:
    s, a, t, b = blocks.shape
    return blocks.reshape(s * a, t * b)
