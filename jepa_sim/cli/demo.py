"""The demonstration: from two photographs to what JEPA and MAE learn of them, and when.

Two views of every patch differ in light and in sensor noise (`data/views.py`). Light is the noisy
part: mean brightness and the two gradients have the largest λ of all features, but a small ρ. When
does each objective learn them, and when the structure of the scene?

1. Moments from a stream of pairs of views.
2. The reduced theory in closed form: both objectives, all depths, scales and features.
3. The flow of all matrices at one scale: how far is the reduced theory from it? Once with light
   along the patches' own patterns, once with flat light, where the moments do not commute.
4. A JEPA from a random start, where cleaner features evict light (`cli/eviction.py`).
5. Tables, figures and the datasets.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from rich import box
from rich.console import Console
from rich.table import Column, Table
from tqdm.auto import tqdm

from jepa_sim import plot
from jepa_sim.campaigns.store import write_netcdf
from jepa_sim.cli import eviction
from jepa_sim.data.images import Patches, read_photograph
from jepa_sim.data.moments import Moments
from jepa_sim.data.views import Lit, flat_patterns
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA, MAE, AbstractObjective
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import Balanced
from jepa_sim.results.observables import features
from jepa_sim.solvers.base import simulate
from jepa_sim.solvers.closed_form import ClosedForm
from jepa_sim.solvers.flow import GradientFlow
from jepa_sim.sweeps.grid import CriticalGrid, Grid
from jepa_sim.sweeps.sweep import sweep

OBJECTIVES = (JEPA(), MAE())
DEPTHS = (1, 2, 3, 5)
SCALES = (1e-2, 1e-3, 1e-4)
SHOWN_SCALE, SHOWN_DEPTHS = 1e-3, (1, 5)  # of the first table and the figures
FLOW_SCALE, FLOW_DEPTHS = 1e-2, (1, 3)
LEADING = 16  # features of largest λ: the flow runs until the reduced theory has learned them
LEVEL = 0.2  # a gain below which a feature hardly counts
LIGHT = ("along the patches' patterns", "flat")  # the spectra


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration with command line options; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    console = Console(soft_wrap=True, highlight=False)
    try:
        with plot.style(), _step(console, "photographs, their patches and patterns of light"):
            options.out.mkdir(parents=True, exist_ok=True)
            patches = _patches(options)
        with _step(console, f"moments of {options.pairs:,} pairs of views, for two kinds of light"):
            moments = [p.sampled_moments(options.pairs, seed=options.seed) for p in patches]
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    share = np.stack(
        [p.lighting_share(m.features()) for p, m in zip(patches, moments, strict=True)]
    )
    _describe(console, patches[0], moments, share > 0.5)

    d, depths, scales = patches[0].source.dimension, _listed(DEPTHS), _listed(SCALES)
    with _step(console, f"closed form: {d} features, depths {depths}, scales {scales}"):
        theory = _closed_form(moments)
        theory["light"] = (("spectrum", "feature"), share, _attrs("share of light in the variance"))
    with _step(
        console, f"flow of {d} × {d} matrices: depths {_listed(FLOW_DEPTHS)}, scale {FLOW_SCALE}"
    ):
        flow = _matrix_flow(moments, theory)
    with _step(console, f"a JEPA from a random start, on {eviction.FEATURES} features"):
        both = eviction.train(moments[0], share[0] > 0.5, options.seed)
    with _step(console, "figures and datasets"):
        files = _write(theory, flow, options.out) + eviction.draw(both, options.out)
    remarks = theory.attrs["remarks"].splitlines()
    console.print(_when_learned(theory), *remarks, *_how_far(theory, flow), sep="\n")
    console.print(eviction.sentence(both))
    console.print("Written: " + ", ".join(map(str, files)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jepa-sim demo",
        description="From two photographs to what JEPA and MAE learn of them, and when.",
    )

    for name, kind, default, about in (
        ("--out", Path, Path("runs/demo"), "folder for the results"),
        ("--pairs", int, 100_000, "pairs of views"),
        ("--patch", int, 8, "pixels along the edge of a patch"),
        ("--seed", int, 0, "of the places, the light and the noise"),
    ):
        about = f"{about} (default: {default})"
        parser.add_argument(name, type=kind, default=default, help=about)
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="photographs of your own (default: the two that scikit-learn ships)",
    )
    return parser


@contextlib.contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    console.print(f"[bold]{time.perf_counter() - begin:6.1f} s[/]  {what}")


def _patches(options: argparse.Namespace) -> list[Lit]:
    """Lit patches for each kind of light in `LIGHT`."""
    photographs = options.images and [read_photograph(path) for path in options.images]
    patches = Patches(options.patch, photographs)
    return [Lit(patches), Lit(patches, patterns=flat_patterns(options.patch))]


def _describe(
    console: Console, patches: Lit, moments: Sequence[Moments], noisy: np.ndarray
) -> None:
    """What is noisy, what is clean, and whether the moments commute."""
    source = patches.source
    overlap = patches.patterns.T @ flat_patterns(source.side) / source.dimension
    likeness = np.linalg.norm(overlap, axis=1)
    console.print(
        f"{'':10}the patches' patterns are flat or planes up to a cosine of {_span(likeness)}"
    )
    for kind, m, is_noisy in zip(LIGHT, moments, noisy, strict=True):
        features = m.features()
        lam, rho = np.asarray(features.lam), np.asarray(features.rho)
        console.print(f"{'':10}light {kind}: relative commutator {float(features.commutator):.3f}")
        for chosen, name in ((is_noisy, "noisy, more than half light"), (~is_noisy, "clean")):
            words = f"λ {_span(lam[chosen])}, ρ {_span(rho[chosen])}"
            console.print(f"{'':12}{chosen.sum():3} features {name}: {words}")


def _closed_form(moments: Sequence[Moments]) -> xr.Dataset:
    """The sweep, and beside it when features reach the gain `LEVEL`."""
    grid = Grid(objective=OBJECTIVES, depth=DEPTHS, scale=SCALES, spectrum=moments)
    ds = sweep(grid, ClosedForm(), times=CriticalGrid(count=300))
    ds = ds.squeeze(["predictor_depth", "seed"]).assign_coords(kind=("spectrum", list(LIGHT)))
    ds["level_time"] = _first_times(ds, LEVEL)
    return ds


def _matrix_flow(moments: Sequence[Moments], theory: xr.Dataset) -> xr.Dataset:
    """Gains under the flow of all matrices, until the leading features are learned in theory."""
    learned = theory.critical_time.sel(scale=FLOW_SCALE, critical_fraction=0.5)
    ends = 1.25 * learned.where(_leading(theory) & np.isfinite(learned)).max("feature")
    axes = {"objective": [o.name for o in OBJECTIVES], "depth": list(FLOW_DEPTHS)}
    times = ends.sel(axes).transpose(*axes, "spectrum").values[..., None] * np.geomspace(
        1e-3, 1, 400
    )
    gains = np.empty((*times.shape, theory.sizes["feature"]))

    def run(lane: tuple[int, ...]) -> None:
        i, j, k = lane
        gains[lane] = _flow_gains(OBJECTIVES[i], FLOW_DEPTHS[j], moments[k], times[lane])

    lanes = list(np.ndindex(times.shape[:3]))
    # one run computes while the program of another is made
    with ThreadPoolExecutor(max_workers=2) as pool:
        for _ in tqdm(pool.map(run, lanes), total=len(lanes), unit="run", delay=2):
            pass
    lane = (*axes, "spectrum")
    variables = {
        "t": ((*lane, "time"), times, theory.t.attrs),
        "features": ((*lane, "time", "feature"), gains, theory.features.attrs),
    }
    attrs = {**theory.attrs, "title": "flow of all matrices", "scale": FLOW_SCALE}
    return xr.Dataset(variables, {**axes, "spectrum": theory.spectrum, "kind": theory.kind}, attrs)


def _leading(ds: xr.Dataset) -> xr.DataArray:
    """Which features are among the `LEADING` of largest λ."""
    return (-ds.lam).argsort(axis=-1).argsort(axis=-1) < LEADING


def _flow_gains(
    objective: AbstractObjective, depth: int, moments: Moments, times: np.ndarray
) -> jax.Array:
    problem = Problem(moments, objective, DeepLinear(depth), Balanced(FLOW_SCALE))
    # of the gains alone: a shorter program
    return simulate(problem, times, GradientFlow(rtol=1e-5), observables=(features,)).features


def _first_times(ds: xr.Dataset, level: float | xr.DataArray) -> xr.DataArray:
    """When gains first reach a level, between saved times a straight line in log t and log w̄."""
    return xr.apply_ufunc(
        _first_time,
        ds.t,
        ds.features,
        level,
        input_core_dims=[["time"], ["time"], []],
        vectorize=True,
    ).assign_attrs(long_name="first time at which w̄ reaches the level", units=ds.t.attrs["units"])


def _first_time(times: np.ndarray, gains: np.ndarray, level: float) -> float:
    reached = gains >= level
    if not reached.any():
        return np.inf
    i = int(reached.argmax())
    if i == 0:
        return 0.0
    log_gains, log_times = np.log(gains[i - 1 : i + 1]), np.log(times[i - 1 : i + 1])
    return float(np.exp(np.interp(np.log(level), log_gains, log_times)))


def _write(theory: xr.Dataset, flow: xr.Dataset, out: Path) -> list[Path]:
    files = [out / "closed_form.nc", out / "flow.nc"]
    write_netcdf(theory, files[0])
    write_netcdf(flow, files[1])
    shown = theory.sel(scale=SHOWN_SCALE).isel(spectrum=0)
    return files + _draw_trajectories(shown, out) + _draw_learning_times(shown, out)


def _draw_trajectories(shown: xr.Dataset, out: Path) -> list[Path]:
    """Gains of all features, JEPA beside MAE, a shallow encoder above a deep one."""
    with plot.style():
        figure, axes = plot.panels(len(SHOWN_DEPTHS), 2, (plot.PAGE, 4.0), sharey=True)
        runs = [
            (depth, objective) for depth in SHOWN_DEPTHS for objective in shown.objective.values
        ]
        for ax, (depth, objective) in zip(axes, runs, strict=True):
            run = shown.sel(objective=objective, depth=depth)
            plot.trajectories(run, ax, noisy=shown.light.values > 0.5)
            ax.set_title(f"{plot.OBJECTIVES[objective][0]}, depth L = {depth} (dashed: light)")
        for ax in axes[1::2]:
            ax.set_ylabel("")
        plot.rho_bar(figure, axes)
        return plot.save(figure, out / "trajectories")


def _draw_learning_times(shown: xr.Dataset, out: Path) -> list[Path]:
    """Delay against ρ at each depth: to half of a feature's own plateau, and to a fixed gain."""
    with plot.style():
        figure, axes = plot.panels(2, len(DEPTHS), (plot.PAGE, 3.8), sharey="row")
        upper, lower = axes[: len(DEPTHS)], axes[len(DEPTHS) :]
        noisy = shown.light.values > 0.5
        plot.learning_time(shown.sel(critical_fraction=0.5), upper, noisy=noisy)
        plot.learning_time(shown, lower, times="level_time", noisy=noisy)
        upper[0].set_ylabel("delay to half of\nits own plateau")
        lower[0].set_ylabel(f"delay to the gain {LEVEL}")
        for ax in upper:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
        for ax in lower:
            ax.set_title("")
        title = "Learning time λt* over that of the cleanest feature (filled: light)"
        figure.suptitle(title)
        return plot.save(figure, out / "learning_time")


