# %% [markdown]
# # Features that turn
#
# An oscillator seen twice, some steps apart, is a pair of features that turns by an angle θ: Σyx is
# not symmetric. The gain of the encoder ends where it ends for any feature of that ρ. But from a
# small start the predictor has to turn first, and the more it has to turn, the longer that takes.
# On the way it moves on a straight line, from its start at ε to ρ e^{iθ}, and passes 0 at a
# distance of ε sin θ. So it is small for long, and the encoder, which is held to it, is small too.
#
# First, oscillators of one λ and one ρ (`js.data.Oscillator`), which differ in θ alone. Then
# windows of El Niño, two years long, and the windows half a year later, rolled (`js.data.Windows`):
# their features are waves, and each turns by its frequency times the lag.

# %%
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

DEPTHS, SCALE = (1, 2, 3), 1e-2
ANGLES = np.linspace(0, 3.0, 31)
SHOWN = (0.3, 1.5, 2.5, 2.9)


def oscillators(angles):
    count = len(angles)
    return js.data.Oscillator([1.0] * count, 0.9, angles, 0.25).exact_moments()


def posed(moments, depth, objective=None, start=None):
    start = js.Balanced(SCALE) if start is None else start
    objective = js.JEPA() if objective is None else objective
    return js.Problem(moments, objective, js.DeepLinear(depth), start)


moments = oscillators(ANGLES)
late = {}
for name, objective in (("jepa", js.JEPA()), ("mae", js.MAE())):
    for depth in DEPTHS:
        times = np.asarray(js.critical_times(posed(moments, depth, objective), fraction=0.5))
        late[name, depth] = times[::2] / times[0]
observed = (js.observables.features, js.observables.phases)
run = js.simulate(
    posed(oscillators(SHOWN), 1), np.geomspace(3, 3e3, 400), js.LayerModes(), observables=observed
)

# %% [markdown]
# ## A feature of negative ρ is the last case, θ = π
#
# Then the line leads through 0. The difference κ = w² − v² between encoder and predictor is kept,
# so that the encoder is 0 there unless κ > 0. The last panel has a feature of ρ = −0.6.

# %%
negative = js.Moments.from_features([-0.9], [-0.6])
signs = {}
for kappa in (-0.005, 0.001, 0.009):
    problem = posed(negative, 1, start=js.Unbalanced(0.1, -kappa))
    signs[kappa] = js.simulate(problem, np.geomspace(0.3, 3e3, 200), js.LayerModes())

with plot.style():
    figure, axes = plot.panels(1, 4, (plot.PAGE, 2.3))
    plot.phases(run, axes[0])
    axes[0].set(title="L = 1: the turn")
    for i, theta in enumerate(SHOWN):
        shade = str(0.6 - 0.6 * i / (len(SHOWN) - 1))
        axes[1].plot(run.times, run.features[:, 2 * i], color=shade, label=f"{theta}")
        axes[0].lines[2 * i].set_color(shade)
        axes[0].lines[2 * i + 1].set_color(shade)
    axes[1].set(
        xscale="log", xlabel="flow time t", ylabel="encoder gain w̄", title="L = 1: the gain"
    )
    axes[1].legend(frameon=False, title="θ", title_fontsize=7)
    for (name, depth), ratio in late.items():
        label, colour, _ = plot.OBJECTIVES[name]
        shown = label if depth == DEPTHS[0] else None
        axes[2].plot(
            ANGLES, ratio, color=colour, alpha=0.4 + 0.2 * depth, label=shown, lw=0.5 * depth
        )
    axes[2].set(yscale="log", xlabel="θ", ylabel="t* over that of θ = 0", title="L = 1 (thin) to 3")
    axes[2].legend(frameon=False)
    for kappa, found in signs.items():
        axes[3].plot(found.times, found.features[:, 0], label=f"{kappa:g}")
    axes[3].set(xscale="log", xlabel="flow time t", title="ρ = −0.6: the gain")
    beside = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5)}
    axes[3].legend(frameon=False, title="κ", title_fontsize=7, **beside)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=150, pil_kwargs={"optimize": True})

for depth in DEPTHS:
    found = {name: late[name, depth] for name in ("jepa", "mae")}
    print(
        f"L = {depth}: t* over that of θ = 0 at θ = 1.5, 2.5, 2.9:",
        {name: [f"{ratio[i]:.3g}" for i in (15, 25, 29)] for name, ratio in found.items()},
    )
for found in signs.values():
    print(js.diagnose(found))

# %% [markdown]
# ## El Niño
#
# With plain windows most of what turns is left out: an `AsymmetryWarning` says how much. Rolled
# windows have pairs, and the table has their ρ, θ and times.

# %%
rolled = js.data.Windows(js.data.elnino(), 24, 6, rolled=True).exact_moments()
features = rolled.features()
print(rolled)
for depth in (1, 2):
    times = np.asarray(js.critical_times(posed(rolled, depth), fraction=0.5))
    first = np.argsort(times)[:8]
    print(f"L = {depth}: learned first:")
    for i in first:
        print(
            f"  λ = {features.lam[i]:.3g}, ρ = {features.rho[i]:.3g}, "
            f"θ = {features.angle[i]:.3g}, t* = {times[i]:.4g}"
        )
