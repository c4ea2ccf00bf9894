# %% [markdown]
# # Photographs, light, and an encoder that is not linear
#
# Patches of 8 × 8 pixels of two photographs are seen under two lights (`js.data.Lit`). Light is a
# third of the variance of an input, and the two views of a patch do not share it. A linear JEPA
# drops it. Does a network with a hidden layer? It has 64 inputs, 128 GELU units and 32 outputs, and
# starts small: weights have a standard deviation of 0.3 over the root of the number of inputs. It
# is trained by Adam in batches of 256 pairs, as a JEPA with stop-gradient and a linear predictor,
# and as an MAE that predicts the pixels of the other view. Beside it is the same network without
# GELU. `python notebooks/laboratory/patches.py` takes about a minute.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

SEEDS, BATCH, CHUNK = 3, 256, 10
STEPS = np.array([0, 10, 20, 30, 40, 50, 70, 100, 150, 200, 300, 400, 600, 900, 1400, 2000])
SHAPES = {"into": (64, 128), "out": (128, 32)}  # and the predictor

views = js.data.Lit(js.data.Patches(8))
moments = views.exact_moments()
features = moments.features()
by_variance = np.argsort(-np.asarray(features.lam))
is_light = views.lighting_share(features) > 0.5
SCENE = [i for i in by_variance if not is_light[i]][:8]
LIGHT = [i for i in by_variance if is_light[i]]

# %% [markdown]
# ## Training


# %%
ACTIVATIONS = {"GELU": jax.nn.gelu, "linear": lambda z: z}


def encode(p, x, activation):
    return ACTIVATIONS[activation](x @ p["into"]) @ p["out"]


def jepa(p, x, y, activation):
    target = jax.lax.stop_gradient(encode(p, y, activation))
    return jnp.mean(jnp.sum((encode(p, x, activation) @ p["predict"] - target) ** 2, axis=-1))


def mae(p, x, y, activation):
    return jnp.mean(jnp.sum((encode(p, x, activation) @ p["predict"] - y) ** 2, axis=-1))


LOSSES = {"jepa": (jepa, 32), "mae": (mae, 64)}


def batches(rng):
    """Fresh pairs for some steps: x and y, each (CHUNK, BATCH, 64), at random places."""
    count = CHUNK * BATCH
    order = rng.permutation(count)  # pairs are drawn photograph by photograph
    pair = views.draw(rng, count)
    return tuple(jnp.asarray(z[order].reshape(CHUNK, BATCH, -1), jnp.float32) for z in pair)


