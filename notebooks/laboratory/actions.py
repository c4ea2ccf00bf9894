# %% [markdown]
# # Actions: what an agent controls, and what a predictor that is not told the action keeps
#
# An agent sees the world x, does one of two actions, and sees y. A JEPA (or an MAE) has one
# predictor for each action, or one for both, which is blind to the action. The encoder is shared.
# The world (`js.data.Controlled`) has seven features of one variance, in noise:
#
# - the agent *flips* one: the first action keeps its sign, the second changes it;
# - it *stops* one: the first action keeps it, the second forgets it;
# - it *turns* a pair of features, to the left or to the right by 115°;
# - it leaves one *alone*, which changes slowly by itself;
# - two are distractors that no action touches: noise that is *frozen*, and noise that is *white*.
#
# With the regression coefficient ρ_a of a feature under action a, and the probability p_a, the
# predictors of a JEPA end at ρ_a, and the encoder's gain at (Σ_a ρ_a²)^{L/2}. The blind JEPA sees
# ρ̄ = Σ_a p_a ρ_a, and ends at ρ̄^L, or at 0 where ρ̄ ≤ 0.
#
# `python notebooks/laboratory/actions.py` takes about 25 seconds on one core.

# %%
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

KINDS = {
    "turned": [0, 1],
    "flipped": [2],
    "stopped": [3],
    "alone": [4],
    "frozen": [5],
    "white": [6],
}
COLOURS = ["#009E73", "#D55E00", "#E69F00", "#0072B2", "#444444", "#BBBBBB"]
DEPTH, SCALE, ANGLE = 3, 0.1, 2.0
RHO = 0.95 / 1.2  # of a feature that is left alone


def world(second=-1.0):
    """The second action multiplies the flipped feature by `second`."""
    return js.data.Controlled(
        signal=[1, 1, 1, 1, 1, 0, 0],
        noise=[0.2] * 5 + [1.2] * 2,
        autocorrelation=0.95,
        noise_autocorrelation=[0, 0, 0, 0, 0, 1, 0],
        effect=[[1, 1, 1, 1, 1, 1, 1], [1, 1, second, 0, 1, 1, 1]],
        turn=[[ANGLE, 0, 0], [-ANGLE, 0, 0]],
    )


SECONDS = np.array([-1.0, -0.5, 0.5])


def sweep(moments, predictors, solver):
    grid = js.Grid(
        spectrum=moments,
        objective=[js.JEPA(), js.MAE()],
        depth=[DEPTH],
        scale=[SCALE],
        network=lambda depth, predictor_depth: js.DeepLinear(
            depth, predictor_depth, frames=(1, predictors)
        ),
    )
    runs = js.sweep(
        grid,
        solver,
        times=js.LogGrid(start=1.0, stop=500.0, count=80),
        observables=[js.observables.features],
        progress=False,
    )
    return runs.squeeze(("depth", "predictor_depth", "seed", "scale"), drop=True)


flow = js.GradientFlow(js.ROCK4(), rtol=1e-6)  # what turns would wobble at a larger tolerance
told = sweep([world(second).exact_moments() for second in SECONDS], 2, flow)
blind = sweep([world(second).blind_moments() for second in SECONDS], 1, js.ClosedForm())


def plateaus(is_told):
    moments = world().exact_moments() if is_told else world().blind_moments()
    network = js.DeepLinear(DEPTH, frames=(1, 2) if is_told else (1, 1))
    return np.asarray(js.Problem(moments, js.JEPA(), network, js.Balanced(SCALE)).plateaus)


# %% [markdown]
# Left: the gains of a JEPA of three layers over time. The predictors that are told the action
# (solid) learn all that the agent controls. The blind one (dashed) lets the turned and the flipped
# features fall towards 0, and keeps less of the stopped one.
#
# Middle: what is left at the end. Circles are JEPAs, squares MAEs, of three layers. The blind MAE
# drops what the agent controls too: there is nothing to predict. What the action does not help with
# is the frozen distractor. Both learn it, and it has the largest gain of all: its ρ_a is 1 under
# both actions. White noise is dropped by both.
#
# Right: the second action multiplies the flipped feature by c. The lines are the formulas, for one
# layer (pale) and three, the points the runs of three.

# %%
with plot.style():
    figure, axes = plot.panels(1, 3, (plot.PAGE, 2.5))
    deep = [runs.sel(objective="jepa").isel(spectrum=0) for runs in (told, blind)]
    for (kind, numbers), colour in zip(KINDS.items(), COLOURS, strict=True):
        for run, line in zip(deep, ("-", "--"), strict=True):
            label = kind if line == "-" else None
            y = run.features.isel(feature=numbers[0])
            axes[0].plot(run.t, y, line, color=colour, lw=1.2, label=label)
    axes[0].set(xscale="log", xlabel="flow time t", ylabel="encoder gain w̄, JEPA, L = 3")
    axes[0].legend(frameon=False, fontsize=7, loc="upper left")
    place = np.arange(len(KINDS))
    first = [numbers[0] for numbers in KINDS.values()]
    for objective, shift in (("jepa", -0.12), ("mae", 0.12)):
        name, colour, marker = plot.OBJECTIVES[objective]
        for run, face, who in ((told, colour, "told"), (blind, "none", "blind")):
            end = run.features.sel(objective=objective).isel(spectrum=0, time=-1)
            style = {"color": colour, "mfc": face, "ms": 4, "ls": "", "marker": marker}
            axes[1].plot(place + shift, end[first], label=f"{name}, {who}", **style)
    axes[1].set_xticks(place, KINDS, rotation=40)
    axes[1].set_ylabel("gain w̄ at the end, L = 3")
    axes[1].legend(frameon=False, fontsize=7)
    fine, feature = np.linspace(-1, 1, 81), KINDS["flipped"][0]
    for run, line, face, who in ((told, "-", None, "told"), (blind, "--", "none", "blind")):
        rho = RHO * (np.sqrt(1 + fine**2) if run is told else (1 + fine) / 2)
        for depth, shade in ((1, 0.4), (DEPTH, 1.0)):
            style = {"color": plot.OBJECTIVES["jepa"][1], "alpha": shade}
            label = who if depth == DEPTH else None
            axes[2].plot(fine, rho**depth, line, lw=1, label=label, **style)
        end = run.features.sel(objective="jepa").isel(feature=feature, time=-1)
        axes[2].plot(SECONDS, end, "o", ms=4, mfc=face, color=plot.OBJECTIVES["jepa"][1])
    axes[2].set(xlabel="c, effect of the second action", ylabel="gain of the flipped feature, JEPA")
    axes[2].legend(frameon=False, fontsize=7)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=150, pil_kwargs={"optimize": True})

# %%
print("gain at the end, and plateau by formula; JEPA, L = 3")
for who, run in (("told", told), ("blind", blind)):
    end = run.features.sel(objective="jepa").isel(spectrum=0, time=-1).values
    formula = plateaus(who == "told")
    for kind, numbers in KINDS.items():
        print(f"  {who:6} {kind:8} {end[numbers[0]]:.3f}  {formula[numbers[0]]:.3f}")
print("trajectories:", told.result.size + blind.result.size)
