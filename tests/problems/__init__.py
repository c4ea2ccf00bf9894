"""Moments with known answers; see the README beside this file."""

import numpy as np

import jepa_sim as js

LAM = np.array([1.0, 0.8])
RHO = np.array([0.9, 0.5])
OBJECTIVES = (js.JEPA(), js.MAE())


def two_features() -> js.Moments:
    return js.Moments.from_features(LAM, RHO)


def plateau(objective: js.AbstractObjective, depth: float, predictor_depth: float) -> np.ndarray:
    """Written out for each objective, independently of the package's exponents."""
    power = {
        "jepa": depth / predictor_depth,
        "mae": depth / (depth + predictor_depth),
    }[objective.name]
    return RHO**power


def non_commuting(d: int = 6, seed: int = 0) -> js.Moments:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, d, d))
    return js.Moments(a @ a.T / d + np.eye(d) / 2, b @ b.T / d + np.eye(d) / 5)


def tilted(seed: int, d: int = 6) -> js.Moments:
    """Σxx and Σyx of moderate spectra and independent eigenvectors; ρ from 0.3 to 1.2."""
    rng = np.random.default_rng(seed)
    (u, _), (v, _) = np.linalg.qr(rng.normal(size=(d, d))), np.linalg.qr(rng.normal(size=(d, d)))
    return js.Moments((u * rng.uniform(0.8, 2, d)) @ u.T, (v * rng.uniform(0.6, 1, d)) @ v.T)
