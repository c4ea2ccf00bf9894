"""Critical times against what a feature is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.plot._lines import Flags
from jepa_sim.plot._selection import LearnedTimes, Result, check_axes, learned
from jepa_sim.plot._style import PAGE, look, one_panel, panels, style
from jepa_sim.results.variables import from_start

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AGAINST = {"rho": "ρ of the feature", "lam": "λ of the feature"}


@checked
def critical_times(
    run: Result,
    ax: "Axes | None" = None,
    *,
    against: str = "rho",
    fraction: float = 0.5,
    times: str = "critical_time",
) -> "Axes":
    """Time at which each feature is learned, against its ρ or λ; a marker per objective.

    run: one trajectory, or a dataset of which all axes but objective and feature were selected.
    against: "rho" or "lam".  fraction: of each feature's own plateau; of a dataset one of its
    `critical_fraction`.  times: "critical_time", the first time there, "learned_time", the last, or
    another variable of a dataset with flow times.

    Features that are never learned (inf) are triangles along the upper edge, those that start there
    (0) along the lower.

    Raises ValueError where `run` has further axes, or `against` is something else.
    """
    if against not in AGAINST:
        checks.fail("against", f"be one of {list(AGAINST)}", repr(against))
    found = learned(run, fraction, times)
    at = getattr(found, against)
    within = found.times[np.isfinite(found.times) & (found.times > 0)]
    low, high = (within.min() / 2, within.max() * 2) if within.size else (0.5, 2.0)
    with style():
        ax = one_panel(ax)
        for objective, late in zip(found.objectives, found.times, strict=True):
            name, colour, marker = look(objective)
            usual = np.isfinite(late) & (late > 0)
            ax.plot(at[usual], late[usual], marker, label=name, ls="", ms=4, color=colour)
            _draw_at_edges(ax, at, late, (high, low), color=colour, mfc="none")
        _name_edges(ax, found.times)
        ax.set(yscale="log", ylabel="learned at t = kα (in 1/λ)", xlabel=AGAINST[against])
        _widen(ax, low / 1.5, high * 1.5)
        widest = max(1.0 if against == "rho" else 0.0, *np.abs(at))
        ax.set_xlim(min(0.0, 1.05 * at.min()), 1.05 * widest)
        ax.legend(frameon=False, handletextpad=0.1)
    ax.format_coord = lambda x, y: _nearest(found, against, x)
    return ax


@checked
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
    axes: one per depth.  times: the variable with the learning times.  noisy: (feature,) which
    features to fill.

    Features that are never learned (inf) are triangles along the upper edge, those that start there
    (0) along the lower. The cleanest feature is chosen among the others.

    Raises ValueError where `ds` has further axes, such as `critical_fraction`.
    """
    delays, rho = delays_of(ds, times), ds.rho.values
    noisy = np.zeros(len(rho), bool) if noisy is None else np.asarray(noisy)
    edge = 1.25 * delays[np.isfinite(delays)].max(initial=1.0)
    with style():
        if axes is None:
            _, axes = panels(1, ds.sizes["depth"], (PAGE, 2.2), sharey=True)
        for ax, depth, rows in zip(axes, ds.depth.values, delays.swapaxes(0, 1), strict=True):
            for objective, delay in zip(ds.objective.values, rows, strict=True):
                name, colour, marker = look(objective)
                for chosen, face in ((~noisy, "none"), (noisy, colour)):
                    points: dict[str, Any] = {"ls": "", "ms": 4, "mec": colour, "mfc": face}
                    reached = chosen & np.isfinite(delay) & (delay > 0)
                    ax.plot(rho[reached], delay[reached], marker, **points)
                    edges = (edge, 0.03 * edge)
                    _draw_at_edges(ax, rho[chosen], delay[chosen], edges, **points)
                face = colour if noisy.any() else "none"
                ax.plot([], [], marker, ls="", ms=4, mec=colour, mfc=face, label=name)
            ax.set(xlim=(0, 1.04), xticks=(0, 0.5, 1), xlabel="ρ of the feature")
            ax.set_ylim(0, 1.06 * edge)
            ax.set_title(f"depth L = {depth:g}")
        _name_edges(axes[0], delays)
        axes[0].set_ylabel("λt* over that of\nthe cleanest feature")
        axes[0].legend(frameon=False, handletextpad=0.1, loc="upper left")
    return axes


def _widen(ax: "Axes", low: float, high: float) -> None:
    """Show y from `low` to `high`, and all that axes with the same y axis show already."""
    ax.dataLim.update_from_data_y([low, high], ignore=False)
    ax.margins(y=0)
    ax.autoscale_view(scalex=False)


EDGES = {"^": "never", "v": "from the start"}  # triangles along the upper and the lower edge


def _draw_at_edges(
    ax: "Axes", at: np.ndarray, times: np.ndarray, edges: tuple[float, float], **points: Any
) -> None:
    """Triangles at (upper, lower) edges, for times that are inf or 0."""
    for marker, edge, there in zip(EDGES, edges, (np.isinf(times), times == 0), strict=True):
        if there.any():
            ax.plot(at[there], np.full(there.sum(), edge), marker, **{"ls": "", "ms": 4, **points})


def _name_edges(ax: "Axes", times: np.ndarray) -> None:
    """The triangles in the legend, where there are any."""
    for (marker, name), there in zip(EDGES.items(), (np.isinf(times), times == 0), strict=True):
        if there.any():
            ax.plot([], [], marker, ms=4, mec="0.3", mfc="none", ls="", label=name)


def delays_of(ds: xr.Dataset, times: str) -> np.ndarray:
    """(objective, depth, feature): λt* over that of the cleanest feature.

    The cleanest is that of largest ρ among those that are learned, and not there from the start.
    ValueError where `ds` has further axes.
    """
    axes = ("objective", "depth", "feature")
    check_axes(ds[times], set(axes), "have the axes `objective`, `depth` and `feature` alone", "ds")
    scaled, rho = (from_start(ds, times) * ds.lam).transpose(*axes).values, ds.rho.values
    learned = np.isfinite(scaled) & (scaled > 0)
    cleanest = np.where(learned, rho, -np.inf).argmax(axis=-1)
    reference = np.take_along_axis(scaled, cleanest[..., None], axis=-1)
    return scaled / np.where(learned.any(axis=-1, keepdims=True), reference, 1)


def _nearest(found: LearnedTimes, against: str, place: float) -> str:
    """The feature whose ρ or λ is nearest, in words."""
    column = int(np.abs(getattr(found, against) - place).argmin())
    times = found.times[:, column]
    words = [f"{look(o)[0]} {t:.4g}" for o, t in zip(found.objectives, times, strict=True)]
    feature = f"λ = {found.lam[column]:.3g}, ρ = {found.rho[column]:.3g}"
    return f"feature {column} ({feature}) at t* = {', '.join(words)}".replace("inf", "never")
