"""The demonstration: from two photographs to what JEPA and MAE learn of them, and when.

Two views of every patch differ in light and in sensor noise (`data/views.py`). Light is the noisy
part: mean brightness and the two gradients have the largest λ of all features, but a small ρ. When
does each objective learn them, and when the structure of the scene?

1. Moments from a stream of pairs of views.
2. The reduced theory in closed form: both objectives, all depths, scales and features.
3. The flow of all matrices at one scale: how far is the reduced theory from it? Once with light
   along the patches' own patterns, once with flat light, where the moments do not commute.
4. A JEPA from a random start, where cleaner features evict light (`cli/eviction.py`).
5. Figures (`cli/pictures.py`) and datasets; what was found, in sentences and tables
   (`cli/findings.py`).
"""

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from diffrax import Tsit5
from rich.console import Console
from tqdm.auto import tqdm

from jepa_sim import plot
from jepa_sim.campaigns.store import write_netcdf
from jepa_sim.cli import eviction, findings, pictures
from jepa_sim.data.features import Features
from jepa_sim.data.images import Patches, read_photograph
from jepa_sim.data.moments import Moments
from jepa_sim.data.views import Lit, flat_patterns
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA, MAE, SwitchedObjective
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import Balanced
from jepa_sim.numerics.stabilised import ROCK4
from jepa_sim.results.observables import features
from jepa_sim.solvers.base import simulate
from jepa_sim.solvers.closed_form import ClosedForm
from jepa_sim.solvers.flow import GradientFlow
from jepa_sim.sweeps.grid import CriticalGrid, Grid
from jepa_sim.sweeps.sweep import sweep

OBJECTIVES = (JEPA(), MAE())
DEPTHS = (1, 2, 3, 5)
SCALES = (1e-2, 1e-3, 1e-4)
SHOWN_SCALE = eviction.SCALE  # of the first table and the figures
FLOW_SCALE, FLOW_DEPTHS = 1e-2, (1, 3)
LEVEL = 0.2  # a gain below which a feature hardly counts
LIGHT = ("along the patches' patterns", "flat")  # the spectra
KINDS = ("brightness", "top to bottom", "left to right")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration with command line options; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    console = Console(soft_wrap=True, highlight=False)
    console.print(findings.QUESTION)
    try:
        with plot.style(), _step(console, "photographs, their patches and patterns of light"):
            options.out.mkdir(parents=True, exist_ok=True)
            patches = _patches(options)
        with _step(console, f"moments of {options.pairs:,} pairs of views, for two kinds of light"):
            moments = [p.sampled_moments(options.pairs, seed=options.seed) for p in patches]
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    kinds = [m.features() for m in moments]
    share = np.stack([p.lighting_share(f) for p, f in zip(patches, kinds, strict=True)])

    d, depths, scales = patches[0].source.dimension, _listed(DEPTHS), _listed(SCALES)
    with _step(console, f"closed form: {d} features, depths {depths}, scales {scales}"):
        theory = _closed_form(moments)
        theory["light"] = (("spectrum", "feature"), share, _attrs("share of light in the variance"))
        commutator = [float(f.commutator) for f in kinds]
        theory["commutator"] = ("spectrum", commutator, _attrs("relative commutator of Σxx, Σyx"))
    with _step(
        console, f"flow of {d} × {d} matrices: depths {_listed(FLOW_DEPTHS)}, scale {FLOW_SCALE}"
    ):
        flow = _matrix_flow(moments, theory)
    shown = theory.sel(scale=SHOWN_SCALE).isel(spectrum=0)
    labels = pictures.labels(shown, _names(kinds[0], share[0] > 0.5))
    with _step(console, f"a JEPA from a random start, on {eviction.FEATURES} features"):
        run = eviction.train(shown, labels, options.seed)
    with _step(console, "figures and datasets"):
        files = [
            *_write(theory, flow, options.out),
            *pictures.trajectories(shown, labels, options.out),
            *pictures.learning_time(shown, options.out),
            *eviction.draw(run, options.out),
        ]
    console.print(findings.numbered(findings.found(shown, theory, flow, run)))
    console.print(*findings.tables(shown, theory, flow, LEVEL), sep="\n")
    console.print("Written: " + ", ".join(map(str, files)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jepa-sim demo",
        description="Show what a JEPA and an MAE learn of two photographs, and when.",
    )

    for name, kind, default, about in (
        ("--out", Path, Path("runs/demo"), "folder for the results"),
        ("--pairs", int, 100_000, "number of pairs of views"),
        ("--patch", int, 8, "pixels along the edge of a patch"),
        ("--seed", int, 0, "seed of the random places of patches, light and noise"),
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


def _names(features: Features, noisy: np.ndarray) -> dict[int, str]:
    """What the features of light look like: the flat pattern that each is most like."""
    patterns = np.asarray(features.patterns)
    likeness = np.abs(flat_patterns(round(len(patterns) ** 0.5)).T @ patterns)
    return {int(i): KINDS[likeness[:, i].argmax()] for i in np.flatnonzero(noisy)}


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
    ends = 1.25 * learned.where(findings.leading(theory) & np.isfinite(learned)).max("feature")
    axes = {"objective": [o.name for o in OBJECTIVES], "depth": list(FLOW_DEPTHS)}
    times = ends.sel(axes).transpose(*axes, "spectrum").values[..., None] * np.geomspace(
        1e-3, 1, 400
    )
    gains = np.empty((*times.shape, theory.sizes["feature"]))

    def run(lane: tuple[int, ...]) -> None:
        i, j, k = lane
        gains[lane] = _flow_gains(i, FLOW_DEPTHS[j], moments[k], times[lane])

    # the first two runs are of different depths, so each of two threads makes one program
    lanes = sorted(np.ndindex(times.shape[:3]), key=lambda lane: (lane[0], lane[2], lane[1]))
    with ThreadPoolExecutor(max_workers=2) as pool:
        for _ in tqdm(pool.map(run, lanes), total=len(lanes), unit="run", delay=2):
            pass
    lane = (*axes, "spectrum")
    variables = {
        "t": ((*lane, "time"), times, theory.t.attrs),
        "features": ((*lane, "time", "feature"), gains, theory.features.attrs),
    }
    attrs = {**theory.attrs, "title": "flow of all matrices", "scale": FLOW_SCALE}
    coordinates = {**axes, "spectrum": theory.spectrum, "kind": theory.kind}
    ds = xr.Dataset(variables, coordinates, attrs)
    ds["half_time"] = _first_times(ds, theory.plateau.sel(axes) / 2)
    return ds


def _flow_gains(objective: int, depth: int, moments: Moments, times: np.ndarray) -> jax.Array:
    """Objectives of one depth share a program: to make four takes longer than all the runs."""
    either = SwitchedObjective(OBJECTIVES, jnp.asarray(objective))
    problem = Problem(moments, either, DeepLinear(depth), Balanced(FLOW_SCALE))
    solver = GradientFlow(Tsit5() if depth == 1 else ROCK4(), rtol=1e-5)
    return simulate(problem, times, solver, observables=(features,)).features


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
    return files


def _attrs(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def _listed(values: Sequence[int | float]) -> str:
    return " ".join(f"{value:g}" for value in values)
