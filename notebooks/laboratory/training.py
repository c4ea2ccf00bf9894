# %% [markdown]
# # Evictions in real training
#
# A cleaner feature can take over the latent of a noisier one that was learned before it: the
# noisier feature is evicted (see the page "How a JEPA avoids noisy features"). That is a result
# about gradient flow. Does it survive minibatches and Adam? And what does a slow teacher do?
#
# The problems have 8 features with λ = 1/k. Their ρ is drawn from [0.2, 0.95], and has nothing to
# do with λ. Starts are balanced, with random bases and ε = 1e-2. `python
# notebooks/laboratory/training.py 8` takes about two minutes.

# %%
import sys
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
import xarray as xr
from censored import kendall

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 8
FEATURES, SCALE, BATCH = 8, 1e-2, 64

rng = np.random.default_rng(0)
lam = 1 / np.arange(1, FEATURES + 1)
spectra = [js.Moments.from_features(lam, rho) for rho in rng.uniform(0.2, 0.95, (RUNS, FEATURES))]


def run(objective, solver, times) -> xr.Dataset:
    grid = js.Grid(
        spectrum=spectra, objective=[objective], depth=[1], scale=[SCALE], start=js.RandomBalanced
    )
    found = js.sweep(
        grid,
        solver,
        times=np.concatenate([[0.0], times]),
        critical_fraction=[0.5],
        padded=False,
        observables=[js.observables.features],
        progress=False,
    )
    one = ["objective", "depth", "predictor_depth", "scale", "seed", "critical_fraction"]
    return found.squeeze(one)


# %% [markdown]
# Kendall's τ compares the order of crossings with that of ρ, or of λ. It is 1 where features of
# larger ρ, or λ, come first. A feature that is not learned in time is censored.


# %%
def report(name: str, found: xr.Dataset) -> None:
    first, last = (found[time].values for time in ("critical_time", "learned_time"))
    evicted = int(np.sum(last > first * (1 + 1e-6)))
    tau = [kendall(t, size) for size in (found.rho.values, lam) for t in (first, last)]
    print(
        f"{name:42} {evicted:3d}   {tau[0]:6.2f} {tau[1]:6.2f}        {tau[2]:6.2f} {tau[3]:6.2f}"
        f"        {int(np.isinf(last).sum()):3d}",
        flush=True,
    )


# %% [markdown]
# Flow and minibatch SGD share a time axis: with learning rate α, step k is at t = kα. Adam moves
# every weight by about α in a step, so its time is that of 40,000 steps of α = 1e-3.

# %%
flow, sgd = js.GradientFlow(rtol=1e-5), js.Descent(optax.sgd, 0.1, batch_size=BATCH)
adam = js.Descent(optax.adam, 1e-3, batch_size=BATCH)
long, short = np.linspace(1, 6000, 3000), 0.01 * np.arange(1, 4001)
WAYS = {
    "flow": (flow, long),
    "SGD, batches of 64": (sgd, long),
    "Adam, batches of 64": (adam, short),
}

print(f"Of {RUNS * FEATURES} features in {RUNS} problems:")
print(f"{'':40} evicted   τ(ρ) first, last   τ(λ) first, last   not learned")
kept = {}
for name, objective in {"JEPA": js.JEPA(), "MAE": js.MAE()}.items():
    for way, (solver, times) in WAYS.items():
        kept[name, way] = run(objective, solver, times)
        report(f"{name}, {way}", kept[name, way])

# %% [markdown]
# ## A slow teacher
#
# A latent can turn to another feature only when its target turns with it. A teacher with time
# constant τ follows late, so a slow one holds the latents where they are. With momentum m and
# learning rate α the time constant is τ = α/(1 − m).

# %%
for tau in (1.0, 10.0, 100.0, 1000.0):
    found = run(js.JEPA(js.MovingAverage(tau)), flow, long)
    kept["JEPA", f"teacher of τ = {tau:g}"] = found
    report(f"JEPA, flow, teacher of τ = {tau:g}", found)

# %%
ways = ["flow", "SGD, batches of 64", "teacher of τ = 100"]
with plot.style():
    figure, axes = plot.panels(1, 3, (plot.PAGE, 2.4), sharey=True)
    for ax, way in zip(axes, ways, strict=True):
        found = kept["JEPA", way].isel(spectrum=0)
        for i in np.argsort(found.rho.values):
            colour = plt.get_cmap("viridis")(float(found.rho[i]))
            ax.plot(found.t, found.features.isel(feature=i), color=colour, lw=1)
        ax.set(xlabel="flow time t", title=f"JEPA, {way}", xlim=(0, 1200))
    axes[0].set_ylabel("encoder gain w̄\n(dark: small ρ, light: large ρ)")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)
