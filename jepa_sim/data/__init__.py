"""Data models with known moments, and real data sets."""

from jepa_sim.data.base import AbstractSource, AbstractViews, Gaussian
from jepa_sim.data.images import Digits, Patches, read_photograph, sample_photographs
from jepa_sim.data.latent import Dynamic, Static
from jepa_sim.data.masking import Hidden, Masked, Remasked, Whole, grid_covariance
from jepa_sim.data.masks import (
    AbstractMask,
    BlockFrames,
    BlockMask,
    PixelMask,
    RandomFrames,
    Suffix,
)
from jepa_sim.data.series import Windows, elnino, sunspots
from jepa_sim.data.spectra import LowRank, non_commuting, power_law, random_basis
from jepa_sim.data.temporal import Temporal
from jepa_sim.data.views import Lit, Noisy, Shifted, flat_patterns

__all__ = [
    "AbstractMask",
    "AbstractSource",
    "AbstractViews",
    "BlockFrames",
    "BlockMask",
    "Digits",
    "Dynamic",
    "Gaussian",
    "Hidden",
    "Lit",
    "LowRank",
    "Masked",
    "Noisy",
    "Patches",
    "PixelMask",
    "RandomFrames",
    "Remasked",
    "Shifted",
    "Static",
    "Suffix",
    "Temporal",
    "Whole",
    "Windows",
    "elnino",
    "flat_patterns",
    "grid_covariance",
    "non_commuting",
    "power_law",
    "random_basis",
    "read_photograph",
    "sample_photographs",
    "sunspots",
]
