import functools

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import xarray as xr

import jepa_sim as js
from tests.problems import OBJECTIVES, two_features

OTHER = js.Moments.from_features([0.5, 0.7], [0.4, 0.8])


def grid(**changes):
    axes = {
        "spectrum": [two_features(), OTHER],
        "objective": OBJECTIVES,
        "depth": [1, 2],
        "predictor_depth": [1, 2],
        "scale": [0.1, 0.05],
    }
    return js.Grid(**(axes | changes))


def sweep(grid, solver, **options):
    options = {"times": js.CriticalGrid(count=10), "progress": False} | options
    return js.sweep(grid, solver, **options)


@pytest.fixture(scope="module")
def runs():
    return sweep(grid(), js.Modes())


@pytest.mark.slow
def test_every_lane_is_the_simulation_of_its_labels(runs):
    assert dict(runs.features.sizes) == {
        "objective": 2,
        "depth": 2,
        "predictor_depth": 2,
        "scale": 2,
        "seed": 1,
        "spectrum": 2,
        "time": 10,
        "feature": 2,
    }
    for objective in OBJECTIVES:
        for depth, predictor_depth, scale, spectrum in [(2, 1, 0.05, 1), (1, 2, 0.1, 0)]:
            moments = (two_features(), OTHER)[spectrum]
            network = js.DeepLinear(depth, predictor_depth)
            problem = js.Problem(moments, objective, network, js.Balanced(scale))
            lane = runs.sel(
                objective=objective.name,
                depth=depth,
                predictor_depth=predictor_depth,
                scale=scale,
                spectrum=spectrum,
                seed=0,
            )
            run = js.simulate(problem, lane.t.values, js.Modes())
            np.testing.assert_allclose(lane.features, run.features, rtol=1e-9)
            np.testing.assert_allclose(lane.loss, run.loss, rtol=1e-7, atol=1e-16)
            times = js.critical_times(problem, fraction=0.9)
            np.testing.assert_allclose(
                lane.critical_time.sel(critical_fraction=0.9), times, rtol=1e-7
            )
            plateau = runs.plateau.sel(
                objective=objective.name,
                depth=depth,
                predictor_depth=predictor_depth,
                spectrum=spectrum,
            )
            np.testing.assert_allclose(plateau, problem.plateaus, rtol=1e-12)


def test_times_are_fractions_of_each_trajectorys_own_last_critical_time(runs):
    last = runs.critical_time.sel(critical_fraction=0.9).max("feature")
    np.testing.assert_allclose(runs.t / last, (0 * runs.t + runs.time_fraction), rtol=1e-7)
    assert runs.time_fraction[-1] == 2


def test_labels_units_and_provenance(runs):
    for name, variable in runs.variables.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs["units"], name
    for key in ("jax_version", "jepa_sim_version", "precision", "device", "created", "config"):
        assert runs.attrs[key]
    assert runs.attrs["precision"] == "float64"
    np.testing.assert_allclose(runs.rho.sel(spectrum=1), [0.4, 0.8])


def test_the_result_goes_through_netcdf(runs, tmp_path):
    import xarray as xr

    runs.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as back:
        xr.testing.assert_identical(back.load(), runs)


@pytest.mark.release
def test_padded_depths_are_the_depths_compiled_one_by_one():
    axes = {"spectrum": OTHER, "predictor_depth": [1], "scale": [0.1], "seed": [1, 5]}
    axes |= {"objective": OBJECTIVES[:1]}
    rotated = functools.partial(js.Balanced, rotated=True)
    random = grid(**axes, start=rotated)
    observables = (js.observables.features, js.observables.balancedness)
    runs = [
        sweep(
            random, js.GradientFlow(dfx.Tsit5(), rtol=1e-9), padded=padded, observables=observables
        )
        for padded in (True, False)
    ]
    np.testing.assert_allclose(runs[0].features, runs[1].features, rtol=1e-6)
    np.testing.assert_allclose(runs[0].critical_time, runs[1].critical_time, rtol=1e-6)
    assert runs[0].balancedness.max() < 1e-8


