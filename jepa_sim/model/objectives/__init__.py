"""Objectives: what the network is to learn, how that moves its weights, and its reduced flow.

Encoder W̄ = W_L … W_1, predictor (or decoder) V̄ = V_M … V_1, and a target map T:

    JEPA   ½ E ‖V̄ W̄ x − sg[W̄ᵗ y]‖²     T = W̄ᵗ, the teacher: the encoder itself or a copy of it
    MAE    ½ E ‖V̄ W̄ x − y‖²              T = I

An objective pulls on the products W̄ and V̄; every factor Z of a product takes its share
Ż = (product of the factors left of Z)ᵀ pull (product of the factors right of Z)ᵀ.
With the residual R = T Σyx − V̄ W̄ Σxx the pulls of a prediction are V̄ᵀR on W̄ and R W̄ᵀ on V̄.

For JEPA these pulls are not the gradient of any function, since the target moves too. So each
objective states its pulls, and no code takes the gradient of a loss in the weights alone.
"""

from jepa_sim.model.objectives.base import AbstractObjective as AbstractObjective
from jepa_sim.model.objectives.base import Coefficients as Coefficients
from jepa_sim.model.objectives.base import Rest as Rest
from jepa_sim.model.objectives.maps import Factors as Factors
from jepa_sim.model.objectives.maps import Maps as Maps
from jepa_sim.model.objectives.maps import layer_pulls as layer_pulls
from jepa_sim.model.objectives.maps import product as product
from jepa_sim.model.objectives.prediction import JEPA as JEPA
from jepa_sim.model.objectives.prediction import MAE as MAE
from jepa_sim.model.objectives.prediction import AbstractPrediction as AbstractPrediction
from jepa_sim.model.objectives.switched import SwitchedObjective as SwitchedObjective
from jepa_sim.model.objectives.whitening import BarlowTwins as BarlowTwins
from jepa_sim.model.objectives.whitening import WhitenedJoint as WhitenedJoint
