# %% [markdown]
# # Features that a misaligned predictor leaves unlearned
#
# A JEPA learns a feature only where its predictor is positive in the latent space. Here the
# predictor starts as a random orthogonal matrix (`Orthogonal`), or it starts aligned and is then
# turned by an angle in random planes (`Misaligned`). Which share of the features is below half of
# its plateau, and for how long? The matrix flow has eight features of equal λ, with ρ from 0.5 to
# 0.9.

# %%
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

moments = js.Moments.from_features(np.ones(8), np.linspace(0.9, 0.5, 8))
SCALE, DEPTHS, LAST = 0.1, (1, 2), 30.0
times = js.CriticalGrid(count=60, first=0.1, last=LAST)
flow = js.GradientFlow(rtol=1e-5)
SEEDS = range(24)


def stuck(runs):
    """Share of features below half of their plateau, by depth, seed and time."""
    return (runs.features < 0.5 * runs.plateau).mean("feature").squeeze(drop=True)


def sweep(objective, start, seeds=SEEDS, **further):
    grid = js.Grid(
        spectrum=moments,
        objective=[objective],
        depth=DEPTHS,
        scale=[SCALE],
        seed=seeds,
        start=start,
        **further,
    )
    kept = [js.observables.features]
    return js.sweep(grid, flow, times=times, observables=kept, progress=False)


# %%
from_orthogonal = {o.name: stuck(sweep(o, js.Orthogonal)) for o in (js.JEPA(), js.MAE())}
aligned = stuck(sweep(js.JEPA(), js.Balanced, [0]))

ANGLES = np.linspace(0, np.pi, 13)
turned = stuck(
    sweep(
        js.JEPA(),
        lambda scale: js.Misaligned(scale, 0.0),
        range(8),
        axes={"angle": ANGLES},
        customise=lambda problem, angle: js.Problem(
            problem.moments,
            problem.objective,
            problem.network,
            js.Misaligned(problem.start.scale, angle),
        ),
    )
)

# %%
with plot.style():
    figure, (left, right) = plot.panels(1, 2, (plot.PAGE, 2.6))
    for name, style in (("jepa", "-"), ("mae", "--")):
        title, colour, _ = plot.OBJECTIVES[name]
        for depth, shade in zip(DEPTHS, (1.0, 0.5), strict=True):
            share = from_orthogonal[name].sel(depth=depth)
            mean, error = share.mean("seed"), share.std("seed") / len(SEEDS) ** 0.5
            left.plot(times.fractions, mean, style, color=colour, alpha=shade, lw=1.3)
            left.fill_between(
                times.fractions, mean - error, mean + error, color=colour, alpha=0.15 * shade, lw=0
            )
            left.plot([], [], style, color=colour, alpha=shade, label=f"{title}, L = {depth}")
    for depth in DEPTHS:
        left.plot(times.fractions, aligned.sel(depth=depth), color="0.6", lw=0.8, zorder=0)
    left.plot([], [], color="0.6", lw=0.8, label="JEPA, aligned")
    left.set(xscale="log", ylim=(-0.02, 1.02), xlabel="time over the last critical time")
    left.set(ylabel="share below half of plateau", title="predictor a random orthogonal matrix")
    left.legend(frameon=False, loc="upper right")
    for depth, shade in zip(DEPTHS, (1.0, 0.5), strict=True):
        for when, marker in ((10.0, "o"), (LAST, "s")):
            share = turned.sel(depth=depth).isel(time=int(np.argmin(abs(times.fractions - when))))
            right.errorbar(
                ANGLES,
                share.mean("seed"),
                share.std("seed") / share.sizes["seed"] ** 0.5,
                fmt=marker + "-",
                ms=3,
                lw=0.8,
                mfc="none" if when < LAST else None,
                color=plot.OBJECTIVES["jepa"][1],
                alpha=shade,
                label=f"L = {depth}, {when:g} critical times",
            )
    right.set(xlabel="angle by which the predictor is turned", ylabel="share below half of plateau")
    right.set(
        xticks=(0, np.pi / 2, np.pi), ylim=(-0.02, 1.02), title="JEPA, aligned and then turned"
    )
    right.set_xticklabels(("0", "π/2", "π"))
    right.legend(frameon=False, loc="upper left")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)

# %%
print(f"stuck after {LAST:g} critical times, of a random orthogonal predictor:")
for name, share in from_orthogonal.items():
    for depth in DEPTHS:
        last = share.sel(depth=depth).isel(time=-1)
        error = float(last.std("seed")) / len(SEEDS) ** 0.5
        print(f"  {name}, L = {depth}: {float(last.mean('seed')):.2f} ± {error:.2f}")
print("stuck by angle / π, at the end:")
for depth in DEPTHS:
    shares = turned.sel(depth=depth).isel(time=-1).mean("seed").values
    print(
        f"  L = {depth}:",
        *(f"{a / np.pi:.2f}: {share:.2f}" for a, share in zip(ANGLES, shares, strict=True)),
    )
