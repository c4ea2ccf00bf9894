# %% [markdown]
# # Dynamic features and the frozen distractor
#
# Features are autoregressive processes in noise, seen now and one step later (`js.data.Dynamic`). A
# feature's covariance between the views is λ = γ s² + γ_n n², and its regression coefficient is ρ =
# λ/(s² + n²). So ρ says how *predictable* a feature is, not how clean: a fast feature also has a
# small ρ, and noise that lasts has a large one.
#
# The data have eight features of variance s² = 1: four speeds γ, each under little (n² = 0.1) and
# much (n² = 1) white noise. The ninth feature, a distractor, is only noise, with autocorrelation
# γ_n. At γ_n = 1 it is frozen, with ρ = 1. The runs use the closed form, depths 1 to 5, and start
# at ε = 10⁻³.

# %%
from pathlib import Path

import jax
import numpy as np

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

DEPTHS, SCALE = (1, 2, 3, 4, 5), 1e-3
SPEEDS = np.array([0.98, 0.9, 0.8, 0.7])
GAMMA = np.array([*SPEEDS, *SPEEDS, 0.0])
SIGNAL = np.array([1.0] * 8 + [0.0])
COLOURS = np.array([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])  # γ_n of a distractor of variance 1
SIZES = np.array([0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1])  # variances of a frozen distractor
CLEAN = 1  # γ = 0.9, n² = 0.1, so λ = 0.9 and ρ = 0.82: what a distractor is measured against


def views(colour, size):
    noise = np.array([0.1] * 4 + [1.0] * 4 + [size])
    return js.data.Dynamic(SIGNAL, GAMMA, noise, [0.0] * 8 + [colour])


cases = [(colour, 1.0) for colour in COLOURS] + [(1.0, size) for size in SIZES]
grid = js.Grid(
    spectrum=[views(*case).exact_moments() for case in cases],
    objective=[js.JEPA(), js.MAE()],
    depth=DEPTHS,
    scale=[SCALE],
)
runs = js.sweep(
    grid,
    js.ClosedForm(),
    times=js.CriticalGrid(count=200, first=0.02),
    observables=[js.observables.features],
    critical_fraction=[0.5],
    progress=False,
)
runs = runs.squeeze(("predictor_depth", "seed", "scale", "critical_fraction"), drop=True)
coloured = runs.isel(spectrum=slice(0, COLOURS.size))
frozen = runs.isel(spectrum=slice(COLOURS.size, None))
delay = runs.critical_time.isel(feature=8) / runs.critical_time.isel(feature=CLEAN)
first = delay.isel(spectrum=slice(0, COLOURS.size)), delay.isel(spectrum=slice(COLOURS.size, None))


def by_depth(ax, x, ratios):
    """Delay of the distractor against x, JEPA shaded by depth; the MAE's depths hardly differ."""
    for objective in ("mae", "jepa"):
        name, colour, marker = plot.OBJECTIVES[objective]
        for depth in DEPTHS:
            label = name if depth == 1 else None
            shade = 1 - 0.18 * (5 - depth)
            y = ratios.sel(objective=objective, depth=depth)
            ax.plot(x, y, marker + "-", color=colour, alpha=shade, ms=2.5, lw=1, label=label)
    ax.axhline(1, color="0.6", lw=0.8, zorder=0)
    ax.legend(frameon=False, title="L = 1 (pale) to 5", title_fontsize=7)


# %% [markdown]
# ## Speeds and noise
#
# Without a lasting distractor (γ_n = 0.4), fast and noisy features have a smaller λ *and* a smaller
# ρ, and both objectives learn them later. Depth adds a delay beyond 1/λ for JEPA. The distractor is
# all noise, but for either objective it is no worse than a noisy signal of the same ρ. As its noise
# lasts longer, it overtakes the clean feature of λ = 0.9.

# %%
with plot.style():
    figure = plot.panels(1, 1, (plot.PAGE, 4.2))[0]
    figure.clear()
    top, bottom = figure.subfigures(2, 1)
    distractor = np.arange(9) == 8
    upper = top.subplots(1, len(DEPTHS), sharey=True)
    plot.learning_time(coloured.isel(spectrum=0, drop=True), upper, noisy=distractor)
    upper[1].text(
        0.05, 0.87, "filled: the distractor,\nγₙ = 0.4", fontsize=7, transform=upper[1].transAxes
    )
    speed, colours = bottom.subplots(1, 2)
    ordinary = coloured.isel(spectrum=0, feature=slice(0, 8))
    for objective in ("mae", "jepa"):
        name, colour, marker = plot.OBJECTIVES[objective]
        for depth, line in ((1, ":"), (5, "-")):
            times = ordinary.critical_time.sel(objective=objective, depth=depth).values
            for some, face in ((slice(0, 4), "none"), (slice(4, 8), colour)):
                style = {"color": colour, "mfc": face, "ms": 4, "lw": 1}
                speed.plot(SPEEDS, times[some] / times[0], marker + line, **style)
    for label, style in (
        ("MAE", {"color": plot.OBJECTIVES["mae"][1], "marker": "s", "ls": ""}),
        ("JEPA", {"color": plot.OBJECTIVES["jepa"][1], "marker": "o", "ls": ""}),
        ("L = 1", {"color": "0.3", "ls": ":"}),
        ("L = 5", {"color": "0.3", "ls": "-"}),
        ("little noise", {"color": "0.3", "marker": "o", "mfc": "none", "ls": ""}),
        ("much noise", {"color": "0.3", "marker": "o", "ls": ""}),
    ):
        speed.plot([], [], label=label, ms=4, lw=1, **style)
    speed.legend(frameon=False, ncols=3, columnspacing=1, loc="upper right")
    speed.set(xlabel="autocorrelation γ of the feature", ylim=(0.8, 5.2))
    speed.set_ylabel("t* over that of\nthe slowest clean feature")
    by_depth(colours, COLOURS, first[0])
    colours.set(xlabel="autocorrelation γₙ of the distractor")
    colours.set_ylabel("t* of the distractor over\nthat of a clean feature")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=150, pil_kwargs={"optimize": True})

