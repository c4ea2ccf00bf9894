"""Actions that join a context x and a target y: an agent sees x, does a, and then sees y.

With 1_a = 1 where the action is a, and 0 elsewhere, and p_a = E[1_a], a linear network with one
predictor V_a for every action depends on the data only through

    E[1_a x xᵀ],   E[1_a y xᵀ],   E[1_a y yᵀ]        of every action a

The first add up to Σxx. `Moments` keeps the second and the third as one stack, as it keeps frames:
the network of A predictors has A frames of y, of which each pair (x, y) fills one.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import ArrayLike, as_float_array, is_concrete, to_numpy
from jepa_sim.data.features import Features

SUM = 1e-6  # how far from 1 probabilities may add up


class Actions(eqx.Module):
    """What moments know of actions, beside their stacks of y.

    probability: (a,) p_a.  xx: (a, d, d) E[1_a x xᵀ].
    """

    probability: Float[Array, "*lanes a"]
    xx: Float[Array, "*lanes a d d"]

    @property
    def count(self) -> int:
        """A, how many actions there are."""
        return self.probability.shape[-1]


def probabilities(argument: str, value: ArrayLike, count: int) -> Float[Array, " a"]:
    """`value` as one positive number for each of `count` actions, if they add up to 1."""
    if np.shape(value) != (count,):
        checks.fail(argument, f"be of shape ({count},), one for each action", np.shape(value))
    checks.check_positive(argument, value)
    if is_concrete(value) and abs(to_numpy(value).sum() - 1) > SUM:
        checks.fail(argument, "add up to 1", f"{to_numpy(value).sum():.6g} in sum")
    return as_float_array(value)


def mixing(features: Features, actions: Actions) -> Float[Array, " d"]:
    """(d,) what share of each feature an action mixes with others; 0 where all moments commute.

    Let vᵢᵀ Σxx vⱼ = δᵢⱼ, and B_a be the regression of y on x under action a. The share is that of
    column i of all vᵀ B_a Σxx v off the diagonal, or of all vᵀ E[1_a x xᵀ] v if that is more. What
    takes features one by one leaves it out.
    """
    assert features.sent is not None
    size = jnp.sqrt(features.variance)
    basis = features.basis / size[None, :]
    sent = jnp.einsum("ji,ajk->aik", basis, features.sent * size[None, None, :])
    power = jnp.einsum("ji,ajl,lk->aik", basis, actions.xx, basis)
    return jnp.maximum(_off_diagonal(sent), _off_diagonal(power))


def _off_diagonal(m: Float[Array, "a d d"]) -> Float[Array, " d"]:
    """(d,) the share of each column that is off the diagonal; 0 where a column is rounding."""
    power = jnp.sum(m**2, axis=0)
    whole, alone = jnp.sum(power, axis=0), jnp.diagonal(power)
    known = whole > (1e4 * jnp.finfo(m.dtype).eps) ** 2 * jnp.max(whole)
    rest = jnp.maximum(whole - alone, 0)
    return jnp.sqrt(jnp.where(known, rest, 0) / jnp.where(known, whole, 1))


def of_each(argument: str, value: ArrayLike, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """`value` as one array of `shape[1:]` for every action; one alone holds for all."""
    if np.shape(value) not in (shape, shape[1:]):
        rule = f"be of shape {shape[1:]}, or {shape} with one for each action"
        checks.fail(argument, rule, f"of shape {np.shape(value)}")
    return jnp.broadcast_to(as_float_array(value), shape)
