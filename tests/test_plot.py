"""Figures draw without warnings, are labelled, and refuse data with further axes."""

import itertools

import matplotlib
import matplotlib.pyplot
import numpy as np
import optax
import pytest
import xarray as xr

import jepa_sim as js
from jepa_sim import plot

matplotlib.use("Agg")

NOISY = [False, True, False]


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    """A dataset in the layout of a sweep, with a feature that JEPA never learns."""
    times, rho, lam = np.geomspace(1, 100, 20), np.array([0.9, 0.3, 0.6]), np.ones(3)
    gains = rho * (1 - np.exp(-times[:, None] / 10))
    learned = np.array([[[10.0, 20.0, 15.0], [10.0, np.inf, 20.0]], [[5.0, 5.0, 5.0]] * 2])
    return xr.Dataset(
        {
            "t": (("objective", "depth", "time"), np.broadcast_to(times, (2, 2, 20))),
            "features": (
                ("objective", "depth", "time", "feature"),
                np.broadcast_to(gains, (2, 2, 20, 3)),
            ),
            "critical_time": (("objective", "depth", "feature"), learned),
            "lam": ("feature", lam),
            "rho": ("feature", rho),
        },
        {"objective": ["jepa", "mae"], "depth": [1, 5]},
    )


@pytest.fixture(autouse=True)
def _close():
    yield
    matplotlib.pyplot.close("all")


def test_trajectories_of_a_dataset(dataset: xr.Dataset):
    run = dataset.sel(objective="jepa", depth=1)
    ax = plot.trajectories(run, noisy=NOISY)
    assert "kα" in ax.get_xlabel()
    assert ax.get_ylabel() == "encoder gain w̄"
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert len(ax.lines) == 3
    assert len(dashed) == 1
    np.testing.assert_array_equal(dashed[0].get_ydata(), run.features[:, 1])
    assert ax.lines[-1] is dashed[0]  # over the others
    assert len({line.get_color() for line in ax.lines}) == 3


def test_trajectories_of_a_run():
    moments = js.Moments.from_features([1.0, 1.0], [0.9, 0.3])
    problem = js.Problem(moments, js.MAE(), js.DeepLinear(1), js.Balanced(0.1))
    run = js.simulate(problem, [0.0, 1.0, 10.0], js.Descent(optax.sgd, learning_rate=0.1))
    ax = plot.trajectories(run)
    low, high = (line.get_ydata() for line in ax.lines)
    np.testing.assert_array_equal(high, run.features[:, 0])
    np.testing.assert_array_equal(low, run.features[:, 1])
    assert ax.get_xlim()[0] == 1.0  # zero has no place on a logarithmic axis


def test_trajectories_of_several_runs_are_refused(dataset: xr.Dataset):
    with pytest.raises(ValueError, match=r"must be one trajectory, but is of the axes \['depth'\]"):
        plot.trajectories(dataset.sel(objective="jepa"))


def test_one_variable_of_a_dataset_is_refused_by_name(dataset: xr.Dataset):
    for draw in (plot.critical_times, plot.trajectories, plot.order_matrix, plot.collapse):
        with pytest.raises(
            ValueError, match="Argument `run` must be a `Trajectory` object or a `Dataset`"
        ):
            draw(dataset.critical_time)
    for draw in (plot.learning_time, plot.depth_effect):
        with pytest.raises(ValueError, match="Argument `ds` must be a `Dataset` object"):
            draw(dataset.critical_time)
    with pytest.raises(ValueError, match="Argument `values` must be a `DataArray` object"):
        plot.phase_diagram(dataset)


def test_a_new_figure_of_trajectories_has_the_key_to_its_colours(dataset: xr.Dataset):
    low = dataset.sel(objective="jepa", depth=1)
    _, key = plot.trajectories(low).figure.axes
    assert key.get_ylabel() == "ρ of the feature"
    _, (ax, _) = plot.panels(1, 2, (plot.PAGE, 2.0))
    assert len(plot.trajectories(low, ax).figure.axes) == 2  # none beside axes of yours


