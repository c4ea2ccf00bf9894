"""Starts: where training begins.

Most starts are chains of bases: matrices F with orthonormal columns, one for each space that a
network passes through, F_0 for the input, F_1, …, F_L for the encoder's layers, F_{L+1}, … for the
predictor's. A factor is Z_i = F_i diag(u) F_{i−1}ᵀ, with the singular values u.
"""

from jepa_sim.model.starts.aligned import Balanced as Balanced
from jepa_sim.model.starts.aligned import Misaligned as Misaligned
from jepa_sim.model.starts.aligned import Unbalanced as Unbalanced
from jepa_sim.model.starts.base import AbstractStart as AbstractStart
from jepa_sim.model.starts.bases import frame_sizes as frame_sizes
from jepa_sim.model.starts.bases import shapes as shapes
from jepa_sim.model.starts.chance import Orthogonal as Orthogonal
from jepa_sim.model.starts.chance import RandomBalanced as RandomBalanced
from jepa_sim.model.starts.chance import RandomGaussian as RandomGaussian
from jepa_sim.model.starts.effective import effective as effective
from jepa_sim.model.starts.given import Given as Given
