# %% [markdown]
# # The greedy rank of linear autoencoders
#
# Sun et al. (2021) study a linear autoencoder with N linear layers between encoder and decoder.
# Here it is an `MAE` with Σyx = Σxx, an encoder of depth L = N + 1 and one layer of decoder, N + 2
# factors in all, from small random starts. The data have rank 4 in 12 dimensions, with a little
# noise. Directions are learned one after another, so the effective rank falls towards 1 and then
# climbs to the true rank. With more layers the steps are clearer. The spectrum, the noise and the
# starts are our choice.
#
# N + 2 factors move their product about N + 2 times as fast. With the learning rate 1/(N + 2) all
# depths relax equally fast: near its plateau, the gap of a direction of variance σ² shrinks as
# e^{−σ² t}. At a common rate it would shrink as e^{−(N+2) σ² t}. The rate 1/(N + 2) does not make
# equal how long a small start waits near 0. This time grows with N, and here the rate makes the
# difference between depths larger.

# %%
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

LAYERS = (0, 1, 2, 4)
VARIANCE = np.array([1.0, 0.7, 0.5, 0.35] + 8 * [1e-6])
RANK, SCALE = 4, 3e-3

# %%
moments = js.Moments.from_features(VARIANCE, np.ones_like(VARIANCE))


def pose(problem: js.Problem, scaled: jax.Array) -> js.Problem:
    """The learning rate 1/(N + 2), N + 2 = L + 1, where `scaled` is 1."""
    rate = jnp.where(scaled > 0, 1 / (problem.network.depth + 1), 1.0)
    return dataclasses.replace(problem, training=js.Training(rate, rate))


grid = js.Grid(
    spectrum=moments,
    objective=[js.MAE()],
    depth=[layers + 1 for layers in LAYERS],
    scale=[SCALE],
    seed=range(2),
    start=js.RandomGaussian,
    axes={"scaled": [0, 1]},
    customise=pose,
)
runs = js.sweep(
    grid,
    js.GradientFlow(rtol=1e-5),
    times=js.LogGrid(1, 3e3, 160),
    observables=(js.observables.features, js.observables.effective_rank),
    padded=True,
    progress=False,
).squeeze()
rank = runs.effective_rank


# %%
LATE = np.linspace(0, 15, 76)


def gap(layers: int, rate: float) -> np.ndarray:
    """(t,) 1 − u/u* of the first direction at times LATE, by the exact solution from gain 0.5."""
    network, training = js.DeepLinear(layers + 1), js.Training(rate, rate)
    problem = js.Problem(moments, js.MAE(), network, js.Balanced(0.5), training)
    observed = (js.observables.weights,)
    run = js.simulate(problem, LATE, js.ClosedForm(), observables=observed)
    return np.asarray(run["weights"].gap)[:, 0]


gaps = {(n, rate): gap(n, rate) for n in LAYERS for rate in (1.0, 1 / (n + 2))}


def relaxation(layers: int, rate: float) -> float:
    """−d ln gap/dt at the end."""
    early, late = gaps[layers, rate][[-6, -1]]
    return float(np.log(early / late) / (LATE[-1] - LATE[-6]))


def settled(layers: int, scaled: int) -> float:
    """When the effective rank is within 0.1 of its end for good, the median over starts."""
    one = rank.sel(depth=layers + 1, scaled=scaled).transpose("seed", "time").values
    t = runs.t.sel(depth=layers + 1, scaled=scaled).transpose("seed", "time").values
    away = abs(one - one[:, -1:]) > 0.1
    last = away.shape[1] - 1 - np.argmax(away[:, ::-1], axis=1)
    return float(np.median(t[np.arange(len(t)), last]))


print("effective rank at the end, and when it settles; −d ln gap/dt of the first direction")
print(" N | rank  | t, one rate | t, rate 1/(N+2) | one rate | rate 1/(N+2)")
for layers in LAYERS:
    end = float(rank.sel(depth=layers + 1, scaled=0).isel(time=-1).mean())
    print(
        f"{layers:2d} | {end:5.3f} | {settled(layers, 0):11.0f} | {settled(layers, 1):15.0f} |"
        f" {relaxation(layers, 1.0):8.3f} | {relaxation(layers, 1 / (layers + 2)):12.3f}"
    )
print("failed:", int((runs.result != 0).sum()), "of", runs.result.size)

# %%
COLOURS = dict(zip(LAYERS, ("#00204d", "#5f606e", "#a69d75", "#e8ce47"), strict=True))

with plot.style():
    figure, axes = plot.panels(3, 1, (plot.COLUMN, 5.4))
    for scaled, (ax, title) in enumerate(zip(axes, ("one rate", "rate 1/(N + 2)"), strict=False)):
        for layers in LAYERS:
            for seed in runs.seed.values:
                one = runs.sel(depth=layers + 1, scaled=scaled, seed=seed)
                ax.plot(one.t, one.effective_rank, color=COLOURS[layers], lw=1.0)
        ax.axhline(RANK, color="0.5", lw=0.8, ls=(0, (4, 2)), zorder=0)
        ax.set(xscale="log", xlim=(1, 3e3), ylim=(0, 12), yticks=(1, 4, 8, 12))
        ax.set_title(f"random starts of scale {SCALE:g}, {title}")
        ax.set_ylabel("effective rank")
    for layers in LAYERS:
        axes[0].plot([], [], color=COLOURS[layers], label=f"N = {layers}")
        for rate, line in ((1.0, (0, (2, 1.5))), (1 / (layers + 2), "-")):
            axes[2].semilogy(LATE, gaps[layers, rate], color=COLOURS[layers], lw=1.0, ls=line)
    axes[2].plot([], [], color="0.3", lw=1.0, ls=(0, (2, 1.5)), label="one rate")
    axes[2].plot([], [], color="0.3", lw=1.0, label="rate 1/(N + 2)")
    axes[2].set(xlim=(0, 15), ylim=(1e-8, 1), ylabel="gap to the plateau")
    axes[2].set_title("first direction, from a gain of 0.5")
    axes[2].set_xlabel("time t = kα (units of 1/σ² of the first direction)")
    axes[0].legend(frameon=False)
    axes[2].legend(frameon=False, loc="upper right")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=125)