@pytest.mark.slow
def test_modes_and_descent_come_near_the_closed_form(runs):
    exact = sweep(grid(), js.ClosedForm())
    np.testing.assert_allclose(runs.features, exact.features, rtol=1e-6)
    np.testing.assert_allclose(runs.critical_time, exact.critical_time, rtol=1e-6)
    descent = sweep(grid(predictor_depth=[1]), js.Descent(optax.sgd, 5e-3))
    wanted = exact.critical_time.sel(predictor_depth=[1])
    np.testing.assert_allclose(descent.critical_time, wanted, rtol=0.03)


@pytest.mark.slow
def test_seeds_alone_decide_chance():
    start = js.RandomGaussian
    axes = {"spectrum": OTHER, "depth": [1], "predictor_depth": [1], "start": start}
    solver = js.Descent(optax.sgd, 0.05)
    one = sweep(grid(**axes, seed=[7, 3], scale=[0.1, 0.2]), solver, times=[1.0, 4.0])
    two = sweep(grid(**axes, seed=[3], scale=[0.2]), solver, times=[1.0, 4.0])
    same = one.sel(seed=[3], scale=[0.2])
    np.testing.assert_allclose(same.features, two.features, rtol=1e-12)
    assert (one.features.sel(seed=3) != one.features.sel(seed=7)).all()


def test_without_chance_seeds_are_shown_but_computed_once():
    run = sweep(grid(seed=range(3)), js.Modes())
    assert run.sizes["seed"] == 3
    np.testing.assert_array_equal(run.features.sel(seed=0), run.features.sel(seed=2))


@pytest.mark.slow
def test_a_failed_lane_is_marked_and_the_others_go_on():
    few = grid(spectrum=OTHER, predictor_depth=[1], depth=[1], scale=[0.5, 1e-3])
    run = sweep(few, js.GradientFlow(dfx.Tsit5(), max_steps=128)).squeeze()
    codes = run.result.sel(objective="jepa")
    assert codes.sel(scale=0.5) == js.ResultCode.success
    assert codes.sel(scale=1e-3) == js.ResultCode.out_of_steps
    assert np.isnan(run.features.sel(objective="jepa", scale=1e-3).isel(time=-1)).all()
    assert np.isfinite(run.features.sel(scale=0.5)).all()


@pytest.mark.slow
def test_a_feature_that_decays_among_others_that_rise():
    """Of two spectra, one has no such feature: a simulation of it leaves decay out."""
    spectra = [two_features(), js.Moments.from_features([1.0, -0.5], [0.5, -0.4])]
    run = sweep(grid(spectrum=spectra, depth=[1], predictor_depth=[1]), js.ClosedForm())
    for objective, (a, b) in zip(("jepa", "mae"), ((2, 1), (1, 2)), strict=True):
        decays = run.sel(objective=objective, spectrum=1, scale=0.1).squeeze()
        found = scipy.integrate.solve_ivp(
            lambda t, u, a=a, b=b: u**a * (-0.5 - 0.5 / 0.4 * u**b),
            (0, float(decays.t[-1])),
            [0.1],
            t_eval=decays.t.values,
            rtol=1e-10,
            atol=1e-14,
        )
        np.testing.assert_allclose(decays.features.sel(feature=1), found.y[0], rtol=1e-7)
        rises = run.sel(objective=objective, spectrum=0, scale=0.1).squeeze()
        same = {"jepa": js.JEPA(), "mae": js.MAE()}[objective]
        posed = js.Problem(spectra[0], same, js.DeepLinear(1), js.Balanced(0.1))
        alone = js.simulate(posed, rises.t.values, js.ClosedForm())
        np.testing.assert_allclose(rises.features, alone.features, rtol=1e-13)


