# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # First look
#
# Which of two features is learned first, by a joint embedding predictive architecture (JEPA) and by
# a masked autoencoder (MAE)? The features have the same covariance λ between the two views of the
# data. One is clean: its regression coefficient ρ = λ/σ² is 0.9, where σ² is its variance. The
# other is noisy: its ρ is 0.3.

# %%
import jax

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
grid = js.Grid(
    spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 2, 3, 4, 5], scale=[1e-4]
)
sweep = js.sweep(grid, js.ClosedForm(), progress=False)
sweep

# %% [markdown]
# `sweep` is an `xarray.Dataset` with named axes. Times are flow times: step k of gradient descent
# with learning rate α is at t = kα. An encoder gain w̄ says how strongly the encoder passes a
# feature on. Gains start at ε = 1e-4 and end at their plateaus: $\rho^{L/M}$ for JEPA and
# $\rho^{L/(L+M)}$ for MAE. L is the depth of the encoder, and the predictor or decoder has M = 1
# layer.

# %%
with plot.style():
    picture, axes = plot.panels(2, 3, (plot.PAGE, 3.8), sharey=True)
    for row, objective in enumerate(["jepa", "mae"]):
        for column, depth in enumerate([1, 3, 5]):
            ax = axes[3 * row + column]
            run = sweep.sel(objective=objective, depth=depth).squeeze(drop=True)
            plot.trajectories(run, ax)
            ax.set_title(f"{objective.upper()}, depth L = {depth}")
    plot.rho_bar(picture, axes)

# %% [markdown]
# Deeper JEPAs learn the noisy feature later, and less of it: at L = 5 its plateau is 0.3⁵ = 0.002.
# An MAE of the same depth learns both at nearly the same time and keeps 0.37 of the noisy one.
# The table shows how many times later the noisy feature reaches half of its own plateau.

# %%
late = sweep.critical_time.sel(critical_fraction=0.5).squeeze(drop=True)
delay = late.isel(feature=1) / late.isel(feature=0)
delay.to_pandas().round(2)

# %% [markdown]
# ## Comparison with the full matrix flow
#
# The closed form solves the reduced theory. `GradientFlow` integrates all matrices, here from a
# start in random frames. Here the moments commute and the cleaner feature comes first, so the two
# agree within the tolerance of the integration.

# %%
problem = js.Problem(
    moments, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=1e-4, rotated=True)
)
times = sweep.sel(objective="jepa", depth=2).t.values.ravel()
flow = js.simulate(problem, times, js.GradientFlow(), key=jax.random.key(0))
exact = js.simulate(
    js.Problem(moments, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=1e-4)),
    times,
    js.ClosedForm(),
)
worst = abs(flow.features / exact.features - 1).max()
print(f"largest relative difference of a gain: {worst:.1e}")
flow.critical_times(fraction=0.5) / exact.critical_times(fraction=0.5)

# %% [markdown]
# ## Change this and predict
#
# 1. Give the noisy feature twice the covariance, `lam=[1.0, 2.0]`. Which feature does a JEPA learn
#    first at L = 1? At L = 5? (The next notebook explains why.) Then look at the last cell again.
#    Once the noisy feature is learned, the matrix flow learns the clean one too, long before the
#    closed form says. The aligned solution is unstable there, and rounding is enough to leave it
#    (concepts, "Beyond alignment").
# 2. Let ε go to 1e-8. Do the *ratios* of times come nearer to one, or do they move away?
# 3. Take `js.DeepLinear(depth=3, predictor_depth=2)`. Which plateau does the noisy feature reach?