def test_trajectories_beside_each_other_are_seen_whole(dataset: xr.Dataset):
    _, axes = plot.panels(1, 2, (plot.PAGE, 2.0), sharey=True)
    low = dataset.sel(objective="jepa", depth=1)
    plot.trajectories(low, axes[0])
    plot.trajectories(low.assign(features=2 * low.features), axes[1])
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_ylim()[1] > 2 * float(low.features.max())


def test_labelled_features_stand_out(dataset: xr.Dataset):
    """They are lines with a name; all others are one grey collection."""
    run = dataset.sel(objective="jepa", depth=1)
    ax = plot.trajectories(run, noisy=NOISY, labels={1: "noise", 0: "signal"})
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["noise", "signal", "1 more (ρ 0.60 to 0.60)"]
    noise, signal = ax.lines
    np.testing.assert_array_equal(noise.get_ydata(), run.features[:, 1])
    np.testing.assert_array_equal(signal.get_ydata(), run.features[:, 0])
    assert (noise.get_linestyle(), signal.get_linestyle()) == ("--", "-")
    [others] = ax.collections
    np.testing.assert_array_equal(others.get_segments()[0][:, 1], run.features[:, 2])
    assert ax.get_ylim()[1] > float(run.features.max())


def test_depth_effect(dataset: xr.Dataset):
    """Delays are over the feature of largest ρ; what is never learned has none."""
    plateau = np.arange(12.0).reshape(2, 2, 3) / 12
    axes = plot.depth_effect(
        dataset.assign(plateau=(("objective", "depth", "feature"), plateau)), noisy=NOISY
    )
    assert [ax.get_title() for ax in axes] == ["JEPA", "MAE", "", ""]
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["L = 1", "L = 5"]
    lines = [[line for line in ax.lines if line.get_xdata().size] for ax in axes]
    jepa, mae, _, gains = ([line.get_ydata().tolist() for line in found] for found in lines)
    assert jepa[:3] == [[1.0, 1.5], [2.0], [1.0, 2.0]]  # clean and noisy at L = 1, clean at L = 5
    assert np.isnan(jepa[3])
    assert mae == [[1.0, 1.0], [1.0]] * 2
    assert gains == [[6 / 12, 8 / 12], [7 / 12], [9 / 12, 11 / 12], [10 / 12]]
    filled = [not isinstance(line.get_markerfacecolor(), str) for line in lines[0]]
    assert filled == [False, True, False, True]


def test_learning_time(dataset: xr.Dataset):
    axes = plot.learning_time(dataset, noisy=NOISY)
    assert [ax.get_title() for ax in axes] == ["depth L = 1", "depth L = 5"]
    assert all(ax.get_xlabel() == "ρ of the feature" for ax in axes)
    assert "λt*" in axes[0].get_ylabel()
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert labels == ["JEPA", "MAE", "never"]
    shallow, deep = ([tuple(line.get_xydata()[:, 1]) for line in ax.lines] for ax in axes)
    assert (1.0, 1.5) in shallow  # JEPA: clean features, over the one of largest ρ
    assert (2.0,) in shallow  # and the noisy one
    assert (1.0, 2.0) in deep
    edge = max(y for line in deep for y in line)
    assert edge == pytest.approx(2.5)  # the triangle of the feature that is never learned


def test_features_that_start_there_are_drawn_as_such(dataset: xr.Dataset):
    """A time of 0 has no place on a logarithmic axis, and other times are not compared with it."""
    start = dataset.copy(deep=True)
    start.critical_time[0, 0, 0] = 0.0  # the cleanest feature of JEPA at L = 1
    shallow, _ = plot.learning_time(start)
    labels = [text.get_text() for text in shallow.get_legend().get_texts()]
    assert labels == ["JEPA", "MAE", "never", "from the start"]
    drawn = [line.get_xydata() for line in shallow.lines if line.get_marker() == "v"]
    assert [0.9] in [points[:, 0].tolist() for points in drawn]
    others = [tuple(line.get_xydata()[:, 1]) for line in shallow.lines]
    assert (20 / 15, 1.0) in others  # over the cleanest feature that was learned
    words = plot.order_matrix(start.sel(objective="jepa", depth=1)).format_coord(1.0, 1.0)
    assert "there from the start" in words


