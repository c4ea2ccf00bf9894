"""The demonstration at a small size: the files that it writes, and its report."""

import matplotlib
import numpy as np
import pytest
import xarray as xr

from jepa_sim.cli import demo
from jepa_sim.data.images import sample_photographs

matplotlib.use("Agg")


@pytest.mark.slow
def test_the_demonstration_writes_what_it_says(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "DEPTHS", (1, 3))
    monkeypatch.setattr(demo, "SHOWN_DEPTHS", (1, 3))
    monkeypatch.setattr(demo, "FLOW_DEPTHS", (1,))
    assert demo.main(["--out", str(tmp_path / "new"), "--pairs", "4000", "--patch", "4"]) == 0
    told = capsys.readouterr().out
    named = sorted(word.strip(",") for word in told.split() if word.startswith(str(tmp_path)))
    assert named == sorted(map(str, (tmp_path / "new").iterdir()))
    assert len(named) == 8
    assert "cleaner features evict light" in " ".join(told.split())
    theory = xr.load_dataset(tmp_path / "new" / "closed_form.nc", engine="h5netcdf")
    flow = xr.load_dataset(tmp_path / "new" / "flow.nc", engine="h5netcdf")
    assert theory.features.sizes["feature"] == flow.features.sizes["feature"] == 16
    assert all("units" in variable.attrs for variable in theory.data_vars.values())
    noisy = theory.light > 0.5
    assert 0 < noisy.isel(spectrum=0).sum() <= 3
    # For MAE the flow is near the reduced theory: the moments commute up to sampling error.
    at = {"objective": "mae", "depth": 1}
    expected = theory.sel(**at, scale=demo.FLOW_SCALE, critical_fraction=0.5).isel(spectrum=0)
    when = demo._first_times(flow.sel(at).isel(spectrum=0), expected.plateau / 2)
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
    assert demo._short(value) == said
