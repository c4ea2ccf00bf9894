"""The command line: results, exit codes, messages; after a fault nothing is written."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

import jepa_sim as js
from jepa_sim import cli
from jepa_sim.cli.help import EXAMPLE
from jepa_sim.config import parse
from jepa_sim.numerics import cache as compiled

RUN = """
[data]
kind = "features"
lam = [1.0, 1.0, 0.5]
rho = [0.9, 0.3, 0.8]
[grid]
objective = ["jepa", "mae"]
depth = [1, 2]
scale = [1e-1, 1e-2]
seed = { start = 0, stop = 3 }
[solve]
solver = "modes"
times = { kind = "critical", count = 8 }
[output]
path = "runs/first.nc"
"""


@pytest.fixture(scope="module")
def cache() -> str:
    return jax.config.jax_compilation_cache_dir


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Path:
    """A folder in which a sweep has run; `printed` is its output."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "run.toml").write_text(RUN)
    with (
        pytest.MonkeyPatch.context() as patch,
        (folder / "printed").open("w") as printed,
        contextlib.redirect_stdout(printed),
    ):
        patch.chdir(folder)
        patch.setenv("JEPA_SIM_CACHE", cache)
        assert cli.main(["sweep", "run.toml"]) == 0
    return folder


def result_of(folder: Path) -> xr.Dataset:
    return xr.load_dataset(folder / "runs" / "first.nc", engine="h5netcdf")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str) -> Path:
    """An empty folder to work in, with `run.toml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JEPA_SIM_CACHE", cache)
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.slow
def test_sweep_writes_what_was_asked_for(finished: Path):
    assert contents(finished) == ["printed", "run.toml", "runs", "runs/first.nc"]
    found = result_of(finished)
    assert dict(found.sizes) == {
        "objective": 2,
        "depth": 2,
        "predictor_depth": 1,
        "scale": 2,
        "seed": 3,
        "spectrum": 1,
        "time": 8,
        "feature": 3,
        "critical_fraction": 2,
    }
    assert found.objective.values.tolist() == ["jepa", "mae"]
    assert found.seed.values.tolist() == [0, 1, 2]
    assert found.attrs["config"] == RUN
    assert found.attrs["precision"] == "float64"
    assert (found.result == js.ResultCode.success).all()
    problem = js.Problem(
        js.Moments.from_features([1.0, 1.0, 0.5], [0.9, 0.3, 0.8]),
        js.JEPA(),
        js.DeepLinear(2),
        js.Balanced(1e-2),
    )
    at = {"objective": "jepa", "depth": 2, "scale": 1e-2, "critical_fraction": 0.5}
    np.testing.assert_allclose(
        found.critical_time.sel(at).isel(seed=1).squeeze(),
        js.critical_times(problem, fraction=0.5),
        rtol=1e-7,
    )


def test_sweep_prints_what_it_found(finished: Path):
    printed = (finished / "printed").read_text()
    assert "runs/first.nc: 24 trajectories at 8 times each" in printed
    assert "Every trajectory reached its last time." in printed


def test_sweep_keeps_a_result_unless_told(
    finished: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (folder / "runs").mkdir()
    result = folder / "runs" / "first.nc"
    result.write_text("old")
    os.link(result, folder / "old")
    monkeypatch.setattr("jepa_sim.sweeps.sweep.collect", lambda *_, **__: result_of(finished))
    assert cli.main(["sweep", "run.toml", "--quiet"]) == cli.FAULT
    assert capsys.readouterr().err == (
        "jepa-sim: error: Key `output.path` must not exist yet (unless --overwrite is given), "
        'but "runs/first.nc" exists.\n'
    )
    assert result.read_text() == "old"
    assert cli.main(["sweep", "run.toml", "--quiet", "--overwrite"]) == 0
    assert capsys.readouterr() == ("", "")
    xr.testing.assert_identical(result_of(folder), result_of(finished))
    assert (folder / "old").read_text() == "old"  # replaced as a whole


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("depth = [1, 2]", "dept = [1, 2]", "grid.dept"),
        ('"modes"', '"closed"', "solve.solver"),
        ("rho = [0.9", "rho = [-0.9", "data.rho[0]"),
        ("1e-2]", "0]", "grid.scale[1]"),
        ("lam = [1.0", "lam = [nan", "data.lam[0]"),
        ("runs/first.nc", "run.toml/first.nc", "output.path"),
        ("[data]", "[data", None),
    ],
)
def test_faults_are_one_line_and_write_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, key: str | None
):
    assert old in RUN
    (folder / "run.toml").write_text(RUN.replace(old, new))
    assert cli.main(["sweep", "run.toml"]) == cli.FAULT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"jepa-sim: error: {f'Key `{key}`' if key else 'The configuration'} must")
    assert all(line.startswith("jepa-sim: error: ") for line in err.splitlines())
    assert contents(folder) == ["run.toml"]


def test_samples_with_nan_write_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    views = np.ones((4, 3))
    views[1, 2] = np.nan
    np.savez(folder / "views.npz", x=views, y=views)
    data = RUN.index("[grid]")
    (folder / "run.toml").write_text(
        f'[data]\nkind = "samples"\npath = "views.npz"\n{RUN[data:]}', encoding="utf-8"
    )
    assert cli.main(["sweep", "run.toml"]) == cli.FAULT
    assert capsys.readouterr().err == (
        "jepa-sim: error: Key `data.path` must be finite, but has nan at [1][2] in `x`.\n"
    )
    assert contents(folder) == ["run.toml", "views.npz"]


def test_a_failed_write_leaves_the_old_result(
    finished: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (folder / "runs").mkdir()
    (folder / "runs" / "first.nc").write_text("old")

    def full(dataset: xr.Dataset, path: Path, **options: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jepa_sim.sweeps.sweep.collect", lambda *_, **__: result_of(finished))
    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    assert cli.main(["sweep", "run.toml", "--overwrite", "--quiet"]) == cli.FAILURE
    assert capsys.readouterr().err == "jepa-sim: error: [Errno 28] No space left on device\n"
    assert contents(folder) == ["run.toml", "runs", "runs/first.nc"]
    assert (folder / "runs" / "first.nc").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError("8 TiB."), cli.FAILURE, "There is not enough memory. 8 TiB."),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_a_sweep_that_ends_early_writes_nothing(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
):
    def collect(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("jepa_sim.sweeps.sweep.collect", collect)
    assert cli.main(["sweep", "run.toml"]) == code
    assert capsys.readouterr().err == f"jepa-sim: error: {said}\n"
    assert contents(folder) == ["run.toml"]


def test_show(folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]):
    found = result_of(finished)
    found["critical_time"] = found.critical_time * xr.DataArray([1.0, 3.0, 100.0], dims="seed")
    found.to_netcdf("spread.nc", engine="h5netcdf")
    assert cli.main(["show", "spread.nc"]) == 0
    printed = capsys.readouterr().out
    assert "24 trajectories" in printed
    assert "Modes(" in printed
    at = {"objective": "mae", "depth": 2, "scale": 1e-2, "critical_fraction": 0.5, "feature": 2}
    median = float(found.critical_time.sel(at).isel(seed=1).squeeze())
    assert f" {median:.3g} " in printed


def test_show_says_what_became_of_features_without_a_time(
    folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]
):
    found = result_of(finished)
    title = "Encoder gain of each feature at the last time"
    assert title not in (finished / "printed").read_text()
    found["features"] = xr.full_like(found.features, 0.625)
    found.critical_time[0, 0, 0, 0, 0, 0] = np.inf
    found.plateau[1] = np.nan  # as where a predictor is set by a formula
    found.to_netcdf("never.nc", engine="h5netcdf")
    assert cli.main(["show", "never.nc"]) == 0
    printed = capsys.readouterr().out
    assert title in printed
    assert printed.count("0.625") == 3 * found.objective.size * found.depth.size
    assert printed.count("unknown") == 3 * found.depth.size


def test_show_counts_failures(folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]):
    found = result_of(finished)
    found.result[0, 0, 0, 0, :2] = js.ResultCode.out_of_steps
    found.critical_time[0, 0] = np.inf
    found.to_netcdf("failed.nc", engine="h5netcdf")
    assert cli.main(["show", "failed.nc"]) == 0
    printed = capsys.readouterr().out
    assert f"2 failed: {js.ResultCode.out_of_steps.reason}" in printed
    assert "never" in printed


def test_show_refuses_what_is_no_result(folder: Path, capsys: pytest.CaptureFixture[str]):
    xr.Dataset({"a": 1}).to_netcdf("other.nc", engine="h5netcdf")
    for path, rule in (
        ("none.nc", "be a file or folder that exists"),
        ("run.toml", "be a NetCDF file"),
        ("other.nc", "be written by `jepa-sim sweep`"),
    ):
        assert cli.main(["show", path]) == cli.FAULT
        said = f"jepa-sim: error: Argument `RUN` must {rule}, but is {path}.\n"
        assert capsys.readouterr().err == said


def test_info(folder: Path, capsys: pytest.CaptureFixture[str], cache: str):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    for word in (jax.__version__, js.__version__, jax.devices()[0].platform, "float64"):
        assert word in printed


def test_demo_gets_its_own_options(folder: Path, monkeypatch: pytest.MonkeyPatch):
    got = []
    demo = types.ModuleType("jepa_sim.cli.demo")
    demo.main = lambda argv: got.extend(argv)
    monkeypatch.setitem(sys.modules, "jepa_sim.cli.demo", demo)
    monkeypatch.setattr(cli, "demo", demo, raising=False)
    assert cli.main(["demo", "--help", "x"]) == 0
    assert got == ["--help", "x"]


@pytest.mark.parametrize(
    "command",
    [[], *([c] for c in ("sweep", "status", "show", "retry", "export", "explore", "info"))],
)
def test_help(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: jepa-sim")
    assert max(map(len, printed.splitlines())) <= 80


def test_the_example_in_the_help_is_valid():
    text = EXAMPLE.partition(":\n")[2].partition("Paths are")[0]
    assert parse(text).output.path == "runs/first.nc"


def test_from_the_shell(folder: Path):
    (folder / "run.toml").write_text(RUN.replace("depth = [1, 2]", "depth = [1, 0]"))
    done = subprocess.run(
        [sys.executable, "-m", "jepa_sim", "sweep", "run.toml"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(js.__file__).parents[1])},
    )
    assert done.returncode == 2
    said = "jepa-sim: error: Key `grid.depth[1]` must be at least 1, but is 0.\n"
    assert (done.stdout, done.stderr) == ("", said)
    assert contents(folder) == ["run.toml"]


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("JEPA_SIM_CACHE", str(tmp_path))
    assert compiled.cache_folder() == tmp_path
    monkeypatch.setenv("JEPA_SIM_CACHE", "")
    assert compiled.cache_folder() is None
    monkeypatch.delenv("JEPA_SIM_CACHE")
    assert compiled.cache_folder().name == "jepa_sim"


DESCENT = """
[data]
kind = "features"
lam = [1.0, 0.5]
rho = [0.9, 0.8]
[grid]
objective = ["jepa"]
depth = [1]
scale = [0.1, 0.2]
seed = { start = 0, stop = STOP }
start = "gaussian"
[solve]
solver = "descent"
learning_rate = 0.01
max_steps = 500
times = { kind = "log", start = 1, stop = 20, count = 4 }
[output]
path = "runs/large"
"""


@pytest.mark.slow
def test_a_run_in_a_folder_goes_on_grows_and_is_mended(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    def says(*command: str, code: int = 0) -> str:
        assert cli.main(command) == code
        out, err = capsys.readouterr()
        return out + err

    Path("large.toml").write_text(DESCENT.replace("STOP", "4"))
    assert "8 runs, in 1 blocks of up to 8" in says("sweep", "large.toml", "--dry-run")
    assert not Path("runs").exists()
    assert "8 failed: The solver used up" in says("sweep", "large.toml")
    assert "8 of 8 runs (100.0 %), 1 of 1 blocks\n8 failed\n" in says("status", "runs/large")
    begun = Path("runs/large/done/0.0.0.0.0.0.json").stat().st_mtime_ns
    says("sweep", "large.toml", "--quiet")
    assert Path("runs/large/done/0.0.0.0.0.0.json").stat().st_mtime_ns == begun
    assert "\n0 failed\n" in says("retry", "runs/large", "--max-steps", "100000", "--quiet")
    Path("large.toml").write_text(DESCENT.replace("STOP", "5"))
    said = says("sweep", "large.toml", "--quiet", code=cli.FAULT)
    assert said.startswith(
        "jepa-sim: error: Run `runs/large` must have the configuration asked for"
    )
    assert "[0, 1, 2, 3] in the run, [0, 1, 2, 3, 4] asked for" in said
    assert said.count("\n") == 1
    says("sweep", "large.toml", "--quiet", "--extend")
    found = says("status", "runs/large", "--verify")
    assert found.startswith("0 damaged blocks\n0 damaged arrays\nruns/large: 10 of 10 runs")
    assert "10 trajectories at 4 times" in says("show", "runs/large")
    says("export", "runs/large", "large.nc")
    says("export", "runs/large", "large.parquet")
    assert "2 failed" in says("show", "large.nc")
    import pandas as pd

    assert len(pd.read_parquet("large.parquet")) == 10 * 2 * 2  # fractions, features
    assert "large.nc exists" in says("export", "runs/large", "large.nc", code=cli.FAULT)


def test_tables_wrap_where_there_are_few_columns(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Nothing is cut: there are the numbers of the wide tables, in more lines."""
    path = str(finished / "runs" / "first.nc")
    monkeypatch.delenv("COLUMNS", raising=False)
    printed = {}
    for columns in (None, 60, 44):
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
        assert cli.main(["show", path]) == 0
        printed[columns] = capsys.readouterr().out
    tables = {n: "".join(re.findall("^│.*\n", said, re.MULTILINE)) for n, said in printed.items()}
    wide = max(map(len, tables[None].splitlines()))
    assert 60 < wide <= 160
    for columns in (60, 44):
        assert max(map(len, printed[columns].splitlines())) <= columns
        assert "…" not in tables[columns]
        numbers = {n: set(re.findall(r"\d\S*\.\S+", tables[n])) for n in (None, columns)}
        assert numbers[columns] == numbers[None]


