"""Real images that come with scikit-learn: patches of two photographs, and written digits.

These are sources of things z; `views` and `masking` make views of them: light, noise, shifts and
masks. The local mean of a photograph is subtracted, as an eye adapts to the light around it; then
it is cut into patches. Pixels are scaled to mean variance 1, and means are subtracted.
"""

from collections.abc import Sequence
from os import PathLike

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.errors import check_extra
from jepa_sim.arguments.kinds import checked
from jepa_sim.data.base import AbstractSource, Covariance, Draws, one_thread

Photograph = np.ndarray  # (height, width) grey values
GREY = np.array([0.299, 0.587, 0.114])  # Rec. 601 luma of red, green, blue
ROWS = 32  # rows of patches in memory at a time


class Patches(AbstractSource):
    """Patches of `patch` × `patch` pixels at random places of photographs, d = patch².

    photographs: grey images (height, width); None takes the two that scikit-learn ships.
    covariance: (d, d), over all places.

    Raises ValueError where a photograph is smaller than a patch or there is no contrast,
    ImportError where scikit-learn or Pillow is needed and missing.
    """

    photographs: list[Photograph]
    covariance: Covariance
    mean: Float[np.ndarray, " d"]
    patch: int = eqx.field(static=True)

    def __init__(self, patch: int = 8, photographs: Sequence[Photograph] | None = None):
        self.patch = patch = checks.whole_from("patch", patch, 2)
        photographs = sample_photographs() if photographs is None else photographs
        if not photographs:
            checks.fail("photographs", "hold at least one photograph", "empty")
        adapted = [_adapted(p, patch) for p in photographs]
        with one_thread():
            raw, mean = _over_all_places(adapted, patch)
        variance = np.trace(raw) / patch**2
        if variance <= 0:
            checks.fail("photographs", "have contrast", "of one grey alone")
        self.photographs = [p / np.sqrt(variance) for p in adapted]
        self.covariance, self.mean = raw / variance, mean / np.sqrt(variance)

    def draw(self, rng: np.random.Generator, count: int) -> Draws:
        """`count` patches at independent places, sorted by photograph."""
        windows = [_windows(p, self.patch) for p in self.photographs]
        places = np.array([w.shape[0] * w.shape[1] for w in windows])
        shares = rng.multinomial(count, places / places.sum())
        chosen = []
        for window, share in zip(windows, shares, strict=True):
            rows = rng.integers(window.shape[0], size=share)
            columns = rng.integers(window.shape[1], size=share)
            chosen.append(window[rows, columns].reshape(share, -1))
        return np.concatenate(chosen) - self.mean


class Digits(AbstractSource):
    """scikit-learn's 1797 written digits of 8 × 8 pixels, d = 64.

    Three pixels never vary, so views need some noise.  images: (1797, 64), centred, of mean square
    1.
    covariance: (64, 64), over all digits.

    Raises ImportError where scikit-learn is missing.
    """

    images: Float[np.ndarray, "n d"]
    covariance: Covariance

    def __init__(self):
        check_extra("images", "`Digits`", "sklearn")
        from sklearn.datasets import load_digits

        images, _ = load_digits(return_X_y=True)
        images = np.asarray(images)
        centred = images - images.mean(axis=0)
        self.images = centred / np.sqrt(np.mean(centred**2))
        self.covariance = self.images.T @ self.images / len(self.images)

    def draw(self, rng: np.random.Generator, count: int) -> Draws:
        """`count` digits, drawn with replacement."""
        return self.images[rng.integers(len(self.images), size=count)]


def sample_photographs() -> list[Photograph]:
    """Grey versions of china.jpg and flower.jpg, (427, 640) each, from scikit-learn.

    Raises ImportError where scikit-learn or Pillow is missing.
    """
    check_extra("images", "`sample_photographs`", "sklearn", "PIL")
    from sklearn.datasets import load_sample_images

    return [image @ GREY for image in load_sample_images().images]


@checked
def read_photograph(path: str | PathLike[str]) -> Photograph:
    """Grey version of the image file at `path`, (rows, columns), from 0 to 255.

    Raises ImportError where Pillow is missing, OSError where the file is not there or no image.
    """
    check_extra("images", "`read_photograph`", "PIL")
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=float) @ GREY


def _adapted(photograph: Photograph, patch: int) -> Photograph:
    """The photograph minus its local mean, in a Gaussian window of standard deviation patch/2."""
    from scipy.ndimage import gaussian_filter

    if photograph.ndim != 2 or min(photograph.shape) < patch:
        rule = f"be grey and at least {patch} × {patch} pixels"
        checks.fail("photographs", rule, f"of shape {photograph.shape}")
    return photograph - gaussian_filter(photograph, patch / 2)


def _windows(photograph: Photograph, patch: int) -> np.ndarray:
    """(rows, columns, patch, patch) view of all patches of a photograph."""
    return np.lib.stride_tricks.sliding_window_view(photograph, (patch, patch))


def _over_all_places(
    photographs: Sequence[Photograph], patch: int
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, " d"]]:
    """Covariance and mean of all patches of all photographs, some rows of patches at a time."""
    total, products, count = np.zeros(patch**2), np.zeros((patch**2, patch**2)), 0
    for photograph in photographs:
        windows = _windows(photograph, patch)
        for first in range(0, len(windows), ROWS):
            patches = windows[first : first + ROWS].reshape(-1, patch**2)
            total += patches.sum(axis=0)
            products += patches.T @ patches
            count += len(patches)
    mean = total / count
    return products / count - np.outer(mean, mean), mean
