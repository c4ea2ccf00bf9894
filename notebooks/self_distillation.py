# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Self-distillation
#
# In self-distillation the teacher of a JEPA is a slow moving average of its encoder. This notebook
# shows what becomes of each feature, and why: with a slow teacher, under weight decay, and when the
# predictor starts in a wrong direction.

# %%
import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

moments = js.data.Static(signal=[1.0, 1.0, 0.5], noise=[0.1, 1.0, 2.0]).exact_moments()
times = np.linspace(0, 400, 201)


def problem(teacher, decay=0.0, start=None):
    """Depth 2, three features of falling ρ."""
    return js.Problem(
        moments,
        js.JEPA(teacher),
        js.DeepLinear(depth=2),
        js.Balanced(scale=0.2) if start is None else start,
        js.Training(decay=decay),
    )


# %% [markdown]
# ## A slow teacher delays learning, and changes no plateau

# %%
picture, axes = plot.panels(1, 3, (plot.PAGE, 2.4), sharey=True)
teachers = {
    "stop-gradient": js.StopGradient(),
    "τ = 20": js.MovingAverage(20.0),
    "no stop-gradient": js.NoStopGradient(),
}
for ax, (name, teacher) in zip(axes, teachers.items(), strict=True):
    run = js.simulate(problem(teacher), times, js.LayerModes())
    for i, rho in enumerate(run.problem.features.rho):
        ax.plot(times, run.features[:, i], label=f"ρ = {float(rho):.2f}")
    ax.set(title=name, xlabel="time t = kα (units of 1/λ)")
axes[0].set_ylabel("encoder gain w̄")
_ = axes[0].legend(frameon=False)

# %% [markdown]
# Without the stop-gradient the network can lower its loss by shrinking its own target. It does so,
# and everything collapses.
#
# ## Weight decay and collapse
#
# Every feature has a threshold: under more weight decay than that, it collapses. Noisy features
# have smaller thresholds.

# %%
decayed = js.simulate(problem(js.StopGradient(), decay=0.02), times, js.LayerModes())
print(js.diagnose(decayed))
print("thresholds:", decayed.problem.equilibria.threshold)

# %%
decays = np.geomspace(1e-4, 0.3, 40)
grid = js.Grid(
    spectrum=moments,
    objective=[js.JEPA()],
    depth=[2],
    scale=[0.2],
    axes={"decay": decays},
    customise=lambda posed, decay: js.Problem(
        posed.moments, posed.objective, posed.network, posed.start, js.Training(decay=decay)
    ),
)
sweep = js.sweep(grid, js.LayerModes(), times=times * 10, progress=False)
final = sweep.features.isel(time=-1).squeeze(drop=True)
picture, [ax] = plot.panels(1, 1, (plot.COLUMN, 2.5))
for i, threshold in enumerate(decayed.problem.equilibria.threshold):
    rho = float(decayed.problem.features.rho[i])
    [line] = ax.plot(decays, final.isel(feature=i), label=f"ρ = {rho:.2f}")
    ax.axvline(float(threshold), color=line.get_color(), lw=0.6, ls=":")
ax.set(xscale="log", xlabel="weight decay η", ylabel="gain at the end")
_ = ax.legend(frameon=False)

# %% [markdown]
# The dotted lines are the thresholds in closed form. A gain may vanish a little below its
# threshold, because this start, ε = 0.2, may lie outside the basin of the learned state.
# `Problem.equilibria` has the edge of this basin too.
#
# ## A misaligned predictor
#
# Here the predictor starts turned by an angle between two features.

# %%
turned = js.simulate(
    problem(js.StopGradient(), start=js.Misaligned(scale=0.2, angle=1.2)),
    times,
    js.GradientFlow(),
    key=jax.random.key(0),
)
print(js.diagnose(turned))

# %% [markdown]
# ## Change this and predict
#
# 1. Let the teacher's time constant τ go from 20 to 200, and `times` to 4000. Which of these
#    change: plateaus, times, thresholds?
# 2. Raise ε to 0.5 in the sweep over weight decay. Do the curves meet the dotted lines now?
# 3. Turn the predictor by more than a right angle. Which features are still learned?
