# %% [markdown]
# # When does self-distillation collapse?
#
# In self-distillation the teacher of a JEPA is a moving average of the encoder, of time constant τ.
# Here there is weight decay η on all factors, and the start is balanced with scale ε. One feature
# (λ = 1, ρ = 0.8) is simulated on a grid of (η, ε), for three teachers and two depths. The line is
# the theory: the edge of the basin of 0, up to the threshold of η above which only 0 is at rest
# (`Problem.equilibria`). The edge does not depend on how slow the teacher is.

# %%
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

LAM, RHO = 1.0, 0.8
DECAYS, SCALES = np.geomspace(1e-3, 0.4, 24), np.geomspace(3e-3, 1, 24)
TEACHERS = (0.1, 10.0, 1000.0)
DEPTHS = (1, 2)

# %%
moments = js.Moments.from_features([LAM], [RHO])


def pose(problem, decay, time_constant):
    return js.Problem(
        problem.moments,
        js.JEPA(js.MovingAverage(time_constant)),
        problem.network,
        problem.start,
        js.Training(decay=decay),
    )


grid = js.Grid(
    spectrum=moments,
    objective=[js.JEPA(js.MovingAverage(1.0))],
    depth=DEPTHS,
    scale=SCALES,
    axes={"decay": DECAYS, "time_constant": TEACHERS},
    customise=pose,
)
times = js.FixedTimes([5e3, 1e4])
runs = js.sweep(
    grid,
    js.LayerModes(rtol=1e-5),
    times=times,
    progress=False,
    observables=[js.observables.features],
)
final = runs.features.isel(time=-1).squeeze()

# %% [markdown]
# A run counts as collapsed if it ends below a tenth of the plateau. With the slow teacher (τ =
# 1000), time 10⁴ is too short for some starts just outside the edge: their gains are still falling.


# %%
def equilibria(depth: int, decay: jax.Array | float) -> js.Equilibria:
    network, start = js.DeepLinear(depth), js.Balanced(0.1)
    return js.Problem(moments, js.JEPA(), network, start, js.Training(decay=decay)).equilibria


@eqx.filter_jit
def edge_of_basin(depth: int, decays: jax.Array) -> jax.Array:
    return jax.vmap(lambda decay: equilibria(depth, decay).edge[0])(decays)


edges = {depth: np.asarray(edge_of_basin(depth, jnp.asarray(DECAYS))) for depth in DEPTHS}
thresholds = {depth: float(equilibria(depth, 0.0).threshold[0]) for depth in DEPTHS}

with plot.style():
    figure, axes = plot.panels(len(DEPTHS), len(TEACHERS), (plot.PAGE, 4.2), sharey=True)
    wrong = {}
    for depth, row in zip(DEPTHS, np.reshape(axes, (len(DEPTHS), -1)), strict=True):
        for teacher, ax in zip(TEACHERS, row, strict=True):
            gain = final.sel(depth=depth, time_constant=teacher).transpose("scale", "decay").values
            predicted = SCALES[:, None] > edges[depth][None, :]
            wrong[depth, teacher] = float(np.mean((gain > 0.1 * RHO**depth) != predicted))
            mesh = ax.pcolormesh(
                DECAYS, SCALES, gain / RHO**depth, vmin=0, vmax=1, cmap="cividis", rasterized=True
            )
            line = np.geomspace(DECAYS[0], (1 - 1e-9) * thresholds[depth], 100)
            edge = edge_of_basin(depth, jnp.asarray(line))
            ax.plot([*line, line[-1]], [*edge, SCALES[-1]], color="#D55E00", lw=1.5)
            ax.set(xscale="log", yscale="log", ylim=(SCALES[0], SCALES[-1]))
            ax.set_title(f"L = {depth}, τ = {teacher:g}")
    for ax in axes[-len(TEACHERS) :]:
        ax.set_xlabel("weight decay η (units of λ)")
    for ax in axes[:: len(TEACHERS)]:
        ax.set_ylabel("scale ε of the start")
    bar = figure.colorbar(mesh, ax=axes, aspect=40, pad=0.02)
    bar.set_label("final gain over the plateau at η = 0")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)

# %%
print("share of cells on the wrong side of the theoretical boundary")
for (depth, teacher), share in wrong.items():
    print(f"  L = {depth}, τ = {teacher:6g}: {share:.2%}")
print("threshold of η:", {depth: round(value, 5) for depth, value in thresholds.items()})
print("trajectories:", runs.result.size, "failed:", int((runs.result != 0).sum()))
