# %% [markdown]
# # How a JEPA avoids noisy features, at scale
#
# Deep linear networks are trained from random starts, on features whose λ and ρ are independent.
# In which order does a JEPA learn them, and in which order does it keep them? Every feature has a
# first crossing (it reaches half of its plateau) and a last one (it stays above from then on). In
# between, a cleaner feature may have taken its latent: it was evicted. Many features are learned
# for a moment only. "Lasting" is what the saved times show, which are 3 % apart.
#
# RUNS problems are drawn for each row: 8 features, λ = k^{−1/2}, ρ uniform in [0.3, 0.95]. Each is
# run from 8 random starts. `python notebooks/laboratory/noisy_features.py 32` made the numbers of
# the page "How a JEPA avoids noisy features".

# %%
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from censored import kendall

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 2
SEEDS = range(8)
FEATURES, DEPTHS = 8, (1, 2, 3, 5)
JUDGED = 2  # problems of each kind that the matrix flow checks, from all starts
HORIZON = 20.0  # in the closed form's last critical time

rng = np.random.default_rng(0)
lam = np.arange(1, FEATURES + 1) ** -0.5
spectra = [js.Moments.from_features(lam, rho) for rho in rng.uniform(0.3, 0.95, (RUNS, FEATURES))]
times = js.CriticalGrid(300, last=HORIZON)


class Row(NamedTuple):
    """One row of the table: L, M and ε beside objective, start and solver."""

    objective: str
    start: str
    depth: int
    predictor_depth: int = 1
    scale: float = 1e-3


OBJECTIVES = {"JEPA": js.JEPA(), "MAE": js.MAE()}
STARTS = {"balanced": js.RandomBalanced, "Gaussian": js.RandomGaussian, "closed form": js.Balanced}


def run(row: Row, solver, count=RUNS) -> xr.Dataset:
    grid = js.Grid(
        spectrum=spectra[:count],
        objective=[OBJECTIVES[row.objective]],
        depth=[row.depth],
        predictor_depth=[row.predictor_depth],
        scale=[row.scale],
        seed=SEEDS if row.start != "closed form" else [0],
        start=STARTS[row.start],
    )
    return js.sweep(
        grid,
        solver,
        times=times,
        critical_fraction=[0.5],
        padded=False,
        observables=[js.observables.features],
        progress=False,
    )


# %% [markdown]
# `SleepingFlow` solves the flow of a JEPA. ROCK4 solves that of an MAE, and the matrix flow that
# judges a sample of the runs.

# %%
flow = js.GradientFlow(js.ROCK4(), rtol=1e-5)


def solver_of(row: Row) -> js.AbstractSolver:
    if row.start == "closed form":
        return js.ClosedForm()
    return js.SleepingFlow() if row.objective == "JEPA" else flow


ROWS = [
    *(Row("JEPA", start, depth) for start in STARTS for depth in DEPTHS),
    *(Row("JEPA", "balanced", 2, several) for several in (2, 3)),
    *(Row("JEPA", "balanced", depth, scale=scale) for scale in (1e-2, 1e-4) for depth in (1, 3)),
    *(Row("MAE", start, depth) for start in STARTS for depth in DEPTHS),
]

# %% [markdown]
# The next cell computes Kendall's τ between the order of crossings and ρ, or λ. It is 1 where
# features of larger ρ, or λ, come first. A feature that is not learned in time is censored: pairs
# with it count only where the other one was learned.


# %%
print(f"{RUNS} problems for each row, from {len(SEEDS)} starts each")
print("objective start        L  M   ε       evicted, lasting   τ(ρ) first, lasting, last", end="")
print("   τ(λ) first, last   not learned")
points, runs = {}, {}
for row in ROWS:
    runs[row] = run(row, solver_of(row))
    one = ["objective", "depth", "predictor_depth", "scale", "critical_fraction"]
    at = runs[row].squeeze(one).stack(run=("spectrum", "seed")).transpose("run", ...)
    first, last = (at[time].values for time in ("critical_time", "learned_time"))
    evicted = np.mean(last > first * (1 + 1e-6))
    above = (at.features >= 0.5 * at.plateau).astype(int)
    lasting = float((above.diff("time") < 0).any("time").mean())
    seen = at.t.isel(time=above.argmax("time")).where(above.any("time"), np.inf)
    tau = [kendall(t, size) for size in (at.rho.values, lam) for t in (first, last)]
    of_seen = kendall(seen.values, at.rho.values)
    points[row] = tau
    print(
        f"{row.objective:9} {row.start:11} {row.depth:2} {row.predictor_depth:2}   {row.scale:5.0e}"
        f"   {evicted:7.1%} {lasting:7.1%}    {tau[0]:7.2f} {of_seen:8.2f} "
        f"{tau[1]:6.2f}       {tau[2]:6.2f} {tau[3]:6.2f}        {np.isinf(last).mean():7.1%}",
        flush=True,
    )

# %% [markdown]
# The matrix flow judges a sample of the runs of small depth, where it is quick enough. It judges
# last crossings, since it sees first ones at saved times only.

# %%
for start in ("balanced", "Gaussian"):
    rows = [Row("JEPA", start, depth) for depth in (1, 2)]
    errors = [js.compare_times(runs[row], run(row, flow, JUDGED)) for row in rows]
    off = np.concatenate([each.learned_time_error.values.ravel() for each in errors])
    print(
        f"{start}: learned_time off by {np.median(off):.2%} in the median, "
        f"{np.percentile(off, 90):.2%} at the 90th percentile"
    )

# %%
with plot.style():
    figure, axes = plot.panels(1, 2, (plot.PAGE, 2.6), sharey=True)
    for ax, column, title in zip(axes, (0, 2), ("ρ (clean first)", "λ (large first)"), strict=True):
        for objective, colour in (("JEPA", "#0072B2"), ("MAE", "#D55E00")):
            for start, marker in (("balanced", "o"), ("Gaussian", "s")):
                values = np.array([points[Row(objective, start, d)] for d in DEPTHS])
                style = {"color": colour, "marker": marker, "ms": 4}
                ax.plot(DEPTHS, values[:, column], ls=":", mfc="white", **style)
                label = f"{objective}, {start}"
                ax.plot(DEPTHS, values[:, column + 1], label=label, **style)
        theory = [points[Row("JEPA", "closed form", d)][column] for d in DEPTHS]
        ax.plot(DEPTHS, theory, "k--", lw=1, label="JEPA, closed form")
        ax.axhline(0, color="0.8", lw=0.6, zorder=0)
        ax.set(xlabel="depth L", xticks=DEPTHS, title=f"order by {title}", ylim=(-0.35, 1.05))
    axes[0].set_ylabel("Kendall's τ\n(dotted: first crossing, line: last)")
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)