@pytest.fixture(scope="module")
def run() -> js.Trajectory:
    """Three features, of which weight decay keeps one."""
    moments = js.data.Static(signal=[1.0, 1.0, 0.5], noise=[0.1, 1.0, 2.0]).exact_moments()
    training = js.Training(decay=0.02)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(0.2), training)
    return js.simulate(problem, np.linspace(0.0, 400.0, 101), js.LayerModes())


def test_critical_times_of_objectives(dataset: xr.Dataset):
    shallow = dataset.sel(depth=5)
    ax = plot.critical_times(shallow)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines if line.get_label()}
    assert drawn["MAE"] == [[0.9, 5.0], [0.3, 5.0], [0.6, 5.0]]
    assert drawn["JEPA"] == [[0.9, 10.0], [0.6, 20.0]]
    assert "never" in drawn
    assert "kα" in ax.get_ylabel()
    assert ax.format_coord(0.3, 1.0) == "feature 1 (λ = 1, ρ = 0.3) at t* = JEPA never, MAE 5"
    assert "λ" in plot.critical_times(shallow, against="lam").get_xlabel()


def test_critical_times_beside_each_other_are_all_seen(dataset: xr.Dataset):
    _, axes = plot.panels(1, 2, (plot.PAGE, 2.0), sharey=True)
    late = dataset.assign(critical_time=100 * dataset.critical_time)
    for ax, found in zip(axes, (dataset, late), strict=True):
        plot.critical_times(found.sel(depth=1), ax)
    low, high = axes[0].get_ylim()
    assert low < 5.0
    assert high > 2000.0


def test_a_feature_that_is_there_at_the_first_saved_time_has_no_time(dataset: xr.Dataset):
    start = dataset.copy(deep=True)
    start.critical_time[0, 0, 0] = 1.0  # the first saved time
    ax = plot.critical_times(start.sel(depth=1))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["JEPA", "MAE", "from the start"]


@pytest.mark.slow
def test_critical_times_of_a_run(run: js.Trajectory):
    ax = plot.critical_times(run, fraction=0.5)
    [[rho, time]] = ax.lines[0].get_xydata()
    assert rho == pytest.approx(1 / 1.1)
    assert time == pytest.approx(float(run.critical_times(fraction=0.5)[0]))


def test_a_phase_diagram_has_the_values_in_their_places():
    values = xr.DataArray(
        [[1.0, 2.0, np.inf], [4.0, 5.0, np.nan]],
        {"depth": [1, 3], "scale": [1e-3, 1e-2, 1e-1]},
        ("depth", "scale"),
        "critical_time",
        {"long_name": "first time (inf: never)", "units": "1/λ"},
    )
    ax = plot.phase_diagram(values)
    [mesh] = ax.collections
    np.testing.assert_array_equal(mesh.get_array(), np.ma.masked_invalid(values.values, copy=True))
    assert ax.get_xscale() == "log"
    edges = mesh.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, 10.0 ** np.array([-3.5, -2.5, -1.5, -0.5]))
    assert ax.get_xlabel() == "encoder gain ε at the start"
    assert ax.figure.axes[1].get_ylabel() == "first time\n(1/λ)"
    assert ax.format_coord(0.012, 0.9) == "depth = 3, scale = 0.01: critical_time = 5"
    assert ax.format_coord(0.09, 0.1) == "depth = 1, scale = 0.1: critical_time = inf"


