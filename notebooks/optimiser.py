# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From flow to optimiser
#
# How far does the theory hold for real training? The theory describes gradient flow on the
# population loss. Real training has steps, minibatches and Adam. `Descent` runs any optax optimiser
# on the same problem. With learning rate α, step k is at time t = kα.

# %%
import jax
import numpy as np
import optax

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=0.05))
times = np.linspace(0, 400, 201)
flow = js.simulate(problem, times, js.ClosedForm())

# %% [markdown]
# ## Step sizes
#
# Gradient descent is the Euler method for the flow, so its error is proportional to α.

# %%
rates = [0.2, 0.1, 0.05, 0.025]
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.5))
worst = []
for rate in rates:
    run = js.simulate(problem, times, js.Descent(optax.sgd, learning_rate=rate))
    axes[0].plot(run.times, run.features[:, 1], label=f"α = {rate}")
    worst.append(abs(run.features - flow.features).max())
axes[0].plot(times, flow.features[:, 1], "k--", label="flow")
axes[0].set(xlabel="time t = kα (units of 1/λ)", ylabel="gain of the noisy feature")
axes[0].legend(frameon=False)
axes[1].loglog(rates, worst, "o-")
axes[1].set(xlabel="α", ylabel="largest difference of a gain")
order = np.polyfit(np.log(rates), np.log(worst), 1)[0]
print(f"order of convergence: {order:.2f}")
assert 0.8 < order < 1.3

# %% [markdown]
# ## Minibatches
#
# Every step draws a fresh batch of size B from the Gaussian with these moments. A larger α/B means
# more noise. Even where the noise changes single curves, the order of learning stays the same.

# %%
picture, axes = plot.panels(1, 3, (plot.PAGE, 2.3), sharey=True)
for ax, batch in zip(axes, (8, 32, 256), strict=True):
    solver = js.Descent(optax.sgd, learning_rate=0.1, batch_size=batch)
    for seed in range(5):
        run = js.simulate(problem, times, solver, key=jax.random.key(seed))
        ax.plot(run.times, run.features[:, 0], color="#0072B2", lw=0.7)
        ax.plot(run.times, run.features[:, 1], color="#D55E00", lw=0.7)
    ax.plot(times, flow.features, "k--", lw=1)
    ax.set(title=f"batch size {batch}", xlabel="time t = kα")
axes[0].set_ylabel("gains: ρ = 0.9 blue, ρ = 0.3 red")
axes[0].set_ylim(0, 1.2)
print("dashed: the flow")

# %% [markdown]
# ## Adam
#
# Adam divides by the size of recent gradients. So the time that a feature needs to leave a small
# start depends on α, not on ε. The flow separates features by their growth rates; with Adam they
# leave together. The *times* of the theory no longer hold, but its *plateaus* do.

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.5), sharey=True)
steps = np.arange(0, 3001, 25)
for ax, (name, optimizer, rate) in zip(
    axes, (("gradient descent", optax.sgd, 0.15), ("Adam", optax.adam, 0.003)), strict=True
):
    run = js.simulate(problem, steps * rate, js.Descent(optimizer, learning_rate=rate))
    ax.plot(steps, run.features[:, 0], color="#0072B2", label="ρ = 0.9")
    ax.plot(steps, run.features[:, 1], color="#D55E00", label="ρ = 0.3")
    for level in problem.plateaus:
        ax.axhline(float(level), color="0.6", lw=0.6, ls=":")
    ax.set(xlabel="step", title=name)
    np.testing.assert_allclose(run.features[-1], problem.plateaus, rtol=0.05)
axes[0].set_ylabel("gain w̄")
_ = axes[0].legend(frameon=False)

# %% [markdown]
# ## Change this and predict
#
# 1. At which α does gradient descent stop converging? (The fastest relaxation at the plateau is
#    $\lambda\, \rho^{2L - 1}$ for M = 1 layer of predictor, up to a factor of the number of
#    layers.)
# 2. Double the batch size and α together. Do the curves change?
# 3. Start at ε = 1e-3. How many more steps does gradient descent take? How many more does Adam
#    take?
