"""Views of a stored sweep: what each shows, its picture, and the axes to choose a value of."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from jepa_sim import plot

INCHES, DPI = (6.4, 3.6), 150
LAST = "gain at the last time"  # a phase diagram can show it; it is no variable of a run


@dataclasses.dataclass(frozen=True)
class View:
    """One kind of picture.

    free: axes that the picture shows; of all others one value is chosen.  needs: variables that the
    picture takes, and that have these axes.  draw: draws a selection on one axes of a figure.
    """

    free: tuple[str, ...]
    needs: tuple[str, ...]
    draw: Callable[[xr.Dataset, Any], object]

    def fits(self, run: xr.Dataset) -> bool:
        """Whether a run has what the picture needs."""
        dims = {str(name) for name in self.needs if name in run for name in run[name].dims}
        return set(self.needs) <= set(run.data_vars) and set(self.free) <= dims

    def axes(self, run: xr.Dataset) -> list[str]:
        """The axes of which one value is to be chosen: those that have several."""
        dims = dict.fromkeys(str(name) for need in self.needs for name in run[need].dims)
        fixed = {*self.free, "time"}
        return [name for name in dims if name not in fixed and run.sizes[name] > 1]

    def picture(self, run: xr.Dataset, at: Mapping[str, int]) -> Any:
        """The figure of a selection; only that part of the run is read.

        at: axis → number of its value. An axis that is left out has its first value, time its last.
        """
        kept = [name for name in (*self.needs, "t", "lam", "rho", "plateau") if name in run]
        chosen = {
            str(name): -1 if name == "time" else at.get(str(name), 0)
            for name in run[kept].dims
            if name not in self.free
        }
        found = run[kept].isel(chosen).compute()
        figure = empty()
        with plot.style():
            self.draw(found, figure.subplots())
            figure.suptitle(_where(run, {name: chosen[name] for name in self.axes(run)}))
        return figure


def _curves(run: xr.Dataset, ax: Any) -> None:
    plot.trajectories(run, ax)
    plot.rho_bar(ax.figure, [ax])


def _learned(against: str, times: str) -> View:
    def draw(run: xr.Dataset, ax: Any) -> None:
        plot.critical_times(run, ax, against=against, fraction=_fraction(run), times=times)

    return View(("objective", "feature"), (times,), draw)


def _order(run: xr.Dataset, ax: Any) -> None:
    plot.order_matrix(run, ax, fraction=_fraction(run))


def _fraction(run: xr.Dataset) -> float:
    return float(run.critical_fraction) if "critical_fraction" in run.coords else 0.5


VIEWS = {
    "curves": View(("time", "feature"), ("features",), _curves),
    "learned when, by ρ": _learned("rho", "critical_time"),
    "learned when, by λ": _learned("lam", "critical_time"),
    "learned for good when, by ρ": _learned("rho", "learned_time"),
    "order of learning": View(("feature",), ("critical_time",), _order),
    "spectrum": View(("feature",), ("lam", "rho"), plot.spectrum),
}


def numbers(run: xr.Dataset) -> list[str]:
    """What a phase diagram can show: variables without time that have two axes or more."""
    still = [str(name) for name, value in run.data_vars.items() if "time" not in value.dims]
    known = ([LAST] if "features" in run else []) + still
    return [number for number in known if len(axes_of(run, number)) >= 2]


def axes_of(run: xr.Dataset, number: str) -> list[str]:
    """The axes that a phase diagram of a number can have."""
    dims = run["features" if number == LAST else number].dims
    return [str(name) for name in dims if name != "time" and run.sizes[name] > 1]


def phase_diagram(number: str, rows: str, columns: str) -> View:
    """The view of one number over two axes, `rows` upwards."""
    if number == LAST:
        return View((rows, columns), ("features",), partial(_draw_last, axes=(rows, columns)))
    return View((rows, columns), (number,), partial(_draw_number, number, axes=(rows, columns)))


def named(run: xr.Dataset, axis: str) -> list[str]:
    """The values of an axis, in words."""
    if axis not in run.coords:
        return [str(i) for i in range(run.sizes[axis])]
    values = run[axis].values
    return [f"{v:.6g}" if values.dtype.kind == "f" else str(v) for v in values]


def empty(inches: tuple[float, float] = INCHES, dpi: int = DPI) -> Any:
    """A figure without axes, which pyplot does not keep open."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with plot.style():
        figure = Figure(inches, dpi)
    FigureCanvasAgg(figure)
    return figure


def _draw_number(number: str, run: xr.Dataset, ax: Any, *, axes: tuple[str, str]) -> None:
    is_tau = number.endswith(("order_rho", "order_lam"))  # Kendall's τ
    limits = (-1.0, 1.0) if is_tau else None
    plot.phase_diagram(run[number].transpose(*axes), ax, limits=limits)


def _draw_last(run: xr.Dataset, ax: Any, *, axes: tuple[str, str]) -> None:
    last = run.features.transpose(*axes).rename(LAST)
    plot.phase_diagram(last.assign_attrs(long_name=f"encoder {LAST}"), ax)


def _where(run: xr.Dataset, chosen: Mapping[str, int]) -> str:
    """The chosen values, for the title of a picture."""
    words = [f"{axis.replace('_', ' ')} = {named(run, axis)[i]}" for axis, i in chosen.items()]
    return ", ".join(words)


def failures(run: xr.Dataset) -> str:
    """How many trajectories there are, failed, or are not computed yet, in words."""
    results = np.asarray(run.result)
    failed, pending = int((results > 0).sum()), int((results < 0).sum())
    return f"{results.size:,} trajectories, {failed:,} failed, {pending:,} not computed yet"
