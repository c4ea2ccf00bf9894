"""Sliders in a notebook."""

from functools import partial
from typing import Any

from jepa_sim.arguments.errors import check_extra
from jepa_sim.explore._live import Live
from jepa_sim.explore._setting import Knob, Setting, knobs


def sliders(setting: Setting | None = None) -> Any:
    """Sliders for ε, L, M, the threshold, and λ and ρ of every feature, with the figure below them.

    setting: where they start (None: two features of λ = 1, with ρ = 0.9 and 0.3). Returns an
    ipywidgets box, which a notebook shows as the last value of a cell; its `live.setting` is what
    the sliders say, `live.found` the dataset that is drawn, `live.saved("pdf")` the picture.

    Raises ImportError where ipywidgets or matplotlib are missing.
    """
    check_extra("explore", "`sliders`", "ipywidgets", "matplotlib")
    import ipywidgets

    live = Live(Setting() if setting is None else setting)
    width, _ = live.size
    fitting = ipywidgets.Layout(width=f"{width}px", max_width="100%")
    picture = ipywidgets.Image(value=live.png, format="png", layout=fitting)

    def moved(knob: Knob, change: dict[str, Any]) -> None:
        picture.value = live.show(live.setting.changed(knob, change["new"]))
        remark.value = live.remark

    remark = ipywidgets.Label(live.remark)
    found = []
    for knob in knobs(live.setting):
        slider = _slider(ipywidgets, knob, live.setting.value(knob))
        slider.observe(partial(moved, knob), "value")
        found.append(slider)
    layout = ipywidgets.Layout(grid_template_columns="1fr 1fr", max_width=f"{width}px")
    box: Any = ipywidgets.VBox([ipywidgets.GridBox(found, layout=layout), remark, picture])
    box.live = live
    return box


def _slider(ipywidgets: Any, knob: Knob, value: float) -> Any:
    shared = {
        "description": knob.letter,
        "tooltip": knob.about,
        "step": knob.step,
        "style": {"description_width": "7em"},
        "layout": ipywidgets.Layout(width="95%"),
    }
    if knob.in_decades:
        low, high = knob.decades
        return ipywidgets.FloatLogSlider(value, min=low, max=high, readout_format=".1e", **shared)
    return ipywidgets.FloatSlider(value, min=knob.low, max=knob.high, **shared)
