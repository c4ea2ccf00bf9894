"""Result codes of a simulation and the shape letters that annotations use.

Shapes: `d` input dimension (and number of features), `L` encoder layers, `M` predictor layers,
`t` saved times.
"""

import enum
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

Number = float | int | np.floating | np.integer
Scalar = Float[Array, ""] | Number
ArrayLike = jax.typing.ArrayLike | Sequence  # nested lists of numbers too
Times = Float[Array, " t"]  # flow times at which a run is saved
OptionalKey = PRNGKeyArray | None  # None where nothing is random


class ResultCode(enum.IntEnum):
    """How a trajectory ended; stored per trajectory so that one bad lane does not stop a sweep."""

    success = 0
    out_of_steps = 1
    not_finite = 2
    unresolved = 3

    @property
    def reason(self) -> str:
        """One sentence for people."""
        return _REASONS[self]


_REASONS = {
    ResultCode.success: "The trajectory reached its last time.",
    ResultCode.out_of_steps: "The solver used up `max_steps` before the last time.",
    ResultCode.not_finite: "The state stopped being finite.",
    ResultCode.unresolved: (
        "A feature is learned within less than one spacing of floating-point times: "
        "use float64 or a larger scale."
    ),
}


def is_concrete(*values: object) -> bool:
    """Whether all values are known now, so that they can be checked before anything is computed."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def as_float_array(value: ArrayLike) -> Float[Array, "..."]:
    """`value` as an array of JAX's default float type, or of its own float type.

    Not of a weak type, so that numbers and arrays of numbers are one compiled program.
    """
    array = jnp.asarray(value)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return jax.lax.convert_element_type(array, array.dtype if is_float else float)


def to_numpy(value: ArrayLike) -> np.ndarray:
    """A concrete value on the host, in double precision, for checks."""
    return np.asarray(value, dtype=np.float64)
