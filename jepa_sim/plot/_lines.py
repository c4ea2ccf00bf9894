"""Gains against time: how features are learned, and lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jepa_sim.plot._selection import Curves, Run, curves
from jepa_sim.plot._style import FLOW_TIME, PAGE, one_panel, panels, rho_colours, style
from jepa_sim.results.diagnose import LEARNED, Status, diagnose
from jepa_sim.results.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Flags = Sequence[bool] | np.ndarray

FEW = 8  # features whose lines are drawn thick
FATES = {
    Status.learned: "#0072B2",
    Status.growing: "#009E73",
    Status.stuck: "#E69F00",
    Status.collapsed: "#D55E00",
    Status.unlearnable: "#999999",
    Status.failed: "#000000",
}


def trajectories(run: Run, ax: "Axes | None" = None, *, noisy: Flags | None = None) -> "Axes":
    """Encoder gain of every feature against time, coloured by its ρ (`rho_bar` draws the key).

    run: one trajectory, or a dataset in which all axes but time and feature have been selected.
    noisy: (feature,) which features to draw thick and dashed, over the others.

    Raises ValueError where `run` has further axes.
    """
    found = curves(run)
    noisy = np.zeros(len(found.rho), bool) if noisy is None else np.asarray(noisy)
    colours, width = rho_colours(), 0.6 if len(found.rho) > FEW else 1.4
    with style():
        ax = one_panel(ax)
        for i in np.lexsort((found.rho, noisy)):
            line: dict[str, Any] = {"lw": 1.8, "ls": (0, (3, 1))} if noisy[i] else {"lw": width}
            ax.plot(found.times, found.gains[:, i], color=colours.to_rgba(found.rho[i]), **line)
        _time_axis(ax, found.times)
        ax.set(ylim=(0, 1.05 * _top(ax)), ylabel="encoder gain w̄")
    ax.format_coord = lambda x, y: _nearest(found, x, y)
    return ax


def rho_bar(drawn: "Figure", axes: "Sequence[Axes]") -> None:
    """The key to the colours of `trajectories`, in the figure `drawn`, beside the axes."""
    with style():
        bar = drawn.colorbar(rho_colours(), ax=list(axes), aspect=30, pad=0.02)
        bar.set_label("ρ of the feature")


def collapse(run: Run, axes: "Sequence[Axes] | None" = None) -> "Sequence[Axes]":
    """What became of every feature: gains, coloured by their fate, and the effective rank.

    run: as for `trajectories`. The fates of a `Trajectory` are those of `jepa_sim.diagnose`. A
    dataset does not have the problem: there they follow from gains and plateaus (dotted).
    axes: two. The effective rank is exp of the entropy of the encoder's singular values; where it
    was not saved, of the gains, which are the singular values where features are aligned.

    Raises ValueError where `run` has further axes.
    """
    found = curves(run)
    fates = _fates(run, found)
    with style():
        if axes is None:
            _, axes = panels(1, 2, (PAGE, 2.4))
        left, right = axes
        for status, colour in FATES.items():
            which = [i for i, fate in enumerate(fates) if fate is status]
            for i in which:
                left.plot(found.times, found.gains[:, i], color=colour, lw=1.2)
                if found.plateau[i] > 0:
                    left.axhline(found.plateau[i], color=colour, lw=0.6, ls=":")
            if which:
                left.plot([], [], color=colour, label=f"{len(which)} {status.value}")
        left.set(yscale="log", ylabel="encoder gain w̄")
        left.legend(frameon=False)
        right.plot(found.times, _effective_rank(run, found), color="0.2", lw=1.4)
        right.set(ylim=(0.9, None), ylabel=f"effective rank (of {len(found.rho)})")
        for ax in axes:
            _time_axis(ax, found.times)
    left.format_coord = lambda x, y: _nearest(found, x, y)
    return axes


def _top(ax: "Axes") -> float:
    """The largest number drawn on the axes or on those that share their y axis."""
    shared = ax.get_shared_y_axes().get_siblings(ax)
    tops = [each.dataLim.y1 for each in shared]
    return max([top for top in tops if np.isfinite(top) and top > 0], default=1.0)


def _time_axis(ax: "Axes", times: np.ndarray) -> None:
    """Make the time axis logarithmic, from the first time above 0; say where a run is pending."""
    shown = times[times > 0]
    ax.set(xscale="log", xlabel=FLOW_TIME)
    if len(shown) > 1:
        ax.set_xlim(shown[0], shown[-1])
    elif len(shown) == 0:
        ax.text(0.5, 0.5, "not there yet", ha="center", transform=ax.transAxes)


def _nearest(found: Curves, time: float, gain: float) -> str:
    """What is drawn nearest to a point, in words."""
    if np.isnan(found.times).all():
        return "not there yet"
    i = int(np.nanargmin(np.abs(found.times - time)))
    distance = np.abs(found.gains[i] - gain)
    if np.isnan(distance).all():
        return f"t = {time:.3g}"
    j = int(np.nanargmin(distance))
    feature = f"feature {j} (λ = {found.lam[j]:.3g}, ρ = {found.rho[j]:.3g})"
    return f"t = {found.times[i]:.3g}: {feature} has w̄ = {found.gains[i, j]:.3g}"


def _fates(run: Run, found: Curves) -> list[Status]:
    if isinstance(run, Trajectory):
        return [finding.status for finding in diagnose(run).findings]
    return list(map(_fate, found.gains.T, found.plateau))


def _fate(gains: np.ndarray, plateau: float) -> Status:
    """What became of a feature, by its gains (t,) and plateau alone."""
    if np.isnan(gains[-1]):
        return Status.failed
    if plateau > 0 and abs(gains[-1] / plateau - 1) < LEARNED:
        return Status.learned
    return Status.collapsed if gains[-1] < gains[0] else Status.growing


def _effective_rank(run: Run, found: Curves) -> np.ndarray:
    saved = run.values if isinstance(run, Trajectory) else run
    if "effective_rank" in saved:
        values: xr.DataArray | Any = saved["effective_rank"]
        return np.asarray(values)
    share = found.gains / found.gains.sum(axis=1, keepdims=True)
    return np.exp(-(share * np.log(np.where(share > 0, share, 1))).sum(axis=1))
