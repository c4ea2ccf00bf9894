"""Minibatches and their second moments: a gradient depends on nothing else of a minibatch.

A minibatch is x (n, d) and y (n, dy), and with actions also the numbers a (n,) of those that join
the pairs. Its part of action a has E[1_a x xᵀ] = (1/n) Σ_{i: a_i = a} x_i x_iᵀ, and so on.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import is_concrete, to_numpy
from jepa_sim.data.actions import Actions
from jepa_sim.data.moments import Moments

Batch = tuple[Array, ...]  # (x, y) or (x, y, a)
Draw = Callable[[PRNGKeyArray, int], Batch]


def check_samples(samples: Batch, moments: Moments) -> None:
    """ValueError unless the samples could have such moments."""
    d, actions = moments.dimension, moments.actions
    wanted = "(x, y)" if actions is None else "(x, y, actions)"
    if len(samples) != (2 if actions is None else 3):
        checks.fail("samples", f"be {wanted}, as the moments are", f"of {len(samples)} entries")
    sizes = (d, moments.target_dimension if actions is None else d)
    for i, (array, size) in enumerate(zip(samples, sizes, strict=False)):
        if array.ndim != 2 or array.shape[1] != size:
            rule = f"have the axes (n, {size}) of the problem's moments"
            checks.fail(f"samples[{i}]", rule, f"of shape {array.shape}")
    if actions is not None and is_concrete(samples[2]):
        known = np.isin(to_numpy(samples[2]), np.arange(actions.count))
        if not known.all():
            checks.fail("samples[2]", f"hold whole numbers from 0 to {actions.count - 1}", "others")


def moments_of(batch: Batch, moments: Moments) -> Moments:
    """The moments of a minibatch, in place of those it was drawn from."""
    x, y, count = batch[0], batch[1], len(batch[0])
    if moments.actions is None:
        found = (x.T @ x / count, y.T @ x / count, y.T @ y / count, None)
    else:
        is_taken = batch[2][:, None] == jnp.arange(moments.actions.count)[None, :]
        taken = is_taken.astype(x.dtype)  # 1_a of each pair
        y = (taken[:, :, None] * y[:, None, :]).reshape(count, -1)  # in the frame of its action
        by_action = jnp.einsum("na,ni,nj->aij", taken, x, x) / count
        actions = Actions(moments.actions.probability, by_action)
        found = (x.T @ x / count, y.T @ x / count, y.T @ y / count, actions)
    return eqx.tree_at(
        lambda m: (m.xx, m.yx, m.yy, m.actions), moments, found, is_leaf=lambda x: x is None
    )


def resample(*samples: Array) -> Draw:
    """Pairs drawn from the samples, with replacement."""

    def draw(key: PRNGKeyArray, count: int) -> Batch:
        rows = jr.randint(key, (count,), 0, samples[0].shape[0])
        return tuple(array[rows] for array in samples)

    return draw


def gaussian(moments: Moments) -> Draw:
    """Pairs from the Gaussian with these moments; with actions, an action first, then a pair."""
    if moments.actions is None:
        return _gaussian(moments)
    chance = moments.actions.probability
    each = [_gaussian(one) for one in moments.given_actions()]

    def draw(key: PRNGKeyArray, count: int) -> Batch:
        action_key, pair_key = jr.split(key)
        taken = jr.choice(action_key, len(each), (count,), p=chance)
        pairs = [one(pair_key, count) for one in each]  # under every action, of which one is taken
        x, y = (jnp.stack(views)[taken, jnp.arange(count)] for views in zip(*pairs, strict=True))
        return x, y, taken

    return draw


def _gaussian(moments: Moments) -> Draw:
    """x ~ N(0, Σxx), y = Σyx Σxx⁻¹ x + noise, whose covariance is the rest of Σyy."""
    factor = jnp.linalg.cholesky(moments.xx)
    regression = jnp.linalg.solve(moments.xx, moments.yx.T).T
    rest = moments.yy - regression @ moments.yx.T
    size, basis = jnp.linalg.eigh((rest + rest.T) / 2)
    noise = basis * jnp.sqrt(jnp.maximum(size, 0))[None, :]  # rounding makes zeros negative

    def draw(key: PRNGKeyArray, count: int) -> Batch:
        x_key, y_key = jr.split(key)
        x = jr.normal(x_key, (count, moments.dimension), factor.dtype) @ factor.T
        white = jr.normal(y_key, (count, moments.target_dimension), factor.dtype)
        return x, x @ regression.T + white @ noise.T

    return draw