def _when_learned(theory: xr.Dataset) -> Table:
    """When each objective learns light and the other features, and in which order."""
    shown = theory.sel(scale=SHOWN_SCALE).isel(spectrum=0)
    noisy, top = shown.light.values > 0.5, _leading(shown).values
    table = _table(
        f"\nWhen does each objective learn light, and when the others? (ε = {SHOWN_SCALE})",
        "Learned: half of a feature's own plateau.  Time t = kα, in units of 1/λ (patches of mean\n"
        "variance 1).  Order: places among all features.  Gains: w̄ in the end, medians.\n"
        f"At {LEVEL}: when light first has this gain.  "
        "τ: Kendall's, 1 where larger ρ (larger λ) comes\n"
        f"first, of all features and of the {LEADING} of largest λ.",
        "L",
        "",
        "light\nat t",
        "others\nfrom t",
        "order\nof light",
        "gains: light,\nothers",
        f"light\nat {LEVEL}",
        "τ(ρ)\nall/top",
        "τ(λ)\nall/top",
    )
    for depth in DEPTHS:
        for objective in shown.objective.values:
            run = shown.sel(depth=depth, objective=objective)
            when = run.critical_time.sel(critical_fraction=0.5).values
            gain, level = run.plateau.values, run.level_time.values[noisy]
            table.add_row(
                str(depth),
                plot.OBJECTIVES[objective][0],
                _span(when[noisy]),
                _short(when[~noisy].min()),
                ", ".join(str(int((when < t).sum()) + 1) for t in np.sort(when[noisy])),
                f"{_short(np.median(gain[noisy]))}, {_short(np.median(gain[~noisy]))}",
                _short(level.min()) if np.isfinite(level).any() else "never",
                f"{_tau(when, run.rho)}/{_tau(when[top], run.rho[top])}",
                f"{_tau(when, run.lam)}/{_tau(when[top], run.lam[top])}",
            )
        table.add_section()
    return table