@pytest.mark.slow
def test_further_axes_are_what_they_pose():
    def pose(problem, decay, tau):
        return js.Problem(
            problem.moments,
            js.JEPA(js.MovingAverage(tau)),
            problem.network,
            problem.start,
            js.Training(decay=decay),
        )

    axes = {"decay": [0.0, 0.02], "tau": [0.5, 5.0, 50.0]}
    few = grid(
        objective=[js.JEPA(js.MovingAverage(1.0))],
        spectrum=OTHER,
        predictor_depth=[1],
        axes=axes,
        customise=pose,
    )
    run = sweep(few, js.LayerModes(), times=[1.0, 20.0, 300.0])
    assert run.features.dims[3:7] == ("scale", "decay", "tau", "seed")
    assert run.plateau.dims == (
        *("objective", "depth", "predictor_depth", "decay", "tau"),
        *("spectrum", "feature"),
    )
    lane = run.sel(depth=2, scale=0.1, decay=0.02, tau=5.0).squeeze()
    bare = js.Problem(OTHER, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))
    alone = pose(bare, 0.02, 5.0)
    expected = js.simulate(alone, [1.0, 20.0, 300.0], js.LayerModes())
    np.testing.assert_allclose(lane.features, expected.features, rtol=1e-9)
    np.testing.assert_allclose(lane.plateau, alone.plateaus, rtol=1e-12)
    order = expected.order(fraction=0.5)
    reached = lane.critical_time.sel(critical_fraction=0.5)
    assert int(order.pop("at_start")) == int((reached == 0).sum())
    for name, value in order.items():
        np.testing.assert_array_equal(lane[name].sel(critical_fraction=0.5), value)


@pytest.mark.slow
def test_bottlenecks_of_several_depths():
    narrow = grid(
        spectrum=OTHER,
        predictor_depth=[1],
        scale=[0.1],
        start=functools.partial(js.Balanced, rotated=True),
        network=lambda depth, predictor_depth: js.DeepLinear(depth, predictor_depth, width=1),
    )
    run = sweep(narrow, js.Descent(optax.sgd, 0.1), times=[100.0])
    assert ((run.features > 0.1).sum("feature") == 1).all()  # one row has one feature
    assert np.isfinite(run.features).all()


def test_spectra_from_vmap():
    lam = jnp.array([[1.0, 0.5], [0.3, 0.2]])
    moments = jax.vmap(js.Moments.from_features)(lam, jnp.full((2, 2), 0.5))
    run = sweep(grid(spectrum=moments), js.Modes())
    np.testing.assert_allclose(run.lam, lam)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(depth=[]), "`depth` must hold at least one value, but is empty"),
        (lambda: grid(depth=[1, 1]), r"`depth` must not repeat a value, but is \[1, 1\]"),
        (lambda: grid(scale=[0.1, -1]), r"`scale` must be positive, but is -1 at \[1\]"),
        (lambda: grid(seed=[0.5]), "`seed` must be a whole number"),
        (lambda: grid(spectrum=[]), "`spectrum` must hold at least one"),
        (
            lambda: grid(spectrum=[OTHER, js.Moments.from_features([1.0], [0.5])]),
            r"`spectrum` must have one dimension throughout, but is of dimensions \[1, 2\]",
        ),
        (lambda: sweep(grid(depth=[1.5]), js.GradientFlow()), "`depth` must be a whole number"),
        (lambda: sweep(grid(start=js.RandomGaussian), js.ClosedForm()), "must be balanced"),
        (
            lambda: sweep(grid(), js.ClosedForm(), critical_fraction=[1.5]),
            "`critical_fraction` must lie strictly between 0 and 1",
        ),
        (
            lambda: grid(axes={"decay": [0.1]}),
            r"`customise` must be given with axes \['decay'\], but is missing",
        ),
        (
            lambda: grid(axes={"weight_decay": [0.1, -0.1]}),
            r"`axes\['weight_decay'\]` must not be negative, but is -0.1",
        ),
        (
            lambda: grid(axes={"time": [0.1]}, customise=lambda problem, time: problem),
            "`axes` must have names of their own, but is 'time' among others",
        ),
        (lambda: js.LogGrid(10.0, 1.0, 5), "`stop` must be above `start` = 10.0, but is 1"),
        (lambda: js.CriticalGrid(count=1), "`count` must be a whole number, at least 2"),
    ],
)
def test_bad_sweeps_are_named_before_anything_is_computed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_older_name_of_customise_works_and_warns():
    with pytest.warns(DeprecationWarning, match="`pose` of `Grid` is called `customise`"):
        older = grid(axes={"decay": [0.1]}, pose=decayed)
    assert older.customise is decayed


def decayed(problem, decay):
    return problem


