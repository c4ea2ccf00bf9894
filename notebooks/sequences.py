# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Time: slow features, slow distractors, masked sequences
#
# Let the target y be a *later frame* of what the context x shows. Then ρ says how well a feature's
# present predicts its future. A feature may have a small ρ because it is noisy, or because it is
# fast; and noise has a large ρ if only it lasts. A joint embedding predictive architecture (JEPA)
# prefers large ρ. Here is what that does in time.
#
# Four features: three autoregressive signals of variance s² = 1 and autocorrelation γ from one step
# to the next, seen in white noise of variance n², and a *distractor*, which is nothing but noise,
# of variance 0.7 and autocorrelation γₙ.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

NAMES = ("slow, clean", "fast, clean", "slow, noisy", "distractor")
COLOURS = ("#000000", "#56B4E9", "#E69F00", "#D55E00")
LINES = ("-", "-", "-", (0, (3, 1)))
TIME = "time t = kα (units of 1/λ)"
FAST, DISTRACTOR = 1, 3
MEMORY = 0.98  # γₙ of the distractor where it is one number


def views(memory, lag=1):
    """The four features now and `lag` steps later; the distractor's γₙ is `memory`."""
    return js.data.Dynamic(
        signal=[1.0, 1.0, 1.0, 0.0],
        autocorrelation=[0.99, 0.9, 0.99, 0.0],
        noise=[0.1, 0.1, 1.5, 0.7],
        noise_autocorrelation=jnp.array([0.0, 0.0, 0.0, 1.0]) * memory,
        lag=lag,
    )


# %% [markdown]
# ## λ and ρ of a frame
#
# After k steps λ = γᵏ s² + γₙᵏ n², while the variance σ² = s² + n² stays, and ρ = λ/σ². A static
# feature, one thing seen twice under fresh noise (`js.data.Static`), is the case γ = 1. The same
# from 200,000 sampled pairs of frames:

# %%
lags = range(1, 9)
known = [views(MEMORY, lag).exact_moments().features() for lag in lags]
sampled = views(MEMORY, 4).sampled_moments(200_000)
found = np.diag(sampled.yx) / np.diag(sampled.xx)
columns = {"λ": known[3].lam, "ρ": known[3].rho, "ρ of samples": found}
pd.DataFrame(columns, index=pd.Index(NAMES, name="k = 4")).round(3)

# %%
assert abs(found - known[3].rho).max() < 0.01
still = js.data.Dynamic([1.0, 0.5], 1.0, [0.1, 1.0]).exact_moments()
same = js.data.Static([1.0, 0.5], [0.1, 1.0]).exact_moments()
assert np.allclose(still.xx, same.xx)
assert np.allclose(still.yx, same.yx)

with plot.style():
    picture, axes = plot.panels(1, 2, (plot.PAGE, 2.4), sharey=True)
    titles = {"lam": "covariance λ", "rho": "regression coefficient ρ"}
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        for i, name in enumerate(NAMES):
            values = [getattr(each, quantity)[i] for each in known]
            ax.plot(lags, values, "o", ls=LINES[i], color=COLOURS[i], ms=3, label=name)
        ax.set(title=title, xlabel="lag k (steps)", ylim=(0, 1.05))
    axes[0].legend(frameon=False)

# %% [markdown]
# (Both slow signals have the same λ.) Looking farther ahead, what is fast loses λ and ρ, what is
# slow and noisy loses little of the small ρ that it has. The distractor has the smallest λ of all,
# until the fast signal falls below it at k = 5, and the largest ρ.
#
# ## One sweep for all that follows
#
# Eight lags times 31 distractors, from γₙ = 0.85 to frozen; and three ways to mask a sequence, to
# which we come below. All are moments of four features, so all are one compiled program.

# %%
FRAMES = 6
POLICIES = {
    "random": js.data.RandomFrames(3),  # three of six frames visible, any of them
    "suffix": js.data.Suffix(3),  # the last three hidden
    "block": js.data.BlockFrames(3),  # three in a row hidden, anywhere
}
covariances = views(MEMORY).lag_covariances(FRAMES)
masked = {name: js.data.Temporal(covariances, policy) for name, policy in POLICIES.items()}
blind = [sequences.exact_moments() for sequences in masked.values()]
blind = [moments.with_features(moments.features()) for moments in blind]

