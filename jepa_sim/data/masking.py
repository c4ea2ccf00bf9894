"""Masked views: the context is a thing with parts hidden, x = m ⊙ z + n_x.

The target is the whole thing, its hidden parts, or the thing under a second mask. Each of these is
a product with another mask t, y = t ⊙ z + n_y:

    Whole()      t = 1          as in a masked autoencoder
    Hidden()     t = 1 − m      only what the context lacks
    Remasked()   t = m'         an independent mask of the same kind

With C = E[z zᵀ], M = E[m mᵀ] and products entry by entry,

    Σxx = M ⊙ C + n² I,   Σyx = E[t mᵀ] ⊙ C,   Σyy = E[t tᵀ] ⊙ C + n² I

In general Σxx and Σyx do not commute. With `PixelMask` they are Σxx = p² C + p(1−p) diag C + n² I
and Σyx = p C (whole), p² C (remasked) or p(1−p) (C − diag C) (hidden): they commute where all parts
have one variance, and λ and ρ then have the same order.
"""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.checks import amplification_expected
from jepa_sim.arguments.kinds import Checked, checked
from jepa_sim.arguments.types import ArrayLike, Scalar, as_float_array, is_concrete, to_numpy
from jepa_sim.data.base import AbstractSource, AbstractViews, Pair, number_between, white
from jepa_sim.data.masks import AbstractMask, Together, Visible, complement
from jepa_sim.data.moments import Moments

if TYPE_CHECKING:  # pyright does not know equinox's own (microsoft/pyright#4965)
    from typing import ClassVar as AbstractClassVar
else:
    from equinox import AbstractClassVar


class AbstractTarget(Checked):
    """Which parts of z are the target, given the mask m of the context: y = t ⊙ z.

    is_exchangeable: whether the target is masked as the context is, so that (y, x) has the same law
    as (x, y). A subclass sets it as a class attribute.
    """

    is_exchangeable: AbstractClassVar[bool]

    @abc.abstractmethod
    def with_context(self, both: Together) -> Together:
        """E[t_i m_j], from E[m_i m_j]."""

    @abc.abstractmethod
    def with_itself(self, both: Together) -> Together:
        """E[t_i t_j], from E[m_i m_j]."""

    @abc.abstractmethod
    def choose(self, visible: Visible, another: Visible) -> Bool[np.ndarray, "count n"]:
        """t of masks m; `another` are masks of the same kind, independent of m."""


class Whole(AbstractTarget):
    """The whole of z."""

    is_exchangeable: ClassVar[bool] = False

    def with_context(self, both: Together) -> Together:
        """E[m_j]."""
        return jnp.broadcast_to(jnp.asarray(both).diagonal()[None, :], both.shape)

    def with_itself(self, both: Together) -> Together:
        """1."""
        return jnp.ones(both.shape)

    def choose(self, visible: Visible, another: Visible) -> Bool[np.ndarray, "count n"]:
        """1."""
        return np.ones_like(visible)


class Hidden(AbstractTarget):
    """What the context lacks."""

    is_exchangeable: ClassVar[bool] = False

    def with_context(self, both: Together) -> Together:
        """E[(1−m_i) m_j]."""
        return both.diagonal()[None, :] - both

    def with_itself(self, both: Together) -> Together:
        """E[(1−m_i)(1−m_j)]."""
        return complement(both)

    def choose(self, visible: Visible, another: Visible) -> Bool[np.ndarray, "count n"]:
        """1 − m."""
        return ~visible


class Remasked(AbstractTarget):
    """z under a second, independent mask of the same kind."""

    is_exchangeable: ClassVar[bool] = True

    def with_context(self, both: Together) -> Together:
        """E[m_i] E[m_j]."""
        single = both.diagonal()
        return single[:, None] * single[None, :]

    def with_itself(self, both: Together) -> Together:
        """E[m_i m_j]."""
        return both

    def choose(self, visible: Visible, another: Visible) -> Bool[np.ndarray, "count n"]:
        """m'."""
        return another


class Masked(AbstractViews):
    """Masked views of things from a source: x = m ⊙ z + n_x, y = t ⊙ z + n_y.

    source: where z comes from, such as `Gaussian(covariance)`, with mean zero.
    mask: `PixelMask(keep)` or `BlockMask(shape, block)`.  target: `Whole()`, `Hidden()` or
    `Remasked()`.  noise: variance n² of white noise in each view, independent of the other's.

    Raises ValueError where the mask does not fit the source, the noise is negative, or a place is
    never visible (as the middle is where a block is large) and there is no noise; `exact_moments`
    raises it where Σxx is singular for another reason: noise helps where a place never varies.
    """

    source: AbstractSource
    mask: AbstractMask
    target: AbstractTarget
    noise: Float[Array, ""]
    is_exchangeable: bool = eqx.field(static=True)

    def __init__(
        self,
        source: AbstractSource,
        mask: AbstractMask,
        target: AbstractTarget | None = None,
        *,
        noise: Scalar = 0.0,
    ):
        mask.check(source.dimension)
        self.noise = number_between("noise", noise, 0)
        self.source, self.mask = source, mask
        self.target = Whole() if target is None else target
        self.is_exchangeable = self.target.is_exchangeable
        shown = mask.both_visible(source.dimension).diagonal()
        if is_concrete(shown, self.noise) and self.noise == 0 and (to_numpy(shown) == 0).any():
            found = f"{mask}, which never shows place {int(np.argmin(shown))}"
            checks.fail("mask", "show every place at times, unless there is `noise`", found)

    def exact_moments(self) -> Moments:
        """Σxx = M ⊙ C + n² I, Σyx = E[t mᵀ] ⊙ C, Σyy = E[t tᵀ] ⊙ C + n² I."""
        d = self.source.dimension
        covariance, both = jnp.asarray(self.source.covariance), self.mask.both_visible(d)
        sensor = self.noise * jnp.eye(d, dtype=self.noise.dtype)
        with amplification_expected():
            return Moments(
                both * covariance + sensor,
                self.target.with_context(both) * covariance,
                self.target.with_itself(both) * covariance + sensor,
            )

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs."""
        z = self.source.draw(rng, count)
        visible, another = (self.mask.draw(rng, count, z.shape[1]) for _ in range(2))
        masked = (visible * z, self.target.choose(visible, another) * z)
        x, y = (view + white(rng, z.shape, self.noise) for view in masked)
        return x, y


@checked
def grid_covariance(
    shape: Sequence[int], length: ArrayLike, variance: ArrayLike = 1.0
) -> Float[Array, "d d"]:
    """(d, d) C_ij = s² exp(−r_ij/ℓ) for places of a grid, row by row: a simple smooth image.

    shape: rows and columns (or any number of axes).  length: ℓ > 0, in places.  variance: s² > 0.
    r_ij is the distance of places i and j. Positive definite for every ℓ and any number of axes.

    Raises ValueError where a size, the length or the variance is not positive.
    """
    for size in shape:
        checks.check_integer_from("shape", size, 1)
    checks.check_positive("length", length)
    checks.check_positive("variance", variance)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = places.reshape(-1, len(shape))
    distance = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
    length = as_float_array(length)
    return as_float_array(variance) * jnp.exp(-jnp.asarray(distance, length.dtype) / length)
