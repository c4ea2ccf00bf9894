"""Where a feature can come to rest, with and without weight decay, and how much decay it survives.

Decay of both sides. From an aligned start all encoder layers of a feature share a singular value u
and all predictor layers v = r u. With learning rates α and decays η of encoder (w) and predictor
(v) a state at rest has r² = η_w α_v / (η_v α_w). One equation is left, with (a, b) and (λ, σ²) of
the reduced flow:

    c u^{a−1} (λ − s u^b) = η_w        c = α_w r^M,   s = σ² r^M   (r = 1 without predictor)

Its left side rises from 0 to a maximum, the threshold, and falls to 0 at the plateau. Below the
threshold it has two roots: the larger is stable, the smaller is the edge of the basin of 0. For
JEPA with M = 1 and equal rates and decays the threshold is σ² ρ^{2L} (2L−1)^{2L−1}/(2L)^{2L}; at
L = 1 it is that of Tian, Chen & Ganguli (2021). A moving-average teacher changes none of this.

Different decays. The flow of a deep JEPA is no gradient flow. It may spiral away from the larger
root too, if the predictor's decay is too small beside the encoder's. With M = 1 and stop-gradient
it does so near the threshold where η_v/η_w < (L−1)/L.

Decay of one side. If the encoder alone decays, nothing holds it once the predictor is found, and it
falls to 0, the only state at rest. If the predictor alone decays, the encoder makes up for what the
predictor loses and grows without bound, so there is no state at rest; at L = 1, M = 1 it grows as
ρ √(2ηt) for JEPA, and as (4ηρ²t)^{1/4} for MAE.

No decay. z²/α changes at the same pace in all layers of a feature, so that the differences
between layers are kept from the start (`settled`).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jepa_sim.model.training import Training
from jepa_sim.numerics.display.sheet import Sheet, column
from jepa_sim.numerics.display.shows import Shows, require_single

BISECTIONS = 60  # more than float64 has bits, so that a bracket shrinks to rounding
SMALL_START = 0.02  # a start whose squares are below this share of the plateau's is as good as 0


class Layers(eqx.Module):
    """The layers of every feature at time 0. The flow without decay keeps their differences.

    encoder, predictor: (layers, d) squares of singular values; a single row stands for all layers.
    sign: (d,) −1 where the predictor sends a feature away from its target, else 1.
    is_known: (d,) whether the start is aligned with the feature, so that these numbers are all that
    matters to it.
    largest: (d,) the largest square of any singular value that could reach the feature.
    """

    encoder: Float[Array, "l d"]
    predictor: Float[Array, "m d"]
    sign: Float[Array, " d"]
    is_known: Bool[Array, " d"]
    largest: Float[Array, " d"]


def level(encoder: Float[Array, " d"], predictor: Float[Array, " d"]) -> Layers:
    """The layers of an aligned start: one square for all of the encoder, one for the predictor."""
    ones = jnp.ones_like(encoder)
    largest = jnp.maximum(encoder, predictor)
    return Layers(encoder[None, :], predictor[None, :], ones, ones > 0, largest)


class Equilibria(Shows, eqx.Module):
    """States at rest of every feature, as encoder gains w̄. `print` shows them in a table.

    threshold: (d,) the encoder's weight decay η_w at and above which only 0 is at rest; 0 where
    λ ≤ 0. The ratio of the two decays and the rates stay as they are: 0 where the encoder alone
    decays, inf where the predictor alone does.
    stable: (d,) the gain in which a learned feature settles; 0 where it cannot be learned, inf
    where it grows without bound, NaN where it is not known, or would spiral away from there.
    edge: (d,) the gain that a start must exceed, for the feature not to collapse to 0; inf where it
    cannot be learned, 0 where it is learned from any start, NaN where `stable` is. For starts with
    v = r u; it does not depend on the teacher, whose copy starts as the encoder does.
    """

    threshold: Float[Array, " d"]
    stable: Float[Array, " d"]
    edge: Float[Array, " d"]

    def _sheet(self) -> Sheet:
        require_single(*((values, 1) for values in vars(self).values()))
        columns = {
            "feature": list(range(self.stable.size)),
            "survives weight decay below": column(self.threshold),
            "settles at w̄": column(self.stable),
            "from starts above w̄": column(self.edge),
        }
        return Sheet("Equilibria", columns=columns)


# Compiled: else every call would trace its loops again.
@eqx.filter_jit
def equilibria(
    lam: Float[Array, " d"],
    variance: Float[Array, " d"],
    exponents: tuple[Float[Array, ""], Float[Array, ""]],
    depth: Float[Array, ""],
    predictor_depth: Float[Array, ""] | None,
    training: Training,
    time_constant: Float[Array, ""] | None,
) -> Equilibria:
    """States at rest.

    predictor_depth: M, None for an objective without predictor.  time_constant: τ of a
    moving-average teacher, None for other teachers.
    """
    (a, b), dtype = exponents, lam.dtype
    q = a - 1
    encoder_rate, predictor_rate, decay, other = training.numbers(dtype)
    has_predictor, both = predictor_depth is not None, (decay > 0) & (other > 0)
    encoder_alone = has_predictor & (decay > 0) & ~both
    predictor_alone = has_predictor & (other > 0) & ~both
    # r; √(α_v/α_w) where a side does not decay
    ratio = jnp.where(both, decay, 1) / jnp.where(both, other, 1) * predictor_rate / encoder_rate
    ratio = jnp.sqrt(ratio)
    power = jnp.ones((), dtype) if predictor_depth is None else ratio**predictor_depth
    c, s = encoder_rate * power, variance * power

    can_learn = lam > 0
    lam = jnp.where(can_learn, lam, 1)  # powers of λ ≤ 0 have no derivatives; 0 is put in below
    plateau = (lam / s) ** (1 / b)
    top = plateau * (q / (q + b)) ** (1 / b)
    threshold = c * lam * b / (q + b) * top**q
    threshold = jnp.where(encoder_alone, 0, jnp.where(predictor_alone, jnp.inf, threshold))
    survives = can_learn & (decay < threshold) & ~predictor_alone

    def net(u: Float[Array, " d"]) -> Float[Array, " d"]:
        return c * u**q * (lam - s * u**b) - jnp.where(survives, decay, 0)

    def root(low: Float[Array, " d"], high: Float[Array, " d"], rising: bool) -> Array:
        def halve(_: Array, bracket: tuple) -> tuple:
            low, high = bracket
            half = jnp.sqrt(low * high)  # in ln u, since an edge can be very small
            above = (net(half) >= 0) == rising
            return jnp.where(above, low, half), jnp.where(above, half, high)

        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (low, high))
        return _polished(net, jnp.sqrt(low * high))

    # at q = 0 the top is at u = 0, from where a geometric mean would not move
    stable = root(jnp.where(top > 0, top, plateau * jnp.finfo(dtype).eps), plateau, rising=False)
    # the edge lies above (η/(cλ))^{1/q}, where λ alone balances the decay; there is none at q = 0
    has_edge = survives & (decay > 0) & (q > 0)
    least = jnp.where(has_edge, decay / (c * lam), 1) ** (1 / jnp.where(q > 0, q, 1))
    edge = root(jnp.where(has_edge, least, top), top, rising=True)
    edge = jnp.where(has_edge, edge, 0)
    unknown = jnp.zeros_like(survives)
    if predictor_depth is not None:
        pull = jnp.where(survives, c * s * stable ** (q + b), 0)
        tau = jnp.zeros((), dtype) if time_constant is None else time_constant.astype(dtype)
        pace = predictor_rate / encoder_rate
        powers = (depth, predictor_depth, q + 2 - depth - predictor_depth)
        unknown = survives & ~_attracts(decay, pull, pace / ratio**2, powers, tau)
    stable = jnp.where(unknown, jnp.nan, jnp.where(survives, stable, 0) ** depth)
    edge = jnp.where(unknown, jnp.nan, jnp.where(survives, edge**depth, jnp.inf))
    if predictor_depth is not None:
        grows = can_learn & predictor_alone
        stable = jnp.where(grows, jnp.inf, stable)
        # with several predictor layers a small start is lost before the encoder has grown
        from_anywhere = jnp.where(predictor_depth <= 1, 0.0, jnp.nan)
        edge = jnp.where(grows, from_anywhere, edge)
    return Equilibria(jnp.where(can_learn, threshold, 0), stable, edge)


@eqx.filter_jit
def settled(
    lam: Float[Array, " d"],
    variance: Float[Array, " d"],
    exponents: tuple[Float[Array, ""], Float[Array, ""]],
    depths: tuple[Float[Array, ""], Float[Array, ""]],
    training: Training,
    start: Layers,
    has_copy: bool,
) -> Float[Array, " d"]:
    """Encoder gains at rest without decay. The flow keeps differences between layers of the start.

    With one x for all layers of a feature, z² = α (x + z(0)²/α), the residual vanishes:
    w̄^t v̄ = ρ, with t = 0 for JEPA and 1 for MAE. x ≥ −min z(0)²/α: there the smallest layer is 0.

    A start of the wrong sign reaches that point first. If the smallest layer is in the predictor,
    it changes its sign there, and the feature is learned. If it is in the encoder, a JEPA loses the
    feature; an MAE loses it if two layers are the smallest. So for L = M = 1, with ρ < 0 or a
    predictor that starts negative: w̄ = √(ρ² + κ) if κ = w² − v² > 0, else 0.

    depths: (L, M).  has_copy: whether there is a teacher's copy, which may carry the feature past
    that point; what follows is then not known (NaN). The result is also NaN for a start that is
    neither aligned nor small, and where two layers of the predictor reach 0 together.
    """
    (_, b), (depth, predictor_depth) = exponents, depths
    target = jnp.abs(lam) / variance
    encoder_rate, predictor_rate, *_ = training.numbers(lam.dtype)
    aligned = start.is_known[None, :]
    w = jnp.where(aligned, start.encoder / encoder_rate, 0)
    v = jnp.where(aligned, start.predictor / predictor_rate, 0)
    least_w, least_v = jnp.min(w, axis=0), jnp.min(v, axis=0)
    least = jnp.minimum(least_w, least_v)
    # how many layers a row stands for
    in_encoder, in_predictor = depth / w.shape[0], predictor_depth / v.shape[0]
    power = (b - predictor_depth) / depth  # t of w̄^t v̄ = ρ

    def gains(x: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """(w̄, v̄) where the smallest layer has z²/α = x."""
        w_squared = encoder_rate * (x[None, :] + (w - least[None, :]))
        v_squared = predictor_rate * (x[None, :] + (v - least[None, :]))
        w_bar = jnp.prod(w_squared, axis=0) ** (in_encoder / 2)
        return w_bar, jnp.prod(v_squared, axis=0) ** (in_predictor / 2)

    def excess(x: Float[Array, " d"]) -> Float[Array, " d"]:
        w_bar, v_bar = gains(x)
        return w_bar**power * v_bar - target

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        half = (low + high) / 2
        above = excess(half) > 0
        return jnp.where(above, low, half), jnp.where(above, half, high)

    # the other layers are larger than the smallest: x is at most what it is when all are alike
    alone = jnp.maximum(target ** (2 / b), target ** (2 / predictor_depth))
    widest = (1 + alone) * (1 + 1 / encoder_rate + 1 / predictor_rate)
    _, x = jax.lax.fori_loop(0, 2 * BISECTIONS, halve, (jnp.zeros_like(widest), widest))
    found, _ = gains(_polished(excess, x))

    is_jepa = power < 0.5  # t = 0; it is 1 for MAE
    turned = start.sign * jnp.sign(lam) < 0
    smallest = in_encoder * jnp.sum(jnp.where(w == least[None, :], 1.0, 0.0), axis=0)
    smallest = smallest + in_predictor * jnp.sum(jnp.where(v == least[None, :], 1.0, 0.0), axis=0)
    passes = jnp.where(is_jepa, least_v < least_w, smallest == 1)
    exceeded = excess(jnp.zeros_like(x)) > 0  # the encoder is 0 before the residual is
    lost = jnp.where(turned, ~passes, exceeded)
    found = jnp.where((lam == 0) | lost, 0, found)
    # two predictor layers reach 0 together, and the encoder is left as it is
    stuck = turned & (least_v < least_w) & (smallest > 1)
    small = start.largest < SMALL_START * target ** (2 / b)
    unknown = stuck | (turned & lost & has_copy) | ~(start.is_known | small)
    return jnp.where(unknown & (lam != 0), jnp.nan, found)


def _polished(
    function: Callable[[Float[Array, " d"]], Float[Array, " d"]], root: Float[Array, " d"]
) -> Float[Array, " d"]:
    """A root after one step of Newton's method, which also gives the root its derivatives.

    Bisection alone would give wrong derivatives, since comparisons have none.
    """
    root = jax.lax.stop_gradient(root)
    _, slope = jax.jvp(function, (root,), (jnp.ones_like(root),))
    slope = jnp.asarray(jax.lax.stop_gradient(slope))
    return root - jnp.where(slope == 0, 0, function(root) / jnp.where(slope == 0, 1, slope))


def _attracts(
    decay: Float[Array, ""],
    pull: Float[Array, " d"],
    pace: Float[Array, ""],
    powers: tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]],
    tau: Float[Array, ""],
) -> Bool[Array, " d"]:
    """Whether the larger root attracts: Routh's criterion in ln u, ln v and the teacher's ln ξ.

    u̇ = α_w u^{L−1} v^M (λ ξ^t − σ² u^L v^M) − η_w u, v̇ alike, τ ξ̇ = u − ξ, with t = L for JEPA
    and 0 for MAE. decay: η_w.  pull: α_w u^{L−2} v^M σ² u^L v^M.  pace: η_v/η_w.
    powers: (L, M, t).
    """
    depth, predictor_depth, target = powers
    ww, vw = (depth - 2) * decay - depth * pull, predictor_depth * (decay - pull)
    wv, vv = depth * (decay - pull), (predictor_depth - 2) * decay - predictor_depth * pull
    teacher = target * (decay + pull)
    held = pace * (ww * vv - vw * wv)  # the determinant with the teacher held fixed
    free = held + pace * teacher * (vv - vw)
    first, second = 1 - tau * (ww + pace * vv), tau * held - (ww + pace * vv + teacher)
    return (first > 0) & (second > 0) & (first * second > tau * free)
