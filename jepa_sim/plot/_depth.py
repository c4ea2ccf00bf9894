"""What depth does to noisy features: how much later they are learned, and how weakly."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jepa_sim.arguments.kinds import checked
from jepa_sim.plot._lines import Flags
from jepa_sim.plot._style import PAGE, look, panels, pyplot, style
from jepa_sim.plot._times import delays_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


DECADE = 10.0  # larger delays are shown on a logarithmic axis


@checked
def depth_effect(
    ds: xr.Dataset,
    axes: "Sequence[Axes] | None" = None,
    *,
    times: str = "critical_time",
    noisy: Flags | None = None,
) -> "Sequence[Axes]":
    """Delay and final gain of every feature against its ρ, in a colour for each depth.

    Both objectives learn a feature in a time that goes as 1/λ. The delay is what ρ adds to that:
    λt* over that of the feature of largest ρ. The final gain is the plateau.

    ds: a dataset in which all axes but objective, depth and feature have been selected.
    axes: two rows, delays above gains, with one column per objective; row by row.  times: the
    variable with the learning times.  noisy: (feature,) which features to fill.

    Features that are never learned, or that are there from the start, have no delay and stand in
    the lower row alone.

    Raises ValueError where `ds` has further axes, such as `critical_fraction`.
    """
    delays, rho = delays_of(ds, times), ds.rho.values
    noisy = np.zeros(len(rho), bool) if noisy is None else np.asarray(noisy)
    delays = np.where(np.isfinite(delays) & (delays > 0), delays, np.nan)
    scale = "log" if np.nanmax(delays, initial=1.0) > DECADE else "linear"
    columns, depths = ds.sizes["objective"], ds.depth.values
    with style():
        if axes is None:
            _, axes = panels(2, columns, (PAGE, 4.0), sharey="row")
        palette = pyplot().get_cmap("viridis_r")(np.linspace(0.2, 1, len(depths)))
        rows = (
            (axes[:columns], delays),
            (axes[columns:], ds.plateau.transpose("objective", "depth", "feature").values),
        )
        for row, values in rows:
            for ax, of_objective in zip(row, values, strict=True):
                for colour, depth, value in zip(palette, depths, of_objective, strict=True):
                    points: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "mec": colour}
                    ax.plot(rho[~noisy], value[~noisy], mfc="none", **points)
                    ax.plot(rho[noisy], value[noisy], mfc=colour, **points)
                    ax.plot([], [], mfc=colour, label=f"L = {depth:g}", **points)
                ax.set_xlim(0, 1.04)
        for ax, objective in zip(axes, ds.objective.values, strict=False):
            ax.set(title=look(str(objective))[0], yscale=scale)
        for ax in axes[columns:]:
            ax.set(ylim=(0, 1.04), xlabel="ρ of the feature")
        axes[0].set_ylabel("delay: λt* over that of\nthe cleanest feature")
        axes[columns].set_ylabel("final gain w̄")
        axes[0].legend(frameon=False, handletextpad=0.1)
    return axes
