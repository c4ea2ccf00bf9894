"""Figures of what a run or a sweep found: how features are learned, in which order, and when.

Every function takes a `Trajectory`, or a selection of a sweep's dataset (see `jepa_sim.sweep`),
and the axes to draw on (`ax`; None: a new figure of the width of a column). It returns the axes,
which you can change. `save` writes a figure as vectors and as pixels. Interactive windows show
`ax.format_coord(x, y)` under the mouse: it says what is drawn there.

Colours are told apart by colour-blind readers: Okabe & Ito's palette, cividis, red against blue.
matplotlib is imported when something is drawn, not before.
"""

from jepa_sim.plot._depth import depth_effect
from jepa_sim.plot._features import patches, spectrum
from jepa_sim.plot._fields import order_matrix, phase_diagram
from jepa_sim.plot._lines import collapse, rho_bar, trajectories
from jepa_sim.plot._style import COLUMN, OBJECTIVES, PAGE, panels, save, style
from jepa_sim.plot._times import critical_times, learning_time

__all__ = [
    "COLUMN",
    "OBJECTIVES",
    "PAGE",
    "collapse",
    "critical_times",
    "depth_effect",
    "learning_time",
    "order_matrix",
    "panels",
    "patches",
    "phase_diagram",
    "rho_bar",
    "save",
    "spectrum",
    "style",
    "trajectories",
]