def test_axes_of_ones_own_have_their_names():
    def customise(problem, brightness_noise, decay):
        return problem

    about = {"long_name": "decay per epoch", "units": "1/epoch"}
    grid = js.Grid(
        spectrum=js.Moments.from_features([1.0, 0.5], [0.9, 0.5]),
        objective=[js.MAE()],
        axes={
            "brightness_noise": [0.0, 1.0],
            "decay": xr.DataArray([0.1, 0.2], dims="decay", attrs=about),
        },
        customise=customise,
    )
    run = js.sweep(grid, js.ClosedForm(), times=[1.0, 2.0], progress=False).squeeze()
    ax = plot.phase_diagram(run.critical_time.isel(feature=0, critical_fraction=0))
    assert ax.get_ylabel() == "brightness noise"
    assert ax.get_xlabel() == "decay per epoch (1/epoch)"


def test_a_phase_diagram_of_names_and_of_both_signs():
    values = xr.DataArray(
        [[-1.0, 0.5], [0.0, 0.25], [0.0, 0.0]],
        {"depth": [1, 2, 5], "objective": ["jepa", "mae"]},
        ("depth", "objective"),
    )
    ax = plot.phase_diagram(values, contour=0.25, bar=False)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["jepa", "mae"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2", "5"]
    assert ax.collections[0].get_clim() == (-1.0, 1.0)
    assert len(ax.figure.axes) == 1


def test_times_over_decades_are_coloured_by_their_logarithm():
    values = xr.DataArray([[0.0, 10.0], [1e3, 1e6]], dims=("depth", "scale"))
    ax = plot.phase_diagram(values)
    [mesh] = ax.collections
    mesh.update_scalarmappable()
    white, low, _, high = mesh.get_facecolors()
    assert tuple(white) == (1, 1, 1, 1)  # there from the start
    assert mesh.norm(31.6) == pytest.approx(0.1, abs=1e-3)
    assert not np.array_equal(low, high)
    assert "critical_time" not in ax.format_coord(0.0, 0.0)
    assert ax.format_coord(0.0, 0.0).endswith("= 0")


def test_limits_are_for_the_colours_alone():
    values = xr.DataArray([[-9.0, 0.5], [9.0, np.inf]], dims=("depth", "scale"))
    ax = plot.phase_diagram(values, limits=(-1.0, 1.0))
    [mesh] = ax.collections
    mesh.update_scalarmappable()
    low, _, high, never = mesh.get_facecolors()
    map_ = mesh.get_cmap()
    assert tuple(low) == map_(0.0)
    assert tuple(high) == map_(1.0)
    assert matplotlib.colors.to_hex(never) == "#222222"
    assert ax.format_coord(0.0, 1.0).endswith("= 9")


def test_an_order_matrix_compares_pairs(dataset: xr.Dataset):
    ax = plot.order_matrix(dataset.sel(objective="jepa", depth=5), by="rho")
    [image] = ax.images
    drawn = np.ma.filled(image.get_array(), np.nan)
    assert drawn[0, 1] == pytest.approx(np.log10(2))  # ρ = 0.9 before ρ = 0.6, in half of the time
    assert drawn[1, 0] == pytest.approx(-np.log10(2))
    assert drawn[0, 2] == pytest.approx(np.log10(2))  # never learned: the end of the colours
    words = ax.format_coord(3.0, 1.0)
    assert words == "row: feature 0 (ρ = 0.9) at t* = 10; column: feature 1 (ρ = 0.3) never"


def test_a_spectrum_is_the_same_of_moments_run_and_dataset(dataset: xr.Dataset):
    moments = js.Moments.from_features([1.0, 2.0], [0.9, 0.3])
    ax = plot.spectrum(moments)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[1, 2], [2, 1]])
    np.testing.assert_allclose(ax.collections[0].get_array(), [0.3, 0.9])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2 / 0.3, 1 / 0.9])  # variances
    assert len(plot.spectrum(dataset).collections[0].get_offsets()) == 3


