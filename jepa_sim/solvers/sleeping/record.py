"""The gains at the steps of a run, in a fixed number of rows."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jepa_sim.results.crossings import Saves

ROWS = 512  # a run takes 100 to 300 steps, and thousands where it is stiff
WIDTH = 0.01  # of the parts of a plateau, at first


class Record(eqx.Module):
    """The ends of a run's steps; where these are too many, those next to a change of gains.

    rows: the start first.  count: how many there are.  plateau: (k,) of gains, 1 where there is
    none.  width: of parts of it; rows that have all gains in the same parts as the rows around them
    are left out.
    """

    rows: Saves
    count: Int[Array, ""]
    plateau: Float[Array, " k"]
    width: Float[Array, ""]

    @classmethod
    def of(cls, start: Saves, plateau: Float[Array, " k"]) -> "Record":
        rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (ROWS, *x.shape)), start)
        plateau = jnp.where(plateau > 0, plateau, 1)
        return cls(rows, jnp.ones((), int), plateau, jnp.asarray(WIDTH, plateau.dtype))

    def add(self, steps: Saves, count: Int[Array, ""]) -> "Record":
        """With the first `count` of these; the rest is written too, and written over later."""
        size = len(steps.times)
        room = jax.lax.while_loop(lambda r: r.count + size > ROWS, Record._thinned, self)
        at = room.count + jnp.arange(size)
        rows = jax.tree.map(lambda rows, new: rows.at[at].set(new), room.rows, steps)
        return dataclasses.replace(room, rows=rows, count=room.count + count)

    def _thinned(self) -> "Record":
        part = jnp.floor(self.rows.gains / (self.width * self.plateau)[None, :])
        changes = (part[1:] != part[:-1]).any(axis=1)
        before, after = (jnp.pad(changes, pad, constant_values=True) for pad in ((1, 0), (0, 1)))
        number = jnp.arange(ROWS)
        keep = (before | after | (number == self.count - 1)) & (number < self.count)
        at = jnp.where(keep, jnp.cumsum(keep.astype(int)) - 1, ROWS)
        rows = jax.tree.map(lambda x: x.at[at].set(x, mode="drop"), self.rows)
        count = jnp.sum(keep.astype(int))
        width = jnp.where(2 * count > ROWS, 2 * self.width, self.width)  # next time
        return Record(rows, count, self.plateau, width)

    def until(self, end: Float[Array, ""], gains: Float[Array, " k"]) -> Saves:
        """What is known before the end, and the gains at it, in all rows that are left."""
        known = (jnp.arange(ROWS) < self.count) & (self.rows.times < end)
        last = Saves(end, gains, jnp.full_like(gains, jnp.nan))

        def closed(rows: Array, last: Array) -> Array:
            is_known = known.reshape(-1, *(1,) * last.ndim)
            return jnp.concatenate([jnp.where(is_known, rows, last), last[None]])

        return jax.tree.map(closed, self.rows, last)