def _how_far(theory: xr.Dataset, flow: xr.Dataset) -> list[Table]:
    """Critical times and final gains of the flow over those of the reduced theory, less 1."""
    same = theory.sel(scale=FLOW_SCALE, depth=list(FLOW_DEPTHS))
    when = _first_times(flow, same.plateau / 2)
    off = (when / same.critical_time.sel(critical_fraction=0.5) - 1).where(np.isfinite(when))
    settled = same.critical_time.sel(critical_fraction=0.9) < flow.t.isel(time=-1) / 2
    gain_off = (flow.features.isel(time=-1) / same.plateau - 1).where(settled)
    noisy = same.light > 0.5
    tables = []
    for spectrum, kind in enumerate(LIGHT):
        table = _table(
            f"\nHow far is the reduced theory from the flow? (light {kind}, ε = {FLOW_SCALE})",
            "Medians of flow / theory − 1.  Times: to half of the theory's plateau.  Gains: at\n"
            "the end of the run, of features that the theory has learned by half of it.",
            "L",
            "",
            "features\nlearned",
            "times:\n|all|",
            "\nothers",
            "\nlight",
            "gains:\n|all|",
            "\nothers",
            "\nlight",
        )
        is_noisy = noisy.sel(spectrum=spectrum)
        for depth in FLOW_DEPTHS:
            for objective in flow.objective.values:
                at = {"depth": depth, "objective": objective, "spectrum": spectrum}
                cells = []
                for ratio in (off.sel(at), gain_off.sel(at)):
                    cells.append(_percent(abs(ratio).median()).lstrip("+"))
                    cells += [_percent(ratio.where(c).median()) for c in (~is_noisy, is_noisy)]
                found = str(int(off.sel(at).notnull().sum()))
                table.add_row(str(depth), plot.OBJECTIVES[objective][0], found, *cells)
            table.add_section()
        tables.append(table)
    return tables


def _table(title: str, caption: str, *columns: str) -> Table:
    return Table(
        *(Column(name, no_wrap=True) for name in columns),
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
        padding=0,
    )


def _tau(when: np.ndarray, size: xr.DataArray) -> str:
    """Kendall's τ between early and large."""
    from scipy.stats import kendalltau

    return f"{kendalltau(-when, size)[0]:.2f}"


def _listed(values: Sequence[int | float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _span(values: np.ndarray) -> str:
    if len(values) == 0:
        return "none"
    low, high = _short(np.min(values)), _short(np.max(values))
    return low if low == high else f"{low}–{high}"


def _short(value: float) -> str:
    """Two digits or three: 0.044, 13, 152, 1.6e4."""
    return f"{value:.0f}" if 99.5 <= value < 999.5 else f"{value:.2g}".replace("e+0", "e")


def _percent(value: xr.DataArray) -> str:
    return "–" if np.isnan(value) else f"{float(value):+.1%}"


def _attrs(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}
