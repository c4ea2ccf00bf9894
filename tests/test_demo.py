"""The demonstration at a small size: the files that it writes, and its report."""

import matplotlib
import numpy as np
import pytest
import xarray as xr

from jepa_sim.cli import demo, findings
from jepa_sim.data.images import sample_photographs

matplotlib.use("Agg")


@pytest.mark.slow
def test_the_demonstration_writes_what_it_says(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "DEPTHS", (1, 3))
    monkeypatch.setattr(demo, "FLOW_DEPTHS", (1,))
    assert demo.main(["--out", str(tmp_path / "new"), "--pairs", "4000", "--patch", "4"]) == 0
    told = capsys.readouterr().out
    named = sorted(word.strip(",") for word in told.split() if word.startswith(str(tmp_path)))
    assert named == sorted(map(str, (tmp_path / "new").iterdir()))
    assert len(named) == 8
    parts = [told.index(words) for words in ("What is asked", "What was found", "are noisy?")]
    assert parts == sorted(parts)
    story = " ".join(told[slice(*parts[1:])].split())
    assert "cleaner features evict light" in story
    assert "A deep encoder (L = 3)" in story
    theory = xr.load_dataset(tmp_path / "new" / "closed_form.nc", engine="h5netcdf")
    flow = xr.load_dataset(tmp_path / "new" / "flow.nc", engine="h5netcdf")
    assert theory.features.sizes["feature"] == flow.features.sizes["feature"] == 16
    assert all("units" in variable.attrs for variable in theory.data_vars.values())
    noisy = theory.light > 0.5
    assert 0 < noisy.isel(spectrum=0).sum() <= 3
    # For MAE the flow is near the reduced theory: the moments commute up to sampling error.
    at = {"objective": "mae", "depth": 1}
    expected = theory.sel(**at, scale=demo.FLOW_SCALE, critical_fraction=0.5).isel(spectrum=0)
    when = flow.sel(at).isel(spectrum=0).half_time
    learned = np.isfinite(when)
    assert learned.sum() > 10
    np.testing.assert_allclose(when[learned], expected.critical_time[learned], rtol=0.15)


def test_first_times_are_exact_for_powers_of_time():
    times = np.geomspace(1, 1000, 10)
    ds = xr.Dataset(
        {
            "t": ("time", times, {"units": "s"}),
            "features": (("time", "feature"), 1e-3 * times[:, None] ** [1.0, 2.0, 0.5]),
        }
    )
    found = demo._first_times(ds, 0.5)
    np.testing.assert_allclose(found, [500, np.sqrt(500), np.inf])
    assert demo._first_times(ds, 1e-3).values.tolist() == [0.0, 0.0, 0.0]


def _learned(when: list[float], light: list[float]) -> xr.Dataset:
    """Two objectives at depths 1 and 2, with features that they learn at the times `when`."""
    objective, depth = ["jepa", "mae"], [1, 2]
    axes = ("objective", "depth", "feature")
    times = np.broadcast_to(when, (2, 2, 1, len(when)))
    gains = np.broadcast_to([0.1, 0.8, 0.9], (2, 2, 3))
    return xr.Dataset(
        {
            "critical_time": (("objective", "depth", "critical_fraction", "feature"), times),
            "plateau": (axes, gains),
            "light": ("feature", light),
            "lam": ("feature", [2.0, 1.0, 1.0]),
            "rho": ("feature", [0.3, 0.8, 0.9]),
            "scale": 0.01,
        },
        {"objective": objective, "depth": depth, "critical_fraction": [0.5]},
    )


def test_the_story_counts_places_gains_and_delays():
    """Light of λ 2 is learned at 30, the cleanest feature, of λ 1, at 20: a delay of 3."""
    shallow, deep, delay = findings._depth(_learned([30.0, 40.0, 20.0], [0.9, 0.0, 0.0]))
    assert "JEPA learns light as number 2. In the end, its median gain is 0.1 for" in shallow
    assert "for light and 0.85 for the scene" in shallow
    assert deep.startswith("A deep encoder (L = 2)")
    assert "of 3.0 in the deep JEPA, and of 3.0 in the deep MAE" in delay


def test_photographs_of_ones_own(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "own.png"
    image.fromarray(sample_photographs()[0][:60, :80].astype(np.uint8)).save(path)
    options = demo._parser().parse_args(["--images", str(path), "--patch", "3"])
    own, flat = demo._patches(options)
    assert own.source.photographs[0].shape == (60, 80)
    assert own.source is flat.source
    assert (own.patterns != flat.patterns).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patch", "1"], "Argument `patch` must be a whole number, at least 2, but is 1."),
        (["--patch", "3", "--pairs", "2"], "span all 9 dimensions"),
        (["--images", "no/such.png"], "no/such.png"),
        (["--pairs", "many"], "invalid int value"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        demo.main(["--out", str(tmp_path / "out"), *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in said
    assert said.startswith("jepa-sim demo: error:")


@pytest.mark.parametrize(
    ("value", "said"), [(0.0443, "0.044"), (12.6, "13"), (151.7, "152"), (16412.0, "1.6e4")]
)
def test_numbers_are_short(value: float, said: str):
    assert findings._short(value) == said