memories = np.linspace(0.85, 1.0, 31)
later = [jax.vmap(lambda m, lag=lag: views(m, lag).exact_moments())(memories) for lag in lags]
grid = js.Grid(
    spectrum=jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        *later,
        *(jax.tree.map(lambda leaf: leaf[None], moments) for moments in blind),
    ),
    objective=[js.JEPA(), js.MAE()],
    depth=[1, 3, 5],
    scale=[5e-4, 1e-2],
)
sweep = js.sweep(
    grid,
    js.ClosedForm(),
    times=js.CriticalGrid(200, first=1.9e-2),
    critical_fraction=[0.5],
    progress=False,
).squeeze(drop=True)

cases = pd.MultiIndex.from_product([lags, memories], names=["lag", "memory"])
in_time = sweep.sel(scale=5e-4).isel(spectrum=slice(0, len(cases)))
in_time = in_time.assign_coords(xr.Coordinates.from_pandas_multiindex(cases, "spectrum"))
in_time = in_time.unstack("spectrum")
print(f"{grid.size:,} trajectories, {int((sweep.result != 0).sum())} failed")

# %% [markdown]
# ## What is learned first, and what is kept
#
# One step ahead and eight, at depth 5, from ε = 5e-4. Learned is half of a feature's own plateau,
# which is $\rho^{L/M}$ for JEPA and $\rho^{L/(L+M)}$ for the masked autoencoder (MAE), with M = 1.


# %%
def draw(ax, times, gains):
    """Gains (time, feature) of the four features."""
    for i, name in enumerate(NAMES):
        ax.plot(times, gains[:, i], ls=LINES[i], color=COLOURS[i], lw=1.4, label=name)
    ax.set(xscale="log", yscale="log", xlim=(times[0], times[-1]), xlabel=TIME)
    ax.xaxis.set_minor_formatter("")


def table(values):
    """One row for each objective and lag."""
    rows = values.stack(run=("objective", "lag")).transpose("run", "feature")
    index = rows.run.to_index().set_names(["objective", "lag"])
    return pd.DataFrame(rows.values, index=index, columns=NAMES)


shown = in_time.sel(depth=5, lag=[1, 8]).sel(memory=MEMORY, method="nearest")
runs = [(objective, lag) for objective in ("jepa", "mae") for lag in (1, 8)]
with plot.style():
    picture, axes = plot.panels(2, 2, (plot.PAGE, 3.8), sharey=True)
    for ax, (objective, lag) in zip(axes, runs, strict=True):
        run = shown.sel(objective=objective, lag=lag)
        draw(ax, run.t.values, run.features.transpose("time", "feature").values)
        ax.set(title=f"{objective.upper()}, L = 5, lag {lag}", ylim=(4e-4, 1.5))
    for ax in axes[:2]:
        ax.set_xlabel("")
    for ax in axes[::2]:
        ax.set_ylabel("encoder gain w̄")
    axes[0].legend(frameon=False)

# %%
table(shown.critical_time).map("{:,.0f}".format)

# %%
table(shown.plateau).round(3)

# %% [markdown]
# The MAE goes by λ: slow and noisy comes with slow and clean, and the distractor last, until at lag
# 8 the fast signal has the smaller λ. The JEPA puts the distractor, of ρ = 0.98, before slow and
# noisy, a *signal* of larger λ, and it ends with the distractor at 0.90 and that signal at 0.01. It
# has thrown out the noise that is fresh in every frame, and kept the noise that lasts.
#
# ## The known failure
#
# When does the distractor come before the fast signal? Red: it does; the line is a tie. At the
# upper edge it is frozen: ρ = 1, the best there is, and nothing in it to learn ([Sobal et al.
# 2022](https://arxiv.org/abs/2211.10831)).

# %%
ahead = in_time.critical_time.isel(feature=FAST) / in_time.critical_time.isel(feature=DISTRACTOR)
ahead = np.log2(ahead).assign_attrs(
    long_name="log₂ of how much earlier the distractor is learned", units="1"
)
kinds = [("jepa", 1), ("jepa", 3), ("jepa", 5), ("mae", 5)]
with plot.style():
    picture, axes = plot.panels(1, 4, (plot.PAGE, 2.2), sharey=True)
    for ax, (objective, depth) in zip(axes, kinds, strict=True):
        values = ahead.sel(objective=objective, depth=depth).transpose("memory", "lag")
        plot.phase_diagram(values, ax, limits=(-2, 2), contour=0.0, bar=ax is axes[-1])
        ax.set(title=f"{objective.upper()}, L = {depth}", xlabel="lag k (steps)", ylabel="")
        ax.set_xticks([1, 4, 8])
    axes[0].set_ylabel("γₙ of the distractor")


