# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Why: timing and plateaus
#
# Why does a JEPA prefer features of large ρ? This notebook separates two reasons: *when* a feature
# is learned, and *how strongly* it is kept.
#
# Every feature follows u̇ = u^a (λ − σ² u^b), where w̄ = u^L is the encoder's gain. JEPA has
# a = 2L + M − 1 and b = M. MAE has a = L + M − 1 and b = L + M. L and M are the layers of encoder
# and predictor. The *critical time* t* is when a feature reaches a fraction of its own plateau.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)


def problem(objective, depth, scale, rho, lam=1.0):
    """Features of one λ, and every ρ given."""
    rho = jnp.asarray(rho)
    moments = js.Moments.from_features(jnp.broadcast_to(lam, rho.shape), rho)
    return js.Problem(moments, objective, js.DeepLinear(depth), js.Balanced(scale))


rho = np.linspace(0.2, 0.99, 60)

# %% [markdown]
# ## Critical times against ρ, at the same λ

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.6), sharey=True)
for ax, objective in zip(axes, (js.JEPA(), js.MAE()), strict=True):
    for depth in (1, 2, 3, 5):
        late = js.critical_times(problem(objective, depth, 1e-4, rho), fraction=0.5)
        ax.plot(rho, late / late[-1], label=f"L = {depth}")
    ax.set(xlabel="ρ", title=objective.name.upper())
axes[0].set_ylabel("t* over that of ρ = 0.99")
_ = axes[0].legend(frameon=False)

# %% [markdown]
# Let ε, the gain at the start, be small. A feature then spends most of the time far below its
# plateau, where the noise does not matter yet. The leading term of t* for ε → 0 is
# $1/(\lambda q\, \varepsilon^{q/L})$ with q = a − 1, and does not depend on ρ. So the bias
# *in timing* is a correction that vanishes with ε. `asymptotic_critical_times` has all terms that
# grow as ε → 0:

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.6))
scales = np.geomspace(1e-2, 1e-8, 13)
for depth in (1, 2, 3):
    pairs = [problem(js.JEPA(), depth, scale, [0.9, 0.3]) for scale in scales]
    exact = np.stack([js.critical_times(each, fraction=0.5) for each in pairs])
    theory = np.stack([js.asymptotic_critical_times(each) for each in pairs])
    axes[0].plot(scales, exact[:, 1] / exact[:, 0], label=f"L = {depth}")
    axes[1].plot(scales, abs(theory[:, 1] / exact[:, 1] - 1), label=f"L = {depth}")
axes[0].set(xscale="log", xlabel="ε", ylabel="t*(ρ = 0.3) / t*(ρ = 0.9)", title="timing, exact")
axes[1].set(xscale="log", yscale="log", xlabel="ε", title="asymptotics for ρ = 0.3: error")
_ = axes[0].legend(frameon=False)

# %% [markdown]
# The bias in *plateaus* does not vanish with ε. They are $\rho^{L/M}$ for JEPA and
# $\rho^{L/(L+M)}$ for MAE.

# %%
picture, [ax] = plot.panels(1, 1, (plot.COLUMN, 2.6))
for objective, line in ((js.JEPA(), "-"), (js.MAE(), "--")):
    for depth, colour in ((1, "#0072B2"), (3, "#009E73"), (5, "#D55E00")):
        levels = problem(objective, depth, 1e-3, rho).plateaus
        name = f"{objective.name.upper()}, L = {depth}"
        ax.plot(rho, levels, line, color=colour, label=name)
ax.set(xlabel="ρ", ylabel="plateau of the gain w̄")
_ = ax.legend(frameon=False)

# %% [markdown]
# ## Relative and absolute thresholds
#
# Half of *its own* plateau is a different threshold for every feature. With one level for all
# features, a noisy feature may never be learned: in a JEPA of depth 5, every feature with ρ below
# 0.63 stays under a gain of 0.1.

# %%
own = js.critical_times(problem(js.JEPA(), 5, 1e-3, [0.9, 0.6, 0.3]), fraction=0.5)
one = js.critical_times(problem(js.JEPA(), 5, 1e-3, [0.9, 0.6, 0.3]), level=0.1)
print("half of its own plateau:", own)
print("a gain of 0.1:          ", one)

# %% [markdown]
# ## Change this and predict
#
# 1. Let the noisy feature have λ = 1.2, and the clean one λ = 1. At which depth does a JEPA change
#    their order? Does the answer depend on ε?
# 2. With M = 2 (`js.DeepLinear(depth, 2)`) JEPA's plateau is $\rho^{L/2}$. Is its bias in timing
#    smaller too?
# 3. The error of the asymptotic times is of order 1. Why does the *relative* error still fall with
#    ε, and why does it fall faster for deeper encoders?
