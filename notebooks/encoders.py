# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # What does your encoder carry?
#
# The theory is about linear encoders. Yours is not linear. `measure_gains` takes embeddings of any
# encoder, as an array, and the inputs that they belong to. It says how strongly the encoder passes
# on each feature of the data, at one or at many times of training. Here a small network with a
# hidden layer is trained as a JEPA and as an MAE.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jepa_sim as js
from jepa_sim import plot

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The data
#
# Eight features. Four are noisy: their regression coefficient ρ is at most 0.35. Two views x and y
# of a sample share the signal of every feature, of variance λ, and each has its own noise.

# %%
rho = np.array([0.3, 0.9, 0.2, 0.8, 0.35, 0.95, 0.65, 0.25])
lam = 1 / np.sqrt(np.arange(1, 9))
moments = js.Moments.from_features(lam, rho)
noisy = rho < 0.4


def views(key, n):
    signal, *noise = (jax.random.normal(k, (n, 8)) for k in jax.random.split(key, 3))
    return [jnp.sqrt(lam) * signal + jnp.sqrt(lam / rho - lam) * own for own in noise]


# %% [markdown]
# ## Training
#
# The encoder has 64 hidden units and 16 outputs. The JEPA predicts the embedding of y from that of
# x, by a matrix; no gradient flows through the embedding of y. The MAE predicts y itself. All else
# is the same: Adam with a learning rate of 0.001, and batches of 256.


# %%
def encode(p, x):
    return jax.nn.gelu(x @ p["into"]) @ p["out"]


def jepa(p, x, y):
    target = jax.lax.stop_gradient(encode(p, y))
    return jnp.mean(jnp.sum((encode(p, x) @ p["predict"] - target) ** 2, axis=-1))


def mae(p, x, y):
    return jnp.mean(jnp.sum((encode(p, x) @ p["predict"] - y) ** 2, axis=-1))


def train(loss, predicted, steps=1200, saves=24):
    """Parameters at `saves` times, each with a leading axis."""
    shapes = {"into": (8, 64), "out": (64, 16), "predict": (16, predicted)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    p = {
        name: 0.3 * jax.random.normal(key, shape) / shape[0] ** 0.5
        for (name, shape), key in zip(shapes.items(), keys, strict=True)
    }
    adam = optax.adam(1e-3)

    def step(carry, key):
        p, state = carry
        change, state = adam.update(jax.grad(loss)(p, *views(key, 256)), state)
        return (optax.apply_updates(p, change), state), None

    def several(carry, key):
        carry, _ = jax.lax.scan(step, carry, jax.random.split(key, steps // saves))
        return carry, carry[0]

    start = (p, adam.init(p))
    return jax.lax.scan(several, start, jax.random.split(jax.random.key(1), saves))[1]


# %% [markdown]
# ## Measuring
#
# The embeddings are an array: times, samples, numbers. They come from fresh samples. If you train
# with another library, save the embeddings of the same few thousand inputs at every checkpoint.

# %%
x, _ = views(jax.random.key(2), 4000)
steps = np.arange(50, 1201, 50)
found = {}
for name, loss, predicted in (("JEPA", jepa, 16), ("MAE", mae, 8)):
    checkpoints = jax.jit(train, static_argnums=(0, 1))(loss, predicted)
    embeddings = jax.vmap(encode, in_axes=(0, None))(checkpoints, x)
    found[name] = js.measure_gains(embeddings, x, moments, times=steps)

found["JEPA"]

# %%
picture, axes = plot.panels(1, 2, (plot.PAGE, 2.5), sharey=True)
for ax, (name, gains) in zip(axes, found.items(), strict=True):
    plot.trajectories(gains, ax, noisy=noisy)
    ax.set(title=f"{name} (noisy features dashed)", xlabel="steps of Adam")
plot.rho_bar(picture, axes)

# %% [markdown]
# The JEPA drops the noisy features: the smaller ρ, the smaller the gain. It has not collapsed,
# since its gains of clean features are large. The MAE keeps every feature. Its noisy features are
# weaker too, but they keep a third of the gain of the clean ones and more.

# %%
last = {name: gains.isel(time=-1) for name, gains in found.items()}
print("     ρ   JEPA            MAE             JEPA: share of variance")
for i in np.argsort(rho):
    numbers = [
        f"{float(run.features[i]):.2f} ± {float(run.features_error[i]):.3f}"
        for run in last.values()
    ]
    share = 100 * float(last["JEPA"].variance_share[i])
    print(f"{rho[i]:6.2f}   {numbers[0]}    {numbers[1]}    {share:5.1f} %")
print(f"linear in the input: {float(last['JEPA'].linear_share):.0%}", end=" of the JEPA, ")
print(f"{float(last['MAE'].linear_share):.0%} of the MAE")
assert (last["JEPA"].features[noisy] < 0.2).all()
assert (last["JEPA"].features[~noisy] > 0.4).all()
assert (last["MAE"].features[noisy] > 0.35).all()

# %% [markdown]
# ## What to look at
#
# - **The gain** falls when a feature is dropped. R² and canonical correlations do not depend on the
#   scale of the embedding, so they hardly see it: a gain of 0.03 without other noise is still a
#   perfect correlation.
# - **An MAE of the same encoder.** Its encoder and predictor together have the gain ρ, so noisy
#   features are weaker in an MAE too. The question is what a JEPA does beyond that.
# - **The share of the variance**, `variance_share`. Adam and layer norm change the scale of the
#   embedding, and the share does not depend on it.
# - **The linear share.** A feature that the encoder carries in a nonlinear way only, such as its
#   square, has the gain 0. Where `linear_share` is small, gains do not tell the whole story.
# - "Half of its own maximum" is a poor criterion for *learned*: a feature that is dropped has
#   passed it too.
#
# Here features are dropped. Are they learned first, and evicted later? In linear networks they are:
# see [How a JEPA avoids noisy features](../docs/noisy_features.md). In this network the gain of one
# noisy feature (ρ = 0.35) rises first and then falls. The others never rise.
# [The same page](../docs/noisy_features.md) has such a network on patches of photographs.
