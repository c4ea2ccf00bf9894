# %% [markdown]
# # When does a JEPA avoid noise?
#
# Four features are clean (ρ near 0.9), and four are noisy (ρ near 0.3) and have twice the λ of the
# clean ones. Which are learned first, for good? The sweeps vary the depth L, the scale ε of the
# start, the level of noise, the time constant τ of the teacher, the weight decay η, and the size of
# minibatches, one or two at a time. Each sweep is a TOML file in the folder
# `when_noise_is_avoided`. `jepa-sim sweep` runs it alone. This script runs all of them, draws the
# figure, and writes every number to `numbers.csv` there. It takes five minutes of one core.

# %%
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import optax
import xarray as xr

import jepa_sim as js
from jepa_sim import config, plot
from jepa_sim.config.build import build

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent / "when_noise_is_avoided"
BATCHES, RATES = (2, 4, 8, 16, 64, 256), (0.2, 0.05)


def planned(name: str) -> js.Plan:
    return build(config.load(HERE / f"{name}.toml"))


def swept(plan: js.Plan, solver: js.AbstractSolver | None = None) -> xr.Dataset:
    """The sweep of a TOML file, with another solver if one is given."""
    found = js.sweep(
        plan.grid,
        plan.solver if solver is None else solver,
        times=plan.times,
        observables=plan.observables,
        critical_fraction=plan.critical_fraction,
        padded=False,
        progress=False,
    )
    print(f"{found.result.size} runs, {int((found.result != 0).sum())} failed", flush=True)
    found = found.drop_vars("time_fraction", errors="ignore")
    return found.squeeze(["predictor_depth", "critical_fraction"], drop=True)


# %% [markdown]
# ## What is measured
#
# *Clean first* is the share of pairs of a clean and a noisy feature in which the clean one comes
# first. A feature comes when it is at half of its plateau; for good, when it stays there. A feature
# that is not learned in time comes later than all that are. *Noise at half* is the share of the
# noisy features in the variance of the representation, Σ σ²w̄² over the noisy ones over that of all,
# when two of the four clean features are learned for good.
#
# A feature is *alive* if its gain at the end is above a tenth of ρ^L, its plateau without decay.
#
# A run does not count for *clean first* where gains at the start, which are at most 2ε, may be
# above half of a plateau: there the noisy feature is learned from the beginning.

# %%
CLEAN, NOISY = slice(0, 4), slice(4, 8)


def clean_first(runs: xr.Dataset, crossing: str) -> xr.DataArray:
    time = runs[crossing]
    clean = time.isel(feature=CLEAN)
    noisy = time.isel(feature=NOISY).rename(feature="other_feature")
    decided = np.isfinite(clean) | np.isfinite(noisy)
    share = (clean < noisy).where(decided).mean(["feature", "other_feature"])
    return share.where(runs.scale < runs.plateau.min("feature") / 4)


def noise(runs: xr.Dataset) -> xr.DataArray:
    """The share of the noisy features in the variance of the representation, over time."""
    power = (runs.lam / runs.rho) * runs.features**2
    return power.isel(feature=NOISY).sum("feature") / power.sum("feature")


def noise_at_half(runs: xr.Dataset) -> xr.DataArray:
    learned = runs.learned_time.isel(feature=CLEAN)
    half = learned.copy(data=np.sort(learned, axis=learned.get_axis_num("feature")))
    half = half.isel(feature=1)
    at = abs(np.log(runs.t.where(runs.t > 0) / half.where(np.isfinite(half)))).fillna(np.inf)
    return noise(runs).isel(time=at.argmin("time")).where(np.isfinite(half))


def is_alive(runs: xr.Dataset) -> xr.DataArray:
    return runs.features.isel(time=-1) > runs.rho**runs.depth / 10


def alive(runs: xr.Dataset, kind: slice) -> xr.DataArray:
    return is_alive(runs).isel(feature=kind).mean("feature")


