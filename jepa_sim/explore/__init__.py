"""Interactive figures: sliders in a notebook, and a page in the browser.

Both show the closed form, drawn by `jepa_sim.plot`; the page also shows stored sweeps.
"""

from jepa_sim.explore._live import Live
from jepa_sim.explore._page import StoredRun, serve
from jepa_sim.explore._setting import Knob, Setting, knobs
from jepa_sim.explore._sliders import sliders

__all__ = ["Knob", "Live", "Setting", "StoredRun", "knobs", "serve", "sliders"]