# %% [markdown]
# ## The known failure: a frozen distractor
#
# A feature that never changes is predicted perfectly, ρ = 1, although it has nothing to learn. The
# first panels of the figure have a frozen distractor of λ = 0.9. In JEPA only the slowest clean
# feature (λ = 0.98) comes before it. At the end JEPA keeps the distractor with gain 1 at every
# depth, and at depth 5 that feature with ρ⁵ = 0.56.
#
# The right panel compares with a clean feature of λ = 0.9. JEPA learns the distractor first even
# where the distractor's λ is smaller: from λ = 0.82 on at depth 5, and from 0.899 on at depth 1.
# The MAE follows λ: at depth 5 it does so from 0.90 on. It also keeps the distractor with gain 1,
# but the other features with 0.42 to 0.91, where JEPA at depth 5 keeps 0.005 to 0.56. The bias in
# time is modest, 9 % at depth 5 for equal λ. The bias in plateaus is large.

# %%
equal = int(np.argmin(abs(SIZES - 0.9)))
with plot.style():
    figure, axes = plot.panels(1, 3, (plot.PAGE, 2.3))
    for ax, objective in zip(axes, ("jepa", "mae"), strict=False):
        plot.trajectories(
            frozen.isel(spectrum=equal).sel(objective=objective, depth=5), ax, noisy=distractor
        )
        ax.set(title=f"{plot.OBJECTIVES[objective][0]}, L = 5", ylim=(0, 1.08))
    axes[1].set_ylabel("")
    axes[0].text(0.04, 0.8, "dashed:\nfrozen\ndistractor", fontsize=7, transform=axes[0].transAxes)
    plot.rho_bar(figure, axes[:2])
    by_depth(axes[2], SIZES, first[1])
    axes[2].set(xlabel="variance of the distractor")
    axes[2].set_ylabel("t* of the distractor over\nthat of a feature of λ = 0.9")
figure.savefig(
    Path(__file__).with_name("frozen_distractor.png"), dpi=150, pil_kwargs={"optimize": True}
)


# %%
def crossing(x, ratio):
    """Where the distractor is as early as the clean feature; the ratio falls with x."""
    below = np.flatnonzero(np.log(ratio) < 0)
    if not below.size:
        return f"above {x[-1]:g}"
    if below[0] == 0:
        return f"below {x[0]:g}"
    pair = slice(below[0] - 1, below[0] + 1)
    return f"{np.interp(0, -np.log(ratio[pair]), x[pair]):.3f}"


for objective in ("jepa", "mae"):
    print(objective)
    for depth in DEPTHS:
        at = {"objective": objective, "depth": depth}
        one = coloured.isel(spectrum=0).sel(at)
        print(
            f"  L = {depth}: order τ(ρ) {float(one.order_rho):.2f} "
            f"τ(λ) {float(one.order_lam):.2f}, "
            f"distractor first from γ_n = {crossing(COLOURS, first[0].sel(at).values)}, "
            f"frozen first from a variance of {crossing(SIZES, first[1].sel(at).values)}, "
            f"delay at λ = 0.9: {float(first[1].sel(at)[equal]):.3f}"
        )

# %% [markdown]
# ## A cure, and its price
#
# Where samples are frames of trajectories, the mean of each trajectory can be subtracted from its
# frames (`centered_over`, or `groups` in `Moments.from_samples`). What is frozen then has no
# variance. The figure shows four features in little noise (n² = 0.1), and a frozen distractor in
# the same noise. Centred over T frames the distractor has ρ ≤ 0, and is never learned. But features
# that are slow compared with T lose most of their variance, and ρ with it: at T = 10 the feature of
# γ = 0.9 falls from ρ = 0.82 to 0.42.

# %%
LENGTHS = (3, 5, 10, 20, 50, 100, 200, 500)
speeds = np.array([*SPEEDS, 1.0])
centered = [
    js.data.Dynamic(np.ones(5), speeds, 0.1, centered_over=frames).exact_moments().features()
    for frames in LENGTHS
]
with plot.style():
    figure, axes = plot.panels(1, 2, (plot.PAGE, 2.4))
    for i, speed in enumerate(speeds):
        name = "frozen distractor" if speed == 1 else f"γ = {speed:g}"
        style = {"color": "k", "ls": "--"} if speed == 1 else {"alpha": 0.25 + 0.25 * i}
        style = {"color": "#0072B2", "marker": "o", "ms": 3, "lw": 1, **style}
        axes[0].plot(LENGTHS, [each.rho[i] for each in centered], label=name, **style)
        axes[1].plot(LENGTHS, [each.variance[i] for each in centered], **style)
    axes[0].set(ylabel="ρ", ylim=(-0.6, 1))
    axes[1].set(ylabel="variance σ² that is left")
    for ax in axes:
        ax.set(xlabel="frames T of a trajectory", xscale="log")
        ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    lines = axes[0].get_lines()[: len(speeds)]
    axes[1].legend(handles=lines, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
figure.savefig(Path(__file__).with_name("frozen_distractor_centered.png"), dpi=130)
print({name: float(each.rho[1].round(3)) for name, each in zip(LENGTHS, centered, strict=True)})
