# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A large sweep
#
# When does a JEPA learn a noisy feature before a clean one? The sweep has 3,600 pairs of features,
# four depths, three scales ε of the start and both objectives: 86,400 trajectories. (A million
# takes a little more than a minute.) It is written to a folder block by block, and later only the
# parts that are used are read. The scales are small enough for every feature to start below its
# plateau.

# %%
import tempfile
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

excess, noise = np.geomspace(0.5, 4.0, 60), np.linspace(0.25, 0.85, 60)
lam_noisy, rho_noisy = (a.ravel() for a in np.meshgrid(excess, noise, indexing="ij"))
pairs = jax.vmap(js.Moments.from_features)(
    np.stack([np.ones_like(lam_noisy), lam_noisy], axis=1),
    np.stack([np.full_like(rho_noisy, 0.9), rho_noisy], axis=1),
)
grid = js.Grid(
    spectrum=pairs,
    objective=[js.JEPA(), js.MAE()],
    depth=[1, 2, 3, 5],
    scale=[1e-4, 1e-5, 1e-6],
)
planned = js.plan(
    grid,
    js.ClosedForm(),
    times=js.CriticalGrid(16),
    observables=(js.observables.features,),
)
folder = Path(tempfile.mkdtemp())
run = js.campaign(folder / "pairs", planned, progress=False)
run.sizes

# %% [markdown]
# `js.campaign` returns the dataset of `js.open_run(folder / "pairs")`, which loads values when they
# are used. Call `js.campaign` again to resume a sweep that was stopped or killed; a complete sweep
# is not computed again. Nothing below loads the gains.

# %%
run = js.open_run(folder / "pairs")
late = run.critical_time.sel(critical_fraction=0.5).squeeze(drop=True)
later = (late.isel(feature=0) / late.isel(feature=1)).compute()  # > 1: the noisy one is first
print(f"{run.nbytes / 2**20:.0f} MiB in all, {later.nbytes / 2**20:.1f} MiB loaded")

# %%
shown = np.log2(later.values).reshape(2, 4, 3, len(excess), len(noise))
picture, axes = plot.panels(2, 4, (plot.PAGE, 3.6), sharey=True)
for row, name in enumerate(["JEPA", "MAE"]):
    for column, depth in enumerate(grid.depth):
        ax = axes[4 * row + column]
        ax.pcolormesh(
            noise, excess, shown[row, column, 0], cmap="RdBu_r", vmin=-2, vmax=2, rasterized=True
        )
        ax.contour(noise, excess, shown[row, column, 0], [0], colors="k", linewidths=0.8)
        ax.set(yscale="log", yticks=[0.5, 1, 2, 4], yticklabels=["½", "1", "2", "4"])
        ax.set_title(f"{name}, L = {depth}")
        ax.set_xlabel("ρ of the noisy feature" if row else "")
    axes[4 * row].set_ylabel("λ of the noisy feature")
bar = picture.colorbar(axes[0].collections[0], ax=axes, aspect=30)
bar.set_label("log₂ of how much earlier\nthe noisy feature is learned")

# %% [markdown]
# Above the black line the noisy feature is learned first. For MAE the line does not move with
# depth, since λ alone decides. For JEPA, a noisy feature needs more λ the deeper the encoder is.
# The table shows where the line lies at ρ = 0.3, by depth and scale of the start:

# %%
nearest = np.argmin(abs(noise - 0.3))
first = (shown[:, :, :, :, nearest] > 0).argmax(axis=-1)
table = late.isel(feature=0, spectrum=0, drop=True).copy(data=excess[first])
table.rename("λ at which the noisy feature is first").to_series().unstack("depth").round(2)

# %% [markdown]
# ## Change this and predict
#
# 1. Take 0.9 of the plateau (`critical_fraction=0.9`) instead of half of it. Does the line of JEPA
#    at depth L = 5 move up or down?
# 2. Add depth 8 by `js.campaign(…, extend=True)` with a longer `depth`. What is computed again?
