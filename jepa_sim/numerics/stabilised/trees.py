"""Vectors that are pytrees: linear combinations and norms, each leaf in its own dtype."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def combine(*terms: tuple[Any, PyTree]) -> PyTree:
    """Σ c·x of pairs (c, x), c a real scalar and x a tree; c takes each leaf's dtype."""
    scalars, trees = zip(*terms, strict=True)

    def leaf(*leaves: Array) -> Array:
        parts = [jnp.asarray(c, x.dtype) * x for c, x in zip(scalars, leaves, strict=True)]
        return sum(parts[1:], parts[0])

    return jax.tree.map(leaf, *trees)


def real_dtype(tree: PyTree) -> Any:
    """The real dtype of a tree's leaves; of the widest, where they differ."""
    return jnp.result_type(*(jnp.finfo(x.dtype).dtype for x in jax.tree.leaves(tree)))


def norm(tree: PyTree) -> Array:
    """√ Σ |x|² over all entries, without overflow."""
    dtype = real_dtype(tree)
    leaves = [jnp.abs(x).astype(dtype) for x in jax.tree.leaves(tree)]
    largest = jnp.max(jnp.stack([jnp.max(x, initial=0) for x in leaves]))
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, jnp.ones((), dtype))
    return unit * jnp.sqrt(sum((jnp.sum((x / unit) ** 2) for x in leaves), jnp.zeros((), dtype)))


def normalise(tree: PyTree, otherwise: PyTree) -> PyTree:
    """tree/|tree|, and `otherwise` where |tree| is zero or not finite."""
    size = norm(tree)
    fine = (size > 0) & jnp.isfinite(size)
    inverse = 1 / jnp.where(fine, size, jnp.ones_like(size))
    return jax.tree.map(
        lambda x, o: jnp.where(fine, x * inverse.astype(x.dtype), o), tree, otherwise
    )


def waves(tree: PyTree) -> PyTree:
    """A fixed vector of norm 1, ∝ cos √(7n) for n = 1, 2, …, with no zeros and no symmetries.

    A start with a symmetry of the problem would miss eigenvectors without it.
    """
    leaves, structure = jax.tree.flatten(tree)
    ends = list(itertools.accumulate((x.size for x in leaves), initial=0))
    entries = [
        jnp.cos(jnp.sqrt(jnp.arange(start + 1, end + 1, dtype=real_dtype(x)) * 7))
        .reshape(x.shape)
        .astype(x.dtype)
        for x, start, end in zip(leaves, ends[:-1], ends[1:], strict=True)
    ]
    vector = jax.tree.unflatten(structure, entries)
    return normalise(vector, vector)