def test_patches_lie_side_by_side():
    images = np.arange(1.0, 19.0).reshape(3, 6)
    ax = plot.patches(images, shape=(2, 3), columns=2, titles=["a", "b", "c"])
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_allclose(drawn[2:4, 4:7], images[1].reshape(2, 3) / 12)
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    assert ax.format_coord(6.0, 3.0) == "1 of the largest"
    with pytest.raises(ValueError, match=r"Argument `images` must be .* but is \(3, 6\)"):
        plot.patches(images, shape=(3, 3))


def test_collapse_says_what_became_of_features(run: js.Trajectory):
    left, right = plot.collapse(run)
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["1 learned", "2 collapsed"]
    ranks = right.lines[0].get_ydata()
    assert ranks[0] == pytest.approx(3)
    assert ranks[-1] == pytest.approx(1, abs=1e-4)
    assert left.format_coord(400.0, 0.8).startswith("t = 400: feature 0 (λ = 1, ρ = 0.909) has w̄")


def test_what_is_too_small_for_the_solver_is_not_drawn():
    moments = js.data.Static(signal=[1.0, 1.0, 0.5], noise=[0.1, 1.0, 2.0]).exact_moments()
    training, start = js.Training(decay=0.1), js.Balanced(0.2)
    problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), start, training)
    run = js.simulate(problem, np.linspace(0.0, 1000.0, 101), js.LayerModes())
    assert (run.features[-1] < run.floor).all()
    left, right = plot.collapse(run)
    drawn = np.concatenate([line.get_ydata() for line in left.lines if len(line.get_ydata()) > 2])
    assert np.nanmin(drawn) >= float(run.floor.max())
    assert np.isnan(right.lines[0].get_ydata()[-1])


def test_names_along_an_axis_do_not_overlap():
    decays = [0.0, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1]
    values = xr.DataArray(
        np.ones((2, 10)), {"scale": [0.1, 0.2], "decay": decays}, ("scale", "decay")
    )
    ax = plot.phase_diagram(values)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert len(boxes) > 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_evictions_are_marked(dataset: xr.Dataset):
    """A takeover at t = 40, with gains as in one latent: feature 0 is the cleaner one."""
    run = dataset.sel(objective="jepa", depth=1).copy(deep=True)
    ratio = np.exp(run.t.values - 40.0)
    takes, loses = 0.9 * ratio / np.sqrt(1 + ratio**2), 0.3 / np.sqrt(1 + ratio**2)
    run["features"] = ("time", "feature"), np.stack([takes, loses, np.full(20, 0.6)], axis=1)
    run["plateau"] = "feature", np.array([0.9, 0.3, 0.6])
    ax = plot.trajectories(run)
    [cross] = [line for line in ax.lines if line.get_marker() == "x" and line.get_xdata().size]
    after = np.flatnonzero(loses < 0.15)[0]  # below half of its plateau
    assert run.t.values[after - 1] < cross.get_xdata()[0] < run.t.values[after]
    assert loses[after - 1] > cross.get_ydata()[0] > loses[after]  # on the curve
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["1 eviction"]
    assert "evicted by feature 0 at" in ax.format_coord(1.0, 0.3)
    left, _ = plot.collapse(run)
    words = [text.get_text() for text in left.get_legend().get_texts()]
    assert words == ["2 learned", "1 evicted", "1 eviction"]


