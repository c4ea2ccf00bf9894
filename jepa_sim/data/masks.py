"""Masks: which places are visible in the context, and which are hidden.

A quadratic loss depends on a random mask m ∈ {0, 1}^n only through one matrix,

    M_ij = E[m_i m_j]        the probability that places i and j are both visible,

whose diagonal is E[m_i]. A mask object knows M in closed form, and draws masks m with this M.
Places are pixels, row by row, or the frames of a sequence.
"""

import abc
import math
from collections.abc import Sequence
from functools import reduce

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar
from jepa_sim.data.base import number_between

Together = Float[Array | np.ndarray, "n n"]  # M
Visible = Bool[np.ndarray, "count n"]


class AbstractMask(Checked):
    """A random mask over n places."""

    @abc.abstractmethod
    def check(self, places: int) -> None:
        """ValueError unless this mask fits that many places."""

    @abc.abstractmethod
    def both_visible(self, places: int) -> Together:
        """M_ij = E[m_i m_j]."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, count: int, places: int) -> Visible:
        """`count` independent masks, true where visible."""


class PixelMask(AbstractMask):
    """Every place is visible with probability `keep` in (0, 1], independently of the others.

    Raises ValueError where `keep` lies elsewhere.
    """

    keep: Float[Array, ""]

    def __init__(self, keep: Scalar):
        self.keep = number_between("keep", keep, 0, 1)
        checks.check_positive("keep", keep)

    def check(self, places: int) -> None:
        """Fits any number of places."""

    def both_visible(self, places: int) -> Together:
        """p² and, on the diagonal, p."""
        return self.keep**2 + (self.keep - self.keep**2) * jnp.eye(places, dtype=self.keep.dtype)

    def draw(self, rng: np.random.Generator, count: int, places: int) -> Visible:
        """`count` independent masks."""
        return rng.random((count, places)) < float(self.keep)


class BlockMask(AbstractMask):
    """A block of `block` places hidden in a grid of `shape`, at a uniformly random position.

    shape, block: rows and columns (or any number of axes); the block is smaller than the grid.
    Fewer positions of the block cover places near an edge, so these are hidden less often. If the
    block is so large that some places always lie in it, these are never visible.

    Raises ValueError where a size is not positive, or the block does not fit the grid.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    block: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: Sequence[int], block: Sequence[int]):
        for name, sizes in (("shape", shape), ("block", block)):
            for size in sizes:
                checks.check_integer_from(name, size, 1)
        if len(shape) != len(block):
            checks.fail("block", f"have {len(shape)} axes, as `shape` has", f"{block}")
        fits = all(b <= n for b, n in zip(block, shape, strict=True))
        if not fits or math.prod(block) >= math.prod(shape):
            checks.fail("block", f"be smaller than `shape` {tuple(shape)}", f"{tuple(block)}")
        self.shape, self.block = tuple(map(int, shape)), tuple(map(int, block))

    def check(self, places: int) -> None:
        """ValueError unless the grid has that many places."""
        if math.prod(self.shape) != places:
            checks.fail("shape", f"have {places} places in all", f"{self.shape}")

    def both_visible(self, places: int) -> Together:
        """1 − h_i − h_j + H_ij; H is the product over axes of the share over both."""
        axes = zip(self.shape, self.block, strict=True)
        both_hidden = reduce(np.kron, (_both_hidden(n, b) for n, b in axes))
        return complement(both_hidden)

    def draw(self, rng: np.random.Generator, count: int, places: int) -> Visible:
        """`count` independent masks."""
        hidden = np.ones((count, 1), dtype=bool)
        for n, b in zip(self.shape, self.block, strict=True):
            along = _draw_block(rng, count, n, b)
            hidden = (hidden[:, :, None] & along[:, None, :]).reshape(count, -1)
        return ~hidden


class RandomFrames(AbstractMask):
    """Exactly `keep` of n frames are visible, any of them, fewer than n.

    Raises ValueError where `keep` is below 1; with a sequence, where it is not below n.
    """

    keep: int = eqx.field(static=True)

    def __init__(self, keep: int):
        self.keep = checks.whole_from("keep", keep, 1)

    def check(self, places: int) -> None:
        """ValueError unless a frame is left to hide."""
        _check_below("keep", self.keep, places)

    def both_visible(self, places: int) -> Together:
        """k(k−1)/(n(n−1)) and, on the diagonal, k/n."""
        k, n = self.keep, places
        both = np.full((n, n), k * (k - 1) / (n * (n - 1)))
        np.fill_diagonal(both, k / n)
        return both

    def draw(self, rng: np.random.Generator, count: int, places: int) -> Visible:
        """`count` independent masks."""
        ranks = rng.permuted(np.tile(np.arange(places), (count, 1)), axis=1)
        return ranks < self.keep


class AbstractRun(AbstractMask):
    """A mask that hides `length` frames in a row, fewer than there are."""

    length: int = eqx.field(static=True)

    def __init__(self, length: int):
        self.length = checks.whole_from("length", length, 1)

    def check(self, places: int) -> None:
        """ValueError unless a frame is left to see."""
        _check_below("length", self.length, places)


class Suffix(AbstractRun):
    """The last `length` of n frames are hidden: to predict the future from all of the past.

    Raises ValueError where `length` is below 1; with a sequence, where it is not below n.
    """

    def both_visible(self, places: int) -> Together:
        """1 among the first n − length frames, 0 elsewhere."""
        visible = np.arange(places) < places - self.length
        return np.outer(visible, visible).astype(float)

    def draw(self, rng: np.random.Generator, count: int, places: int) -> Visible:
        """`count` times the one mask."""
        return np.tile(np.arange(places) < places - self.length, (count, 1))


class BlockFrames(AbstractRun):
    """`length` successive frames of n are hidden, at a uniformly random position.

    Raises ValueError where `length` is below 1; with a sequence, where it is not below n.
    """

    def both_visible(self, places: int) -> Together:
        """1 − h_i − h_j + H_ij."""
        return complement(_both_hidden(places, self.length))

    def draw(self, rng: np.random.Generator, count: int, places: int) -> Visible:
        """`count` independent masks."""
        return ~_draw_block(rng, count, places, self.length)


def complement(both: Together) -> Together:
    """E[(1−m_i)(1−m_j)] from E[m_i m_j], and the other way round."""
    single = both.diagonal()
    return 1 - single[:, None] - single[None, :] + both


def _both_hidden(n: int, block: int) -> Float[np.ndarray, "n n"]:
    """Share of the positions a = 0, …, n − b of a block on a line that cover both i and j."""
    i = np.arange(n)
    first = np.maximum(np.maximum(i[:, None], i[None, :]) - block + 1, 0)
    last = np.minimum(np.minimum(i[:, None], i[None, :]), n - block)
    return np.maximum(last - first + 1, 0) / (n - block + 1)


def _draw_block(rng: np.random.Generator, count: int, n: int, block: int) -> Visible:
    first = rng.integers(n - block + 1, size=(count, 1))
    i = np.arange(n)[None, :]
    return (i >= first) & (i < first + block)


def _check_below(argument: str, value: int, places: int) -> None:
    if value >= places:
        checks.fail(argument, f"be below the number of frames, {places}", value)
