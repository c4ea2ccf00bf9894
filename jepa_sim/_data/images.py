"""Two views of patches of photographs, each under light and sensor noise of its own.

A photograph minus its local mean (as an eye adapts to the light around) is cut into patches, and
each patch z is seen twice:

    x = z + P l_x + n_x        l: strengths of the lighting patterns P, independent per view
    y = z + P l_y + n_y        n: white noise of the sensor, independent per view

so that Σyx = Cov(z) and Σxx = Σyx + P diag(s²) Pᵀ + n² I. The patterns P are the three leading
principal components of the patches: mean brightness and the two gradients, as smooth light looks
after the same adaptation. They have the largest λ of all features, as in any natural image, but
light makes up most of their variance, so that ρ is small: the noisy features of real data.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from os import PathLike

import numpy as np

from jepa_sim import _checks as checks
from jepa_sim._moments import Features, Moments

Photograph = np.ndarray  # (height, width) grey values
GREY = np.array([0.299, 0.587, 0.114])  # Rec. 601 luma of red, green, blue
ROWS = 32  # of patches in memory at a time


class LitPatches:
    """Pairs of views of `patch` × `patch` pixels, d = patch², with known second moments.

    photographs: grey images (height, width); None takes the two that scikit-learn ships.
    brightness_sd, gradient_sd, sensor_sd: standard deviations of the lighting patterns (each of
    mean square 1 over the pixels) and of the sensor noise, in units of the root mean square of the
    patches' pixels.  patterns: (d, 3) other patterns of lighting, such as `flat_patterns(patch)`;
    with those the moments do not commute.

    Raises ValueError where an argument is out of range or a photograph is smaller than a patch or
    without contrast, ImportError where scikit-learn is needed and missing.
    """

    def __init__(
        self,
        patch: int = 8,
        *,
        brightness_sd: float = 0.45,
        gradient_sd: float = 0.4,
        sensor_sd: float = 0.2,
        photographs: Sequence[Photograph] | None = None,
        patterns: np.ndarray | None = None,
    ):
        checks.check_integer_from("patch", patch, 2)
        for name, value in (("brightness_sd", brightness_sd), ("gradient_sd", gradient_sd)):
            checks.check_positive(name, value)
        checks.check_positive("sensor_sd", sensor_sd)
        self.patch = patch
        self.deviations = np.array([brightness_sd, gradient_sd, gradient_sd])
        self.sensor_sd = sensor_sd
        photographs = sample_photographs() if photographs is None else photographs
        if not photographs:
            checks.fail("photographs", "hold at least one photograph", "empty")
        adapted = [_adapted(p, patch) for p in photographs]
        with _one_thread():
            raw = _covariance(adapted, patch)
        variance = np.trace(raw) / patch**2
        if variance <= 0:
            checks.fail("photographs", "have contrast", "of one grey alone")
        self.photographs = [p / np.sqrt(variance) for p in adapted]
        self.covariance = raw / variance
        self.patterns = _lighting_patterns(self.covariance) if patterns is None else patterns

    @property
    def dimension(self) -> int:
        """d, pixels of a patch."""
        return self.patch**2

    def exact_moments(self) -> Moments:
        """Moments over all patches of the photographs, light and noise in expectation."""
        light = self.patterns * self.deviations
        xx = self.covariance + light @ light.T + self.sensor_sd**2 * np.eye(self.dimension)
        return Moments(xx, self.covariance, xx)

    def pairs(
        self, count: int = 100_000, *, seed: int = 0, batch_size: int = 8192
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`count` pairs (x, y) of views of patches at random places, batches of (n, d) arrays."""
        rng = np.random.default_rng(seed)
        windows = [_windows(p, self.patch) for p in self.photographs]
        places = np.array([w.shape[0] * w.shape[1] for w in windows])
        for first in range(0, count, batch_size):
            size = min(batch_size, count - first)
            shares = rng.multinomial(size, places / places.sum())
            chosen = []
            for window, share in zip(windows, shares, strict=True):
                rows = rng.integers(window.shape[0], size=share)
                columns = rng.integers(window.shape[1], size=share)
                chosen.append(window[rows, columns].reshape(share, -1))
            patches = np.concatenate(chosen)
            yield self._view(patches, rng), self._view(patches, rng)

    def moments(self, count: int = 100_000, *, seed: int = 0) -> Moments:
        """Moments of `count` sampled pairs, each entered both ways round.

        The two views are exchangeable, so (y, x) is as good a pair as (x, y): Σyx comes out
        symmetric and Σyy = Σxx, as they are in law.
        """
        both_ways = (pair for x, y in self.pairs(count, seed=seed) for pair in ((x, y), (y, x)))
        with _one_thread():
            return Moments.from_samples(both_ways)

    def lighting_share(self, features: Features) -> np.ndarray:
        """(d,) share of each feature's variance vᵀ Σxx v that is light."""
        response = np.asarray(features.basis).T @ (self.patterns * self.deviations)
        return np.sum(response**2, axis=1) / np.asarray(features.variance)

    def _view(self, patches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        light = rng.standard_normal((len(patches), 3)) * self.deviations
        return (
            patches + light @ self.patterns.T + self.sensor_sd * rng.standard_normal(patches.shape)
        )


def flat_patterns(patch: int) -> np.ndarray:
    """(d, 3) uniform brightness, vertical and horizontal plane gradients, mean square 1 each."""
    ramp = np.linspace(-1, 1, patch)
    ramp /= np.sqrt(np.mean(ramp**2))
    return np.stack([np.ones(patch**2), np.repeat(ramp, patch), np.tile(ramp, patch)], axis=1)


def sample_photographs() -> list[Photograph]:
    """Grey versions of china.jpg and flower.jpg, (427, 640) each, from scikit-learn."""
    try:
        from sklearn.datasets import load_sample_images

        images = load_sample_images().images
    except ImportError as error:
        raise _missing(error) from None
    return [image @ GREY for image in images]


def read_photograph(path: str | PathLike[str]) -> Photograph:
    """Grey version of an image file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise _missing(error) from None
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=float) @ GREY


def _one_thread() -> AbstractContextManager:
    """Without the threads of numpy's BLAS: where cores are busy they wait for each other."""
    try:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError as error:
        raise _missing(error) from None
    return threadpool_limits(1, user_api="blas")


def _missing(error: ImportError) -> ImportError:
    return ImportError(f"Photographs need the extra `jepa_sim[images]`: {error}.")


def _adapted(photograph: Photograph, patch: int) -> Photograph:
    """Minus the local mean, under a Gaussian window of standard deviation half a patch."""
    from scipy.ndimage import gaussian_filter

    if photograph.ndim != 2 or min(photograph.shape) < patch:
        rule = f"be grey and at least {patch} × {patch} pixels"
        checks.fail("photographs", rule, f"of shape {photograph.shape}")
    return photograph - gaussian_filter(photograph, patch / 2)


def _windows(photograph: Photograph, patch: int) -> np.ndarray:
    """(rows, columns, patch, patch) view of all patches of a photograph."""
    return np.lib.stride_tricks.sliding_window_view(photograph, (patch, patch))


def _covariance(photographs: Sequence[Photograph], patch: int) -> np.ndarray:
    """(d, d) covariance of all patches of all photographs, some rows of patches at a time."""
    total, products, count = np.zeros(patch**2), np.zeros((patch**2, patch**2)), 0
    for photograph in photographs:
        windows = _windows(photograph, patch)
        for first in range(0, len(windows), ROWS):
            patches = windows[first : first + ROWS].reshape(-1, patch**2)
            total += patches.sum(axis=0)
            products += patches.T @ patches
            count += len(patches)
    mean = total / count
    return products / count - np.outer(mean, mean)


def _lighting_patterns(covariance: np.ndarray) -> np.ndarray:
    """(d, 3) leading principal components, mean square 1: the one most like flat light first."""
    leading = np.linalg.eigh(covariance)[1][:, :-4:-1]
    flat = flat_patterns(round(len(covariance) ** 0.5))
    likeness = leading.T @ flat
    order = [int(np.argmax(np.abs(likeness[:, 0])))]
    order += [i for i in range(3) if i not in order]
    signs = [np.sign(likeness[i, np.argmax(np.abs(likeness[i]))]) for i in order]
    return leading[:, order] * signs * np.sqrt(len(covariance))
