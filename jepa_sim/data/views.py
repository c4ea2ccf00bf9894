"""Two views of a whole image (or any other thing z): under noise, under light, at other places.

    Noisy    x = z + n_x                 y = z + n_y                 Σyx = C
    Lit      x = z + P l_x + n_x         y = z + P l_y + n_y         Σyx = C
    Shifted  x = S_δ z + n_x, δ random   y = S_δ' z + n_y            Σyx = S̄ C S̄ᵀ

with C = E[z zᵀ] and all noise and light independent per view. Masked views are in `masking`.

Light comes in three patterns P. By default they are the three leading principal components of the
images. In photographs these are mean brightness and the two gradients, which is how smooth light
looks after its local mean is subtracted. As in any natural image, these features have the largest
λ, but light makes up most of their variance, so that their ρ is small: they are the noisy features
of real data.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked
from jepa_sim.arguments.types import ArrayLike, Number, Scalar
from jepa_sim.data.base import AbstractSource, AbstractViews, Draws, Pair, number_between, white
from jepa_sim.data.features import Features
from jepa_sim.data.moments import Moments


class Noisy(AbstractViews):
    """The same thing under independent white noise: Σyx = C, Σxx = Σyy = C + n² I.

    source: where z comes from.  noise: variance n² ≥ 0.
    Σxx and Σyx commute: with c the eigenvalues of C, λ = c and ρ = c/(c + n²).

    Raises ValueError where the noise is negative.
    """

    source: AbstractSource
    noise: Float[Array, ""]
    is_exchangeable = True

    def __init__(self, source: AbstractSource, noise: Scalar):
        self.source, self.noise = source, number_between("noise", noise, 0)

    def exact_moments(self) -> Moments:
        """Moments over the whole source, noise in expectation."""
        covariance = jnp.asarray(self.source.covariance)
        xx = _under_noise(covariance, self.noise)
        return Moments(xx, covariance, xx)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs."""
        z = self.source.draw(rng, count)
        return z + white(rng, z.shape, self.noise), z + white(rng, z.shape, self.noise)


class Lit(AbstractViews):
    """An image under two lights: Σyx = C, Σxx = Σyy = C + P diag(l²) Pᵀ + n² I.

    source: `Patches(…)` or others of square images, d = side².  brightness_sd, gradient_sd,
    sensor_sd: standard deviations of the lighting patterns (each of mean square 1 over the pixels)
    and of the sensor noise, in units of the root mean square of the source's pixels.
    patterns: (d, 3) other patterns P of lighting than the images' own, such as
    `flat_patterns(side)`; with those the moments do not commute.

    Raises ValueError where an argument is out of range.
    """

    source: AbstractSource
    deviations: Float[np.ndarray, "3"]
    sensor_sd: Number
    patterns: Float[np.ndarray, "d 3"]
    is_exchangeable = True

    def __init__(
        self,
        source: AbstractSource,
        *,
        brightness_sd: Number = 0.45,
        gradient_sd: Number = 0.4,
        sensor_sd: Number = 0.2,
        patterns: np.ndarray | None = None,
    ):
        checks.check_positive("brightness_sd", brightness_sd)
        checks.check_positive("gradient_sd", gradient_sd)
        checks.check_positive("sensor_sd", sensor_sd)
        shape = (source.dimension, 3)
        if patterns is not None and np.shape(patterns) != shape:
            checks.fail("patterns", f"be of shape {shape}", f"of shape {np.shape(patterns)}")
        self.source = source
        self.deviations = np.array([brightness_sd, gradient_sd, gradient_sd])
        self.sensor_sd = sensor_sd
        self.patterns = own_patterns(source) if patterns is None else np.asarray(patterns)

    def exact_moments(self) -> Moments:
        """Moments over the whole source, light and noise in expectation."""
        light = self.patterns * self.deviations
        xx = _under_noise(self.source.covariance + light @ light.T, self.sensor_sd**2)
        return Moments(xx, self.source.covariance, xx)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs."""
        z = self.source.draw(rng, count)
        return self._view(z, rng), self._view(z, rng)

    def lighting_share(self, features: Features) -> Float[np.ndarray, " d"]:
        """The share of light in each feature's variance vᵀ Σxx v."""
        response = np.asarray(features.basis).T @ (self.patterns * self.deviations)
        return np.sum(response**2, axis=1) / np.asarray(features.variance)

    def _view(self, z: Draws, rng: np.random.Generator) -> Draws:
        light = rng.standard_normal((len(z), 3)) * self.deviations
        return z + light @ self.patterns.T + white(rng, z.shape, self.sensor_sd**2)


