"""The closed form for one setting, fast enough for a slider: compiled once for any values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from jepa_sim.data.moments import Moments
from jepa_sim.explore._setting import Setting
from jepa_sim.model.network import DeepLinear
from jepa_sim.model.objectives import JEPA, MAE, SwitchedObjective
from jepa_sim.model.problem import Problem
from jepa_sim.model.starts import Balanced
from jepa_sim.results.critical import critical_times, times_and_trust
from jepa_sim.theory import Curve, curve_parameter, stack_curves, take_curve

OBJECTIVES = (JEPA(), MAE())
DECADES, COUNT = 3, 400  # of the times that are shown
PROFILE = np.linspace(0.05, 1.0, 96)  # values of ρ


def solve(setting: Setting) -> xr.Dataset:
    """Gains, critical times and plateaus of JEPA and MAE, in the layout of a sweep.

    Axes objective, time, feature. Times in `t` end at the decade above the last critical time.
    `scaled_time` is λt*, which does not depend on λ, and `profile` (objective, profile_rho) the
    same of a feature of any ρ. The attribute `remark` has a sentence for each objective whose
    theory does not hold (see `jepa_sim.trust`).
    """
    depths = (setting.depth, setting.predictor_depth)
    # the depths are known here: outside of `jit` numpy makes the tables, and keeps them
    c = np.array([curve_parameter(*o.exponents(*depths)) for o in OBJECTIVES])
    curves = stack_curves(c, jnp.zeros(()).dtype)
    numbers = (setting.lam, setting.rho, setting.scale, *depths, setting.fraction)
    found = _solve(*(jnp.asarray(value, float) for value in numbers), curves)
    *arrays, trust = found
    times, gains, late, plateau, profile = map(np.asarray, arrays)
    each = [jax.tree.map(lambda x, i=i: x[i], trust) for i in range(len(OBJECTIVES))]
    said = [f"{o.name}: {t}" for o, t in zip(OBJECTIVES, each, strict=True) if not t.holds]
    return xr.Dataset(
        {
            "t": (("objective", "time"), times),
            "features": (("objective", "time", "feature"), gains),
            "critical_time": (("objective", "feature"), late),
            "scaled_time": (("objective", "feature"), late * np.asarray(setting.lam)),
            "plateau": (("objective", "feature"), plateau),
            "lam": ("feature", np.asarray(setting.lam)),
            "rho": ("feature", np.asarray(setting.rho)),
            "profile": (("objective", "profile_rho"), profile),
        },
        {"objective": [o.name for o in OBJECTIVES], "profile_rho": PROFILE},
        {"remark": " ".join(said)},
    )


@jax.jit
def _solve(
    lam: Float[Array, " d"],
    rho: Float[Array, " d"],
    scale: Float[Array, ""],
    depth: Float[Array, ""],
    predictor_depth: Float[Array, ""],
    fraction: Float[Array, ""],
    curves: Curve,
) -> tuple[Any, ...]:
    network, start = DeepLinear(depth, predictor_depth), Balanced(scale)
    moments = Moments.from_features(lam, rho)
    grid = jnp.asarray(PROFILE, lam.dtype)
    profile = Moments.from_features(jnp.ones_like(grid), grid)

    def one(which: Array) -> tuple[Any, ...]:
        objective, curve = SwitchedObjective(OBJECTIVES, which), take_curve(curves, which)
        problem, of_profile = (
            Problem(m, objective, network, start, curve=curve) for m in (moments, profile)
        )
        late, trust = times_and_trust(problem, fraction, None, "explore")
        # 1/λ where all features start above the fraction, so that late is 0
        last = jnp.maximum(jnp.max(late), 1 / jnp.max(lam))
        end = 10 ** jnp.ceil(jnp.log10(1.2 * last))
        times = end * jnp.logspace(-DECADES, 0, COUNT, dtype=lam.dtype)
        log_u, _ = problem.flow.evolve(times)
        scaled = critical_times(of_profile, fraction=fraction)
        return times, jnp.exp(depth * log_u).T, late, problem.plateaus, scaled, trust

    return jax.vmap(one)(jnp.arange(len(OBJECTIVES)))
