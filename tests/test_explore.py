"""The explorer without a browser: its figures draw what the rest of the package computes."""

import asyncio
import dataclasses
import threading
import tomllib

import ipywidgets
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jepa_sim as js
from jepa_sim import explore
from jepa_sim.config import parse
from jepa_sim.explore import _stored
from jepa_sim.explore._closed import OBJECTIVES, solve
from jepa_sim.explore._latest import Latest, in_thread
from jepa_sim.explore._setting import knobs

SETTING = explore.Setting(lam=(1.0, 2.0), rho=(0.9, 0.4), scale=1e-3, depth=2.5, fraction=0.6)


@pytest.fixture(scope="module")
def live() -> explore.Live:
    return explore.Live(SETTING)


def problem(objective: js.AbstractObjective, setting: explore.Setting) -> js.Problem:
    moments = js.Moments.from_features(setting.lam, setting.rho)
    network = js.DeepLinear(jnp.asarray(setting.depth), jnp.asarray(setting.predictor_depth))
    return js.Problem(moments, objective, network, js.Balanced(setting.scale))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jepa_sim.DisplacementWarning")
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: o.name)
def test_what_is_drawn_is_the_closed_form(objective: js.AbstractObjective):
    found = solve(SETTING).sel(objective=objective.name)
    posed = problem(objective, SETTING)
    run = js.simulate(posed, found.t.values, js.ClosedForm())
    np.testing.assert_allclose(found.features, run.features, rtol=1e-11)
    late = js.critical_times(posed, fraction=SETTING.fraction)
    np.testing.assert_allclose(found.critical_time, late, rtol=1e-11)
    np.testing.assert_allclose(found.plateau, posed.plateaus, rtol=1e-12)
    # and the curve over ρ passes through the features
    for lam, rho, time in zip(SETTING.lam, SETTING.rho, late, strict=True):
        nearest = found.profile.sel(profile_rho=rho, method="nearest")
        assert float(nearest) == pytest.approx(lam * float(time), rel=0.05)


def test_plateaus_and_the_end_of_time():
    found = solve(SETTING)
    expected = {"jepa": np.array(SETTING.rho) ** 2.5, "mae": np.array(SETTING.rho) ** (2.5 / 3.5)}
    for name, plateau in expected.items():
        run = found.sel(objective=name)
        np.testing.assert_allclose(run.plateau, plateau, rtol=1e-12)
        assert run.t[-1] >= run.critical_time.max()
        later = run.t.values[:, None] >= run.critical_time.values
        np.testing.assert_array_equal(run.features.values >= 0.6 * plateau, later)


@pytest.mark.slow
def test_a_redrawn_figure_is_that_of_a_new_one(live: explore.Live):
    """Whether or not the limits of the axes have changed on the way."""
    assert live.png.startswith(b"\x89PNG")
    for knob in knobs(SETTING):
        live.show(SETTING.changed(knob, knob.low))
        live.show(SETTING.changed(knob, knob.high))
    deep = dataclasses.replace(SETTING, depth=6.0)  # other limits
    for setting in (deep, SETTING):
        assert live.show(setting) == explore.Live(setting).png


def test_words_under_the_mouse_are_numbers_of_the_closed_form(live: explore.Live):
    live.show(SETTING)
    width, height = live.size
    words = live.words(0.3 * width, 0.15 * height)
    run = live.found.sel(objective="jepa")
    time = float(words.removeprefix("t = ").split(":")[0])
    i = int(abs(run.t.values - time).argmin())
    gain = float(words.rsplit("= ", 1)[1])
    assert gain == pytest.approx(float(run.features[i].max()), rel=1e-2)
    assert live.words(0.0, 0.0) == ""
    assert "t* = JEPA" in live.words(0.9 * width, 0.5 * height)


def test_pictures_are_saved_with_their_setting(live: explore.Live):
    assert live.saved("pdf").startswith(b"%PDF")
    assert b"<svg" in live.saved("svg")
    assert "ε = 0.001, L = 2.5, M = 1, learned at 0.6" in SETTING.words


def test_the_toml_is_one_that_sweeps():
    config = parse(SETTING.toml)
    assert config.grid.depth == (2.5,)
    assert tomllib.loads(SETTING.toml)["data"]["lam"] == [1.0, 2.0]
    assert config.output.critical_fraction == (0.6,)


