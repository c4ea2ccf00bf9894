"""Part of the demonstration: training of a JEPA from a generic start, beside the closed form.

The closed form is that of factors aligned with the features. From a generic start cleaner features
take over the latents of noisier ones that were learned before them (`results/evictions.py`). The
flow runs on the features of the photographs that have the largest λ, each with its own λ and ρ.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jepa_sim import plot
from jepa_sim.data.moments import Moments
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import Balanced, RandomBalanced
from jepa_sim.results.evictions import Eviction, evictions
from jepa_sim.results.trajectory import Trajectory
from jepa_sim.solvers.base import simulate
from jepa_sim.solvers.closed_form import ClosedForm
from jepa_sim.solvers.sleeping.solver import SleepingFlow

FEATURES, DEPTH, SCALE = 16, 1, 1e-3
TIMES = 600


class Both(NamedTuple):
    """Both runs.  noisy: (feature,) which features are light.  lost: the evictions of the flow."""

    closed_form: Trajectory
    flow: Trajectory
    noisy: np.ndarray
    lost: tuple[Eviction, ...]


def train(moments: Moments, noisy: np.ndarray, seed: int) -> Both:
    """Both runs on the features of largest λ.  noisy: (d,) of all features."""
    features = moments.features()
    lam, rho = np.asarray(features.lam), np.asarray(features.rho)
    leading = np.argsort(-lam)[:FEATURES]
    own = Moments.from_features(lam[leading], rho[leading])
    aligned, generic = (
        Problem(own, JEPA(), DeepLinear(DEPTH), start(SCALE))
        for start in (Balanced, RandomBalanced)
    )
    # in the aligned case everything is learned by 1/(λ ε), and a logarithm
    times = np.linspace(0, 2 / (lam[leading].min() * SCALE), TIMES + 1)[1:]
    flow = simulate(generic, times, SleepingFlow(), key=jax.random.key(seed))
    closed_form = simulate(aligned, times, ClosedForm())
    return Both(closed_form, flow, noisy[leading], evictions(flow))


def draw(both: Both, out: Path) -> list[Path]:
    """Gains of both runs; crosses where a feature lost its latent."""
    last = both.flow.learned_times(fraction=0.5)
    end = 1.1 * float(np.max(np.where(np.isfinite(last), last, 0)))
    with plot.style():
        figure, axes = plot.panels(1, 2, (plot.PAGE, 2.6), sharey=True)
        runs = {
            "closed form (aligned start)": both.closed_form,
            "flow from a generic start": both.flow,
        }
        for ax, (name, run) in zip(axes, runs.items(), strict=True):
            plot.trajectories(run, ax, noisy=both.noisy)
            ax.set(title=f"JEPA, L = {DEPTH}: {name}", xscale="linear", xlim=(0, end))
        axes[1].set_ylabel("")
        plot.rho_bar(figure, axes)
        return plot.save(figure, out / "eviction")


def sentence(both: Both) -> str:
    """What became of light, in words."""
    lost = [each for each in both.lost if both.noisy[each.feature] and each.by is not None]
    by = {each.by for each in lost}
    first, last = (
        np.asarray(times(fraction=0.5))[both.noisy]
        for times in (both.flow.critical_times, both.flow.learned_times)
    )
    order, aligned = both.flow.order(fraction=0.5), both.closed_form.order(fraction=0.5)
    tau = [order["order_rho"], order["learned_order_rho"], aligned["order_rho"]]
    of_first, of_last, in_theory = (f"{float(value):.2f}" for value in tau)
    return (
        f"\nFrom a generic start (ε = {SCALE:g}, L = {DEPTH}, the {len(both.noisy)} features of "
        f"largest λ) the JEPA\nlearns light from t = {first.min():.0f} on. Then {len(by)} cleaner "
        f"features evict it {len(lost)} times. Light is learned\nfor good by t = {last.max():.0f}. "
        f"Order by ρ (Kendall's τ): {in_theory} in closed form; in the flow\n{of_first} for first "
        f"crossings of half the plateau, {of_last} for last ones."
    )