@pytest.mark.slow
def test_a_run_in_a_file_is_mended_and_exported(
    folder: Path, finished: Path, capsys: pytest.CaptureFixture[str]
):
    def says(*command: str, code: int = 0) -> str:
        assert cli.main(command) == code
        out, err = capsys.readouterr()
        return out + err

    whole = result_of(finished)
    few = RUN.replace("runs/first", "few")
    Path("few.toml").write_text(few.replace('"modes"', '"modes"\nmax_steps = 30'))
    says("sweep", "few.toml", "--quiet")
    failed = int((xr.load_dataset("few.nc", engine="h5netcdf").result > 0).sum())
    assert 0 < failed < 24
    said = f"few.nc: 24 of 24 runs (100.0 %), in one file\n{failed} failed\n"
    assert says("status", "few.nc") == said
    assert "must be left out for a file" in says("status", "few.nc", "--verify", code=cli.FAULT)
    said = says("retry", "few.nc", "--max-steps", "10000", "--quiet")
    assert said.endswith("\n0 failed\n")
    mended = xr.load_dataset("few.nc", engine="h5netcdf")
    xr.testing.assert_allclose(mended, whole)
    assert mended.attrs["remarks"] == whole.attrs["remarks"]
    says("export", "few.nc", "few.parquet")
    import pandas as pd

    table = pd.read_parquet("few.parquet").critical_time
    np.testing.assert_allclose(np.sort(table), np.sort(whole.critical_time.values.ravel()))


