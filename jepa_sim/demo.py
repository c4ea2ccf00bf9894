"""The demonstration: from two photographs to what JEPA and MAE learn of them, and when.

Two views of every patch of the photographs differ in light and sensor noise (`_data/images.py`).
Light is the noisy part of the data: mean brightness and the two gradients have the largest λ of all
features and a small ρ. The job asks when each objective learns them, and when the structure of the
scene, at several depths:

1. moments from a stream of pairs of views;
2. the reduced theory in closed form, for all features, depths and scales;
3. the flow of all matrices at one scale, to see how far the reduced theory is from it, for light
   along the patches' own patterns and for flat light, with which the moments do not commute;
4. two tables, two figures and the datasets, in a folder.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from jepa_sim import plot
from jepa_sim._critical import critical_times
from jepa_sim._data.images import LitPatches, flat_patterns, read_photograph
from jepa_sim._grid import CriticalGrid, Grid
from jepa_sim._moments import Moments
from jepa_sim._network import Balanced, DeepLinear
from jepa_sim._objective import JEPA, MAE
from jepa_sim._problem import Problem
from jepa_sim._solve.closed_form import ClosedForm
from jepa_sim._solve.flow import GradientFlow
from jepa_sim._sweep import sweep

OBJECTIVES = (JEPA(), MAE())
DEPTHS = (1, 2, 3, 5)
SCALES = (1e-2, 1e-3, 1e-4)
SHOWN = 1e-3  # the scale of the first table and of the figures
FLOW_SCALE, FLOW_DEPTHS = 1e-2, (1, 2, 3)
FLOW_END = 0.05  # of the last critical time: the leading features are learned by then
LEVEL = 0.2  # an encoder gain that a feature must have to be of any use
LIGHTS = ("patterns of the patches", "flat")  # the spectra of the datasets


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration with command line options; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    console = Console(soft_wrap=True)
    try:
        with plot.style(), _step(console, "photographs, cut into patches"):
            options.out.mkdir(parents=True, exist_ok=True)
            patches, flat = _patches(options)
        with _step(console, f"moments of {options.pairs:,} pairs of views, twice"):
            moments = [p.moments(options.pairs, seed=options.seed) for p in (patches, flat)]
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    light = np.stack([p.lighting_share(m.features()) for p, m in zip((patches, flat), moments)])
    _describe(console, patches, moments, light)

    with _step(console, "closed form: both objectives, all depths, scales and features"):
        theory = _label(_closed_form(moments), light, options)
    with _step(console, f"matrix flow: {moments[0].dimension} × {moments[0].dimension} weights"):
        flow = _label(_matrix_flow(moments), light, options)
    with _step(console, "figures and datasets"):
        files = _write(theory, flow, options.out)
    console.print(_learned(theory), _compared(theory, flow))
    console.print("Written: " + ", ".join(map(str, files)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jepa-sim demo",
        description="From two photographs to what JEPA and MAE learn of them, and when.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for the results")
    parser.add_argument("--pairs", type=int, default=100_000, help="pairs of views")
    parser.add_argument("--patch", type=int, default=8, help="pixels along the edge of a patch")
    parser.add_argument("--seed", type=int, default=0, help="of the places, the light and the noise")
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="photographs of your own instead of the two that scikit-learn ships",
    )
    return parser


@contextlib.contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    console.print(f"[bold green]{time.perf_counter() - begin:6.1f} s[/]  {what}", highlight=False)


def _patches(options: argparse.Namespace) -> tuple[LitPatches, LitPatches]:
    """Patches lit along their own patterns, and by flat light."""
    photographs = options.images and [read_photograph(path) for path in options.images]
    patches = LitPatches(options.patch, photographs=photographs)
    flat = LitPatches(
        options.patch, photographs=photographs, patterns=flat_patterns(options.patch)
    )
    return patches, flat


def _describe(
    console: Console, patches: LitPatches, moments: Sequence[Moments], light: np.ndarray
) -> None:
    """λ, ρ and the commutator, of noisy and of clean features."""
    likeness = np.sqrt(
        np.sum((patches.patterns.T @ flat_patterns(patches.patch) / patches.dimension) ** 2, axis=1)
    )
    console.print(f"          light patterns are flat or planes up to a cosine of {_span(likeness)}")
    for name, m, share in zip(LIGHTS, moments, light, strict=True):
        features = m.features()
        lam, rho = np.asarray(features.lam), np.asarray(features.rho)
        noisy = share > 0.5
        console.print(
            f"          light: {name}; relative commutator {float(features.commutator):.4f}\n"
            f"            noisy ({noisy.sum()} features more than half light): "
            f"λ {_span(lam[noisy])}, ρ {_span(rho[noisy])}\n"
            f"            clean ({(~noisy).sum()} others): "
            f"λ {_span(lam[~noisy])}, ρ {_span(rho[~noisy])}",
            highlight=False,
        )


def _closed_form(moments: Sequence[Moments]) -> xr.Dataset:
    """The sweep, with the times at which features reach the gain `LEVEL` beside it."""
    grid = Grid(objective=OBJECTIVES, depth=DEPTHS, scale=SCALES, spectrum=moments)
    ds = sweep(grid, ClosedForm(), times=CriticalGrid())

    def at(objective: JEPA | MAE, depth: jax.Array, scale: jax.Array, m: Moments) -> jax.Array:
        problem = Problem(m, objective, DeepLinear(depth), Balanced(scale))
        return critical_times(problem, level=LEVEL)

    return ds


def _matrix_flow(moments: Sequence[Moments]) -> xr.Dataset:
    grid = Grid(objective=OBJECTIVES, depth=FLOW_DEPTHS, scale=[FLOW_SCALE], spectrum=moments)
    return sweep(grid, GradientFlow(rtol=1e-6), times=CriticalGrid(last=FLOW_END), padded=False)
