"""Part of the demonstration: training of a JEPA from a random start, beside the closed form.

The closed form is that of factors aligned with the features. From a random start cleaner features
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
    network = DeepLinear(DEPTH)
    aligned = Problem(own, JEPA(), network, Balanced(SCALE))
    random = Problem(own, JEPA(), network, RandomBalanced(SCALE))
    # from an aligned start a feature is learned at about 1/(λ ε)
    times = np.linspace(0, 2 / (lam[leading].min() * SCALE), TIMES + 1)[1:]
    flow = simulate(random, times, SleepingFlow(), key=jax.random.key(seed))
    closed_form = simulate(aligned, times, ClosedForm())
    return Both(closed_form, flow, noisy[leading], evictions(flow))


def draw(both: Both, out: Path) -> list[Path]:
    """Gains of both runs; crosses where a feature lost its latent."""
    last = np.asarray(both.flow.learned_times(fraction=0.5))
    whole = float(both.flow.times[-1])
    end = min(1.1 * float(np.max(last[np.isfinite(last)], initial=0)), whole) or whole
    with plot.style():
        figure, axes = plot.panels(1, 2, (plot.PAGE, 2.6), sharey=True)
        runs = {
            "closed form (aligned start)": both.closed_form,
            "flow from a random start": both.flow,
        }
        for ax, (name, run) in zip(axes, runs.items(), strict=True):
            plot.trajectories(run, ax, noisy=both.noisy)
            ax.set(title=f"JEPA, L = {DEPTH}: {name}", xscale="linear", xlim=(0, end))
        axes[1].set_ylabel("")
        plot.rho_bar(figure, axes)
        return plot.save(figure, out / "eviction")


def sentence(both: Both) -> str:
    """What became of light, and of the order of all features, in words."""
    lost = [each for each in both.lost if both.noisy[each.feature] and each.by is not None]
    by = {each.by for each in lost}
    first, last = (
        np.asarray(times(fraction=0.5))[both.noisy]
        for times in (both.flow.critical_times, both.flow.learned_times)
    )
    order, aligned = both.flow.order(fraction=0.5), both.closed_form.order(fraction=0.5)
    tau = [order["order_rho"], order["learned_order_rho"], aligned["order_rho"]]
    of_first, of_last, in_theory = (f"{float(value):.2f}" for value in tau)
    lines = [
        f"\nA JEPA from a random start (ε = {SCALE:g}, L = {DEPTH}, the {len(both.noisy)} features "
        "of largest λ):"
    ]
    if np.isfinite(first).any():
        lines += [
            f"It learns light from t = {first.min():.0f} on. Then {len(by)} cleaner features evict "
            f"light, {len(lost)} times in all.",
            f"Light is learned for good by t = {last.max():.0f}."
            if np.isfinite(last).all()
            else "In this run light is not learned for good.",
        ]
    lines += [
        f"Order by ρ (Kendall's τ): {in_theory} in closed form. In the flow, {of_first} for the "
        f"first times at which\nfeatures reach half of their plateaus, and {of_last} for the last.",
    ]
    return "\n".join(lines)
