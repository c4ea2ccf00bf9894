"""The closed form for one setting, fast enough for a slider: compiled once for any values."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from jepa_sim.explore._setting import Setting
from jepa_sim.model.objectives import JEPA, MAE
from jepa_sim.theory import Curve, ReducedFlow, stack_curves, take_curve

OBJECTIVES = (JEPA(), MAE())
DECADES, COUNT = 3, 400  # of the times that are shown
PROFILE = np.linspace(0.05, 1.0, 96)  # values of ρ


def solve(setting: Setting) -> xr.Dataset:
    """Gains, critical times and plateaus of JEPA and MAE, in the layout of a sweep.

    Axes objective, time, feature. Times in `t` end at the decade above the last critical time.
    `scaled_time` is λt*, which does not depend on λ, and `profile` (objective, profile_rho) the
    same of a feature of any ρ.
    """
    numbers = (setting.lam, setting.rho, setting.scale, setting.depth)
    exponents = np.array([o.exponents(setting.depth, setting.predictor_depth) for o in OBJECTIVES])
    curves = stack_curves((exponents[:, 0] - 1) / exponents[:, 1], jnp.zeros(()).dtype)
    arrays = (jnp.asarray(value, float) for value in (*numbers, setting.fraction))
    found = _solve(*arrays, jnp.asarray(exponents, float), curves)
    times, gains, late, plateau, profile = map(np.asarray, found)
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
    )


@jax.jit
def _solve(
    lam: Float[Array, " d"],
    rho: Float[Array, " d"],
    scale: Float[Array, ""],
    depth: Float[Array, ""],
    fraction: Float[Array, ""],
    exponents: Float[Array, "objective 2"],
    curves: Curve,
) -> tuple[Array, ...]:
    d, grid = len(lam), jnp.asarray(PROFILE, lam.dtype)
    lam_all = jnp.concatenate([lam, jnp.ones_like(grid)])
    variance_all = lam_all / jnp.concatenate([rho, grid])

    def one(which: Array, exponents: Array) -> tuple[Array, ...]:
        (a, b), curve = exponents, take_curve(curves, which)

        def flow(lam: Array, variance: Array) -> ReducedFlow:
            return ReducedFlow(lam, variance, scale, depth, a, b, curve)

        target = jnp.full_like(lam_all, jnp.log(fraction) / depth)
        late = flow(lam_all, variance_all).hitting_time(target)
        last = jnp.maximum(jnp.max(late[:d]), 1 / jnp.max(lam))
        end = 10 ** jnp.ceil(jnp.log10(1.2 * last))
        times = end * jnp.logspace(-DECADES, 0, COUNT, dtype=lam.dtype)
        log_u, _ = flow(lam, lam / rho).evolve(times)
        return times, jnp.exp(depth * log_u).T, late[:d], rho ** (depth / b), late[d:]

    return jax.vmap(one)(jnp.arange(len(OBJECTIVES)), exponents)
