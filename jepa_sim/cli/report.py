"""What the command line prints of a result and of this machine."""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from jepa_sim.arguments.types import ResultCode
from jepa_sim.campaigns.store.store import PENDING
from jepa_sim.results.variables import FOR_GOOD, RISES_ONCE
from jepa_sim.sweeps.axes import AXES
from jepa_sim.sweeps.chunks import host_memory
from jepa_sim.sweeps.dataset import remarks, versions

MOST_FEATURES = 6  # columns of the table of critical times
MOST_ROWS = 30
WIDE = 160  # columns, where nothing says how many there are
ORDERS = {
    "order_rho": "τ(ρ)",
    "order_lam": "τ(λ)",
    "learned_order_rho": "τ(ρ),\nfor good",
    "learned_order_lam": "τ(λ),\nfor good",
}
PROVENANCE = ("created", "solver", "precision", "device", "jepa_sim_version", "jax_version")


def print_run(dataset: xr.Dataset, path: Path) -> None:
    """The axes of a sweep, where it came from, when features are learned, and what failed."""
    console = _console()
    count, times = dataset.result.size, dataset.sizes["time"]
    console.print(f"[bold]{escape(str(path))}[/]: {count:,} trajectories at {times} times each")
    console.print(_axes(dataset))
    console.print(_pairs([(name, str(dataset.attrs.get(name, "?"))) for name in PROVENANCE]))
    times = _median_times(dataset)
    console.print(*_critical_times(dataset, times, console), sep="\n")
    if "features" in dataset:
        last = dataset.features.isel(time=-1).sel(scale=float(dataset.scale.min()))
        gains = _median(last)
        learned = times.critical_fraction * dataset.plateau.median("spectrum")
        if not np.isfinite(times.critical_time).all() or (gains < learned).any():
            console.print(*_final_gains(dataset, gains, console), sep="\n")
    for line in (*remarks(dataset), *_failures(dataset)):
        console.print(line)


def print_info(cache: Path | None) -> None:
    """Versions, devices, precision and the cache of compiled programs."""
    rows = list(versions().items())
    rows += [("device", _device(device)) for device in jax.devices()]
    rows.append(("processor cores", str(os.cpu_count())))
    rows.append(("precision", "float64, or float32 by `precision` in [solve]"))
    rows.append(("compiled programs", "not kept" if cache is None else _folder(cache)))
    _console().print(_pairs(rows))


def _console() -> Console:
    """As wide as the terminal or as COLUMNS says; a pipe has no width, so it gets a large one."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


def _heading(axis: str) -> str:
    return AXES[axis].symbol if axis in AXES else axis


def _axes(dataset: xr.Dataset) -> Table:
    table = _table(("axis", "values", "meaning"), title="What was swept", title_justify="left")
    for name in dataset.result.dims:
        values = dataset[name].values
        table.add_row(str(name), _span(values), dataset[name].attrs.get("long_name", ""))
    table.add_row("feature", str(dataset.sizes["feature"]), "features of each spectrum")
    return table


def _span(values: np.ndarray) -> str:
    """All values, or the first, the last and how many."""
    words = [f"{value:g}" if value.dtype.kind in "iuf" else str(value) for value in values]
    if len(words) <= MOST_FEATURES:
        return ", ".join(words)
    return f"{words[0]}, {words[1]}, … {words[-1]} ({len(words)})"


def _critical_times(dataset: xr.Dataset, shown: xr.Dataset, console: Console) -> Iterator[Any]:
    """When features are learned, by all axes but scale, seed and spectrum."""
    orders = {words: shown[name] for name, words in ORDERS.items() if name in shown}
    for_good = "; for good: of the last time there" if "learned_order_rho" in shown else ""
    return _by_feature(
        dataset,
        shown.critical_time,
        _time,
        f"Time at which a feature reaches {float(shown.critical_fraction):g} of its plateau, "
        f"from ε = {float(shown.scale):g}",
        "flow time t = kα; start: it starts there or above; median over seeds and spectra; "
        f"τ: Kendall's, of being learned early and ρ, or λ{for_good}",
        console,
        orders,
    )


def _median_times(dataset: xr.Dataset) -> xr.Dataset:
    """Medians over seeds and spectra at the smallest scale; NaN where no plateau is known."""
    same = FOR_GOOD.values() if RISES_ONCE in dataset.attrs else ()
    names = ["critical_time", *(name for name in ORDERS if name in dataset and name not in same)]
    chosen = dataset[[*names, "plateau"]].sel(
        critical_fraction=float(dataset.critical_fraction[0]), scale=float(dataset.scale.min())
    )
    chosen["critical_time"] = chosen.critical_time.where(chosen.plateau.notnull())
    return _median(chosen[names])


def _median(found: Any) -> Any:
    """Over seeds and spectra; NaN where all are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        return found.median(("seed", "spectrum")).compute()