def test_of_a_file_that_is_no_run(folder: Path, capsys: pytest.CaptureFixture[str]):
    Path("a.nc").write_text("no")
    xr.Dataset({"x": ("y", [1.0])}).to_netcdf("b.nc", engine="h5netcdf")
    for command in (["status"], ["show"], ["retry"], ["export"]):
        for path, fault in (
            ("a.nc", "be a NetCDF file"),
            ("b.nc", "be written by `jepa-sim sweep`"),
            ("c.nc", "be a file or folder that exists"),
        ):
            further = ["x.parquet"] if command == ["export"] else []
            assert cli.main([*command, path, *further]) == cli.FAULT
            line = f"jepa-sim: error: Argument `RUN` must {fault}, but is {path}.\n"
            assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("path", "options", "line"),
    [
        ("runs/a.nc", ["--extend"], "Option `--extend` must be left out unless"),
        ("runs/a", ["--workers", "2"], "Option `--workers` must come with `--engine dask`."),
        ("runs/a", ["--engine", "dask", "--workers", "0"], "must be at least 1, but is 0."),
        ("runs/a", ["--engine", "dask", "--shard", "0/2"], "must be left out with `--engine dask`"),
    ],
)
def test_options_that_do_not_go_together(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str, options: list[str], line: str
):
    Path("run.toml").write_text(RUN.replace("runs/first.nc", path))
    assert cli.main(["sweep", "run.toml", *options]) == cli.FAULT
    assert line in capsys.readouterr().err
    assert contents(folder) == ["run.toml"]


