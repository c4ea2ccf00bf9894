"""What holds for all data models."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa_sim import data


def latent() -> data.Dynamic:
    return data.Dynamic([1.0, 0.5], [0.9, -0.2], [0.1, 0.2], [0.0, 0.5], lag=2)


def pixels(*shape: int) -> data.Gaussian:
    return data.Gaussian(data.grid_covariance(shape, 2.0))


MODELS = {
    "static": lambda: data.Static(
        [1, 0.5], 0.1, data.random_basis(2), data.random_basis(2, seed=1)
    ),
    "dynamic": latent,
    "pixel mask": lambda: data.Masked(pixels(2, 3), data.PixelMask(0.5), data.Hidden(), noise=0.1),
    "block mask": lambda: data.Masked(
        pixels(2, 3), data.BlockMask((2, 3), (1, 2)), data.Remasked()
    ),
    "temporal": lambda: data.Temporal(latent().lag_covariances(5), data.BlockFrames(2)),
    "low rank": lambda: data.LowRank([1.0], 0.1, dimension=3),
    "power law": lambda: data.power_law(4, noise_exponent=2.0),
    "non-commuting": lambda: data.non_commuting(4, 0.5),
    "noisy": lambda: data.Noisy(pixels(3, 3), 0.1),
    "lit": lambda: data.Lit(pixels(3, 3)),
    "shifted": lambda: data.Shifted(pixels(3, 3), 1, noise=0.1),
    "series": lambda: data.Windows(np.sin(np.arange(60.0) ** 1.5), 3, 2),
}


@pytest.mark.float32
@pytest.mark.parametrize("name", MODELS)
def test_moments_have_the_precision_that_is_set(name: str):
    views = MODELS[name]()
    moments = views.exact_moments()
    precise = jnp.zeros(()).dtype
    assert {m.dtype for m in (moments.xx, moments.yx, moments.yy)} == {precise}
    sampled = views.sampled_moments(4000)
    scale = float(np.abs(moments.xx).max())
    np.testing.assert_allclose(sampled.xx, moments.xx, atol=0.2 * scale)
    np.testing.assert_allclose(sampled.yx, moments.yx, atol=0.2 * scale)


@pytest.mark.float32
def test_stacked_moments_have_the_precision_that_is_set():
    moments = data.Temporal(latent().lag_covariances(5), data.RandomFrames(2)).stacked_moments()
    assert moments.yx.dtype == jnp.zeros(()).dtype
    assert moments.features().lam.dtype == jnp.zeros(()).dtype


@pytest.mark.parametrize("name", MODELS)
def test_models_are_pytrees(name: str):
    views = MODELS[name]()
    leaves, structure = jax.tree.flatten(views)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(again.exact_moments().yx, views.exact_moments().yx)


def test_libraries_of_real_data_wait_until_they_are_used():
    code = (
        "import sys, jepa_sim.data\n"
        "print([m for m in ('sklearn', 'statsmodels', 'pandas', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_all_is_there():
    assert sorted(data.__all__) == data.__all__
    assert all(hasattr(data, name) for name in data.__all__)