def test_sliders_show_what_they_say():
    box = explore.sliders(SETTING)
    grid, _, picture = box.children
    found = {slider.description: slider for slider in grid.children}
    assert isinstance(found["ε"], ipywidgets.FloatLogSlider)
    assert [found["ε"].value, found["L"].value, found["ρ of feature 1"].value] == [1e-3, 2.5, 0.4]
    before = picture.value
    found["ρ of feature 1"].value = 0.8
    assert box.live.setting == dataclasses.replace(SETTING, rho=(0.9, 0.8))
    assert picture.value == explore.Live(box.live.setting).png != before


def test_sliders_reach_to_where_the_setting_is():
    setting = dataclasses.replace(SETTING, lam=(10.0, 0.01), scale=1e-10, depth=12.0)
    found = {knob.letter: knob for knob in knobs(setting)}
    assert found["λ of feature 0"].high == 10.0
    assert found["λ of feature 1"].low == 0.01
    assert found["ε"].low == 1e-10
    assert found["L"].high == 12.0
    assert found["M"].high == 4.0


@pytest.mark.parametrize("knob", knobs(SETTING), ids=lambda knob: knob.letter)
def test_no_slider_gives_a_value_beyond_its_ends(knob: explore.Knob):
    low, high = knob.decades if knob.in_decades else (knob.low, knob.high)
    for position in (high, high + 1e-9, 1e9, 1e308, float("inf"), 10**400):
        assert knob.value_at(position) == knob.high
    for position in (low, low - 1e-9, -1e9, -float("inf"), -(10**400)):
        assert knob.value_at(position) == knob.low
    middle = (low + high) / 2
    expected = (knob.low * knob.high) ** 0.5 if knob.in_decades else middle
    assert knob.value_at(middle) == pytest.approx(expected, rel=1e-12)
    for nothing in (float("nan"), None, "3", [3.0], {}, True):
        assert knob.value_at(nothing) is None


def test_of_what_is_asked_meanwhile_the_last_alone_is_done(time_limit):
    begun, go_on, done, shown = threading.Event(), threading.Event(), [], []

    def work(number: int) -> int:
        done.append(number)
        begun.set()
        assert go_on.wait(30)
        if number == 0:
            raise ValueError("of the first")
        return 10 * number

    async def visit() -> list[object]:
        latest = Latest(work, shown.append)
        asked = [asyncio.create_task(latest.ask(0))]
        while not begun.is_set():
            await asyncio.sleep(0.01)  # the event loop runs while work is done
        asked += [asyncio.create_task(latest.ask(number)) for number in range(1, 100)]
        await asyncio.sleep(0.01)
        go_on.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    with time_limit(60):
        first, *others = asyncio.run(visit())
    assert isinstance(first, ValueError)  # an error does not stop the latest request
    assert set(others) == {None}
    assert done == [0, 99]
    assert shown == [990]


def test_pictures_of_all_pages_are_made_in_one_thread():
    async def names() -> list[str]:
        name = threading.current_thread
        return [thread.name for thread in await asyncio.gather(*(in_thread(name) for _ in "abcd"))]

    found = asyncio.run(names())
    assert len(set(found)) == 1
    assert found[0] != threading.current_thread().name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rho": (0.9,)}, r"`rho` must be 2 entries, as many as `lam`, but is 1"),
        ({"lam": (1.0, -1.0)}, r"`lam\[1\]` must be positive"),
        ({"lam": (1.0,) * 11}, r"`lam` must have from 1 to 10 entries, but is 11"),
        ({"fraction": 1.0}, r"`fraction` must lie strictly between 0 and 1"),
        ({"depth": 0.0}, r"`depth` must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SETTING, **changes)


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    """A sweep as `js.sweep` labels it, with made-up numbers."""
    axes = {"objective": ["jepa", "mae"], "depth": [1, 2, 5], "scale": [1e-3, 1e-2], "seed": [0]}
    shape = (2, 3, 2, 1, 1)
    lanes = (*axes, "spectrum")
    gains = np.arange(np.prod(shape) * 4 * 3, dtype=float).reshape(*shape, 4, 3)
    times = np.broadcast_to(np.arange(1.0, 5.0), (*shape, 4))
    late = 1.0 + np.arange(np.prod(shape) * 3.0).reshape(*shape, 1, 3)
    return xr.Dataset(
        {
            "features": ((*lanes, "time", "feature"), gains),
            "t": ((*lanes, "time"), times),
            "critical_time": ((*lanes, "critical_fraction", "feature"), late),
            "result": (lanes, np.zeros(shape, np.int8)),
            "lam": (("spectrum", "feature"), [[1.0, 0.5, 0.2]]),
            "rho": (("spectrum", "feature"), [[0.9, 0.3, 0.6]]),
        },
        {**axes, "spectrum": [0], "feature": [0, 1, 2], "critical_fraction": [0.5]},
    )


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("curves", ["objective", "depth", "scale"]),
        ("learned when, by ρ", ["depth", "scale"]),
        ("order of learning", ["objective", "depth", "scale"]),
        ("spectrum", []),
    ],
)
def test_views_of_a_stored_sweep(name: str, left: list[str], run: xr.Dataset):
    view = _stored.VIEWS[name]
    assert view.fits(run)
    assert view.axes(run) == left
    figure = view.picture(run, {"depth": 2})
    assert ("depth = 5" in figure.get_suptitle()) == ("depth" in left)