MEASURES = {
    "clean_first": lambda runs: clean_first(runs, "learned_time"),
    "clean_first_at_first_crossing": lambda runs: clean_first(runs, "critical_time"),
    "noise_at_half": noise_at_half,
    "noise_at_end": lambda runs: noise(runs).isel(time=-1).where(is_alive(runs).any("feature")),
    "clean_alive": lambda runs: alive(runs, CLEAN),
    "noisy_alive": lambda runs: alive(runs, NOISY),
}


def measured(runs: xr.Dataset) -> xr.Dataset:
    """The means over seeds, the number of seeds, and the standard error of *clean first*."""
    found = xr.Dataset({name: measure(runs) for name, measure in MEASURES.items()})
    seeds = runs.sizes["seed"]
    error = found.clean_first.std("seed", ddof=min(seeds - 1, 1)) / seeds**0.5
    return found.mean("seed").assign(seeds=seeds, clean_first_error=error)


NAMES = ("start", "start_mae", "noise", "teacher", "decay", "decay_aligned")
found = {name: measured(swept(planned(name))) for name in NAMES}
batch = planned("batch")
flow = measured(swept(batch, js.GradientFlow(js.ROCK4(), rtol=1e-5)))
by_rate = []
for rate in RATES:
    sizes = [measured(swept(batch, js.Descent(optax.sgd, rate, size))) for size in BATCHES]
    by_rate.append(xr.concat(sizes, xr.Variable("batch_size", list(BATCHES))))
found["batch"] = xr.concat(by_rate, xr.Variable("learning_rate", list(RATES)))
found["batch_flow"] = flow

# %%
AXES = ["objective", "depth", "scale", "spectrum", "time_constant", "weight_decay"]
AXES += ["learning_rate", "batch_size"]


def lines() -> Iterator[str]:
    columns = ["clean_first", "clean_first_error", *list(MEASURES)[1:]]
    yield ",".join(["sweep", *AXES, "seeds", *columns])
    for name, table in found.items():
        for _, row in table.to_dataframe().reset_index().iterrows():
            at = [str(row[axis]) if axis in row else "" for axis in AXES]
            values = [f"{row[column]:.4g}" for column in columns]
            yield ",".join([name, *at, str(int(row.seeds)), *values])


(HERE / "numbers.csv").write_text("\n".join(lines()) + "\n", encoding="utf-8")

# %% [markdown]
# ## From an aligned start
#
# In closed form, times at a given ρ are in proportion to 1/λ. So the time of the noisy feature over
# that of a clean one of equal λ is the factor by which its λ must be larger to be learned first.
# This is `aligned.toml` on a finer grid: 200,000 trajectories.

# %%
DEPTH, SCALE = np.linspace(1, 8, 57), np.geomspace(1e-8, 1e-1, 57)
RHO = np.linspace(0.1, 0.85, 31)
pairs = [js.Moments.from_features([1.0, 1.0], [0.9, rho]) for rho in RHO]
grid = js.Grid(spectrum=pairs, objective=[js.JEPA(), js.MAE()], depth=DEPTH, scale=SCALE)
aligned = js.sweep(
    grid,
    js.ClosedForm(),
    times=js.CriticalGrid(2),
    observables=[],
    critical_fraction=[0.5],
    progress=False,
).squeeze(drop=True)
late = aligned.critical_time
factor = late.isel(feature=1, drop=True) / late.isel(feature=0, drop=True)
factor = factor.where(aligned.scale < aligned.plateau.min("feature") / 4)
print("λ of the noisy feature (ρ = 0.3) over that of the clean one (ρ = 0.9), to be learned first")
table = factor.isel(spectrum=int(abs(RHO - 0.3).argmin()))
for objective in ("jepa", "mae"):
    for scale in (1e-2, 1e-3, 1e-4, 1e-6, 1e-8):
        row = table.sel(objective=objective).sel(scale=scale, method="nearest")
        values = row.sel(depth=[1, 2, 3, 5, 8], method="nearest").values
        print(f"  {objective:4} ε = {scale:g}, L = 1, 2, 3, 5, 8:", values.round(3))

