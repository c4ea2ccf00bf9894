"""Figures of what a run or a sweep found: how features are learned, in which order, and when.

Every function takes a `Trajectory`, or a selection of a sweep's dataset (see `jepa_sim.sweep`),
and the axes to draw on (`ax`; None: a new figure of the width of a column). It returns the axes,
which you can change. `save` writes a figure as vectors and as pixels. Interactive windows show
`ax.format_coord(x, y)` under the mouse: it says what is drawn there.

Colours are told apart by colour-blind readers: Okabe & Ito's palette, cividis, red against blue.
matplotlib is imported when something is drawn, not before.
"""

from jepa_sim.plot._depth import depth_effect as depth_effect
from jepa_sim.plot._features import patches as patches
from jepa_sim.plot._features import spectrum as spectrum
from jepa_sim.plot._fields import order_matrix as order_matrix
from jepa_sim.plot._fields import phase_diagram as phase_diagram
from jepa_sim.plot._lines import collapse as collapse
from jepa_sim.plot._lines import rho_bar as rho_bar
from jepa_sim.plot._lines import trajectories as trajectories
from jepa_sim.plot._phases import phases as phases
from jepa_sim.plot._style import COLUMN as COLUMN
from jepa_sim.plot._style import OBJECTIVES as OBJECTIVES
from jepa_sim.plot._style import PAGE as PAGE
from jepa_sim.plot._style import panels as panels
from jepa_sim.plot._style import save as save
from jepa_sim.plot._style import style as style
from jepa_sim.plot._times import critical_times as critical_times
from jepa_sim.plot._times import learning_time as learning_time

__all__ = sorted(  # pyright: ignore[reportUnsupportedDunderAll]
    name for name in globals() if not name.startswith("_")
)
