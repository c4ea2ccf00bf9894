"""Figures of the demonstration: gains against time, and what depth does to noisy features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from jepa_sim import plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # of legends: light, scene, the rest
CLEAN = 3  # features of largest λ that get a label, beside those of light


def labels(shown: xr.Dataset, names: Mapping[int, str]) -> dict[int, str]:
    """What stands in the legends, by number of the feature: light, and the first clean features.

    shown: with `lam`, `rho` and `light`.  names: what the features of light look like.
    """

    def numbers(i: int) -> str:
        return f"(λ {shown.lam.values[i]:.1f}, ρ {shown.rho.values[i]:.2f})"

    by_size = [int(i) for i in np.argsort(-shown.lam.values)]
    clean = [i for i in by_size if i not in names][:CLEAN]
    light = {i: f"light: {names[i]} {numbers(i)}" for i in by_size if i in names}
    return light | {i: f"scene {numbers(i)}" for i in clean}


def trajectories(shown: xr.Dataset, named: Mapping[int, str], out: Path) -> list[Path]:
    """Gains of all features, JEPA beside MAE, the shallowest encoder above the deepest."""
    noisy = shown.light.values > 0.5
    depths = shown.depth.values[[0, -1]]
    with plot.style():
        figure, axes = plot.panels(2, 2, (plot.PAGE, 4.6), sharey=True)
        runs = [(depth, objective) for depth in depths for objective in shown.objective.values]
        for ax, (depth, objective) in zip(axes, runs, strict=True):
            run = shown.sel(objective=objective, depth=depth)
            plot.trajectories(run, ax, noisy=noisy, labels=named)
            ax.minorticks_off()  # to draw them would take a quarter of the figure's time
            ax.set_title(f"{plot.OBJECTIVES[objective][0]}, depth L = {depth}")
            if noisy.any():
                kept = float(run.plateau[noisy].median())
                words = {"ha": "right", "va": "bottom", "fontsize": 7}
                ax.text(float(run.t[-1]), kept + 0.03, f"light ends at {kept:.2g}", **words)
        for ax in axes[1::2]:
            ax.set_ylabel("")
        for ax in axes[:2]:
            ax.set_xlabel("")
        shared_legend(figure, axes)
        return plot.save(figure, out / "trajectories")


def learning_time(shown: xr.Dataset, out: Path) -> list[Path]:
    """Delay to half of a feature's own plateau, and final gain, against ρ, for every depth."""
    with plot.style():
        figure, axes = plot.panels(2, 2, (plot.PAGE, 4.0), sharey="row")
        noisy = shown.light.values > 0.5
        plot.depth_effect(shown.sel(critical_fraction=0.5), axes, noisy=noisy)
        figure.suptitle(
            "How much later, and how weakly, features of small ρ are learned (filled: light)"
        )
        for ax in axes[:2]:
            ax.tick_params(labelbottom=False)
        return plot.save(figure, out / "learning_time")


def shared_legend(figure: "Figure", axes: "Sequence[Axes]") -> None:
    """One legend below the figure, with each label once, in place of those of its axes."""
    handles = {}
    for ax in axes:
        handles |= {
            label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        if legend := ax.get_legend():
            legend.remove()
    for i in range(-len(handles) % COLUMNS):  # else light and scene would share a column
        handles[" " * (i + 1)] = figure.axes[0].plot([], [], ls="")[0]
    place = {"loc": "outside lower center", "ncols": COLUMNS, "frameon": False}
    figure.legend(list(handles.values()), list(handles), **place)
