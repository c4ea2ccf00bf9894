# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Gallery
#
# This notebook shows every figure of `jepa_sim.plot`. Each is drawn from a sweep or a run in a line
# or two. Each function returns the axes that it draws on. To draw on axes of your own, pass them as
# `ax`.
# `plot.save(figure, path)` writes a PDF and a PNG.

# %%
import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
moments = js.Moments.from_features(np.geomspace(2.0, 0.2, 8), rng.uniform(0.3, 0.95, 8))
grid = js.Grid(
    spectrum=moments,
    objective=[js.JEPA(), js.MAE()],
    depth=[1, 2, 3, 5],
    scale=np.geomspace(1e-6, 1e-3, 10),
)
sweep = js.sweep(grid, js.ClosedForm(), progress=False)
sweep = sweep.squeeze(drop=True).sel(critical_fraction=0.5)

# %% [markdown]
# ## Trajectories

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.4), sharey=True)
for ax, objective in zip(axes, ["jepa", "mae"], strict=True):
    plot.trajectories(sweep.sel(objective=objective, depth=3).isel(scale=-1), ax)
    with plot.style():
        ax.set_title(objective.upper())
plot.rho_bar(picture, axes)

# %% [markdown]
# `labels` names the features that matter. All others are thin and grey:

# %%
names = {0: "the largest λ", 7: "the smallest λ"}
_ = plot.trajectories(sweep.sel(objective="jepa", depth=3).isel(scale=-1), labels=names)

# %% [markdown]
# ## A spectrum

# %%
_ = plot.spectrum(moments)

# %% [markdown]
# ## Critical times against ρ and λ

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.6), sharey=True)
for ax, against in zip(axes, ["rho", "lam"], strict=True):
    plot.critical_times(sweep.sel(depth=3).isel(scale=-1), ax, against=against)
_ = axes[1].set_ylabel("")

# %% [markdown]
# The same times relative to that of the cleanest feature, one panel per depth:

# %%
_ = plot.learning_time(sweep.isel(scale=-1))

# %% [markdown]
# One column per objective, with a colour for each depth. The upper row has these times, and the
# lower row has the gains at which features end:

# %%
_ = plot.depth_effect(sweep.isel(scale=-1))

# %% [markdown]
# ## Order of learning
#
# Red above the diagonal means that features are learned in the order of λ. The deep JEPA departs
# from this order.

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.9))
for ax, objective in zip(axes, ["jepa", "mae"], strict=True):
    plot.order_matrix(sweep.sel(objective=objective, depth=5).isel(scale=-1), ax)

# %% [markdown]
# ## Phase diagrams
#
# A phase diagram shows any number of a sweep over any two of its axes.

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.4))
plot.phase_diagram(sweep.order_lam.sel(objective="jepa"), axes[0])
_ = plot.phase_diagram(sweep.critical_time.sel(objective="jepa").isel(feature=0), axes[1])

# %% [markdown]
# ## Features as images
#
# These are the directions in 8 × 8 patches of photographs that a JEPA can learn. Above each is its
# regression coefficient ρ.

# %%
patches = js.data.Noisy(js.data.Patches(8), 0.3).sampled_moments(20_000, seed=0)
features = patches.features()
order = np.argsort(-np.asarray(features.lam))[:16]
titles = [f"ρ = {float(features.rho[i]):.2f}" for i in order]
_ = plot.patches(np.asarray(features.patterns.T)[order], shape=(8, 8), titles=titles)

# %% [markdown]
# ## Collapse
#
# With weight decay, only the cleanest of these three features is kept.

# %%
static = js.data.Static(signal=[1.0, 1.0, 0.5], noise=[0.1, 1.0, 2.0]).exact_moments()
problem = js.Problem(
    static, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=0.2), js.Training(decay=0.02)
)
run = js.simulate(problem, np.linspace(0, 400, 201), js.LayerModes())
_ = plot.collapse(run)
