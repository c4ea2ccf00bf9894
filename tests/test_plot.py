"""Figures draw without warnings, say what they show, and refuse what is not one thing."""

import sys

import matplotlib
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
    """Of the layout of a sweep, with a feature that JEPA never learns."""
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
    plot._pyplot().close("all")


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
    with pytest.raises(ValueError, match=r"must be one trajectory, but has the axes \['depth'\]"):
        plot.trajectories(dataset.sel(objective="jepa"))


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


def test_figures_are_saved_as_vectors_and_pixels(dataset: xr.Dataset, tmp_path):
    figure, axes = plot.panels(1, 2, (plot.PAGE, 2.0))
    plot.learning_time(dataset, axes)
    plot.trajectories(dataset.isel(objective=0, depth=0), axes[0])
    plot.rho_bar(figure, axes)
    paths = plot.save(figure, tmp_path / "drawn")
    assert [path.name for path in paths] == ["drawn.pdf", "drawn.png"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert plot._pyplot().get_fignums() == []


def test_a_missing_matplotlib_names_the_extra(monkeypatch, dataset: xr.Dataset):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"jepa_sim\[plot\]"):
        plot.learning_time(dataset)
