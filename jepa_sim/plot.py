"""Figures of what a sweep found: how features are learned, and when.

They take selections of a sweep's dataset (see `jepa_sim.sweep`) and return the axes they drew on,
to be changed further or saved with `save`. matplotlib is imported when something is drawn, not
before.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jepa_sim._trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Flags = Sequence[bool] | np.ndarray

FEW = 8  # features whose lines are drawn thick
COLUMN, PAGE = 3.4, 7.0  # inches: one column of a two-column page, and both
# Okabe & Ito's palette, told apart by colour-blind readers
OBJECTIVES = {"jepa": ("JEPA", "#0072B2", "o"), "mae": ("MAE", "#D55E00", "s")}
STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
}


def trajectories(
    run: xr.Dataset | Trajectory, ax: "Axes | None" = None, *, noisy: Flags | None = None
) -> "Axes":
    """Encoder gain of every feature against time, coloured by its ρ (`rho_bar` draws the key).

    run: one trajectory, or a dataset in which all axes but time and feature have been selected.
    noisy: (feature,) which features to draw thick and dashed, over the others.
    """
    times, gains, rho = _one(run)
    noisy = np.zeros(len(rho), bool) if noisy is None else np.asarray(noisy)
    colours, width = _rho_colours(), 0.6 if len(rho) > FEW else 1.4
    with style():
        ax = panels(1, 1, (COLUMN, 2.4))[1][0] if ax is None else ax
        for i in np.lexsort((rho, noisy)):
            line: dict[str, Any] = {"lw": 1.8, "ls": (0, (3, 1))} if noisy[i] else {"lw": width}
            ax.plot(times, gains[:, i], color=colours.to_rgba(rho[i]), **line)
        ax.set(xscale="log", xlim=(times[times > 0][0], times[-1]), ylim=(0, None))
        ax.set(xlabel="time t = kα (units of 1/λ)", ylabel="encoder gain w̄")
    return ax


def learning_time(
    ds: xr.Dataset,
    axes: "Sequence[Axes] | None" = None,
    *,
    times: str = "critical_time",
    noisy: Flags | None = None,
) -> "Sequence[Axes]":
    """How much later than the cleanest feature a feature of ρ is learned; one panel per depth.

    Both objectives learn a feature in a time that goes as 1/λ. What ρ adds is the delay: λt* over
    that of the feature of largest ρ.

    ds: a dataset in which all axes but objective, depth and feature have been selected.
    axes: one per depth.  times: the variable with the learning times. Features that are never
    learned (inf) are triangles along the upper edge.  noisy: (feature,) which features to fill.
    """
    rho = ds.rho.values
    noisy = np.zeros(len(rho), bool) if noisy is None else np.asarray(noisy)
    scaled = (ds[times] * ds.lam).transpose("objective", "depth", "feature")
    delays = (scaled / scaled.isel(feature=int(rho.argmax()))).values
    edge = 1.25 * max(2.0, delays[np.isfinite(delays)].max())
    with style():
        if axes is None:
            _, axes = panels(1, ds.sizes["depth"], (PAGE, 2.2), sharey=True)
        for ax, depth, rows in zip(axes, ds.depth.values, delays.swapaxes(0, 1), strict=True):
            for objective, delay in zip(ds.objective.values, rows, strict=True):
                name, colour, marker = OBJECTIVES.get(objective, (objective, "#009E73", "D"))
                for chosen, face in ((~noisy, "none"), (noisy, colour)):
                    points: dict[str, Any] = {"ls": "", "ms": 4, "mec": colour, "mfc": face}
                    learned, never = chosen & np.isfinite(delay), chosen & np.isinf(delay)
                    ax.plot(rho[learned], delay[learned], marker, **points)
                    ax.plot(rho[never], np.full(never.sum(), edge), "^", **points)
                ax.plot([], [], marker, ms=4, color=colour, label=name)
            ax.set(xlim=(0, 1.04), xticks=(0, 0.5, 1), xlabel="ρ of the feature")
            ax.set_ylim(0, 1.06 * edge)
            ax.set_title(f"depth L = {depth:g}")
        if np.isinf(delays).any():
            axes[0].plot([], [], "^", ms=4, mec="0.3", mfc="none", label="never")
        axes[0].set_ylabel("λt* over that of\nthe cleanest feature")
        axes[0].legend(frameon=False, handletextpad=0.1, loc="upper left")
    return axes


def rho_bar(drawn: "Figure", axes: "Sequence[Axes]") -> None:
    """The key to the colours of `trajectories`, beside the axes."""
    with style():
        bar = drawn.colorbar(_rho_colours(), ax=list(axes), aspect=30, pad=0.02)
        bar.set_label("ρ of the feature")


def panels(
    rows: int, columns: int, size: tuple[float, float], *, sharey: bool | str = False
) -> "tuple[Figure, list[Axes]]":
    """A new figure of `size` inches in the style of this module, and its axes row by row."""
    with style():
        drawn, axes = _pyplot().subplots(rows, columns, figsize=size, sharey=sharey, squeeze=False)
    return drawn, list(axes.ravel())


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Small letters that stay legible at the width of a column."""
    plt = _pyplot()
    with plt.rc_context(STYLE):
        yield
        interactive = plt.isinteractive()  # a notebook's backend sets it with its first figure
    plt.matplotlib.interactive(interactive)


def save(drawn: "Figure", stem: Path) -> list[Path]:
    """Write `stem`.pdf (vector) and `stem`.png, and close the figure."""
    paths = [stem.with_suffix(suffix) for suffix in (".pdf", ".png")]
    for path in paths:
        drawn.savefig(path, dpi=200)
    _pyplot().close(drawn)
    return paths


def _one(run: xr.Dataset | Trajectory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (t,), gains (t, feature), ρ (feature,) of one trajectory."""
    if isinstance(run, Trajectory):
        return (
            np.asarray(run.times),
            np.asarray(run.features),
            np.asarray(run.problem.features.rho),
        )
    left = sorted({str(name) for name in run.features.dims} - {"time", "feature"})
    if left:
        raise ValueError(f"Argument `run` must be one trajectory, but has the axes {left}.")
    return run.t.values, run.features.transpose("time", "feature").values, run.rho.values


def _rho_colours() -> "ScalarMappable":
    """cividis without its palest yellow, which is lost on white."""
    plt = _pyplot()
    map_ = plt.matplotlib.colors.ListedColormap(plt.get_cmap("cividis")(np.linspace(0, 0.88, 256)))
    return plt.cm.ScalarMappable(plt.Normalize(0, 1), map_)


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(f"Figures need the extra `jepa_sim[plot]`: {error}.") from None
    return matplotlib.pyplot
