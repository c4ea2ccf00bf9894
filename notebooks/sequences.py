# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Time: slow features, slow distractors, masked sequences
#
# What does a joint embedding predictive architecture (JEPA) learn of sequences? Let the target y be
# a *later frame* of what the context x shows. Then the regression coefficient ρ says how well a
# feature's present predicts its future. A feature may have a small ρ because it is noisy, or
# because it is fast. Noise that lasts has a large ρ. A JEPA prefers features of large ρ, so it may
# prefer such noise.
#
# There are four features. Three are autoregressive signals of variance s² = 1, with autocorrelation
# γ from one step to the next, seen in white noise of variance n². The fourth is a *distractor*,
# which is only noise, of variance 0.7 and autocorrelation γₙ.

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
MEMORY = 0.98  # γₙ of the distractor where it does not vary


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
# After k steps, a feature's covariance between the frames is λ = γᵏ s² + γₙᵏ n². The variance σ² =
# s² + n² stays the same, and ρ = λ/σ². A static feature, the same signal seen twice under fresh
# noise (`js.data.Static`), is the case γ = 1. The table compares with 200,000 sampled pairs of
# frames:

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
# (Both slow signals have the same λ.) At larger lags, the fast signal loses λ and ρ. The slow,
# noisy signal loses little of its small ρ. The distractor has the largest ρ of all features. Its λ
# is the smallest, until that of the fast signal falls below it at k = 5.
#
# ## One sweep for this notebook
#
# The sweep has eight lags times 31 distractors, from γₙ = 0.85 to frozen, and three ways to mask a
# sequence, which are explained below. All of these are moments of four features, so one compiled
# program runs them all.

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
# The figure looks one step and eight steps ahead, with an encoder of depth L = 5 whose gains start
# at ε = 5e-4. A feature counts as learned at half of its own plateau. The plateau is $\rho^{L/M}$
# for JEPA and $\rho^{L/(L+M)}$ for the masked autoencoder (MAE), with M = 1 layer of predictor or
# decoder.


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
# The MAE learns in the order of λ: the slow, noisy signal together with the slow, clean one, and
# the distractor last. At lag 8 the fast signal has a smaller λ than the distractor, and is last.
# The JEPA learns the distractor, of ρ = 0.98, before the slow, noisy feature, which is a *signal*
# and has a larger λ. It ends with a gain of 0.90 for the distractor and of 0.01 for that signal.
# The JEPA has thrown out the noise that is fresh in every frame, and has kept the noise that lasts.
#
# ## The known failure
#
# When does the distractor come before the fast signal? It does in the red region; the line is a
# tie. At the upper edge the distractor is frozen: its ρ is 1, the largest possible, and it has
# nothing to learn ([Sobal et al. 2022](https://arxiv.org/abs/2211.10831)).

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
ties["λ alone"] = [tie if tie <= 1 else np.nan for tie in equal]
ties = pd.DataFrame(ties, index=pd.Index(lags, name="lag"))
assert abs(ties["MAE, L = 5"] - ties["λ alone"]).max() < 2e-3
ties.round(3)

# %% [markdown]
# The MAE's tie lies where both features have the same λ, 0.7 γₙᵏ = 0.9ᵏ, to within 0.002. The same
# holds for the JEPA of depth 1: no distractor comes first for k ≤ 3. For a deeper JEPA the tie is
# at a smaller γₙ, and already at k = 3 a frozen distractor comes first. Looking farther ahead makes
# this worse for all of them, because lasting noise survives the lag.
#
# What a JEPA keeps is worse than the order in which it learns. The next figure shows the
# distractor's share of the variance of the final representation. The grey line, 13 %, is its share
# of the variance of the input.

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
# Depth makes the preference of a JEPA stronger, for better or worse. Take eight steps ahead and
# depth 5. Of a distractor of γₙ = 0.85 the JEPA keeps nothing, and the MAE 5 %. A frozen distractor
# makes up 79 % of the JEPA's representation, and 31 % of the MAE's.
#
# ## Masked sequences
#
# Of six frames, some are visible and the others are to be predicted (`js.data.Temporal`). Suppose
# that the network does not know the positions of the frames. Then x is one visible frame, y is one
# hidden frame, and a masking policy is only a mixture of lags. The pair (s, t) has the weight w ∝
# P(s visible, t hidden), and λ = Σ w (γ^|t−s| s² + γₙ^|t−s| n²).

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
# The suffix policy looks farthest ahead, and random frames look least far. No policy helps against
# the distractor, because no mixture of lags makes it less predictable than the signals.
#
# ## A predictor that is given positions
#
# Now let the network see the three visible frames at once, with one encoder for all frames, and
# predict each of the three hidden frames from its position. Then it can average over frames. In the
# plateau, the norm of the regression coefficients over frames, ‖Σyx Σxx⁻¹‖ of the feature, takes
# the place of ρ. There is no closed form. `LayerModes` integrates one number per layer and feature,
# and `GradientFlow` integrates all matrices. Here the depth is 3, ε = 1e-2, and the policy is the
# suffix.

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
# From one frame, the deep JEPA learns the slow, noisy signal last. It keeps 0.06 of it, which is 9
# % of what it keeps of the slow, clean signal. From three frames it learns this signal second and
# keeps 30 %, because fresh noise averages out. Lasting noise does not average out: for the
# distractor, the last frame suffices. The distractor now comes last, but ends with a gain of 4.6,
# four times that of any signal (from one frame: 1.2 times).
#
# ## Change this and predict
#
# 1. Give the distractor fresh noise too: make it a signal of variance 0.7 and autocorrelation γₙ,
#    in white noise of variance 0.7. Does a JEPA of depth 5 still learn it before the slow, noisy
#    signal?
# 2. Let the fast signal be constant, γ = 1. Is there a lag at which a frozen distractor comes
#    before it? Does the answer depend on depth?
# 3. Take `js.data.Suffix(1)`: five frames are visible and one is predicted. Which plateau does the
#    slow, noisy signal reach? Which does it reach with `js.data.Suffix(5)`, from one frame to five?