def test_a_dry_run_needs_no_free_place(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished)
    before = contents(finished)
    assert cli.main(["sweep", "run.toml", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("8 runs\n")
    assert contents(finished) == before


def test_a_page_of_no_run_is_refused_at_once(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["explore", "nofile.nc"]) == cli.FAULT
    line = "Argument `RUN` must be a file or folder that exists, but is nofile.nc."
    assert capsys.readouterr().err == f"jepa-sim: error: {line}\n"


@pytest.mark.parametrize("shard", ["2/2", "1", "-1/2", "a/b"])
def test_a_shard_is_one_of_n(folder: Path, capsys: pytest.CaptureFixture[str], shard: str):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["sweep", "run.toml", f"--shard={shard}"])
    assert "must be i/n with 0 ≤ i < n" in capsys.readouterr().err


def test_a_folder_that_is_no_run(folder: Path, capsys: pytest.CaptureFixture[str]):
    for command in ("status", "show", "retry"):
        assert cli.main([command, str(folder)]) == cli.FAULT
        assert "but has no manifest.json." in capsys.readouterr().err


@pytest.mark.slow
def test_damaged_runs_are_said_in_one_line_and_mended(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    def says(*command: str, code: int = 0) -> str:
        assert cli.main(command) == code
        out, err = capsys.readouterr()
        return err if code == cli.FAULT else out

    Path("large.toml").write_text(DESCENT.replace("STOP", "2"))
    says("sweep", "large.toml", "--quiet")
    shown = says("show", "runs/large")
    data = Path("runs/large/data.zarr")
    for file, content in (
        (data / "features/c.0.0.0.0.0.0.0.0", None),
        (data / "features/zarr.json", b"{"),
    ):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        for command in (["show", "runs/large"], ["export", "runs/large", "large.nc"]):
            said = says(*command, code=cli.FAULT)
            assert said.startswith("jepa-sim: error: ")
            assert "of run `runs/large` is damaged: " in said
            assert said.endswith("`jepa-sim status runs/large --verify` finds all damage.\n")
            assert said.count("\n") == 1
        assert "1 damaged " in says("status", "runs/large", "--verify", code=cli.FAILURE)
        says("sweep", "large.toml", "--quiet")
        assert says("show", "runs/large") == shown
    assert not list(folder.glob("*large.nc*"))


def test_a_result_without_room_is_said_before_anything_is_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jepa_sim.sweeps.sweep.collect", None)
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert cli.main(["sweep", "run.toml"]) == cli.FAILURE
    said = capsys.readouterr().err
    assert said.startswith("jepa-sim: error: File `runs/first.nc` must have room for 0.0 MiB, but ")
    assert said.endswith("has not: No space left on device.\n")
    assert contents(folder) == ["run.toml"]


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ('kind = "power_law"\ndimension = 200000', "dimension"),
        ('kind = "pixel_mask"\nshape = [1000, 200]\nlength = 2.0\nkeep = 0.5', "shape"),
    ],
)
def test_moments_that_no_memory_holds(
    folder: Path, capsys: pytest.CaptureFixture[str], data: str, key: str
):
    grid = RUN[RUN.index("[grid]") :].replace("runs/first.nc", "runs/first")
    (folder / "run.toml").write_text(f"[data]\n{data}\n{grid}")
    assert cli.main(["sweep", "run.toml", "--dry-run"]) == cli.FAILURE
    assert capsys.readouterr().err == (
        f"jepa-sim: error: There is not enough memory. Key `data.{key}` must be smaller: moments "
        "of 200,000 dimensions take at least 1,788 GiB.\n"
    )


