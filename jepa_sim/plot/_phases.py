"""How far pairs of features have turned."""

from typing import TYPE_CHECKING

import numpy as np

from jepa_sim.arguments import checks
from jepa_sim.plot._selection import Result, check_axes
from jepa_sim.plot._style import FLOW_TIME, one_panel, rho_colours, style
from jepa_sim.results.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def phases(run: Result, ax: "Axes | None" = None) -> "Axes":
    """The angle φ by which the network turns each pair of features, and θ, which it is to reach.

    run: one trajectory with the observable `phases`, or a dataset in which all axes but time and
    feature have been selected. One line stands for both features of a pair, coloured by ρ; a dotted
    line is at its θ.

    Raises ValueError where no feature turns, or `run` has further axes.
    """
    if isinstance(run, Trajectory):
        features = run.problem.features
        found, times, rho, angle = run["phases"], run.times, features.rho, features.angle
    else:
        check_axes(run.phases, {"time", "feature"}, "be one trajectory")
        found = run.phases.transpose("time", "feature")
        times, rho, angle = run.t, run.rho, run.get("angle")
    if angle is None or not (np.asarray(angle) > 0).any():
        checks.fail("run", "have features that turn", "without")
    found, times, rho, angle = (np.asarray(x) for x in (found, times, rho, angle))
    with style():
        ax, colours = one_panel(ax), rho_colours()
        for i in np.flatnonzero(angle > 0):
            colour = colours.to_rgba(rho[i])
            ax.plot(times, found[:, i], color=colour, lw=1.4)
            ax.axhline(angle[i], color=colour, lw=0.8, ls=":", zorder=0)
        pi = {"yticks": [0, np.pi / 2, np.pi], "yticklabels": ["0", "π/2", "π"]}
        ax.set(xscale="log", xlabel=FLOW_TIME, ylabel="turned by φ", ylim=(-0.1, np.pi + 0.1), **pi)
    ax.format_coord = lambda x, y: f"t = {x:.4g}, φ = {y:.3g}"
    return ax