class Shifted(AbstractViews):
    """An image seen through a window at two random places, up to `shift` pixels apart.

    source: of square images, d_z = side²; the window has side − shift pixels along the edge, and
    d = (side − shift)². Each view's offset δ is uniform over the (shift + 1)² places where the
    window fits, independent of the other's.  noise: variance n² ≥ 0 of white noise in each view.

    With S_δ the (d, d_z) window at δ and S̄ its mean over δ,
    Σxx = Σyy = E[S_δ C S_δᵀ] + n² I and Σyx = S̄ C S̄ᵀ: fine structure is averaged out of λ.

    Raises ValueError where images are not square or the window would have fewer than 2 pixels
    along the edge.
    """

    source: AbstractSource
    noise: Float[Array, ""]
    shift: int = eqx.field(static=True)
    is_exchangeable = True

    def __init__(self, source: AbstractSource, shift: int = 1, *, noise: Scalar = 0.0):
        self.shift = checks.whole_from("shift", shift, 0)
        if shift > source.side - 2:
            checks.fail("shift", f"be at most {source.side - 2}, the image less two pixels", shift)
        self.noise = number_between("noise", noise, 0)
        self.source = source

    def exact_moments(self) -> Moments:
        """Moments over the whole source and all offsets."""
        covariance, windows = np.asarray(self.source.covariance), self._windows()
        xx = np.mean([covariance[np.ix_(window, window)] for window in windows], axis=0)
        # (S̄ C S̄ᵀ)_ij: the mean over both offsets
        yx = np.mean([covariance[w][:, windows].mean(axis=1) for w in windows], axis=0)
        xx = _under_noise(xx, self.noise)
        return Moments(xx, (yx + yx.T) / 2, xx)

    def draw(self, rng: np.random.Generator, count: int) -> Pair:
        """`count` independent pairs."""
        z, windows = self.source.draw(rng, count), self._windows()
        offsets = rng.integers(len(windows), size=(2, count))
        x, y = (np.take_along_axis(z, windows[offset], axis=1) for offset in offsets)
        return x + white(rng, x.shape, self.noise), y + white(rng, y.shape, self.noise)

    def _windows(self) -> np.ndarray:
        """((shift + 1)², d) pixels of the image in the window, for every offset."""
        side, size = self.source.side, self.source.side - self.shift
        pixels = np.arange(side**2).reshape(side, side)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size))
        return windows.reshape(-1, size**2)


@checked
def flat_patterns(side: int) -> Float[np.ndarray, "d 3"]:
    """(d, 3) uniform brightness, vertical and horizontal plane gradients, mean square 1 each.

    side: pixels along the edge of an image, d = side².
    """
    ramp = np.linspace(-1, 1, side)
    ramp /= np.sqrt(np.mean(ramp**2))
    return np.stack([np.ones(side**2), np.repeat(ramp, side), np.tile(ramp, side)], axis=1)


def own_patterns(source: AbstractSource) -> Float[np.ndarray, "d 3"]:
    """(d, 3) leading principal components, mean square 1: the one most like flat light first."""
    # the last three eigenvectors, the one of largest eigenvalue first
    leading = np.linalg.eigh(np.asarray(source.covariance))[1][:, :-4:-1]
    likeness = leading.T @ flat_patterns(source.side)
    order = [int(np.argmax(np.abs(likeness[:, 0])))]
    order += [i for i in range(3) if i not in order]
    signs = [np.sign(likeness[i, np.argmax(np.abs(likeness[i]))]) for i in order]
    return leading[:, order] * signs * np.sqrt(source.dimension)


def _under_noise(covariance: ArrayLike, noise: ArrayLike) -> Float[Array, "d d"]:
    covariance = jnp.asarray(covariance)
    identity = jnp.eye(len(covariance), dtype=covariance.dtype)
    return covariance + jnp.asarray(noise, covariance.dtype) * identity
