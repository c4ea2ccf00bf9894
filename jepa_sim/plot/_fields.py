"""Numbers over two axes, as colours."""

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.plot._selection import Result, learned
from jepa_sim.plot._style import COLUMN, look, one_panel, pyplot, style
from jepa_sim.sweeps.axes import AXES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = {"rho": "ρ", "lam": "λ"}
DECADES = 3  # positive numbers that span more are coloured by their logarithm
NEVER, MISSING = "#222222", "#dddddd"
MOST_TICKS = 20
MOST_LETTERS = 36  # of all names along a horizontal axis
MOST_NAMED = 12  # values whose names fit beside an axis


@checked
def phase_diagram(
    values: xr.DataArray,
    ax: "Axes | None" = None,
    *,
    limits: tuple[float, float] | None = None,
    contour: float | None = None,
    bar: bool = True,
) -> "Axes":
    """One number of a sweep over two of its axes, the first upwards, the second to the right.

    values: two axes; its `long_name` and `units` are the key. Numbers of both signs are red above
    and blue below 0; positive ones that span more than three decades are coloured by their
    logarithm, 0 among them is white. Black: inf, as the time of a feature that is never learned.
    Grey: NaN, as of runs that failed or are not computed yet. Axes whose values are neither evenly
    nor geometrically spaced are drawn as a table.
    limits: of the colours (None: those of the values); what lies beyond has their colour.
    contour: a value to draw a line at.  bar: whether to draw the key beside the axes.

    Raises ValueError where `values` has not two axes.
    """
    if values.ndim != 2:
        checks.fail("values", "be of two axes", f"of {[str(name) for name in values.dims]}")
    rows, columns = (_Axis.of(values, str(name)) for name in values.dims)
    numbers = np.asarray(values.values, dtype=float)
    with style():
        ax = one_panel(ax, 0.8 * COLUMN)
        colours = _colours(numbers, limits)
        low, high = colours["norm"].vmin, colours["norm"].vmax
        drawn = np.clip(numbers, low, high)
        drawn[np.isposinf(numbers)] = 2 * abs(high) + 1  # beyond the colours, but not masked
        if low > 0 and limits is None:
            drawn[numbers == 0] = low / 2  # below the colours, which is white
        mesh = ax.pcolormesh(columns.edges, rows.edges, drawn, **colours, rasterized=True)
        ax.set_facecolor(MISSING)
        if contour is not None:
            levels = {"levels": [contour], "colors": "k", "linewidths": 0.8}
            ax.contour(columns.places, rows.places, numbers, **levels)
        columns.draw(ax, "x")
        rows.draw(ax, "y")
        if bar:
            extend = "max" if np.isposinf(numbers).any() else "neither"
            key = ax.figure.colorbar(mesh, ax=ax, aspect=30, extend=extend)
            key.set_label(_named(values))
    ax.format_coord = lambda x, y: _value_at(numbers, rows, columns, values.name or "value", x, y)
    return ax


@checked
def order_matrix(
    run: Result,
    ax: "Axes | None" = None,
    *,
    by: str = "lam",
    fraction: float = 0.5,
    times: str = "critical_time",
    bar: bool = True,
) -> "Axes":
    """Which of any two features is learned first, and by how much: log₁₀ of t*(column)/t*(row).

    run: one trajectory, or a dataset of which all axes but feature have been selected. Features are
    sorted by `by` ("lam" or "rho"), the largest first. Where they are learned in this order, all
    above the diagonal is red. Grey: neither is ever learned, or one is not known.
    fraction: of each feature's own plateau.  times: "critical_time", the first time there, or
    "learned_time", the last.  bar: whether to draw the key beside the axes.

    Raises ValueError where `run` has further axes, or `by` is something else.
    """
    if by not in LETTERS:
        checks.fail("by", f"be one of {list(LETTERS)}", repr(by))
    found = learned(run, fraction, times)
    if len(found.objectives) != 1:
        checks.fail("run", "be of one objective", f"of {list(found.objectives)}")
    order = np.argsort(-getattr(found, by), kind="stable")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(found.times[0][order])
        later = logs[None, :] - logs[:, None]
    at = found.times[0][order]
    # two features that start there: ln 0 − ln 0 is NaN
    later[(at[None, :] == at[:, None]) & np.isfinite(at)[:, None]] = 0
    finite = np.abs(later[np.isfinite(later)])
    most = finite.max() if finite.any() else 1.0
    with style():
        ax = one_panel(ax, 0.8 * COLUMN)
        ranks = 1 + np.arange(len(order))
        colours = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        edges = (0.5, len(order) + 0.5, len(order) + 0.5, 0.5)
        mesh = ax.imshow(np.clip(later, -most, most), extent=edges, **colours)
        ax.set_facecolor(MISSING)
        if len(order) <= MOST_NAMED:
            names = [f"{found.lam[i]:.2g}, {found.rho[i]:.2g}" for i in order]
            ax.set_xticks(ranks, names, rotation=90)
            ax.set_yticks(ranks, names)
            words = f"λ, ρ of the feature, by {LETTERS[by]}"
        else:
            words = f"rank by {LETTERS[by]}, largest first"
        ax.set(xlabel=words, ylabel=words, title=f"order of {look(found.objectives[0])[0]}")
        if bar:
            key = ax.figure.colorbar(mesh, ax=ax, aspect=30)
            key.set_label("log₁₀ of t*(column)/t*(row)\nred: the row is learned first")
    mesh.set_mouseover(False)  # `format_coord` has the words already

    def words_at(x: float, y: float) -> str:
        i, j = (int(np.clip(round(value), 1, len(order))) - 1 for value in (y, x))
        first, second = (
            f"feature {k} (ρ = {found.rho[k]:.3g}) {_when(found.times[0, k])}"
            for k in order[[i, j]]
        )
        return f"row: {first}; column: {second}"

    ax.format_coord = words_at
    return ax


