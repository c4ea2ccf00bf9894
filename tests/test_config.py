"""Every fault of a configuration is one line with the key, the rule and the value."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from jepa_sim.config import Config, ConfigError, check_output, load, parse

FEATURES = 'kind = "features"\nlam = [1.0, 1.0, 0.5]\nrho = [0.9, 0.3, 0.8]'
GRID = 'objective = ["jepa", "mae"]\ndepth = [1, 2]\nscale = [1e-1, 1e-2]'
SOLVE = 'solver = "closed_form"\ntimes = { kind = "critical", count = 20 }'
FLOW = SOLVE.replace("closed_form", "gradient_flow")
DESCENT = SOLVE.replace("closed_form", "descent") + "\nlearning_rate = 1e-2"
OUTPUT = 'path = "runs/first.nc"'


def toml(
    *, data: str = FEATURES, grid: str = GRID, solve: str = SOLVE, output: str = OUTPUT
) -> str:
    return f"[data]\n{data}\n[grid]\n{grid}\n[solve]\n{solve}\n[output]\n{output}\n"


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == "\n".join(caught.value.lines)
    assert all(line.isprintable() for line in caught.value.lines)
    return caught.value.lines


def assert_one_fault(text: str, key: str) -> None:
    """One line that begins with the key. `test_the_commonest_messages` shows whole lines."""
    (line,) = faults(text)
    assert line.startswith(f"Key `{key}` must ")
    assert line.endswith((".", "?"))


def test_all_keys_are_read():
    config = parse(
        toml(
            grid=GRID
            + "\npredictor_depth = [1, 3]\nseed = { start = 2, stop = 5 }\nrotated = true",
            solve='solver = "gradient_flow"\nrtol = 1e-9\natol = 1e-12\nmax_steps = 50\n'
            'times = { kind = "log", start = 1, stop = 1e6, count = 7 }\nprecision = "float32"',
            output=OUTPUT + "\ncritical_fraction = [0.1, 0.5]",
        )
    )
    assert config.data.spectra == [((1.0, 1.0, 0.5), (0.9, 0.3, 0.8))]
    assert config.grid.objective == ("jepa", "mae")
    assert config.grid.depth == (1, 2)
    assert all(isinstance(depth, int) for depth in config.grid.depth)
    assert config.grid.predictor_depth == (1, 3)
    assert config.grid.scale == (0.1, 0.01)
    assert list(config.grid.seeds) == [2, 3, 4]
    assert config.grid.rotated
    assert (config.solve.rtol, config.solve.atol, config.solve.max_steps) == (1e-9, 1e-12, 50)
    assert (config.solve.times.start, config.solve.times.stop) == (1.0, 1e6)
    assert config.solve.precision == "float32"
    assert config.output.critical_fraction == (0.1, 0.5)


def test_left_out_keys_have_defaults():
    config = parse(toml())
    assert config.grid.predictor_depth == (1,)
    assert list(config.grid.seeds) == [0]
    assert config.grid.start == "balanced"
    assert not config.grid.rotated
    assert config.solve.precision == "float64"
    assert config.output.critical_fraction == (0.5, 0.9)


def test_several_spectra():
    data = 'kind = "features"\nlam = [[1, 2], [3, 4]]\nrho = [[0.1, 0.2], [0.3, 0.4]]'
    assert parse(toml(data=data)).data.spectra == [((1, 2), (0.1, 0.2)), ((3, 4), (0.3, 0.4))]


def test_negative_lam_and_rho_make_a_positive_variance():
    parse(toml(data='kind = "features"\nlam = [1.0, -1.0]\nrho = [0.5, -0.5]'))


def test_depths_between_whole_numbers_are_for_the_reduced_theory():
    assert parse(toml(grid=GRID.replace("[1, 2]", "[1, 1.5]"))).grid.depth == (1, 1.5)


def test_text_is_kept():
    text = toml()
    assert parse(text).text == text


def test_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse(toml()).grid.depth = (1,)


FAULTS = [
    # wrong keys
    ({"grid": GRID + "\ndept = [1]"}, "grid.dept"),
    ({"solve": SOLVE + "\nlearning_rate = 0.1"}, "solve.learning_rate"),
    (
        {"solve": 'solver = "closed_form"\ntimes = { kind = "critical", cuont = 3 }'},
        "solve.times.cuont",
    ),
    ({"grid": GRID + "\nseed = { stop = 3, step = 1 }"}, "grid.seed.step"),
    ({"output": OUTPUT + "\n[outputs]\n"}, "outputs"),
    ({"output": OUTPUT + '\n"a b\\n" = 1'}, 'output."a b\\n"'),
    # misspelt names
    ({"data": 'kind = "featurs"'}, "data.kind"),
    ({"solve": SOLVE.replace("closed_form", "closedform")}, "solve.solver"),
    ({"solve": 'solver = "modes"\ntimes = { kind = "linear" }'}, "solve.times.kind"),
    ({"grid": GRID.replace('"mae"', '"mea"')}, "grid.objective[1]"),
    ({"grid": GRID + '\nstart = "gausian"'}, "grid.start"),
    ({"solve": DESCENT + '\noptimizer = "adamw"'}, "solve.optimizer"),
    ({"solve": SOLVE + "\nprecision = 32"}, "solve.precision"),
    ({"data": "kind = [1]"}, "data.kind"),
    # missing keys
    ({"data": "lam = [1]"}, "data.kind"),
    ({"grid": 'objective = ["mae"]\nscale = [1]'}, "grid.depth"),
    ({"grid": GRID + "\nseed = {}"}, "grid.seed.stop"),
    ({"data": 'kind = "samples"'}, "data.path"),
    ({"data": 'kind = "samples"\npath = "s.npz"\nshrinkage = 1.0'}, "data.shrinkage"),
    ({"solve": DESCENT.replace("learning_rate = 1e-2", "")}, "solve.learning_rate"),
    # wrong types
    ({"data": FEATURES.replace("0.5]", "true]")}, "data.lam[2]"),
    ({"data": FEATURES.replace("0.5]", '"0.5"]')}, "data.lam[2]"),
    ({"grid": GRID.replace("[1, 2]", "2")}, "grid.depth"),
    ({"grid": GRID.replace("[1, 2]", '"2"')}, "grid.depth"),
    ({"grid": GRID + "\nrotated = 1"}, "grid.rotated"),
    ({"grid": GRID + "\nseed = 3"}, "grid.seed"),
    ({"grid": GRID + "\nseed = [true]"}, "grid.seed[0]"),
    ({"grid": GRID + "\nseed = [1.0]"}, "grid.seed[0]"),
    ({"solve": 'solver = "modes"\ntimes = 3'}, "solve.times"),
    ({"output": "path = 3"}, "output.path"),
    ({"grid": GRID.replace("1e-1", "1979-05-27")}, "grid.scale[0]"),
    # numbers out of range
    ({"grid": GRID.replace("[1, 2]", "[1, 0]")}, "grid.depth[1]"),
    ({"grid": GRID.replace("1e-1", "0.0")}, "grid.scale[0]"),
    ({"grid": GRID.replace("1e-2", "-0.01")}, "grid.scale[1]"),
    ({"grid": GRID.replace("1e-1", "nan")}, "grid.scale[0]"),
    ({"grid": GRID.replace("1e-1", "inf")}, "grid.scale[0]"),
    ({"data": FEATURES.replace("0.3", "nan")}, "data.rho[1]"),
    ({"grid": GRID + "\nseed = [-1]"}, "grid.seed[0]"),
    ({"output": OUTPUT + "\ncritical_fraction = [0.5, 1.0]"}, "output.critical_fraction[1]"),
    ({"output": OUTPUT + "\ncritical_fraction = [0]"}, "output.critical_fraction[0]"),
    ({"solve": SOLVE.replace("20", "1")}, "solve.times.count"),
    ({"solve": FLOW + "\nrtol = 0"}, "solve.rtol"),
    ({"solve": FLOW + "\nmax_steps = 0"}, "solve.max_steps"),
    ({"solve": DESCENT + "\nbatch_size = 0"}, "solve.batch_size"),
    ({"data": 'kind = "images"\npatch = 1'}, "data.patch"),
    # empty lists and ranges, repeated entries
    ({"grid": GRID.replace("[1, 2]", "[]")}, "grid.depth"),
    ({"data": FEATURES.replace("[0.9, 0.3, 0.8]", "[]")}, "data.rho"),
    ({"grid": GRID + "\nseed = { start = 3, stop = 3 }"}, "grid.seed.stop"),
    (
        {"solve": 'solver = "modes"\ntimes = { kind = "log", start = 10, stop = 1.5 }'},
        "solve.times.stop",
    ),
    ({"grid": GRID.replace("[1, 2]", "[1, 2, 1]")}, "grid.depth[2]"),
    # features that no data can have
    ({"data": FEATURES.replace("0.3", "-0.3")}, "data.rho[1]"),
    ({"data": FEATURES.replace("0.3", "0.0")}, "data.rho[1]"),
    ({"data": FEATURES.replace("0.5", "0.0")}, "data.lam[2]"),
    ({"data": FEATURES.replace(", 0.8", "")}, "data.rho"),
    ({"data": 'kind = "features"\nlam = [[1], [1]]\nrho = [1]'}, "data.rho"),
    ({"data": 'kind = "features"\nlam = [[1], [1, 2]]\nrho = [[1], [1, 2]]'}, "data.lam[1]"),
    ({"data": 'kind = "features"\nlam = [[1], [1]]\nrho = [[1], [-1]]'}, "data.rho[1][0]"),
    # what does not go together
    ({"grid": GRID + '\nstart = "gaussian"'}, "grid.start"),
    ({"grid": GRID + '\nstart = "random_balanced"'}, "grid.start"),
    ({"grid": GRID + '\nstart = "gaussian"\nrotated = true', "solve": FLOW}, "grid.rotated"),
    (
        {"grid": GRID.replace('"jepa"', '"jepa_moving_average"'), "solve": FLOW},
        "grid.time_constant",
    ),
    ({"grid": GRID + "\nimbalance = [0.1]", "solve": FLOW}, "grid.imbalance"),
    ({"grid": GRID + "\nweight_decay = [0, -0.1]", "solve": FLOW}, "grid.weight_decay[1]"),
    ({"grid": GRID + '\npredictor = "fast"', "solve": FLOW}, "grid.objective[1]"),
    ({"grid": GRID + "\nweight_decay = [0.1]"}, "grid.weight_decay"),
    ({"grid": GRID.replace('"jepa"', '"jepa_no_stop_gradient"')}, "grid.objective[0]"),
    (
        {
            "grid": GRID + '\nstart = "misaligned"\nangle = [1]',
            "solve": FLOW.replace("gradient_flow", "layer_modes"),
        },
        "grid.start",
    ),
    ({"output": OUTPUT + '\nobservables = ["featurs"]'}, "output.observables[0]"),
    ({"grid": GRID.replace("[1, 2]", "[1, 1.5]"), "solve": FLOW}, "grid.depth[1]"),
    ({"output": 'path = "first.txt"'}, "output.path"),
    ({"output": 'path = "a\\u0000.nc"'}, "output.path"),
]


@pytest.mark.parametrize(("tables", "key"), FAULTS)
def test_a_fault_is_one_line(tables: dict[str, str], key: str):
    assert_one_fault(toml(**tables), key)


def test_a_misspelt_key_is_told_once():
    (line,) = faults(toml(grid=GRID.replace("depth", "dept")))
    assert line.endswith("did you mean `depth`?")


def abridged(line: str) -> str:
    """A list of more than four names grows with the package: the first is enough."""
    return re.sub(r"be one of ([^,]+)(, [^,]+){4,}, but is", r"be one of \1, …, but is", line)


def test_the_commonest_messages():
    """All faults are reported at once, each in one line."""
    text = """
        [data]
        kind = "features"
        lam = [1.0, 1.0, true]
        rho = [0.9, nan]
        [grid]
        objective = ["jepa", "mea"]
        scale = [0.1, 0]
        seed = { start = 3, stop = 3 }
        rotated = 1
        [solve]
        solver = "modes"
        times = { kind = "critical", count = 1, cuont = 5 }
        rtol = 1e-6
        [output]
        path = "first.txt"
        critical_fraction = []
        [outputs]
    """
    assert tuple(map(abridged, faults(text))) == (
        "Key `data.lam[2]` must be a number, but is true.",
        "Key `data.rho[1]` must be finite, but is nan.",
        'Key `grid.objective[1]` must be one of "jepa", …, but is "mea" (did you mean "mae"?).',
        "Key `grid.depth` must be given, but is missing.",
        "Key `grid.scale[1]` must be above 0, but is 0.",
        "Key `grid.seed.stop` must be above `grid.seed.start` = 3, but is 3.",
        "Key `grid.rotated` must be true or false, but is 1.",
        "Key `solve.times.count` must be at least 2, but is 1.",
        "Key `solve.times.cuont` must be one of `count`, `kind`, `last`, but is unknown: "
        "did you mean `count`?",
        "Key `solve.rtol` must be one of `max_steps`, …, but is unknown.",
        "Key `output.path` must end in .nc (a file) or have no suffix (a folder), "
        'but is "first.txt".',
        "Key `output.critical_fraction` must have at least one entry, but is [].",
        "Key `outputs` must be one of `data`, `grid`, `output`, `solve`, but is unknown: "
        "did you mean `output`?",
    )


def test_several_faults_of_one_rule_are_several_lines():
    assert len(faults(toml(data=FEATURES.replace("0.3", "-0.3").replace("0.9", "-0.9")))) == 2


def test_long_values_are_cut():
    (line,) = faults(toml(output=f'path = "{"x" * 1000}.txt"'))
    assert len(line) < 150


def test_missing_tables():
    assert faults("") == tuple(
        f"Key `{name}` must be given, but is missing."
        for name in ("data", "grid", "solve", "output")
    )


@pytest.mark.parametrize(
    "text", ["[data\n", "a = 1\na = 2", f"a = {'[' * 5000}", "a = " + "9" * 5000]
)
def test_text_that_is_not_toml(text: str):
    (line,) = faults(text)
    assert line.startswith("The configuration must be TOML, but is ")


def test_load(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text(toml(), encoding="utf-8")
    assert isinstance(load(path), Config)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^File `.*none.toml` must exist, but does not\.$"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="must be a TOML file, but is a folder"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(ConfigError, match="must be text in UTF-8"):
        load(tmp_path / "latin.toml")


# Data models and real data

STATIC = 'kind = "static"\nsignal = [1, 0.5]\nnoise = 0.1'
DYNAMIC = STATIC.replace("static", "dynamic") + "\nautocorrelation = [0.9, -0.5]"
TEMPORAL = DYNAMIC.replace("dynamic", "temporal") + "\nframes = 4\n"
PIXELS = 'kind = "pixel_mask"\nshape = [2, 3]\nlength = 1.5\nkeep = 0.5'
BLOCK = 'kind = "block_mask"\nshape = [2, 3]\nlength = 1.5\nblock = [1, 2]'
LOW_RANK = 'kind = "low_rank"\ndimension = 3\nsignal = [1, 0.5]\nnoise = 0.1'
COMMUTE = 'kind = "non_commuting"\ndimension = 3\nangle = 0.5'
SERIES = 'kind = "series"\nname = "elnino"\nwindow = 12\nlag = 6'


def test_one_number_or_one_for_each_feature():
    data = parse(toml(data=DYNAMIC + "\nnoise_autocorrelation = [0, 1]\nlag = 2")).data
    assert data.signal == (1, 0.5)
    assert data.noise == 0.1
    assert data.autocorrelation == (0.9, -0.5)
    assert data.noise_autocorrelation == (0, 1)
    assert (data.lag, data.pairs, data.seed) == (2, None, 0)


def test_light_is_the_view_unless_another_is_named():
    def view(keys: str) -> tuple[str, str]:
        data = parse(toml(data=keys)).data
        return data.kind, data.view

    assert view('kind = "images"') == ("images", "lighting")
    assert view('kind = "digits"\nsensor_sd = 1') == ("digits", "lighting")
    assert view('kind = "images"\nview = "shift"') == ("images", "shift")
    assert view('kind = "digits"\nview = "noise"\nnoise = 1') == ("digits", "noise")


FAULTS_OF_DATA = [
    # names
    ('kind = "images"\nview = "light"', "data.view"),
    ('kind = "digits"\nview = 3', "data.view"),
    (TEMPORAL + 'policy = { kind = "sufix", length = 1 }', "data.policy.kind"),
    (SERIES.replace("elnino", "co2"), "data.name"),
    (PIXELS + '\ntarget = "all"', "data.target"),
    # keys of the variant that is chosen, and no others
    ('kind = "images"\nview = "noise"\nnoise = 1\nkeep = 0.5', "data.keep"),
    ('kind = "digits"\npatch = 4', "data.patch"),
    (TEMPORAL + 'policy = { kind = "suffix", length = 1, lenght = 2 }', "data.policy.lenght"),
    ('kind = "images"\nview = "noise"', "data.noise"),
    # numbers out of range
    (STATIC.replace("0.5", "-0.5"), "data.signal[1]"),
    (STATIC.replace("0.1", '"0.1"'), "data.noise"),
    (STATIC.replace("0.1", "[1, -1]"), "data.noise[1]"),
    (STATIC.replace("0.1", "[]"), "data.noise"),
    (STATIC + "\npairs = 0", "data.pairs"),
    (DYNAMIC.replace("-0.5", "-1.5"), "data.autocorrelation[1]"),
    (DYNAMIC + "\nnoise_autocorrelation = 2", "data.noise_autocorrelation"),
    (DYNAMIC + "\nlag = 0", "data.lag"),
    (PIXELS.replace("0.5", "0"), "data.keep"),
    (COMMUTE.replace("0.5", "1.5"), "data.angle"),
    (COMMUTE.replace("0.5", "[0.5, -1]"), "data.angle[1]"),
    ('kind = "digits"\nview = "shift"\nshift = 7', "data.shift"),
    ('kind = "digits"\nview = "mask"\nkeep = 0.5\nnoise = 0', "data.noise"),
    # what does not go together
    (STATIC.replace("0.1", "[1, 1, 1]"), "data.noise"),
    (DYNAMIC.replace("[0.9, -0.5]", "[0.9]"), "data.autocorrelation"),
    (STATIC.replace("0.5]", "0]").replace("0.1", "0"), "data.signal[1]"),
    (TEMPORAL + 'policy = { kind = "random", keep = 4 }', "data.policy.keep"),
    (TEMPORAL + 'policy = { kind = "block", length = 5 }', "data.policy.length"),
    (PIXELS.replace("0.5", "1") + '\ntarget = "hidden"', "data.keep"),
    (BLOCK.replace("[1, 2]", "[3, 1]"), "data.block"),
    (BLOCK.replace("[1, 2]", "[2, 3]"), "data.block"),
    (BLOCK.replace("[1, 2]", "[2, 2]"), "data.block"),
    (LOW_RANK.replace("3", "1"), "data.dimension"),
    ('kind = "images"\nview = "mask"', "data.keep"),
    ('kind = "images"\nview = "mask"\nkeep = 0.5\nblock = [2, 2]', "data.keep"),
    ('kind = "images"\nview = "mask"\nblock = [9, 2]', "data.block"),
    (SERIES.replace("elnino", "sunspots") + "\nanomalies = true", "data.anomalies"),
    (SERIES.replace("12", "364"), "data.window"),
]


@pytest.mark.parametrize(("data", "key"), FAULTS_OF_DATA)
def test_a_fault_of_a_data_model_is_one_line(data: str, key: str):
    assert_one_fault(toml(data=data), key)


def test_a_block_that_always_hides_a_pixel_is_fine_under_noise():
    data = BLOCK.replace("[1, 2]", "[2, 2]") + "\nnoise = 0.1"
    assert parse(toml(data=data)).data.block == (2, 2)
    assert parse(toml(data=BLOCK)).data.noise == 0  # no pixel is always under this one


# Arrays in files


def samples(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return toml(data=f'kind = "samples"\npath = "{path}"')


VIEWS = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_samples_come_back_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, dtype: str
):
    monkeypatch.setattr("jepa_sim.config.arrays.BATCH_BYTES", 3 * 8 * 2)  # two rows
    x = np.asarray(np.arange(15).reshape(5, 3), dtype=dtype, order=order)
    batches = list(parse(samples(tmp_path / "s.npz", x=x, y=-x)).data.file.batches())
    assert [len(batch[0]) for batch in batches] == [2, 2, 1]
    for k, sign in ((0, 1), (1, -1)):
        np.testing.assert_array_equal(np.concatenate([batch[k] for batch in batches]), sign * x)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": VIEWS},
        {"x": VIEWS, "y": VIEWS[:3]},
        {"x": VIEWS[0], "y": VIEWS[0]},
        {"x": VIEWS[:0], "y": VIEWS[:0]},
        {"x": VIEWS.astype(str), "y": VIEWS},
        {"x": VIEWS.astype(object), "y": VIEWS},
        {"x": VIEWS + 0j, "y": VIEWS},
    ],
)
def test_samples_that_are_none(tmp_path: Path, arrays: dict[str, np.ndarray]):
    assert_one_fault(samples(tmp_path / "s.npz", **arrays), "data.path")


def test_samples_that_are_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepa_sim.config.arrays.BATCH_BYTES", 3 * 8 * 2)  # two rows
    y = VIEWS.copy()
    y[2, 1] = math.nan
    config = parse(samples(tmp_path / "s.npz", x=VIEWS, y=y))
    with pytest.raises(ConfigError) as caught:
        list(config.data.file.batches())
    assert caught.value.lines == ("Key `data.path` must be finite, but has nan at [2][1] in `y`.",)


@pytest.mark.parametrize("kind", ["samples", "moments"])
def test_arrays_that_cannot_be_read(tmp_path: Path, kind: str):
    def of(path: Path) -> str:
        (line,) = faults(toml(data=f'kind = "{kind}"\npath = "{path}"'))
        return line

    assert of(tmp_path / "a.npz").endswith('a.npz" does not exist.')
    assert of(tmp_path).endswith('" is a folder.')
    (tmp_path / "b.npz").write_text("no archive")
    assert of(tmp_path / "b.npz").startswith("Key `data.path` must be an .npz file, but ")


# Moments

IDENTITY = "[[1, 0], [0, 1]]"


def moments(**rows: str) -> str:
    return toml(data='kind = "moments"\n' + "\n".join(f"{name} = {v}" for name, v in rows.items()))


def test_moments_in_rows():
    found = parse(
        moments(xx="[[2, 0.5], [0.5, 1]]", yx="[[1, 3], [0, 1]]", yy=IDENTITY)
    ).data.matrices
    np.testing.assert_array_equal(found["xx"], [[2, 0.5], [0.5, 1]])
    np.testing.assert_array_equal(found["yx"], [[1, 3], [0, 1]])
    np.testing.assert_array_equal(found["yy"], np.eye(2))


def test_moments_in_a_file(tmp_path: Path):
    np.savez(tmp_path / "m.npz", xx=np.eye(2), yx=np.ones((2, 2)))
    found = parse(moments(path=f'"{tmp_path}/m.npz"')).data.matrices
    assert sorted(found) == ["xx", "yx"]
    np.testing.assert_array_equal(found["yx"], np.ones((2, 2)))


FAULTS_OF_MOMENTS = [
    ({"xx": "[[1, 0.5], [0.4, 1]]", "yx": IDENTITY}, "data.xx"),
    ({"xx": "[[1, 2], [2, 1]]", "yx": IDENTITY}, "data.xx"),
    ({"xx": "[[1, 0], [0, 0]]", "yx": IDENTITY}, "data.xx"),
    ({"xx": IDENTITY, "yx": IDENTITY, "yy": "[[1, 2], [2, 1]]"}, "data.yy"),
    ({"xx": IDENTITY, "yx": IDENTITY, "yy": "[[1, 2], [3, 1]]"}, "data.yy"),
    ({"xx": IDENTITY, "yx": "[[1, 0]]"}, "data.yx"),
    ({"xx": "[[1, 0], [0]]", "yx": IDENTITY}, "data.xx"),
    ({"xx": IDENTITY, "yx": "[[1, nan], [0, 1]]"}, "data.yx[0][1]"),
    ({"xx": IDENTITY, "yx": "[[1, 0], 2]"}, "data.yx[1]"),
    ({"xx": IDENTITY}, "data.yx"),
    ({"path": '"m.npz"', "xx": IDENTITY}, "data.xx"),
]


@pytest.mark.parametrize(("rows", "key"), FAULTS_OF_MOMENTS)
def test_moments_that_are_none(rows: dict[str, str], key: str):
    assert_one_fault(moments(**rows), key)


@pytest.mark.parametrize(
    ("arrays", "key"),
    [
        ({"xx": [[1.0, 2.0], [2.0, 1.0]]}, "data.path.xx"),
        ({"xx": [[1.0, 0.0], [0.5, 1.0]]}, "data.path.xx"),
        ({"yx": [[1.0, math.nan], [0.0, 1.0]]}, "data.path.yx"),
        ({"xx": [1.0, 2.0]}, "data.path.xx"),
        ({"yy": np.eye(3)}, "data.path.yy"),
    ],
)
def test_moments_in_a_file_that_are_none(tmp_path: Path, arrays: dict, key: str):
    np.savez(tmp_path / "m.npz", **{"xx": np.eye(2), "yx": np.eye(2), **arrays})
    assert_one_fault(moments(path=f'"{tmp_path}/m.npz"'), key)


# Where to write


def test_a_path_that_can_be_written_is_left_alone(tmp_path: Path):
    check_output(tmp_path / "a" / "b" / "c.nc", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written(tmp_path: Path):
    def fault(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            check_output(path, overwrite=False)
        (line,) = caught.value.lines
        return line

    existing = tmp_path / "a.nc"
    existing.touch()
    assert fault(existing) == (
        "Key `output.path` must not exist yet (unless --overwrite is given), "
        f'but "{existing}" exists.'
    )
    check_output(existing, overwrite=True)
    assert "must lie in a folder" in fault(existing / "b.nc")
    (tmp_path / "d.nc").mkdir()
    assert fault(tmp_path / "d.nc").endswith('d.nc" is a folder.')
    assert "must be writable" in fault(Path("/proc/a.nc"))
    assert "must be writable" in fault(tmp_path / f"{'x' * 300}.nc")