# %%
COLOURS = {1: "#0072B2", 2: "#009E73", 3: "#CC79A7"}
MAE = plot.OBJECTIVES["mae"][1]


def over(ax, table: xr.Dataset, axis: str, label: str) -> None:
    """Clean first, for good (lines) and at the first crossing (dotted), by depth."""
    for depth in table.depth.values:
        at, colour = table.sel(depth=depth), COLOURS[int(depth)]
        ax.plot(table[axis], at.clean_first, "o-", ms=3, color=colour, label=f"L = {depth:g}")
        ax.plot(table[axis], at.clean_first_at_first_crossing, ":", color=colour)
    ax.set(xlabel=label, ylabel="clean first", ylim=(-0.04, 1.04))


with plot.style():
    figure, axes = plot.panels(2, 3, (plot.PAGE, 4.4))
    ax = axes[0]
    drawn = ax.contour(
        DEPTH,
        SCALE,
        table.sel(objective="jepa").transpose("scale", "depth"),
        levels=[1.02, 1.1, 1.25, 1.5, 2],
        colors=COLOURS[1],
        linewidths=1,
    )
    ax.clabel(drawn, fontsize=6)
    ax.fill_between(DEPTH, 0.3**DEPTH / 4, SCALE[-1], color="0.93", lw=0)
    ax.text(4.2, 1.2e-2, "starts near a plateau", fontsize=6, color="0.4")
    ax.set(yscale="log", xlabel="depth L", ylabel="scale ε of the start", xticks=range(1, 9))
    ax.set(title="aligned: factor in λ for a tie", ylim=(SCALE[0], SCALE[-1]))

    ax = axes[1]
    over(ax, found["start"].squeeze(), "scale", "scale ε of the start")
    mae = found["start_mae"].squeeze().sel(depth=1)
    ax.plot(mae.scale, mae.clean_first, "s-", ms=3, color=MAE, label="MAE, L = 1")
    ax.set(xscale="log", title="scale (dotted: first crossing)")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 0.05))

    ax = axes[2]
    levels = found["noise"].squeeze()
    levels = levels.assign_coords(spectrum=(levels.spectrum + 1) / 10)
    over(ax, levels, "spectrum", "ρ of the noisy features")
    ax.set(title="level of noise, ε = 0.003")

    ax = axes[3]
    over(ax, found["teacher"].squeeze(), "time_constant", "time constant τ of the teacher")
    ax.set(xscale="log", title="slow teacher, ε = 0.01")

    ax = axes[4]
    for kind, colour in (("clean", COLOURS[1]), ("noisy", "0.5")):
        for name, start, line in (("decay", "random", "o-"), ("decay_aligned", "aligned", "--")):
            values = found[name][f"{kind}_alive"].sel(scale=0.01).squeeze()
            values = values.sel(weight_decay=slice(1e-3, 0.06))
            label = f"{kind}, {start}"
            ax.plot(values.weight_decay, values, line, ms=3, color=colour, label=label)
    ax.set(xscale="log", xlabel="weight decay η", ylabel="share that survives")
    ax.set(title="weight decay, L = 1, ε = 0.01", xlim=(2e-4, 0.07))
    ax.legend(frameon=False, loc="lower left", fontsize=6)

    ax = axes[5]
    for rate, colour in zip(RATES, ("#56B4E9", COLOURS[1]), strict=True):
        values = found["batch"].clean_first.sel(learning_rate=rate).squeeze()
        ax.plot(BATCHES, values, "o-", ms=3, color=colour, label=f"SGD, α = {rate:g}")
    ax.axhline(float(flow.clean_first.squeeze()), color="k", ls="--", lw=1, label="flow")
    ax.set(xscale="log", xlabel="size of minibatches", ylabel="clean first", ylim=(-0.04, 1.04))
    ax.set(title="minibatches, L = 1, ε = 0.01")
    ax.legend(frameon=False)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)
