"""Part of the demonstration: training of a JEPA from a random start, beside the closed form.

The closed form is that of factors aligned with the features. From a random start cleaner features
take over the latents of noisier ones that were learned before them (`results/evictions.py`). The
flow runs on the features of the photographs that have the largest λ, each with its own λ and ρ.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from scipy.interpolate import PchipInterpolator

from jepa_sim import plot
from jepa_sim.cli import pictures
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import RandomBalanced
from jepa_sim.results.evictions import Eviction, evictions
from jepa_sim.results.trajectory import Trajectory
from jepa_sim.solvers.base import simulate
from jepa_sim.solvers.sleeping.solver import SleepingFlow

FEATURES, DEPTH, SCALE = 16, 1, 1e-3
TIMES = 600


class Run(NamedTuple):
    """A run from a random start, and what became of its features, (feature,) each.

    closed_form: the same features in closed form.  noisy: which of them are light.  first, last:
    when a feature first reaches half of its plateau, and from when on it stays there.  lost: the
    evictions.  labels: of some features, by their place.
    """

    closed_form: xr.Dataset
    flow: Trajectory
    noisy: np.ndarray
    first: np.ndarray
    last: np.ndarray
    lost: tuple[Eviction, ...]
    labels: dict[int, str]


def train(theory: xr.Dataset, labels: Mapping[int, str], seed: int) -> Run:
    """The run on the features of largest λ.

    theory: the closed form at this scale, with all features.  labels: of some, by number.
    """
    leading = np.argsort(-theory.lam.values)[:FEATURES]
    closed_form = theory.sel(objective="jepa", depth=DEPTH).isel(feature=leading)
    lam, rho = closed_form.lam.values, closed_form.rho.values
    own = Moments.from_features(lam, rho)
    random = Problem(own, JEPA(), DeepLinear(DEPTH), RandomBalanced(SCALE))
    # from an aligned start a feature is learned at about 1/(λ ε)
    times = np.linspace(0, 2 / (lam.min() * SCALE), TIMES + 1)[1:]
    flow = simulate(random, times, SleepingFlow(), key=jax.random.key(seed))
    first, last = (
        np.asarray(times(fraction=0.5)) for times in (flow.critical_times, flow.learned_times)
    )
    place = {int(feature): i for i, feature in enumerate(leading)}
    own_labels = {place[i]: label for i, label in labels.items() if i in place}
    noisy = closed_form.light.values > 0.5
    return Run(closed_form, flow, noisy, first, last, evictions(flow), own_labels)


def draw(run: Run, out: Path) -> list[Path]:
    """Gains in closed form and in the flow; crosses where a feature lost its latent."""
    settled, whole = run.last[np.isfinite(run.last)], float(run.flow.times[-1])
    end = min(1.1 * float(np.max(settled, initial=0)), whole) or whole
    with plot.style():
        figure, axes = plot.panels(1, 2, (plot.PAGE, 3.0), sharey=True)
        runs = {
            "closed form (aligned start)": _smooth(run.closed_form, np.linspace(0, end, TIMES)[1:]),
            "flow from a random start": run.flow,
        }
        for ax, (name, gains) in zip(axes, runs.items(), strict=True):
            plot.trajectories(gains, ax, noisy=run.noisy, labels=run.labels)
            ax.set(title=f"JEPA, L = {DEPTH}: {name}", xscale="linear", xlim=(0, end))
        axes[1].set_ylabel("")
        pictures.shared_legend(figure, axes)
        return plot.save(figure, out / "eviction")


def _smooth(ds: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """Gains at other times: 1/w̄ falls in proportion to time while a JEPA of depth 1 learns."""
    inverse = PchipInterpolator(ds.t.values, 1 / ds.features.values)
    gains = 1 / inverse(np.clip(times, ds.t.values[0], ds.t.values[-1]))
    return ds.drop_dims("time").assign(t=("time", times), features=(("time", "feature"), gains))