@pytest.mark.parametrize(("older", "newer"), [("Sweep", "Plan"), ("Rest", "Equilibria")])
def test_older_public_names_work_and_warn(older, newer):
    with pytest.warns(DeprecationWarning, match=f"`jepa_sim.{older}` is called `jepa_sim.{newer}`"):
        assert getattr(js, older) is getattr(js, newer)


def test_a_public_name_that_goes_works_and_warns():
    with pytest.warns(
        DeprecationWarning, match=r"`jepa_sim.AbstractEngine` goes with version 0\.3"
    ):
        engine = js.AbstractEngine
    assert issubclass(js.Local, engine)


def test_what_does_not_fit_into_memory_is_said_before_it_is_computed():
    large, times = grid(seed=range(10**4), start=js.RandomGaussian), js.LogGrid(1, 10, 10**7)
    with pytest.raises(MemoryError, match=r"320,000 runs have results of at least .* GiB"):
        sweep(large, js.Descent(optax.sgd, 1e-2), times=times)


def test_a_result_says_what_may_surprise():
    """Seeds that are copies of one run, and features that start above their fraction."""
    moments = js.Moments.from_features([1.0, 1.0], [0.9, 0.1])
    high = {"spectrum": moments, "objective": [js.JEPA()], "scale": [0.3], "seed": range(20)}
    found = js.sweep(js.Grid(**high), js.ClosedForm(), progress=False)
    np.testing.assert_array_equal(found.critical_time[..., 1], 0)  # ε = 0.3 is above ρ = 0.1
    copies, start = found.remarks.splitlines()
    assert "all 20 seeds are copies of one run" in copies
    assert start.startswith("40 of 80 critical times are 0")
    assert "all are one run" in found.seed.long_name
    low = {**high, "scale": [1e-3], "seed": [0]}
    assert js.sweep(js.Grid(**low), js.ClosedForm(), progress=False).remarks == ""


def test_an_order_says_how_many_features_it_starts_with():
    problem = js.Problem(
        js.Moments.from_features([1.0, 1.0], [0.9, 0.1]),
        js.JEPA(),
        js.DeepLinear(1),
        js.Balanced(0.3),
    )
    run = js.simulate(problem, [1.0, 10.0, 100.0], js.ClosedForm())
    order = run.order(fraction=0.5)
    assert order["at_start"] == 1
    assert order["order_rho"] == -1  # counted as learned first


def sweep_with(first, last, seeds=(0, 1)):
    """The critical times of a sweep with one feature."""
    axes = ("seed", "critical_fraction", "feature")
    shape = (len(seeds), 1, 1)
    return xr.Dataset(
        {
            name: (axes, np.reshape(times, shape))
            for name, times in (("critical_time", first), ("learned_time", last))
        },
        {"seed": list(seeds), "critical_fraction": [0.5], "feature": [0]},
    )


def test_times_are_compared_run_by_run():
    found = sweep_with([10.0, np.inf, 0.0, np.nan], [11.0, np.inf, np.inf, 2.0], range(4))
    judge = sweep_with([2.0, 0.0, np.inf, 8.0], [2.0, 5.0, np.inf, 11.0], (3, 2, 1, 0))
    errors = js.compare_times(found, judge)
    first = errors.critical_time_error.sel(seed=[0, 1, 2, 3]).values.ravel()
    last = errors.learned_time_error.sel(seed=[0, 1, 2, 3]).values.ravel()
    np.testing.assert_array_equal(first, [0.25, 0.0, 0.0, np.nan])
    np.testing.assert_array_equal(last, [0.0, 0.0, np.inf, 0.0])
    assert errors.remarks == "Of 4 times 1 first ones and 1 last ones are off by more than 5 %."
    few = js.compare_times(found, judge.sel(seed=[2]))
    assert few.learned_time_error.shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda judge: judge.assign_coords(seed=[7, 8]), "`judge` must have runs of `found`"),
        (lambda judge: judge.isel(seed=0), "`judge` must have the axes seed, critical_fraction"),
        (lambda judge: judge.drop_vars("learned_time"), "must be the result of a sweep, but is"),
        (lambda judge: judge.learned_time, "Argument `judge` must be"),
    ],
)
def test_sweeps_that_cannot_be_compared_are_named(change, message):
    found = sweep_with([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=message):
        js.compare_times(found, change(found))