@pytest.mark.slow
def test_runs_are_read_where_files_cannot_be_locked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As on Windows, which has no fcntl."""
    Path("large.toml").write_text(DESCENT.replace("STOP", "2"))
    assert cli.main(["sweep", "large.toml", "--quiet"]) == 0
    code = (
        "import importlib; from jepa_sim import cli; "
        "importlib.import_module('jepa_sim.campaigns.store.lock').fcntl = None; "
        "print(cli.main(['status', 'runs/large'])); print(cli.main(['show', 'runs/large'])); "
        "print(cli.main(['sweep', 'large.toml']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(js.__file__).parents[1])},
        check=False,
    )
    assert "4 of 4 runs" in done.stdout
    assert done.stdout.split()[-1] == str(cli.FAULT)
    assert done.stderr == (
        "jepa-sim: error: Run `runs/large` must be written where the operating system locks files, "
        "as Linux and macOS do: write to a file that ends in .nc instead.\n"
    )


@pytest.mark.parametrize("module", ["pydantic_core", "numpy.random", "diffrax._autocitation"])
def test_ctrl_c_while_the_program_is_loaded_ends_it(folder: Path, module: str):
    """Python names every module when it has been imported."""
    command = [sys.executable, "-X", "importtime", "-m", "jepa_sim", "sweep", "run.toml"]
    environment = {**os.environ, "PYTHONPATH": str(Path(js.__file__).parents[1])}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stderr is not None
        lines = iter(child.stderr)
        assert any(line.split("|")[-1].strip() == module for line in lines)
        child.send_signal(signal.SIGINT)
        said = [line for line in lines if not line.startswith("import time:")]
    assert (said, child.returncode) == (["jepa-sim: error: Interrupted.\n"], 130)
    assert contents(folder) == ["run.toml"]
