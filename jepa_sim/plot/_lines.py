"""Gains against time: how features are learned, and lost."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jepa_sim.arguments.kinds import checked
from jepa_sim.plot._selection import Curves, Result, curves
from jepa_sim.plot._style import FLOW_TIME, PAGE, one_panel, panels, pyplot, rho_colours, style
from jepa_sim.results.diagnose import diagnose
from jepa_sim.results.observables import rank_of
from jepa_sim.results.status import Status, by_gains
from jepa_sim.results.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Flags = Sequence[bool] | np.ndarray

FEW = 8  # features whose lines are drawn thick
DASHES = (0, (3, 1))
# of labelled lines, from Okabe & Ito's palette
WARM, COLD = ("#D55E00", "#E69F00", "#CC79A7"), ("#0072B2", "#56B4E9", "#009E73")
FATES = {
    Status.learned: "#0072B2",
    Status.growing: "#009E73",
    Status.evicted: "#CC79A7",
    Status.stuck: "#E69F00",
    Status.collapsed: "#D55E00",
    Status.unlearnable: "#999999",
    Status.undetermined: "#56B4E9",
    Status.failed: "#000000",
}


@checked
def trajectories(
    run: Result,
    ax: "Axes | None" = None,
    *,
    noisy: Flags | None = None,
    labels: Mapping[int, str] | None = None,
) -> "Axes":
    """Encoder gain of every feature against time, coloured by its ρ.

    A new figure has the key to the colours; beside axes of yours `rho_bar` draws it.

    A cross marks where a feature lost its latent to another one (`jepa_sim.evictions`); where there
    are few, thin lines show the times.

    run: one trajectory, or a dataset in which all axes but time and feature have been selected.
    noisy: (feature,) which features to draw thick and dashed, over the others.  labels: the names
    of some features, by number. These get a thick line and a colour each, warm for noisy features
    and cold for others, and stand in the legend; all other lines are thin and grey.

    Raises ValueError where `run` has further axes.
    """
    found = curves(run)
    noisy = np.zeros(len(found.rho), bool) if noisy is None else np.asarray(noisy)
    with style():
        is_own, ax = ax is None, one_panel(ax)
        if labels is None:
            _draw_by_rho(ax, found, noisy)
            if is_own:
                rho_bar(ax.figure, [ax])
        else:
            _draw_labelled(ax, found, noisy, labels)
        if _mark_evictions(ax, found) or labels:
            ax.legend(frameon=False, loc="best")
        _time_axis(ax, found.times)
        ax.set(ylim=(0, 1.05 * _top(ax)), ylabel="encoder gain w̄")
    ax.format_coord = lambda x, y: _nearest(found, x, y)
    return ax


def _draw_by_rho(ax: "Axes", found: Curves, noisy: np.ndarray) -> None:
    colours, width = rho_colours(), 0.6 if len(found.rho) > FEW else 1.4
    for i in np.lexsort((found.rho, noisy)):
        line: dict[str, Any] = {"lw": 1.8, "ls": DASHES} if noisy[i] else {"lw": width}
        ax.plot(found.times, found.gains[:, i], color=colours.to_rgba(found.rho[i]), **line)


def _draw_labelled(ax: "Axes", found: Curves, noisy: np.ndarray, labels: Mapping[int, str]) -> None:
    """The lines without a label as one object, which is drawn faster than many."""
    warm, cold = itertools.cycle(WARM), itertools.cycle(COLD)
    for i, name in labels.items():
        line: dict[str, Any] = {"lw": 1.4, "ls": DASHES if noisy[i] else "-"}
        line["color"] = next(warm if noisy[i] else cold)
        ax.plot(found.times, found.gains[:, i], label=name, zorder=2.5 if noisy[i] else 2, **line)
    others = [i for i in range(len(found.rho)) if i not in labels]
    if others:
        rho = f"ρ {found.rho[others].min():.2f} to {found.rho[others].max():.2f}"
        lines = [np.column_stack([found.times, found.gains[:, i]]) for i in others]
        collection = pyplot().matplotlib.collections.LineCollection
        thin = {"colors": "0.75", "linewidths": 0.5, "zorder": 1.5}
        ax.add_collection(collection(lines, label=f"{len(others)} more ({rho})", **thin))


def rho_bar(drawn: "Figure | SubFigure", axes: "Sequence[Axes]") -> None:
    """The key to the colours of `trajectories`, in the figure `drawn`, beside the axes."""
    with style():
        bar = drawn.colorbar(rho_colours(), ax=list(axes), aspect=30, pad=0.02)
        bar.set_label("ρ of the feature")


@checked
def collapse(run: Result, axes: "Sequence[Axes] | None" = None) -> "Sequence[Axes]":
    """What became of every feature: gains, coloured by their fate, and the effective rank.

    run: as for `trajectories`. The fates of a `Trajectory` are those of `jepa_sim.diagnose`. A
    dataset does not have the problem: there they follow from gains and plateaus (dotted).
    axes: two. The effective rank is exp of the entropy of the encoder's singular values; where it
    was not saved, of the gains, which are the singular values where features are aligned (they are
    not while one feature takes the latent of another). Gains of a `Trajectory` that are too small
    for its solver (`floor`) are left out.

    Raises ValueError where `run` has further axes.
    """
    found = curves(run)
    fates = _fates(run, found)
    floor = float(np.max(run.floor)) if isinstance(run, Trajectory) else 0.0
    gains = np.where(found.gains < floor, np.nan, found.gains)
    with style():
        if axes is None:
            _, axes = panels(1, 2, (PAGE, 2.4))
        left, right = axes
        for status, colour in FATES.items():
            which = [i for i, fate in enumerate(fates) if fate is status]
            for i in which:
                left.plot(found.times, gains[:, i], color=colour, lw=1.2)
                if found.plateau[i] > 0:
                    left.axhline(found.plateau[i], color=colour, lw=0.6, ls=":")
            if which:
                left.plot([], [], color=colour, label=f"{len(which)} {status.value}")
        _mark_evictions(left, found)
        left.set(yscale="log", ylabel="encoder gain w̄")
        left.legend(frameon=False)
        right.plot(found.times, _effective_rank(run, gains), color="0.2", lw=1.4)
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
        ax.text(0.5, 0.5, "not computed yet", ha="center", transform=ax.transAxes)


def _nearest(found: Curves, time: float, gain: float) -> str:
    """What is drawn nearest to a point, in words."""
    if np.isnan(found.times).all():
        return "not computed yet"
    i = int(np.nanargmin(np.abs(found.times - time)))
    distance = np.abs(found.gains[i] - gain)
    if np.isnan(distance).all():
        return f"t = {time:.3g}"
    j = int(np.nanargmin(distance))
    feature = f"feature {j} (λ = {found.lam[j]:.3g}, ρ = {found.rho[j]:.3g})"
    words = f"t = {found.times[i]:.3g}: {feature} has w̄ = {found.gains[i, j]:.3g}"
    lost = [loss for loss in found.losses if loss.feature == j and loss.by is not None]
    return words + "".join(f", evicted by feature {x.by} at {x.lost:.4g}" for x in lost)


def _mark_evictions(ax: "Axes", found: Curves) -> bool:
    """Mark where features lost their latents, with a legend entry. Whether there are any."""
    taken = [loss for loss in found.losses if loss.by is not None]
    for loss in taken:
        gain = np.interp(loss.lost, found.times, found.gains[:, loss.feature])
        if len(taken) <= FEW:
            ax.axvline(loss.lost, color="0.4", lw=0.6, ls=":", zorder=1)
        ax.plot(loss.lost, gain, "x", color="black", ms=4, mew=1.0, zorder=3)
    if taken:
        words = f"{len(taken)} eviction{'s'[: len(taken) > 1]}"
        ax.plot([], [], "x", color="black", ms=4, mew=1.0, label=words)
    return bool(taken)


def _fates(run: Result, found: Curves) -> list[Status]:
    if isinstance(run, Trajectory):
        return [finding.status for finding in diagnose(run).findings]
    lost = {x.feature for x in found.losses if x.by is not None and np.isinf(x.again)}
    columns = enumerate(zip(found.gains.T, found.plateau, strict=True))
    return [by_gains(gains, plateau, is_evicted=i in lost) for i, (gains, plateau) in columns]


def _effective_rank(run: Result, gains: np.ndarray) -> np.ndarray:
    """(t,) of saved times; NaN where all gains are too small to be known."""
    saved = run.values if isinstance(run, Trajectory) else run
    if "effective_rank" in saved:
        values: xr.DataArray | Any = saved["effective_rank"]
        return np.asarray(values)
    ranks = rank_of(jnp.asarray(np.nan_to_num(gains)))
    return np.where(np.isnan(gains).all(axis=-1), np.nan, ranks)