# %%
def crossing(values):
    """γₙ at which values, rising with it, pass 0; NaN where they stay below."""
    return np.interp(0, values, memories) if values[-1] > 0 else np.nan


ties = {
    f"{objective.upper()}, L = {depth}": [
        crossing(ahead.sel(objective=objective, depth=depth, lag=k).values) for k in lags
    ]
    for objective, depth in kinds
}
equal = 0.9 * 0.7 ** (-1 / np.array(lags))
ties["λ alone"] = np.where(equal <= 1, equal, np.nan)
ties = pd.DataFrame(ties, index=pd.Index(lags, name="lag"))
assert abs(ties["MAE, L = 5"] - ties["λ alone"]).max() < 2e-3
ties.round(3)

# %% [markdown]
# Where both have the same λ, 0.7 γₙᵏ = 0.9ᵏ, lies the MAE's tie, to 0.002, and that of the JEPA of
# depth 1: no distractor comes first for k ≤ 3. A deeper JEPA ties with a smaller γₙ, and at k = 3
# already has a frozen distractor first. To look farther ahead makes it worse for all: lasting noise
# is what survives the lag.
#
# Worse than the order is what is kept. The distractor's share of the variance of the representation
# in the end; grey, 13 %: its share of the input's.

# %%
power = in_time.lam / in_time.rho * in_time.plateau**2  # σ² w̄²
share = power.isel(feature=DISTRACTOR) / power.sum("feature")
with plot.style():
    picture, axes = plot.panels(1, 2, (plot.PAGE, 2.4), sharey=True)
    for ax, lag in zip(axes, (1, 8), strict=True):
        for objective in ("jepa", "mae"):
            name, colour, _ = plot.OBJECTIVES[objective]
            for depth, line in ((1, ":"), (3, "--"), (5, "-")):
                values = share.sel(objective=objective, depth=depth, lag=lag)
                ax.plot(memories, values, line, color=colour, label=f"{name}, L = {depth}")
        ax.axhline(0.7 / 5.4, color="0.6", lw=0.6, zorder=0)
        ax.set(xlabel="γₙ of the distractor", title=f"lag {lag}", ylim=(0, 1))
    axes[0].set_ylabel("share of the distractor\nin the representation")
    axes[0].legend(frameon=False)

# %%
chosen = share.sel(lag=[1, 8]).sel(memory=[0.85, 1.0])
chosen.transpose("lag", "memory", "objective", "depth").to_series().unstack("depth").round(3)

# %% [markdown]
# Depth sharpens what a JEPA does, for better or worse. Eight steps ahead, at depth 5, it keeps
# nothing of a distractor of γₙ = 0.85, where the MAE has 5 %; of a frozen one it makes 79 % of its
# representation, the MAE 31 %.
#
# ## Masked sequences
#
# Of six frames some are visible and the others are to be predicted (`js.data.Temporal`). Where no
# one knows the frames' positions, x is a visible frame, y a hidden one, and a policy is nothing but
# a mixture of lags: the pair (s, t) has the weight w ∝ P(s visible, t hidden), and
# λ = Σ w (γ^|t−s| s² + γₙ^|t−s| n²).

# %%
far = np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES)))
rows, in_order = {}, {}
for name, policy in POLICIES.items():
    both = np.asarray(policy.both_visible(FRAMES))  # P(s and t visible)
    weights = np.diag(both)[None, :] - both
    weights /= weights.sum()
    rows[name] = [weights[far == k].sum() for k in range(1, FRAMES)]
    by_lag = [views(MEMORY, k).exact_moments().features().lam for k in range(1, FRAMES)]
    found = masked[name].exact_moments()
    assert np.allclose(np.diag(found.yx), np.array(rows[name]) @ np.array(by_lag))
    in_order[name] = np.argmax(np.abs(found.features().patterns), axis=1)  # features in our order
pd.DataFrame(rows, index=pd.Index(range(1, FRAMES), name="share of pairs at lag")).T.round(3)

