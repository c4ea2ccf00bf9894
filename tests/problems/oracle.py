"""Flows of deep linear networks from their losses alone, by numpy and scipy.

Nothing here is taken from the package. A loss is written as it is defined, as a mean over data; its
gradient is found by complex steps, f(z + ih) = f(z) + ih f′(z); and scipy integrates

    Ż = −rate · ∂loss/∂Z − decay · Z

of all factors Z. Only the start is given. The README beside this file says more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import scipy.integrate
import scipy.linalg

STEP = 1e-30  # the complex step: its square is below rounding, so the gradient is exact

Factors = list[np.ndarray]  # (…, rows, columns), the first applied first


class Data(NamedTuple):
    """Pairs (x, y) as columns, with E[x xᵀ] = Σ x xᵀ and so on: a data set with given moments."""

    x: np.ndarray
    y: np.ndarray


def data(xx: np.ndarray, yx: np.ndarray, yy: np.ndarray | None = None) -> Data:
    """Columns of a square root of the moments of (x, y). Without yy, y is a function of x."""
    if yy is None:
        yy = yx @ np.linalg.inv(xx) @ yx.T
    size, vectors = np.linalg.eigh(np.block([[xx, yx.T], [yx, yy]]))
    root = vectors * np.sqrt(np.maximum(size, 0))
    return Data(root[: len(xx)], root[len(xx) :])


def chain(factors: Factors) -> np.ndarray:
    """Z_N … Z_1."""
    return reduce(lambda below, z: z @ below, factors)


def square(z: np.ndarray) -> np.ndarray:
    """‖z‖², without complex conjugation, so that it can be differentiated by complex steps."""
    return (z * z).sum((-2, -1))


def gap(covariance: np.ndarray) -> np.ndarray:
    """‖covariance − I‖²."""
    return square(covariance - np.eye(covariance.shape[-1]))


# Losses of encoder, predictor and the target's encoder, all as factors

Loss = Callable[[Factors, Factors, Factors, Data], np.ndarray]


def jepa(encoder: Factors, predictor: Factors, teacher: Factors, data: Data) -> np.ndarray:
    """½ E ‖V̄ W̄ x − W̄ᵗ y‖²."""
    return square(chain([data.x, *encoder, *predictor]) - chain([data.y, *teacher])) / 2


def mae(encoder: Factors, predictor: Factors, teacher: Factors, data: Data) -> np.ndarray:
    """½ E ‖V̄ W̄ x − y‖²."""
    return square(chain([data.x, *encoder, *predictor]) - data.y) / 2


def barlow_twins(encoder: Factors, predictor: Factors, teacher: Factors, data: Data) -> np.ndarray:
    """‖W̄ Γ W̄ᵀ − I‖², Γ = E (x yᵀ + y xᵀ)/2."""
    zx, zy = chain([data.x, *encoder]), chain([data.y, *encoder])
    return gap((zx @ zy.swapaxes(-2, -1) + zy @ zx.swapaxes(-2, -1)) / 2)


def whitened_joint(penalty: float) -> Loss:
    """½ E ‖W̄ x − W̄ y‖² + (β/4) ‖E W̄ x (W̄ x)ᵀ − I‖²."""

    def loss(encoder: Factors, predictor: Factors, teacher: Factors, data: Data) -> np.ndarray:
        zx, zy = chain([data.x, *encoder]), chain([data.y, *encoder])
        return square(zx - zy) / 2 + penalty / 4 * gap(zx @ zx.swapaxes(-2, -1))

    return loss


# Predictors that are not learned, from encoder and teacher

Rule = Callable[[Factors, Factors, Data], np.ndarray]


def direct_pred(boost: float) -> Rule:
    """U diag(√s + boost · max s) Uᵀ, with E z zᵀ = U diag(s) Uᵀ of the latent z = W̄ x."""

    def rule(encoder: Factors, teacher: Factors, data: Data) -> np.ndarray:
        u, root, _ = np.linalg.svd(chain([data.x, *encoder]), full_matrices=False)
        return (u * (root + boost * root.max() ** 2)) @ u.T

    return rule


def best_predictor(encoder: Factors, teacher: Factors, data: Data) -> np.ndarray:
    """argmin over V of E ‖V W̄ x − W̄ᵗ y‖², as a problem of least squares over the data."""
    latent, target = chain([data.x, *encoder]), chain([data.y, *teacher])
    return np.linalg.lstsq(latent.T, target.T, rcond=None)[0].T


def given(matrix: np.ndarray) -> Rule:
    """One matrix at all times."""
    return lambda encoder, teacher, data: matrix


@dataclass(frozen=True)
class System:
    """The moving factors and their rules.

    moves_target: whether the loss is differentiated through the target's encoder too; else that is
    held.  time_constant: τ of the copy of the encoder that encodes the target; None where the
    encoder itself does.  rates, decays: of encoder and predictor.  rule: sets the predictor at
    every time; None where it is learned.
    """

    data: Data
    loss: Loss
    moves_target: bool = False
    time_constant: float | None = None
    rates: tuple[float, float] = (1.0, 1.0)
    decays: tuple[float, float] = (0.0, 0.0)
    rule: Rule | None = None


class Network(NamedTuple):
    """Factors of encoder, predictor and the copy that follows the encoder (empty without one).

    In a solution they have a leading axis over times.
    """

    encoder: Factors
    predictor: Factors
    copy: Factors

    @property
    def teacher(self) -> Factors:
        return self.copy or self.encoder


def begin(system: System, encoder: Factors, predictor: Factors) -> Network:
    """The network at time 0."""
    return Network(encoder, predictor, [] if system.time_constant is None else encoder)


def solve(system: System, start: Network, times: np.ndarray, method: str = "DOP853") -> Network:
    """The network at the given times; method: of scipy, "LSODA" for a long run."""

    def move(t: float, flat: np.ndarray) -> np.ndarray:
        return pack(velocity(system, unpack(flat, start)))

    times = np.asarray(times, float)
    found = scipy.integrate.solve_ivp(
        move,
        (0, times[-1]),
        pack(start),
        method=method,
        rtol=1e-10,
        atol=1e-14,
        t_eval=times,
    )
    assert found.success, found.message
    return settle_all(system, unpack(found.y.T, start))


def velocity(system: System, network: Network) -> Network:
    """dZ/dt of all factors."""
    network = settle(system, network)
    depth = len(network.encoder)

    def loss(factors: Factors) -> np.ndarray:
        encoder, predictor = factors[:depth], factors[depth:]
        teacher = encoder if system.moves_target else network.teacher
        return system.loss(encoder, predictor, teacher, system.data)

    slopes = gradient(loss, [*network.encoder, *network.predictor])

    def speed(group: int, factors: Factors, slopes: Factors) -> Factors:
        rate, decay = system.rates[group], system.decays[group]
        return [-rate * slope - decay * z for z, slope in zip(factors, slopes, strict=True)]

    encoder = speed(0, network.encoder, slopes[:depth])
    predictor = speed(1, network.predictor, slopes[depth:])
    if system.rule is not None:
        predictor = [np.zeros_like(z) for z in predictor]
    pairs = zip(network.encoder, network.copy, strict=True) if network.copy else ()
    return Network(encoder, predictor, [(w - copy) / system.time_constant for w, copy in pairs])


def gradient(function: Callable[[Factors], np.ndarray], factors: Factors) -> Factors:
    """∂function/∂Z of every factor, all entries at once: one copy of the factors for each."""
    flat = np.concatenate([z.ravel() for z in factors])
    copies = flat + 1j * STEP * np.eye(flat.size)
    return split(function(split(copies, factors)).imag / STEP, factors)


def settle(system: System, network: Network) -> Network:
    """The factors with the predictor set by the rule, where there is one."""
    if system.rule is None:
        return network
    predictor = system.rule(network.encoder, network.teacher, system.data)
    return network._replace(predictor=[predictor])


def settle_all(system: System, networks: Network) -> Network:
    """`settle` at every time."""
    if system.rule is None:
        return networks
    count = len(networks.encoder[0])
    each = [settle(system, Network(*([z[i] for z in g] for g in networks))) for i in range(count)]
    return networks._replace(predictor=[np.stack([network.predictor[0] for network in each])])


def losses(system: System, networks: Network) -> np.ndarray:
    """The loss at every time."""
    return system.loss(networks.encoder, networks.predictor, networks.teacher, system.data)


def gains(networks: Network, xx: np.ndarray, yx: np.ndarray) -> np.ndarray:
    """‖W̄ p‖ of every feature's unit pattern p ∝ Σxx v, by falling ρ, at every time.

    Σyx v = ρ Σxx v (its symmetric part), or Σxy Σyx v = s² Σxx v where y has another dimension.
    """
    same = yx.shape[0] == yx.shape[1]
    _, vectors = scipy.linalg.eigh((yx + yx.T) / 2 if same else yx.T @ yx, xx)
    patterns = xx @ vectors[:, ::-1]
    patterns /= np.linalg.norm(patterns, axis=0)
    return np.linalg.norm(chain(networks.encoder) @ patterns, axis=-2)


def pack(network: Network) -> np.ndarray:
    """All entries in one row."""
    return np.concatenate([z.ravel() for group in network for z in group])


def unpack(flat: np.ndarray, like: Network) -> Network:
    """Back from rows to factors of these shapes."""
    groups = [len(group) for group in like]
    factors = split(flat, [z for group in like for z in group])
    ends = np.cumsum(groups)
    return Network(*(factors[end - n : end] for n, end in zip(groups, ends, strict=True)))


def split(flat: np.ndarray, like: Factors) -> Factors:
    """(…, n) entries as factors (…, rows, columns) of these shapes."""
    ends = np.cumsum([z.size for z in like])
    parts = [flat[..., end - z.size : end] for z, end in zip(like, ends, strict=True)]
    return [part.reshape(*flat.shape[:-1], *z.shape) for part, z in zip(parts, like, strict=True)]