def _when(time: float) -> str:
    """A critical time in words."""
    if time == 0:
        return "there from the start"
    return "never" if np.isinf(time) else f"at t* = {time:.4g}"


class _Axis(NamedTuple):
    """One axis of a dataset as an axis of a figure: n cells at `places`, n + 1 `edges`."""

    name: str
    label: str
    values: np.ndarray
    places: np.ndarray
    edges: np.ndarray
    scale: str  # linear, log, or table: cells of one size, with names

    @classmethod
    def of(cls, values: xr.DataArray, name: str) -> "_Axis":
        at = values[name].values if name in values.coords else np.arange(values.sizes[name])
        named = AXES[name].long_name if name in AXES else name.replace("_", " ")
        about = values[name].attrs
        units = about.get("units", "1")
        label = about.get("long_name", named) + (f" ({units})" if units != "1" else "")
        scale = _scale(at)
        if scale == "table":
            places = np.arange(len(at), dtype=float)
            return cls(name, label, at, places, np.arange(len(at) + 1) - 0.5, scale)
        places = at.astype(float)
        line = np.log(places) if scale == "log" else places
        step = np.diff(line)
        middles = (line[1:] + line[:-1]) / 2
        edges = np.concatenate([[line[0] - step[0] / 2], middles, [line[-1] + step[-1] / 2]])
        return cls(name, label, at, places, np.exp(edges) if scale == "log" else edges, scale)

    def draw(self, ax: "Axes", side: str) -> None:
        axis = ax.xaxis if side == "x" else ax.yaxis
        axis.set_label_text(self.label)
        if self.scale == "log":
            ax.set(**{f"{side}scale": "log"})
        if self.scale == "table":
            is_float = self.values.dtype.kind == "f"
            names = [f"{v:.4g}" if is_float else str(v) for v in self.values]
            room = MOST_TICKS
            if side == "x":  # where names are long, fewer fit side by side
                room = min(room, max(1, MOST_LETTERS // (1 + max(map(len, names)))))
            every = -(-len(names) // room)
            axis.set_ticks(self.places[::every], names[::every])
            axis.set_tick_params(which="both", length=0)

    def nearest(self, place: float) -> int:
        if self.scale == "log":
            return int(np.abs(np.log(self.places) - np.log(max(place, 1e-300))).argmin())
        return int(np.abs(self.places - place).argmin())


def _scale(at: np.ndarray) -> str:
    whole = at.dtype.kind in "iu" or (at.dtype.kind == "f" and (at == np.round(at)).all())
    if at.dtype.kind not in "iuf" or len(at) < 3 or (whole and len(at) <= MOST_NAMED):
        return "table"
    if np.allclose(np.diff(at), at[1] - at[0], rtol=1e-3, atol=0):
        return "linear"
    if (at > 0).all() and np.allclose(at[1:] / at[:-1], at[1] / at[0], rtol=1e-3, atol=0):
        return "log"
    return "table"


def _colours(numbers: np.ndarray, limits: tuple[float, float] | None) -> dict[str, Any]:
    """Map and norm for these numbers."""
    colors = pyplot().matplotlib.colors
    finite = numbers[np.isfinite(numbers)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (0.0, 1.0))
    signed = low < 0 < high
    if signed and limits is None:
        low, high = -max(-low, high), max(-low, high)
    map_ = pyplot().get_cmap("RdBu_r" if signed else "cividis")
    map_ = map_.with_extremes(over=NEVER, under="white")
    if signed:
        return {"cmap": map_, "norm": colors.TwoSlopeNorm(0, low, high)}
    if low == high:  # one colour for one number
        low, high = low - 0.5, high + 0.5
    above = finite[finite > 0].min(initial=np.inf) if low == 0 else low
    if 0 < above < high / 10**DECADES:
        return {"cmap": map_, "norm": colors.LogNorm(above, high)}
    return {"cmap": map_, "norm": colors.Normalize(low, high)}


def _named(values: xr.DataArray) -> str:
    """What is shown, without its remarks, and its units, in lines that fit beside the axes."""
    name, units = values.attrs.get("long_name", values.name or ""), values.attrs.get("units", "1")
    lines = textwrap.wrap(str(name).split(" (")[0], 32)
    return "\n".join(lines if units in ("1", "unknown") else [*lines, f"({units})"])


def _value_at(
    numbers: np.ndarray, rows: _Axis, columns: _Axis, name: Any, x: float, y: float
) -> str:
    i, j = rows.nearest(y), columns.nearest(x)
    where = ", ".join(
        f"{axis.name} = {value if isinstance(value, str) else format(value, '.4g')}"
        for axis, value in ((rows, rows.values[i]), (columns, columns.values[j]))
    )
    return f"{where}: {name} = {numbers[i, j]:.4g}"