def test_curves_are_those_that_were_chosen(run: xr.Dataset):
    figure = _stored.VIEWS["curves"].picture(run, {"objective": 1, "depth": 2, "scale": 1})
    drawn = sorted(line.get_ydata()[0] for line in figure.axes[0].lines)
    expected = run.features.isel(objective=1, depth=2, scale=1, seed=0, spectrum=0, time=0)
    np.testing.assert_array_equal(drawn, expected)


def test_phase_diagrams_of_any_number_over_any_axes(run: xr.Dataset):
    assert _stored.numbers(run) == [_stored.LAST, "critical_time", "result"]
    assert _stored.axes_of(run, "critical_time") == ["objective", "depth", "scale", "feature"]
    view = _stored.phase_diagram("critical_time", "depth", "scale")
    assert view.axes(run) == ["objective", "feature"]
    figure = view.picture(run, {"objective": 1, "feature": 2})
    expected = run.critical_time.isel(objective=1, feature=2).squeeze(drop=True)
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_array(), expected)
    last = _stored.phase_diagram(_stored.LAST, "scale", "feature").picture(run, {})
    expected = run.features.isel(objective=0, depth=0, time=-1).squeeze(drop=True)
    np.testing.assert_array_equal(last.axes[0].collections[0].get_array(), expected)


def test_runs_without_gains_have_fewer_views(run: xr.Dataset):
    bare = run.drop_vars(["features", "t"])
    assert not _stored.VIEWS["curves"].fits(bare)
    assert _stored.LAST not in _stored.numbers(bare)


def test_a_run_of_single_values_has_no_phase_diagram(run: xr.Dataset):
    one = run.isel(objective=[0], depth=[0], scale=[0])
    assert _stored.numbers(one) == []


def test_whole_numbers_are_told_apart():
    seeds = xr.Dataset(coords={"seed": [12000, 12001]})
    assert _stored.named(seeds, "seed") == ["12000", "12001"]


def test_a_run_that_is_not_there_yet_can_be_looked_at(run: xr.Dataset):
    pending = run.assign({name: run[name] * np.nan for name in ("features", "t", "critical_time")})
    pending["learned_time"] = pending.critical_time
    for view in _stored.VIEWS.values():
        assert view.picture(pending, {}) is not None
    _stored.phase_diagram("critical_time", "depth", "scale").picture(pending, {})


def test_failures_are_counted(run: xr.Dataset):
    results = run.result.copy()
    results[0, 0, 0], results[1, 1, 1] = 2, -1
    words = _stored.failures(run.assign(result=results))
    assert words == "12 trajectories, 1 failed, 1 not computed yet"


def test_rho_above_one_is_shown_with_a_remark():
    assert explore.Setting().remark == ""
    assert "ρ is 1.5, above 1" in explore.Setting(rho=(0.9, 1.5)).remark
    with pytest.warns(js.AmplifiedWarning, match="ρ is 1.5, above 1"):
        js.Moments.from_features([1.0, 1.0], [0.9, 1.5])
