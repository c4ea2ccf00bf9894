"""The lanes of a sweep: points of the grid, as arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jepa_sim.data.moments import Moments
from jepa_sim.sweeps.grid import Grid
from jepa_sim.theory import Curve, take_curve


class Point(eqx.Module):
    """The numbers of one point of the grid, or of many. values: of the grid's further axes."""

    objective: Int[Array, "*lanes"]
    depth: Float[Array, "*lanes"]
    predictor_depth: Float[Array, "*lanes"]
    scale: Float[Array, "*lanes"]
    values: dict[str, Float[Array, "*lanes"]]
    key: Key[Array, "*lanes"]


class Lane(eqx.Module):
    """One point of the grid, with its moments and the curve of its reduced flow, if it is known."""

    point: Point
    moments: Moments
    curve: Curve | None


class Lanes(eqx.Module):
    """All lanes: the numbers that differ between them, and those that they share.

    spectrum: which of the spectra is a lane's.  curves: which of the curves of the reduced flow is
    a lane's, and the curves themselves, which are few and are made once for all lanes.
    """

    points: Point
    spectrum: Int[Array, " lanes"]
    spectra: Moments
    curves: tuple[Int[Array, " lanes"], Curve] | None = None

    def __getitem__(self, i: Int[Array, ""]) -> Lane:
        curve = None
        if self.curves is not None:
            which, curves = self.curves
            curve = take_curve(curves, which[i])
        point = jax.tree.map(lambda x: x[i], self.points)
        moments = jax.tree.map(lambda x: x[self.spectrum[i]], self.spectra)
        return Lane(point, moments, curve)


def lanes_at(grid: Grid, index: np.ndarray) -> Lanes:
    """Lanes from their positions on the axes of a grid, (axis, lane), without their curves."""
    values, dtype = grid.values, grid.spectrum.xx.dtype
    where = dict(zip(values, index, strict=True))

    def pick(name: str) -> Array:
        return jnp.asarray(np.asarray(values[name], dtype=float)[where[name]], dtype)

    points = Point(
        jnp.asarray(where["objective"], jnp.int32),
        pick("depth"),
        pick("predictor_depth"),
        pick("scale"),
        {name: pick(name) for name in grid.axes},
        jax.vmap(jr.key)(jnp.asarray(np.asarray(grid.seed)[where["seed"]])),
    )
    return Lanes(points, jnp.asarray(where["spectrum"], jnp.int32), grid.spectrum)