# %%
by_policy = {
    name: sweep.isel(spectrum=len(cases) + i).isel(feature=in_order[name])
    for i, name in enumerate(POLICIES)
}
pd.concat(
    {
        quantity: pd.DataFrame({n: run[quantity].values for n, run in by_policy.items()}, NAMES).T
        for quantity in ("lam", "rho")
    },
    names=["", "policy"],
).round(3)

# %% [markdown]
# The suffix looks farthest ahead, random frames least far. No policy helps against the distractor:
# no mixture of lags makes it less predictable than the signals.
#
# ## A predictor over positions
#
# A network that sees the three visible frames at once, by one encoder for all frames, and predicts
# the three hidden ones, each from its place, can average over frames. The plateau then has the norm
# of the regression coefficients over frames, ‖Σyx Σxx⁻¹‖ of the feature, in place of ρ. There is no
# closed form: `LayerModes` integrates one number per layer and feature, and `GradientFlow` all
# matrices. Depth 3, ε = 1e-2, under the suffix policy.

# %%
suffix = masked["suffix"]
placed = suffix.stacked_moments()
samples = js.Moments.from_samples(suffix.stacked_pairs(100_000))
off = abs(samples.yx - placed.yx).max()
print(f"moments of 100,000 sampled sequences differ by at most {off:.3f}")


def problem(objective):
    network = js.DeepLinear(3, frames=suffix.frames)
    return js.Problem(placed, objective, network, js.Balanced(1e-2))


ends = {"jepa": 3000.0, "mae": 300.0}
runs = {
    objective.name: js.simulate(
        problem(objective), np.geomspace(1e-3, 1, 200) * ends[objective.name], js.LayerModes()
    )
    for objective in (js.JEPA(), js.MAE())
}
flow = js.simulate(problem(js.JEPA()), runs["jepa"].times, js.GradientFlow())
off = abs(flow.features / runs["jepa"].features - 1).max()
print(f"layer modes and matrix flow differ by at most {off:.1e} of a gain")
assert off < 1e-4

# %%
with plot.style():
    picture, axes = plot.panels(2, 2, (plot.PAGE, 3.8), sharey=True)
    for row, objective in enumerate(("jepa", "mae")):
        one = by_policy["suffix"].sel(objective=objective, depth=3, scale=1e-2)
        three, name = runs[objective], objective.upper()
        draw(axes[2 * row], one.t.values, one.features.transpose("time", "feature").values)
        draw(axes[2 * row + 1], three.times, three.features[:, in_order["suffix"]])
        axes[2 * row].set(title=f"{name}, L = 3, one frame", ylabel="encoder gain w̄")
        axes[2 * row + 1].set_title(f"{name}, L = 3, three frames by position")
    for ax in axes[:2]:
        ax.set_xlabel("")
    axes[0].legend(frameon=False)

# %%
rows = {}
for objective in ("jepa", "mae"):
    one = by_policy["suffix"].sel(objective=objective, depth=3, scale=1e-2)
    three, which = runs[objective], in_order["suffix"]
    late = np.asarray(three.critical_times(fraction=0.5))[which]
    level = np.asarray(three.problem.plateaus)[which]
    rows[objective, "one frame"] = [*one.critical_time.values, *one.plateau.values]
    rows[objective, "three frames"] = [*late, *level]
columns = pd.MultiIndex.from_product([["t*", "plateau"], NAMES])
pd.DataFrame(rows, columns).map("{:.3g}".format)

# %% [markdown]
# From one frame the deep JEPA learns slow and noisy last, and keeps 0.06 of it, 9 % of what it
# keeps of slow and clean. From three it learns it second, and keeps 30 %: fresh noise averages out.
# Noise that lasts does not. Of the distractor the last frame tells all that there is to tell: it
# comes last now, but ends with a gain of 4.6, four times that of any signal (from one frame: 1.2
# times).
#
# ## Change this and predict
#
# 1. Give the distractor fresh noise too: make it a signal of variance 0.7 and autocorrelation γₙ,
#    in white noise of variance 0.7. Does a JEPA of depth 5 still learn it before slow and noisy?
# 2. Let the fast signal stand still, γ = 1. Is there a lag at which a frozen distractor comes
#    before it, and does the answer depend on depth?
# 3. Take `js.data.Suffix(1)`: five frames visible, one to be predicted. Which plateau does slow and
#    noisy reach? And with `js.data.Suffix(5)`, from one frame to five?
