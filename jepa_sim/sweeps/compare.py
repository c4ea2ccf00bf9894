"""How far the critical times of two sweeps are from each other: an estimate of their errors."""

import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import checked

OFF = 0.05  # relative; a time that is off by more is counted in the remarks
TIMES = ["critical_time", "learned_time"]


@checked
def compare_times(found: xr.Dataset, judge: xr.Dataset) -> xr.Dataset:
    """|t/t' − 1| of the critical times t of a sweep and those t' of a second one, the judge.

    found, judge: results of `sweep` or `open_run`. Runs are the same where their coordinates are;
    those that only one of both has are left out. So the judge may be of some of the runs only.

    The result has `critical_time_error` for first times and `learned_time_error` for last ones,
    over the axes of `critical_time`: 0 where neither run learns the feature, inf where only one
    does, NaN where a time is not known. Its attribute `remarks` counts those above 5 %.

    The judge may be another solver, such as `GradientFlow` for `SleepingFlow`, or the same one with
    a smaller tolerance. Then the errors are estimates of those of `found`.

    >>> moments = js.Moments.from_features(lam=[1.0, 2.0], rho=[0.9, 0.3])
    >>> def sweep(solver, seeds):
    ...     random = {"seed": seeds, "start": js.RandomGaussian, "scale": [1e-2]}
    ...     grid = js.Grid(spectrum=moments, objective=[js.JEPA()], depth=[1], **random)
    ...     return js.sweep(grid, solver, progress=False)
    >>> found, judge = sweep(js.SleepingFlow(), range(4)), sweep(js.GradientFlow(), range(2))
    >>> js.compare_times(found, judge).remarks
    'Of 8 times 0 first ones and 0 last ones are off by more than 5 %.'

    Raises ValueError where the two have different axes, or no run in common.
    """
    for name, dataset in (("found", found), ("judge", judge)):
        missing = [each for each in TIMES if each not in dataset.data_vars]
        if missing:
            checks.fail(name, "be the result of a sweep", f"without {', '.join(missing)}")
    axes, others = found.critical_time.dims, judge.critical_time.dims
    if set(axes) != set(others):
        checks.fail(
            "judge", f"have the axes {', '.join(map(str, axes))}", ", ".join(map(str, others))
        )
    ours, theirs = xr.align(found[TIMES], judge[TIMES], join="inner")
    if 0 in ours.critical_time.shape:
        checks.fail("judge", "have runs of `found`", "without one in common")
    errors = {
        f"{name}_error": relative_error(ours[name], theirs[name]).assign_attrs(
            long_name=f"relative error of {name}", units="1"
        )
        for name in TIMES
    }
    off = [int((error > OFF).sum()) for error in errors.values()]
    size = ours.critical_time.size
    remark = (
        f"Of {size:,} times {off[0]:,} first ones and {off[1]:,} last ones are off by more than "
        f"{100 * OFF:g} %."
    )
    return xr.Dataset(errors, attrs={"remarks": remark})


def relative_error(time: xr.DataArray, true: xr.DataArray) -> xr.DataArray:
    """|t/t' − 1|; 0 where both are inf or 0, inf where only one is, NaN where one is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = abs(time / true - 1)
    unknown = np.isnan(time) | np.isnan(true)
    apart = np.isinf(time) != np.isinf(true)
    return xr.where(unknown, np.nan, xr.where(apart, np.inf, xr.where(time == true, 0.0, error)))