def _final_gains(dataset: xr.Dataset, gains: xr.DataArray, console: Console) -> Iterator[Any]:
    """What became of features that were not learned, or not for good."""
    title = "Encoder gain of each feature at the last time"
    caption = "median over seeds and spectra"
    return _by_feature(dataset, gains, "{:.3g}".format, title, caption, console)


def _by_feature(
    dataset: xr.Dataset,
    shown: xr.DataArray,
    words: Callable[[float], str],
    title: str,
    caption: str,
    console: Console,
    beside: Mapping[str, xr.DataArray] = {},
) -> Iterator[Any]:
    """The title, tables that fit on the console, and the caption.

    Tables have a column for each feature, and a row for each point of the other axes of what is
    shown.  words: of a number.  beside: numbers of the points by heading, for columns on the right.
    """
    axes = [str(name) for name in shown.dims if name != "feature"]
    points = list(itertools.product(*(shown[name].values for name in axes)))
    if len(points) > MOST_ROWS:
        caption += f"; the first {MOST_ROWS} of {len(points)} rows"
    columns = _feature_columns(dataset)
    rows = []
    for point in points[:MOST_ROWS]:
        at = dict(zip(axes, point, strict=True))
        values, others = shown.sel(at).values, [float(found.sel(at)) for found in beside.values()]
        row = [value if isinstance(value, str) else f"{value:g}" for value in point]
        row += [words(values[i]) for _, i in columns]
        rows.append(row + ["–" if np.isnan(other) else f"{other:.2f}" for other in others])
    headings = [*map(_heading, axes), *(heading for heading, _ in columns), *beside]
    yield f"[i]{title}[/]"
    yield from _fitting(console, headings, rows, len(axes))
    yield f"[dim]{caption}[/]"


def _fitting(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], kept: int
) -> Iterator[Table]:
    """As many tables as it takes for each to fit on the console.

    kept: how many columns on the left every table has.
    """

    def part(first: int, end: int) -> Table:
        table = _table([*headings[:kept], *headings[first:end]])
        for row in rows:
            table.add_row(*row[:kept], *row[first:end])
        return table

    endless, first = console.options.update(width=10_000), kept
    for end in range(kept + 1, len(headings) + 1):
        wide = console.measure(part(first, end), options=endless).maximum > console.width
        if wide and end > first + 1:
            yield part(first, end - 1)
            first = end - 1
    yield part(first, len(headings))


def _table(headings: Sequence[str], **options: Any) -> Table:
    """A table that breaks long words, where others would be cut."""
    return Table(*(Column(heading, overflow="fold") for heading in headings), **options)


def _time(value: float) -> str:
    if np.isnan(value):
        return "unknown"
    if value == 0:
        return "start"
    return f"{value:.3g}" if np.isfinite(value) else "never"


def _feature_columns(dataset: xr.Dataset) -> list[tuple[str, int]]:
    """(heading, feature), all features or some between the largest and the smallest ρ."""
    rho, lam = dataset.rho.values, dataset.lam.values
    order = np.argsort(-rho[0], kind="stable")
    kept = min(MOST_FEATURES, len(order))
    chosen = order[np.linspace(0, len(order) - 1, kept).round().astype(int)]
    if len(rho) > 1:
        return [(f"feature {i}", int(i)) for i in chosen]
    return [(f"ρ = {rho[0, i]:.3g}\nλ = {lam[0, i]:.3g}", int(i)) for i in chosen]


def _failures(dataset: xr.Dataset) -> list[str]:
    codes, counts = np.unique(dataset.result.values, return_counts=True)
    found = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    pending = found.pop(PENDING, 0)  # of a run in a folder
    failed = [
        f"[red]{count:,} failed:[/] {ResultCode(code).reason}"
        for code, count in found.items()
        if code
    ]
    if pending:
        failed.append(f"{pending:,} are not computed yet.")
    return failed or ["Every trajectory reached its last time."]


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    table = _table(("", ""), show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(f"[bold]{name.removesuffix('_version')}[/]", escape(value))
    return table


def _folder(path: Path) -> str:
    files = [file for file in path.glob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    return f"{path} ({len(files)} files, {size:.1f} MiB)"


def _device(device: Any) -> str:
    unknown = host_memory() if device.platform == "cpu" else np.inf
    memory = (device.memory_stats() or {}).get("bytes_limit", unknown)
    room = f"{memory / 2**30:.1f} GiB" if np.isfinite(memory) else "memory unknown"
    return f"{device.platform}: {device.device_kind}, {room}"
