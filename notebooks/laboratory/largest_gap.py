# %% [markdown]
# # Which spectrum separates JEPA from MAE most?
#
# Four features have λ in [0.1, 1] and ρ in [0.3, 0.95]. A JEPA is to learn them in the order 1, 2,
# 3, 4, and an MAE in the opposite order, each time by as large a factor as possible. With t the
# times of the closed form (aligned start, half of the plateau), we maximise
#
#     m = min over neighbours i of min( ln t_{i+1}/t_i of the JEPA, ln t_i/t_{i+1} of the MAE )
#
# by Adam on the logits of λ and ρ within their bounds. The minimum is a soft one, which sharpens.
# The matrix flow then says whether the gap occurs. `python notebooks/laboratory/largest_gap.py`
# takes five minutes of one core.

# %%
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

FEATURES, STEPS, TRIES = 4, 1500, 8
LAM, RHO = (0.1, 1.0), (0.3, 0.95)
DEPTHS, SCALES = (1, 2, 3, 4), (1e-3, 1e-4, 1e-5)
CHECKED = 1e-3  # the ε at which the matrix flow is run
SLOPES = (1.05, 1.2, 1.5, 2.0, 4.0, 10.0)
SEEDS = 8


def spectrum(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(λ, ρ) within their bounds, from (2, d) logits."""
    share = jax.nn.sigmoid(z)
    return LAM[0] + (LAM[1] - LAM[0]) * share[0], RHO[0] + (RHO[1] - RHO[0]) * share[1]


def log_times(objective, lam, rho, depth, scale) -> jax.Array:
    moments = js.Moments.from_features(lam, rho)
    start = js.Balanced(scale)
    problem = js.Problem(moments, objective, js.DeepLinear(depth), start)
    return jnp.log(js.critical_times(problem, fraction=0.5))


@eqx.filter_jit
def closed(objective, lam, rho, depth, scale) -> jax.Array:
    """Times of the closed form."""
    return jnp.exp(log_times(objective, lam, rho, depth, scale))


def margins(lam, rho, depth, scale) -> jax.Array:
    """(2d − 2,) of both objectives and all neighbours, the smallest of which is the gap m."""
    jepa = jnp.diff(log_times(js.JEPA(), lam, rho, depth, scale))
    mae = -jnp.diff(log_times(js.MAE(), lam, rho, depth, scale))
    return jnp.concatenate([jepa, mae])


# %% [markdown]
# ## The largest gap is known
#
# Times at a given ρ are in proportion to 1/λ. So the time of the JEPA over that of the MAE depends
# on ρ alone, r(ρ). The two margins of a pair of neighbours add up to ln r(ρ_{i+1})/r(ρ_i), and all
# margins to ln r(0.3)/r(0.95) if ρ falls from one bound to the other. So no spectrum has a larger m
# than that over 2 (d − 1), and the one in which all margins are equal has it. We compare this bound
# with what gradients find.


# %%
def bound(depth, scale) -> float:
    ends = jnp.array(RHO)
    times = [log_times(o, jnp.ones(2), ends, depth, scale) for o in (js.JEPA(), js.MAE())]
    ratio = times[0] - times[1]
    return float(ratio[0] - ratio[1]) / (2 * (FEATURES - 1))


@jax.jit
def ascend(z, depth, scale):
    """Logits after STEPS steps of Adam from z."""

    def soft_minimum(z, sharpness):
        return -jax.nn.logsumexp(-sharpness * margins(*spectrum(z), depth, scale)) / sharpness

    adam = optax.adam(optax.cosine_decay_schedule(0.05, STEPS))

    def step(carry, sharpness):
        z, state = carry
        slope = jax.grad(soft_minimum)(z, sharpness)
        change, state = adam.update(-slope, state)
        return (optax.apply_updates(z, change), state), None

    sharpness = jnp.geomspace(10.0, 1e4, STEPS)
    return jax.lax.scan(step, (z, adam.init(z)), sharpness)[0][0]


tries = jax.random.normal(jax.random.key(0), (TRIES, 2, FEATURES))
best, gap = {}, {}
print("the largest factor e^m by which both objectives reverse each pair of neighbours")
for scale in SCALES:
    for depth in DEPTHS:
        z = jax.vmap(lambda z, d=depth, s=scale: ascend(z, float(d), s))(tries)
        gaps = np.array([margins(*spectrum(each), depth, scale).min() for each in z])
        chosen = int(gaps.argmax())
        best[scale, depth] = [np.asarray(x) for x in spectrum(z[chosen])]
        gap[scale, depth] = gaps[chosen]
        print(
            f"  ε = {scale:g}, L = {depth}: bound {np.exp(bound(depth, scale)):.4f}, "
            f"found {np.exp(gaps.max()):.4f} (worst of {TRIES} tries {np.exp(gaps.min()):.4f})",
            "λ",
            best[scale, depth][0].round(3),
            "ρ",
            best[scale, depth][1].round(3),
            flush=True,
        )

# %% [markdown]
# ## A gap that does not need the order
#
# Plateaus are the same from every start. So is the share of noise in the representation at the end,
# N = Σ σ²w̄² (1 − ρ) / Σ σ²w̄². Which spectrum makes N of the MAE most larger than N of the JEPA?

# %%
BOTH = (js.JEPA(), js.MAE())


def noise_at_end(objective, lam, rho, depth) -> jax.Array:
    moments = js.Moments.from_features(lam, rho)
    problem = js.Problem(moments, objective, js.DeepLinear(depth), js.Balanced(CHECKED))
    power = lam / rho * problem.plateaus**2
    return jnp.sum(power * (1 - rho)) / jnp.sum(power)


@jax.jit
def ascend_noise(z, depth):
    def loss(z):
        jepa, mae = (noise_at_end(o, *spectrum(z), depth) for o in BOTH)
        return jepa - mae

    adam = optax.adam(0.05)

    def step(carry, _):
        z, state = carry
        change, state = adam.update(jax.grad(loss)(z), state)
        return (optax.apply_updates(z, change), state), None

    return jax.lax.scan(step, (z, adam.init(z)), length=STEPS)[0][0]


noisiest, noise = {}, {}
for depth in DEPTHS:
    z = jax.vmap(lambda z, d=depth: ascend_noise(z, float(d)))(tries)
    ends = np.array([[noise_at_end(o, *spectrum(each), float(depth)) for o in BOTH] for each in z])
    chosen = (ends[:, 1] - ends[:, 0]).argmax()
    noise[depth] = ends[chosen]
    noisiest[depth] = [np.asarray(x) for x in spectrum(z[chosen])]
    print(
        f"L = {depth}: share of noise at the end: JEPA {ends[chosen, 0]:.3f}, "
        f"MAE {ends[chosen, 1]:.3f}",
        *(x.round(2) for x in noisiest[depth]),
    )

# %% [markdown]
# ## Do the gaps occur?
#
# The matrix flow learns the spectra that were found at ε = 1e-3, from starts that are aligned up to
# rounding, and from random balanced ones. Beside them stand *slopes*: the same ρ, and λ rises
# by a given factor from the cleanest feature to the noisiest.

# %%
STARTS = {
    "aligned": lambda scale: js.Balanced(scale, rotated=True),
    "random": js.RandomBalanced,
}
flow = js.GradientFlow(js.ROCK4(), rtol=1e-5)


def run(objective, spectra, depth: int, start: str) -> xr.Dataset:
    """Runs of all spectra; two seeds turn the hidden layers of an aligned start."""
    aligned = start == "aligned"
    found = js.sweep(
        js.Grid(
            spectrum=[js.Moments.from_features(*pair) for pair in spectra],
            objective=[objective],
            depth=[depth],
            scale=[CHECKED],
            seed=range(2 if aligned else SEEDS),
            start=STARTS[start],
        ),
        flow if aligned or objective.name == "mae" else js.SleepingFlow(),
        times=js.CriticalGrid(400, first=1e-2, last=3.0 if aligned else 20.0),
        critical_fraction=[0.5],
        observables=[js.observables.features, js.observables.noise_share],
        padded=False,
        progress=False,
    )
    assert not found.result.any()
    return found.squeeze(drop=True).transpose("spectrum", "seed", ...)


def earlier(times: np.ndarray) -> np.ndarray:
    """(run, i, j) 1 where i comes before j, −1 where it comes later, 0 where neither comes."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.sign(times[:, None, :] - times[:, :, None]))


def reversed_share(jepa: np.ndarray, mae: np.ndarray) -> float:
    """The share of pairs that the two learn in opposite orders, every run with every other."""
    alike, decided = (
        np.einsum("aij,bij->", each(earlier(jepa)), each(earlier(mae))) for each in (np.array, abs)
    )
    return float((1 - alike / decided) / 2)


def neighbours(times: np.ndarray) -> str:
    """The factors t_{i+1}/t_i in the median over runs."""
    with np.errstate(invalid="ignore"):
        factors = np.exp(np.nanmedian(np.diff(np.log(times)), axis=0))
    return " ".join(f"{x:.3f}" for x in factors)


shares, measured = {}, {}
print(
    "share of pairs that are reversed in theory, at first crossings, for good; t_{i+1}/t_i for good"
)
for depth in DEPTHS:
    found, rho = best[CHECKED, depth]
    sloped = {slope: (np.geomspace(1 / slope, 1, FEATURES), rho) for slope in SLOPES}
    spectra = {"found": (found, rho), **sloped}
    for start in STARTS:
        tables = [run(o, [*spectra.values(), noisiest[depth]], depth, start) for o in BOTH]
        measured[depth, start] = [each.noise_share[-1, :, -1].values for each in tables]
        for k, (name, pair) in enumerate(spectra.items()):
            theory = [np.asarray(closed(o, *pair, depth, CHECKED))[None] for o in BOTH]
            first, last = (
                [each[time][k].values for each in tables]
                for time in ("critical_time", "learned_time")
            )
            at = {"theory": theory, "first": first, start: last}
            share = {when: reversed_share(*times) for when, times in at.items()}
            shares.update({(depth, name, when): value for when, value in share.items()})
            print(
                f"  L = {depth} {name!s:5} {start:7}:",
                *(f"{value:4.0%}" for value in share.values()),
                f"  JEPA {neighbours(last[0])}  MAE {neighbours(last[1])}",
                f"  not learned {np.isinf(last[0]).mean():.0%}, {np.isinf(last[1]).mean():.0%}",
                flush=True,
            )

print("share of noise at the end of the runs, from the smallest to the largest")
for (depth, start), ends in measured.items():
    ranges = [f"{end.min():.3f} to {end.max():.3f}" for end in ends]
    print(f"  L = {depth} {start:7}: JEPA {ranges[0]}, MAE {ranges[1]}")

# %%
with plot.style():
    figure, axes = plot.panels(1, 3, (plot.PAGE, 2.5))
    ax = axes[0]
    fine = np.geomspace(SCALES[-1], SCALES[0], 30)
    for depth, shade in zip(DEPTHS, (0.35, 0.55, 0.75, 1.0), strict=True):
        style = {"color": "#0072B2", "alpha": shade}
        ax.plot(fine, [np.expm1(bound(depth, x)) for x in fine], lw=1, **style)
        ax.plot(SCALES, [np.expm1(gap[x, depth]) for x in SCALES], "o", ms=4, **style)
        ax.text(1.15e-3, np.expm1(bound(depth, 1e-3)), f"L = {depth}", va="center", fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="scale ε of the start", xlim=(7e-6, 5e-3))
    ax.set(yticks=[0.003, 0.01, 0.03, 0.1], yticklabels=["0.3 %", "1 %", "3 %", "10 %"])
    ax.set(title="largest gap in closed form", ylabel="later than its neighbour by")

    ax = axes[1]
    for depth, colour in ((DEPTHS[0], "#0072B2"), (DEPTHS[-1], "#009E73")):
        for when, line in (("theory", ":"), ("aligned", "--"), ("random", "o-")):
            values = [shares[depth, slope, when] for slope in SLOPES]
            ax.plot(SLOPES, values, line, color=colour, ms=4, label=f"{when}, L = {depth}")
    ax.set(xscale="log", xlabel="λ of noisiest over λ of cleanest", ylim=(-0.05, 1.05))
    ax.set(xticks=(1, 2, 4, 10), xticklabels=("1", "2", "4", "10"))
    ax.minorticks_off()
    ax.set(title="opposite orders, for good", ylabel="share of pairs")
    ax.legend(frameon=False, fontsize=6, loc="upper left", bbox_to_anchor=(0.52, 0.72))

    ax = axes[2]
    for k, (label, colour, marker) in enumerate(map(plot.OBJECTIVES.get, ("jepa", "mae"))):
        ax.plot(DEPTHS, [noise[depth][k] for depth in DEPTHS], color=colour, lw=1)
        for depth in DEPTHS:
            flows = measured[depth, "random"][k]
            ax.plot([depth] * len(flows), flows, marker, color=colour, mfc="none", ms=4)
        ax.text(DEPTHS[-1], noise[DEPTHS[-1]][k] + 0.04, label, color=colour, ha="right")
    ax.set(xlabel="depth L", xticks=DEPTHS, ylim=(0, 1), ylabel="share of noise at the end")
    ax.set(title="largest gap in noise (line: theory)")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)
