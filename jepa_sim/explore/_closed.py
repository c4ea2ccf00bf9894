"""The closed form for one setting, fast enough for a slider: compiled once for any values."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from jepa_sim._curve import evolve, hitting_time
from jepa_sim._objective import JEPA, MAE
from jepa_sim.explore._setting import Setting

OBJECTIVES = (JEPA(), MAE())
DECADES, COUNT = 3, 400  # of the times that are shown
PROFILE = np.linspace(0.05, 1.0, 96)  # values of ρ


def solve(setting: Setting) -> xr.Dataset:
    """Gains, critical times and plateaus of JEPA and MAE, in the layout of a sweep.

    Axes objective, time, feature. Times in `t` end at the decade above the last critical time.
    `scaled_time` is λt*, which does not depend on λ, and `profile` (objective, profile_rho) the
    same of a feature of any ρ.
    """
    numbers = (setting.lam, setting.rho, setting.scale, setting.depth, setting.predictor_depth)
    found = _solve(*(jnp.asarray(value, float) for value in (*numbers, setting.fraction)))
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
    predictor_depth: Float[Array, ""],
    fraction: Float[Array, ""],
) -> tuple[Array, ...]:
    exponents = [o.exponents(depth, predictor_depth) for o in OBJECTIVES]
    a, b = (jnp.stack(values)[:, None] for values in zip(*exponents, strict=True))  # (objective, 1)
    d, grid = len(lam), jnp.asarray(PROFILE, lam.dtype)
    lam_all = jnp.concatenate([lam, jnp.ones_like(grid)])[None, :]
    variance_all = lam_all / jnp.concatenate([rho, grid])[None, :]
    late = hitting_time(jnp.log(fraction) / depth, lam_all, variance_all, scale, depth, a, b)
    last = jnp.maximum(jnp.max(late[:, :d], axis=1), 1 / jnp.max(lam))
    end = 10 ** jnp.ceil(jnp.log10(1.2 * last))
    times = end[:, None] * jnp.logspace(-DECADES, 0, COUNT, dtype=lam.dtype)[None, :]
    log_u, _ = evolve(  # (objective, time, feature)
        times[:, :, None],
        lam[None, None, :],
        (lam / rho)[None, None, :],
        scale,
        depth,
        a[:, :, None],
        b[:, :, None],
    )
    plateau = rho[None, :] ** (depth / b)
    return times, jnp.exp(depth * log_u), late[:, :d], plateau, late[:, d:]
