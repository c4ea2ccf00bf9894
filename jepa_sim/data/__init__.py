"""Data models with known moments, and real data sets."""

import inspect

from jepa_sim.data.base import AbstractSource as AbstractSource
from jepa_sim.data.base import AbstractViews as AbstractViews
from jepa_sim.data.base import Gaussian as Gaussian
from jepa_sim.data.controlled import Controlled as Controlled
from jepa_sim.data.images import Digits as Digits
from jepa_sim.data.images import Patches as Patches
from jepa_sim.data.images import read_photograph as read_photograph
from jepa_sim.data.images import sample_photographs as sample_photographs
from jepa_sim.data.latent import Dynamic as Dynamic
from jepa_sim.data.latent import Static as Static
from jepa_sim.data.masking import Hidden as Hidden
from jepa_sim.data.masking import Masked as Masked
from jepa_sim.data.masking import Remasked as Remasked
from jepa_sim.data.masking import Whole as Whole
from jepa_sim.data.masking import grid_covariance as grid_covariance
from jepa_sim.data.masks import AbstractMask as AbstractMask
from jepa_sim.data.masks import BlockFrames as BlockFrames
from jepa_sim.data.masks import BlockMask as BlockMask
from jepa_sim.data.masks import PixelMask as PixelMask
from jepa_sim.data.masks import RandomFrames as RandomFrames
from jepa_sim.data.masks import Suffix as Suffix
from jepa_sim.data.oscillator import Oscillator as Oscillator
from jepa_sim.data.series import Windows as Windows
from jepa_sim.data.series import elnino as elnino
from jepa_sim.data.series import sunspots as sunspots
from jepa_sim.data.spectra import LowRank as LowRank
from jepa_sim.data.spectra import non_commuting as non_commuting
from jepa_sim.data.spectra import power_law as power_law
from jepa_sim.data.spectra import random_basis as random_basis
from jepa_sim.data.temporal import Temporal as Temporal
from jepa_sim.data.uncertainty import StandardErrors as StandardErrors
from jepa_sim.data.uncertainty import standard_errors as standard_errors
from jepa_sim.data.views import Lit as Lit
from jepa_sim.data.views import Noisy as Noisy
from jepa_sim.data.views import Shifted as Shifted
from jepa_sim.data.views import flat_patterns as flat_patterns

__all__ = sorted(  # pyright: ignore[reportUnsupportedDunderAll]
    name for name, thing in globals().items() if inspect.isclass(thing) or inspect.isfunction(thing)
)
