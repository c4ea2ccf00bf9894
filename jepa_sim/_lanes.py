"""The lanes of a sweep: points of the grid, as arrays."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, Key

from jepa_sim._curve import Curve, take_curve
from jepa_sim._moments import Moments


class Lane(eqx.Module):
    """One point of the grid. curve: that of its reduced flow, where it is known."""

    objective: Int[Array, ""]
    depth: Float[Array, ""]
    predictor_depth: Float[Array, ""]
    scale: Float[Array, ""]
    values: dict[str, Float[Array, ""]]
    key: Key[Array, ""]
    moments: Moments
    curve: Curve | None


class Lanes(eqx.Module):
    """All lanes: what differs between them, and what they share.

    values: of the grid's further axes.  spectrum: which of the spectra is a lane's.  curves: which
    of the curves of the reduced flow is a lane's, and these. They are few, and made once for all.
    """

    objective: Int[Array, " lanes"]
    depth: Float[Array, " lanes"]
    predictor_depth: Float[Array, " lanes"]
    scale: Float[Array, " lanes"]
    values: dict[str, Float[Array, " lanes"]]
    key: Key[Array, " lanes"]
    spectrum: Int[Array, " lanes"]
    spectra: Moments
    curves: tuple[Int[Array, " lanes"], Curve] | None = None

    def __getitem__(self, i: Int[Array, ""]) -> Lane:
        curve = None
        if self.curves is not None:
            which, curves = self.curves
            curve = take_curve(curves, which[i])
        return Lane(
            self.objective[i],
            self.depth[i],
            self.predictor_depth[i],
            self.scale[i],
            {name: values[i] for name, values in self.values.items()},
            self.key[i],
            jax.tree.map(lambda x: x[self.spectrum[i]], self.spectra),
            curve,
        )
