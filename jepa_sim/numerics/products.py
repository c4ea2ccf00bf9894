"""Transposed factors of products, in the form in which XLA is quick on a CPU.

`a.T @ b` and `a @ b.T` are right, but slow there. XLA makes one product of a transposition and the
product after it, which reads a factor against the order of its memory. And where a is a product
itself, its transpose becomes another product. A copy of aᵀ is far cheaper: see
`make bench PYTEST_FLAGS="-k right_hand_side"`.
"""

import jax
from jaxtyping import Array, Float


def transposed(a: Float[Array, "m n"]) -> Float[Array, "n m"]:
    """aᵀ, as a factor of a product: on a CPU a copy, which XLA does not undo."""
    if jax.default_backend() != "cpu":
        return a.T
    # the inner barrier hides that a may be a product, the outer one that this is a transpose
    return jax.lax.optimization_barrier(jax.lax.optimization_barrier(a).T)
