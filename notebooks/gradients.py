# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Gradients through the simulator
#
# Critical times and trajectories are differentiable in λ, ρ, ε, the depths and the times. (λ is a
# feature's covariance between the views, ρ its regression coefficient, ε the gain at the start.)
# This notebook uses the gradients for two questions. Which parameter does a learning time depend on
# most? Which spectrum separates JEPA from MAE most?

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)


def learned(objective, lam, rho, scale, depth):
    """When each feature reaches half of its plateau."""
    moments = js.Moments.from_features(lam, rho)
    network = js.DeepLinear(depth)
    return js.critical_times(
        js.Problem(moments, objective, network, js.Balanced(scale)), fraction=0.5
    )


# %% [markdown]
# ## Sensitivity
#
# An elasticity ∂ ln t* / ∂ ln x says by how many per cent a learning time t* changes when x changes
# by one per cent.


# %%
@jax.jit
def elasticities(objective, rho, depth):
    def log_time(logs):
        lam, rho, scale = jnp.exp(logs)
        return jnp.log(learned(objective, lam[None], rho[None], scale, depth)[0])

    return jax.grad(log_time)(jnp.log(jnp.array([1.0, rho, 1e-4])))


rho = np.linspace(0.2, 0.95, 30)
picture, axes = plot.panels(1, 3, (plot.PAGE, 2.4))
for objective, line in ((js.JEPA(), "-"), (js.MAE(), "--")):
    for depth, colour in ((1.0, "#0072B2"), (3.0, "#D55E00")):
        found = np.stack([elasticities(objective, r, depth) for r in rho])
        for ax, values, name in zip(axes, found.T, ("λ", "ρ", "ε"), strict=True):
            ax.plot(
                rho, values, line, color=colour, label=f"{objective.name.upper()}, L = {depth:g}"
            )
            ax.set(xlabel="ρ", title=f"∂ ln t* / ∂ ln {name}")
axes[0].set_ylim(-1.1, -0.9)
_ = axes[1].legend(frameon=False)

# %% [markdown]
# At fixed ρ, λ only sets the unit of time: its elasticity is −1 for every depth and objective. This
# result is also a check of the gradient.
#
# ## Inverse design
#
# A clean feature has λ = 1 and ρ = 0.9. We look for a noisy feature, with ρ between 0.5 and 0.9 and
# λ between 0.5 and 3, about which the two objectives disagree most. The MAE must learn it *first*
# and the JEPA *last*, each by as large a factor as possible. So we maximise the smaller of the two
# factors.


# %%
def feature(z):
    """(λ, ρ) within their bounds."""
    share = jax.nn.sigmoid(z)
    return 0.5 + 2.5 * share[0], 0.5 + 0.4 * share[1]


@jax.jit
def disagreement(z):
    lam, rho = feature(z)
    lam, rho = jnp.array([1.0, lam]), jnp.array([0.9, rho])
    jepa = jnp.log(learned(js.JEPA(), lam, rho, 1e-2, 5.0))
    mae = jnp.log(learned(js.MAE(), lam, rho, 1e-2, 5.0))
    later, sooner = jepa[1] - jepa[0], mae[0] - mae[1]
    return -jnp.minimum(later, sooner)  # both must be large


adam = optax.adam(0.1)
z = jnp.zeros(2)
state, trace = adam.init(z), []
step = jax.jit(jax.value_and_grad(disagreement))
for _ in range(150):
    value, slope = step(z)
    trace.append(-value)
    change, state = adam.update(slope, state)
    z = optax.apply_updates(z, change)
lam, rho_found = map(float, feature(z))
print(f"λ = {lam:.3f}, ρ = {rho_found:.3f}: both factors {float(jnp.exp(trace[-1])):.3f}")

# %%
moments = js.Moments.from_features([1.0, lam], [0.9, rho_found])
grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[5], scale=[1e-2])
sweep = js.sweep(grid, js.ClosedForm(), progress=False)
picture, axes = plot.panels(1, 3, (plot.PAGE, 2.4))
axes[0].plot(np.exp(trace))
axes[0].set(xlabel="step of Adam", ylabel="the smaller of both factors")
for ax, objective in zip(axes[1:], ("jepa", "mae"), strict=True):
    plot.trajectories(sweep.sel(objective=objective).squeeze(drop=True), ax)
    ax.set_title(f"{objective.upper()}, L = 5")
plot.rho_bar(picture, axes[1:])

# %% [markdown]
# ## Change this and predict
#
# 1. Do the same at depth L = 2. Is the best factor larger or smaller?
# 2. Let ε be a third unknown. Does it become larger or smaller?
# 3. `js.simulate(…, js.GradientFlow())` is differentiable as well. How much does the gradient of a
#    gain at one time differ between `ClosedForm` and `GradientFlow`?