def checkpoints(objective, activation, seed, scale):
    """The encoder's parameters after each of `STEPS`. All networks of a seed see the same pairs."""
    loss, predicted = LOSSES[objective]
    adam, rng = optax.adam(1e-3), np.random.default_rng(seed)
    shapes = {**SHAPES, "predict": (32, predicted)}
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    p = {
        name: scale * jax.random.normal(key, shape, jnp.float32) / shape[0] ** 0.5
        for (name, shape), key in zip(shapes.items(), keys, strict=True)
    }

    def step(carry, pair):
        p, state = carry
        change, state = adam.update(jax.grad(loss)(p, *pair, activation), state)
        return (optax.apply_updates(p, change), state), None

    several = jax.jit(lambda carry, pairs: jax.lax.scan(step, carry, pairs)[0])
    carry, done = (p, adam.init(p)), 0
    for steps in STEPS:
        for _ in range((steps - done) // CHUNK):
            carry = several(carry, batches(rng))
        done = steps
        yield carry[0]


# %% [markdown]
# ## Measuring
#
# All is measured on 8,000 fresh patches of the same photographs. Each is seen under two lights,
# with the same noise of the sensor. Half of the mean squared distance between its two embeddings,
# over the variance of embeddings, is the share of the variance that is light, whether it is linear
# or not. `measure_gains` measures what is linear: the gains of the 3 features that are mostly
# light and of the 8 other features of largest λ, each from pairs of 10 folds, so that noise does
# not count as gain. A third of the variance of a feature of light is the scene's.

# %%
rng = np.random.default_rng(100)
scene = views.source.draw(rng, 8000)
scene += views.sensor_sd * rng.standard_normal(scene.shape)
x, relit = (
    scene + rng.standard_normal((len(scene), 3)) * views.deviations @ views.patterns.T
    for _ in range(2)
)


def mean_gain(gains, which):
    """Root mean square of the gains of some features."""
    return np.sqrt((gains.features.isel(feature=which) ** 2).mean("feature"))


def measured(objective, activation, seed, scale=0.3) -> xr.Dataset:
    embed = jax.jit(lambda p, x: encode(p, jnp.asarray(x, jnp.float32), activation))
    found = [
        (embed(p, x), embed(p, relit)) for p in checkpoints(objective, activation, seed, scale)
    ]
    h, again = (np.asarray(each, float) for each in zip(*found, strict=True))
    gains = js.measure_gains(h, x, moments, times=STEPS)
    apart = np.mean(np.sum((h - again) ** 2, axis=2), axis=1) / 2
    gains["lit"] = "time", apart / h.var(axis=1, ddof=1).sum(axis=1)
    gains["three"] = gains.variance_share.isel(feature=LIGHT).sum("feature")
    gains["light"], gains["scene"] = mean_gain(gains, LIGHT), mean_gain(gains, SCENE)
    return gains


kinds = [(objective, activation) for objective in LOSSES for activation in ACTIVATIONS]
runs = {kind: xr.concat([measured(*kind, seed) for seed in range(SEEDS)], "seed") for kind in kinds}
mean = {kind: run.mean("seed") for kind, run in runs.items()}
error = {kind: run.std("seed", ddof=1) / SEEDS**0.5 for kind, run in runs.items()}

# %% [markdown]
# ## What is left of light
#
# Errors are standard errors over 3 seeds, and in the last table those of one network's gains.

# %%
lit = np.mean(np.sum((x - relit) ** 2, axis=1)) / 2
print(f"share of light in the input: {lit / x.var(axis=0).sum():.3f}")
columns = {
    "lit": "light",
    "three": "in 3 features",
    "light": "gain of light",
    "scene": "of scene",
    "linear_share": "linear share",
}
print(f"{'network and step':20}", *(f"{words:>17}" for words in columns.values()))
for kind in kinds:
    for k in np.flatnonzero(np.isin(STEPS, [0, 30, 40, 100, 400, 2000])):
        cells = (
            f"{float(mean[kind][what][k]):.4f} ± {float(error[kind][what][k]):.4f}"
            for what in columns
        )
        print(f"{' '.join(kind):12}{STEPS[k]:8d}", *(f"{cell:>17}" for cell in cells), flush=True)
print("gains of the three features of light and of the eight others at the end, seed 0:")
for kind in kinds:
    last = runs[kind].isel(seed=0, time=-1)
    for name, which in (("light", LIGHT), ("scene", SCENE)):
        pairs = zip(last.features.values[which], last.features_error.values[which], strict=True)
        print(f"{kind[0]:5} {kind[1]:7} {name}", *(f"{w:.3f} ± {e:.3f}" for w, e in pairs))

# %% [markdown]
# From larger starts, with one seed:

# %%
for scale in (1.0, 3.0):
    for objective in LOSSES:
        lit = measured(objective, "GELU", 0, scale).lit.sel(time=np.isin(STEPS, [0, 400, 2000]))
        shares = ", ".join(f"{share:.3f}" for share in lit.values)
        print(f"weights of {scale:g}, {objective}: light after 0, 400, 2000 steps: {shares}")

# %%
with plot.style():
    figure, axes = plot.panels(1, 3, (plot.PAGE, 2.5))
    for kind in kinds:
        objective, activation = kind
        label, colour, _ = plot.OBJECTIVES[objective]
        is_curved = activation == "GELU"
        style = {"color": colour, "ls": "-" if is_curved else ":", "lw": 1.3}
        name = f"{label}, {'GELU' if is_curved else 'linear'}"
        for ax, what in zip((axes[0], axes[2]), ("lit", "linear_share"), strict=True):
            y, e = mean[kind][what], error[kind][what]
            ax.plot(STEPS, y, label=name, **style)
            ax.fill_between(STEPS, y - e, y + e, color=colour, alpha=0.2, lw=0)
        if is_curved:
            for what, line in (("scene", "-"), ("light", "--")):
                bar = {"yerr": error[kind][what], "color": colour, "ls": line, "lw": 1.3}
                axes[1].errorbar(STEPS, mean[kind][what], label=f"{label}, {what}", **bar)
    for ax in axes:
        ax.set_xscale("symlog", linthresh=10, linscale=0.3)
        ax.set(xlabel="steps of Adam", xlim=(0, STEPS[-1]))
        ax.set_xticks([0, 10, 100, 1000], ["0", "10", "100", "1000"])
        ax.minorticks_off()
    axes[0].set(title="light's share of the variance", ylim=(0, None))
    axes[1].set(title="gain w̄, GELU (RMS)", yscale="log", ylim=(None, 20))
    axes[2].set(title="share that is linear in x", ylim=(0, 1.05))
    axes[0].legend(frameon=False, fontsize=7)
    axes[1].legend(frameon=False, fontsize=7, ncols=2, columnspacing=1, handlelength=1.5)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=150, pil_kwargs={"optimize": True})