def test_collapse_of_a_dataset(dataset: xr.Dataset):
    one = dataset.sel(objective="jepa", depth=1).assign(plateau=("feature", [0.9, 0.3, 6.0]))
    left, _ = plot.collapse(one)
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["2 learned", "1 still growing"]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            plot.critical_times,
            r"axes `objective` and `feature` alone, but is of the axes \['depth'\]",
        ),
        (
            lambda ds: plot.critical_times(ds.expand_dims(critical_fraction=[0.9])),
            r"`fraction` must be one of \[0.9\], but is 0.5",
        ),
        (
            lambda ds: plot.learning_time(ds.expand_dims(critical_fraction=[0.9])),
            r"`ds` must have the axes .* but is of the axes \['critical_fraction'\]",
        ),
        (
            lambda ds: plot.depth_effect(ds.expand_dims(scale=[0.1])),
            r"`ds` must have the axes .* but is of the axes \['scale'\]",
        ),
        (plot.collapse, r"must be one trajectory, but is of the axes \['depth', 'objective'\]"),
        (lambda ds: plot.critical_times(ds, against="sigma"), r"be one of \['rho', 'lam'\]"),
        (lambda ds: plot.order_matrix(ds.sel(depth=1)), r"be of one objective, but is of"),
        (lambda ds: plot.phase_diagram(ds.critical_time), r"must be of two axes, but is of"),
    ],
)
def test_what_is_not_one_thing_is_refused(draw, words, dataset: xr.Dataset):
    with pytest.raises(ValueError, match=words):
        draw(dataset)


def test_figures_are_saved_as_vectors_and_pixels(dataset: xr.Dataset, tmp_path):
    figure, axes = plot.panels(1, 2, (plot.PAGE, 2.0))
    plot.learning_time(dataset, axes)
    plot.trajectories(dataset.isel(objective=0, depth=0), axes[0])
    plot.rho_bar(figure, axes)
    (tmp_path / "other").mkdir()
    paths = plot.save(figure, tmp_path / "drawn")
    assert [path.name for path in paths] == ["drawn.pdf", "drawn.png"]
    for stem, name in (("decay_0.01", "decay_0.01"), ("drawn.png", "drawn")):
        paths_again = plot.save(plot.panels(1, 1, (1.0, 1.0))[0], str(tmp_path / "other" / stem))
        assert [path.name for path in paths_again] == [f"{name}.pdf", f"{name}.png"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert matplotlib.pyplot.get_fignums() == []


def test_runs_that_are_not_there_yet_say_so(dataset: xr.Dataset):
    pending = dataset.sel(objective="jepa", depth=1) * np.nan
    ax = plot.trajectories(pending.assign(lam=dataset.lam, rho=dataset.rho))
    assert [text.get_text() for text in ax.texts] == ["not computed yet"]
    assert ax.format_coord(1.0, 0.5) == "not computed yet"


def test_spectra_of_sweeps_as_they_are():
    moments = js.Moments.from_features([1.0, 2.0], [0.9, 0.3])
    dims = ("spectrum", "feature")
    ds = xr.Dataset({"lam": (dims, [[1.0, 2.0]]), "rho": (dims, [[0.9, 0.3]])})
    ours, same = (plot.spectrum(x).collections[0].get_offsets() for x in (ds, moments))
    np.testing.assert_array_equal(ours, same)
    two = xr.concat([ds, ds], "spectrum")
    with pytest.raises(ValueError, match="must be of one spectrum, but is of 2"):
        plot.spectrum(two)


def test_signs_have_their_colours_whatever_the_limits():
    values = xr.DataArray([[-1.0, 0.5], [0.0, 3.0]], dims=("depth", "scale"))
    ax = plot.phase_diagram(values, limits=(-1.0, 3.0))
    [mesh] = ax.collections
    assert mesh.norm(0.0) == 0.5
    assert mesh.norm(0.5) > 0.5


def test_features_that_start_there_are_alike(dataset: xr.Dataset):
    at_once = dataset.sel(objective="mae", depth=1).copy()
    at_once["critical_time"] = ("feature", [0.0, 0.0, np.inf])
    drawn = np.ma.filled(plot.order_matrix(at_once).images[0].get_array(), np.nan)
    assert drawn[0, 1] == drawn[1, 0] == 0
    assert np.isnan(drawn[2, 2])


def test_features_of_negative_rho_are_in_sight(dataset: xr.Dataset):
    run = dataset.sel(depth=5).assign(rho=("feature", [0.9, -0.3, 0.6]))
    low, high = plot.critical_times(run).get_xlim()
    assert low < -0.3
    assert high > 0.9
