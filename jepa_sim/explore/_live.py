"""The live figure: drawn by `jepa_sim.plot`, and redrawn fast enough to follow a slider.

Most of the time of drawing goes into text and axes. They are drawn once and kept as a picture until
the limits of the axes change, which are whole decades. Only curves and points are drawn again.
"""

import io
from typing import Any

import numpy as np
import xarray as xr

from jepa_sim import plot
from jepa_sim.explore._closed import solve
from jepa_sim.explore._setting import Setting
from jepa_sim.explore._stored import empty

INCHES, DPI = (9.6, 3.0), 120


class Live:
    """Gains of JEPA and MAE against time, and λt* against ρ, for one setting after another."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.found: xr.Dataset = solve(setting)
        self._figure, self._axes = _empty()
        _draw(self.found, self._axes)
        canvas = self._figure.canvas
        canvas.draw()  # the layout is made once
        self._figure.set_layout_engine("none")
        self._frames: list[Any] = [None] * len(self._axes)  # limits and key of each axes in …
        self._backgrounds: list[Any] = [None] * len(self._axes)  # … its picture without curves
        self.png = self._drawn()

    def show(self, setting: Setting) -> bytes:
        """Solve a setting and draw it; the picture as PNG."""
        self.setting, self.found = setting, solve(setting)
        self.png = self._drawn()
        return self.png

    @property
    def remark(self) -> str:
        """What may surprise in this setting: ρ above 1, and where the closed form does not hold."""
        return " ".join(filter(None, (self.setting.remark, self.found.attrs["remark"])))

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (width, height) of the picture."""
        return self._figure.canvas.get_width_height()

    def words(self, x: float, y: float) -> str:
        """What is drawn at a pixel, counted from the upper left corner."""
        return words_at(self._figure, x, y)

    def saved(self, suffix: str) -> bytes:
        """The picture with the setting above it, as svg, pdf or png."""
        figure, axes = _empty()
        _draw(self.found, axes)
        with plot.style():
            figure.suptitle(self.setting.words)
            return saved(figure, suffix)

    def _drawn(self) -> bytes:
        canvas = self._figure.canvas
        for ax in self._axes:
            for artist in (*ax.lines, *ax.collections, *ax.texts):
                artist.remove()
        _draw(self.found, self._axes)
        for i, ax in enumerate(self._axes):
            moving = (*ax.collections, *ax.lines, *ax.texts)
            frame = (*ax.get_xlim(), *ax.get_ylim(), *ax.get_legend_handles_labels()[1])
            if frame == self._frames[i]:
                canvas.restore_region(self._backgrounds[i])
            else:
                for artist in moving:
                    artist.set_animated(True)  # left out of the background
                self._frames[i], self._backgrounds[i] = frame, self._background(i)
            for artist in moving:
                ax.draw_artist(artist)
        return _png(canvas)

    def _background(self, i: int) -> Any:
        """The column of the picture that has axes i, drawn without what is animated."""
        from matplotlib.transforms import Bbox

        canvas, figure = self._figure.canvas, self._figure
        width, share = figure.bbox.width, 1 / len(self._axes)
        column = Bbox([[i * share * width, 0], [(i + 1) * share * width, figure.bbox.height]])
        figure.patch.set_clip_box(column)  # else it would paint over the other columns
        figure.patch.draw(canvas.get_renderer())
        self._axes[i].draw(canvas.get_renderer())
        return canvas.copy_from_bbox(column)


def _empty() -> tuple[Any, list[Any]]:
    """A figure that pyplot does not keep open, and its axes."""
    figure = empty(INCHES, DPI)
    with plot.style():
        return figure, list(figure.subplots(1, 3))


def _draw(found: xr.Dataset, axes: list[Any]) -> None:
    with plot.style():
        for ax, objective in zip(axes, found.objective.values, strict=False):
            _draw_gains(found.sel(objective=objective), ax, plot.OBJECTIVES[objective][0])
        _name_features(found, axes[0])
        _draw_profile(found, axes[-1])


def _draw_gains(run: xr.Dataset, ax: Any, name: str) -> None:
    plot.trajectories(run, ax)
    late = run.critical_time.values[_by_rho(run)]
    for line, time in zip(list(ax.lines), late, strict=True):
        if time > 0:
            ax.axvline(time, color=line.get_color(), lw=0.8, ls=":")
    ax.set(ylim=(0, 1.05), title=f"{name} (dotted: learned)")


def _name_features(found: xr.Dataset, ax: Any) -> None:
    """What the colours of the curves mean, in the corner where there are none."""
    order = _by_rho(found)
    for row, (line, i) in enumerate(zip(ax.lines, order, strict=False)):
        words = f"feature {i}: λ = {found.lam.values[i]:.3g}, ρ = {found.rho.values[i]:.3g}"
        place = (0.03, 0.92 - 0.07 * row)
        ax.text(*place, words, color=line.get_color(), transform=ax.transAxes)


def _by_rho(found: xr.Dataset) -> np.ndarray:
    """Features in the order in which `plot.trajectories` draws them."""
    return np.argsort(found.rho.values, kind="stable")


def _draw_profile(found: xr.Dataset, ax: Any) -> None:
    """λt* of the features, on the curves of features of any ρ."""
    plot.critical_times(found, ax, times="scaled_time")
    profile, rho = found.profile.values, found.profile_rho.values
    for objective, curve in zip(found.objective.values, profile, strict=True):
        later = curve > 0  # not there from the start
        ax.plot(rho[later], curve[later], color=plot.OBJECTIVES[objective][1], lw=0.8)
    late = profile[profile > 0]
    low, high = (late.min(), late.max()) if late.size else (1.0, 10.0)
    limits = 10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high))
    for line in ax.lines:  # triangles along the edges
        if line.get_marker() in ("v", "^"):
            edge = limits[0] * 1.2 if line.get_marker() == "v" else limits[1] / 1.2
            line.set_ydata(np.full_like(line.get_ydata(), edge))
    ax.set(ylim=limits, ylabel="learned at t*, times λ", title="when a feature is learned")
    ax.get_legend().set_loc("center right")


def words_at(figure: Any, x: float, y: float) -> str:
    """What the axes at a pixel of a figure's picture, from the upper left, say is drawn there."""
    height = figure.bbox.height
    for ax in figure.axes:
        if ax.bbox.contains(x, height - y):
            return ax.format_coord(*map(float, ax.transData.inverted().transform((x, height - y))))
    return ""


def saved(figure: Any, suffix: str, dpi: int = 200) -> bytes:
    """A figure as the bytes of a file."""
    file = io.BytesIO()
    figure.savefig(file, format=suffix, dpi=dpi)
    return file.getvalue()


def _png(canvas: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(
        file, "png", compress_level=1
    )
    return file.getvalue()
