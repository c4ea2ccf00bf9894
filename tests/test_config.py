"""Every fault of a configuration: one line with the key, the rule and the value."""

import math
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
KINDS = (
    '"features", "static", "dynamic", "temporal", "pixel_mask", "block_mask", "low_rank", '
    '"power_law", "non_commuting", "images", "digits", "series", "samples", "moments"'
)


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


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        # wrong keys
        (
            {"grid": GRID + "\ndept = [1]"},
            "Key `grid.dept` must be one of `angle`, `depth`, `encoder_rate`, `imbalance`, "
            "`objective`, `penalty`, `predictor`, `predictor_depth`, `predictor_rate`, "
            "`rate_per_layer`, `rotated`, `scale`, `seed`, `start`, `time_constant`, "
            "`weight_decay`, `width`, but is none of them: did you mean `depth`?",
        ),
        (
            {"solve": SOLVE + "\nlearning_rate = 0.1"},
            "Key `solve.learning_rate` must be one of `precision`, `solver`, `times`, "
            "but is none of them.",
        ),
        (
            {"solve": 'solver = "closed_form"\ntimes = { kind = "critical", cuont = 3 }'},
            "Key `solve.times.cuont` must be one of `count`, `kind`, `last`, "
            "but is none of them: did you mean `count`?",
        ),
        (
            {"grid": GRID + "\nseed = { stop = 3, step = 1 }"},
            "Key `grid.seed.step` must be one of `start`, `stop`, "
            "but is none of them: did you mean `stop`?",
        ),
        (
            {"output": OUTPUT + "\n[outputs]\n"},
            "Key `outputs` must be one of `data`, `grid`, `output`, `solve`, "
            "but is none of them: did you mean `output`?",
        ),
        (
            {"output": OUTPUT + '\n"a b\\n" = 1'},
            'Key `output."a b\\n"` must be one of `critical_fraction`, `observables`, `path`, '
            "`probe_ridge`, but is none of them.",
        ),
        # misspelt names
        (
            {"data": 'kind = "featurs"'},
            f'Key `data.kind` must be one of {KINDS}, but is "featurs" (did you mean "features"?).',
        ),
        (
            {"solve": SOLVE.replace("closed_form", "closedform")},
            'Key `solve.solver` must be one of "closed_form", "modes", "layer_modes", '
            '"gradient_flow", "descent", '
            'but is "closedform" (did you mean "closed_form"?).',
        ),
        (
            {"solve": 'solver = "modes"\ntimes = { kind = "linear" }'},
            'Key `solve.times.kind` must be one of "critical", "log", but is "linear".',
        ),
        (
            {"grid": GRID.replace('"mae"', '"mea"')},
            'Key `grid.objective[1]` must be one of "jepa", "jepa_moving_average", '
            '"jepa_no_stop_gradient", "mae", "barlow_twins", "whitened_joint", '
            'but is "mea" (did you mean "mae"?).',
        ),
        (
            {"grid": GRID + '\nstart = "gausian"'},
            'Key `grid.start` must be one of "balanced", "unbalanced", "misaligned", "orthogonal", '
            '"gaussian", '
            'but is "gausian" (did you mean "gaussian"?).',
        ),
        (
            {"solve": DESCENT + '\noptimizer = "adamw"'},
            'Key `solve.optimizer` must be one of "sgd", "adam", '
            'but is "adamw" (did you mean "adam"?).',
        ),
        (
            {"solve": SOLVE + "\nprecision = 32"},
            'Key `solve.precision` must be one of "float64", "float32", but is 32.',
        ),
        (
            {"data": "kind = [1]"},
            f"Key `data.kind` must be one of {KINDS}, but is [1].",
        ),
        # missing keys
        ({"data": "lam = [1]"}, "Key `data.kind` must be given, but is missing."),
        (
            {"grid": 'objective = ["mae"]\nscale = [1]'},
            "Key `grid.depth` must be given, but is missing.",
        ),
        ({"grid": GRID + "\nseed = {}"}, "Key `grid.seed.stop` must be given, but is missing."),
        ({"data": 'kind = "samples"'}, "Key `data.path` must be given, but is missing."),
        (
            {"solve": DESCENT.replace("learning_rate = 1e-2", "")},
            "Key `solve.learning_rate` must be given, but is missing.",
        ),
        # wrong types
        (
            {"data": FEATURES.replace("0.5]", "true]")},
            "Key `data.lam[2]` must be a number, but is true.",
        ),
        (
            {"data": FEATURES.replace("0.5]", '"0.5"]')},
            'Key `data.lam[2]` must be a number, but is "0.5".',
        ),
        ({"grid": GRID.replace("[1, 2]", "2")}, "Key `grid.depth` must be a list, but is 2."),
        ({"grid": GRID.replace("[1, 2]", '"2"')}, 'Key `grid.depth` must be a list, but is "2".'),
        ({"grid": GRID + "\nrotated = 1"}, "Key `grid.rotated` must be true or false, but is 1."),
        ({"grid": GRID + "\nseed = 3"}, "Key `grid.seed` must be a list, but is 3."),
        (
            {"grid": GRID + "\nseed = [true]"},
            "Key `grid.seed[0]` must be a whole number, but is true.",
        ),
        (
            {"grid": GRID + "\nseed = [1.0]"},
            "Key `grid.seed[0]` must be a whole number, but is 1.0.",
        ),
        ({"solve": 'solver = "modes"\ntimes = 3'}, "Key `solve.times` must be a table, but is 3."),
        ({"output": "path = 3"}, "Key `output.path` must be a string, but is 3."),
        (
            {"grid": GRID.replace("1e-1", "1979-05-27")},
            "Key `grid.scale[0]` must be a number, but is 1979-05-27.",
        ),
        # numbers out of range
        (
            {"grid": GRID.replace("[1, 2]", "[1, 0]")},
            "Key `grid.depth[1]` must be at least 1, but is 0.",
        ),
        ({"grid": GRID.replace("1e-1", "0.0")}, "Key `grid.scale[0]` must be above 0, but is 0.0."),
        (
            {"grid": GRID.replace("1e-2", "-0.01")},
            "Key `grid.scale[1]` must be above 0, but is -0.01.",
        ),
        ({"grid": GRID.replace("1e-1", "nan")}, "Key `grid.scale[0]` must be finite, but is nan."),
        ({"grid": GRID.replace("1e-1", "inf")}, "Key `grid.scale[0]` must be finite, but is inf."),
        ({"data": FEATURES.replace("0.3", "nan")}, "Key `data.rho[1]` must be finite, but is nan."),
        ({"grid": GRID + "\nseed = [-1]"}, "Key `grid.seed[0]` must be at least 0, but is -1."),
        (
            {"output": OUTPUT + "\ncritical_fraction = [0.5, 1.0]"},
            "Key `output.critical_fraction[1]` must be below 1, but is 1.0.",
        ),
        (
            {"output": OUTPUT + "\ncritical_fraction = [0]"},
            "Key `output.critical_fraction[0]` must be above 0, but is 0.",
        ),
        (
            {"solve": SOLVE.replace("20", "1")},
            "Key `solve.times.count` must be at least 2, but is 1.",
        ),
        ({"solve": FLOW + "\nrtol = 0"}, "Key `solve.rtol` must be above 0, but is 0."),
        (
            {"solve": FLOW + "\nmax_steps = 0"},
            "Key `solve.max_steps` must be at least 1, but is 0.",
        ),
        (
            {"solve": DESCENT + "\nbatch_size = 0"},
            "Key `solve.batch_size` must be at least 1, but is 0.",
        ),
        ({"data": 'kind = "images"\npatch = 1'}, "Key `data.patch` must be at least 2, but is 1."),
        # empty lists and ranges, repeated entries
        (
            {"grid": GRID.replace("[1, 2]", "[]")},
            "Key `grid.depth` must have at least one entry, but is [].",
        ),
        (
            {"data": FEATURES.replace("[0.9, 0.3, 0.8]", "[]")},
            "Key `data.rho` must have at least one entry, but is [].",
        ),
        (
            {"grid": GRID + "\nseed = { start = 3, stop = 3 }"},
            "Key `grid.seed.stop` must be above `grid.seed.start` = 3, but is 3.",
        ),
        (
            {"solve": 'solver = "modes"\ntimes = { kind = "log", start = 10, stop = 1.5 }'},
            "Key `solve.times.stop` must be above `solve.times.start` = 10.0, but is 1.5.",
        ),
        (
            {"grid": GRID.replace("[1, 2]", "[1, 2, 1]")},
            "Key `grid.depth[2]` must differ from the entries before it, but is 1.",
        ),
        # features that no data can have
        (
            {"data": FEATURES.replace("0.3", "-0.3")},
            "Key `data.rho[1]` must have the sign of λ (λ/ρ is a variance), "
            "but is -0.3 with λ = 1.0.",
        ),
        (
            {"data": FEATURES.replace("0.3", "0.0")},
            "Key `data.rho[1]` must not be zero (the variance λ/ρ is undefined), "
            "but is 0.0 with λ = 1.0.",
        ),
        (
            {"data": FEATURES.replace("0.5", "0.0")},
            "Key `data.lam[2]` must not be zero (the variance λ/ρ would be), but is 0.0.",
        ),
        (
            {"data": FEATURES.replace(", 0.8", "")},
            "Key `data.rho` must have 3 entries, as `data.lam` does, but has 2.",
        ),
        (
            {"data": 'kind = "features"\nlam = [[1], [1]]\nrho = [1]'},
            "Key `data.rho` must hold 2 lists, as `data.lam` does, but is [1.0].",
        ),
        (
            {"data": 'kind = "features"\nlam = [[1], [1, 2]]\nrho = [[1], [1, 2]]'},
            "Key `data.lam[1]` must have 1 entries, as `data.lam[0]` does, but has 2.",
        ),
        (
            {"data": 'kind = "features"\nlam = [[1], [1]]\nrho = [[1], [-1]]'},
            "Key `data.rho[1][0]` must have the sign of λ (λ/ρ is a variance), "
            "but is -1.0 with λ = 1.0.",
        ),
        # what does not go together
        (
            {"grid": GRID + '\nstart = "gaussian"'},
            'Key `grid.start` must be "balanced" with `solve.solver` = "closed_form", '
            'but is "gaussian".',
        ),
        (
            {"grid": GRID + '\nstart = "gaussian"\nrotated = true', "solve": FLOW},
            'Key `grid.rotated` must be false unless `grid.start` is "balanced" or "unbalanced", '
            "but is true.",
        ),
        (
            {"grid": GRID.replace('"jepa"', '"jepa_moving_average"'), "solve": FLOW},
            'Key `grid.time_constant` must be given with `grid.objective` "jepa_moving_average", '
            "but is missing.",
        ),
        (
            {"grid": GRID + "\nimbalance = [0.1]", "solve": FLOW},
            'Key `grid.imbalance` must be left out unless `grid.start` is "unbalanced", '
            "but is given.",
        ),
        (
            {"grid": GRID + "\nweight_decay = [0, -0.1]", "solve": FLOW},
            "Key `grid.weight_decay[1]` must be at least 0, but is -0.1.",
        ),
        (
            {"grid": GRID + '\npredictor = "fast"', "solve": FLOW},
            'Key `grid.objective[1]` must be a JEPA with `grid.predictor` = "fast", but is "mae".',
        ),
        (
            {"grid": GRID + "\nweight_decay = [0.1]"},
            'Key `grid.weight_decay` must be left out with `solve.solver` = "closed_form", '
            "but is given.",
        ),
        (
            {"grid": GRID.replace('"jepa"', '"jepa_no_stop_gradient"')},
            "Key `grid.objective[0]` must be an objective whose encoder is its own teacher "
            'with `solve.solver` = "closed_form", but is "jepa_no_stop_gradient".',
        ),
        (
            {
                "grid": GRID + '\nstart = "misaligned"\nangle = [1]',
                "solve": FLOW.replace("gradient_flow", "layer_modes"),
            },
            "Key `grid.start` must say how a single feature starts "
            'with `solve.solver` = "layer_modes", but is "misaligned".',
        ),
        (
            {"output": OUTPUT + '\nobservables = ["featurs"]'},
            'Key `output.observables[0]` must be one of "features", "predictor_gains", '
            '"plateau_fraction", "loss", "effective_rank", "alignment", "balancedness", '
            '"off_diagonal_mass", "noise_share", "probe_risk", but is "featurs" '
            '(did you mean "features"?).',
        ),
        (
            {"grid": GRID.replace("[1, 2]", "[1, 1.5]"), "solve": FLOW},
            "Key `grid.depth[1]` must be a whole number "
            'with `solve.solver` = "gradient_flow", but is 1.5.',
        ),
        (
            {"output": 'path = "first.txt"'},
            "Key `output.path` must end in .nc (a file) or have no suffix (a folder), "
            'but is "first.txt".',
        ),
        (
            {"output": 'path = "a\\u0000.nc"'},
            "Key `output.path` must end in .nc (a file) or have no suffix (a folder), "
            'but is "a\\u0000.nc".',
        ),
    ],
)
def test_a_fault_is_one_line(tables: dict[str, str], line: str):
    assert faults(toml(**tables)) == (line,)


def test_a_misspelt_key_is_told_once():
    (line,) = faults(toml(grid=GRID.replace("depth", "dept")))
    assert line.endswith("did you mean `depth`?")


def test_all_faults_are_reported():
    text = toml(
        data=FEATURES.replace("0.3", "nan"),
        grid=GRID.replace("[1, 2]", "[0]") + "\nseeds = [1]",
        output='path = "first.txt"',
    )
    assert [line.split("`")[1] for line in faults(text)] == [
        "data.rho[1]",
        "grid.depth[0]",
        "grid.seeds",
        "output.path",
    ]


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


@pytest.mark.parametrize(
    ("data", "line"),
    [
        # names
        (
            'kind = "images"\nview = "light"',
            'Key `data.view` must be one of "lighting", "noise", "shift", "mask", '
            'but is "light" (did you mean "lighting"?).',
        ),
        (
            'kind = "digits"\nview = 3',
            'Key `data.view` must be one of "lighting", "noise", "shift", "mask", but is 3.',
        ),
        (
            TEMPORAL + 'policy = { kind = "sufix", length = 1 }',
            'Key `data.policy.kind` must be one of "random", "suffix", "block", '
            'but is "sufix" (did you mean "suffix"?).',
        ),
        (
            SERIES.replace("elnino", "co2"),
            'Key `data.name` must be one of "elnino", "sunspots", but is "co2".',
        ),
        (
            PIXELS + '\ntarget = "all"',
            'Key `data.target` must be one of "whole", "hidden", "remasked", but is "all".',
        ),
        # keys of the variant that is chosen, and no others
        (
            'kind = "images"\nview = "noise"\nnoise = 1\nkeep = 0.5',
            "Key `data.keep` must be one of `kind`, `noise`, `pairs`, `patch`, `seed`, `view`, "
            "but is none of them.",
        ),
        (
            'kind = "digits"\npatch = 4',
            "Key `data.patch` must be one of `brightness_sd`, `gradient_sd`, `kind`, `pairs`, "
            "`seed`, `sensor_sd`, `view`, but is none of them.",
        ),
        (
            TEMPORAL + 'policy = { kind = "suffix", length = 1, lenght = 2 }',
            "Key `data.policy.lenght` must be one of `kind`, `length`, "
            "but is none of them: did you mean `length`?",
        ),
        ('kind = "images"\nview = "noise"', "Key `data.noise` must be given, but is missing."),
        # numbers out of range
        (STATIC.replace("0.5", "-0.5"), "Key `data.signal[1]` must be at least 0, but is -0.5."),
        (STATIC.replace("0.1", '"0.1"'), 'Key `data.noise` must be a number, but is "0.1".'),
        (STATIC.replace("0.1", "[1, -1]"), "Key `data.noise[1]` must be at least 0, but is -1."),
        (STATIC.replace("0.1", "[]"), "Key `data.noise` must have at least one entry, but is []."),
        (STATIC + "\npairs = 0", "Key `data.pairs` must be at least 1, but is 0."),
        (
            DYNAMIC.replace("-0.5", "-1.5"),
            "Key `data.autocorrelation[1]` must be at least -1, but is -1.5.",
        ),
        (
            DYNAMIC + "\nnoise_autocorrelation = 2",
            "Key `data.noise_autocorrelation` must be at most 1, but is 2.",
        ),
        (DYNAMIC + "\nlag = 0", "Key `data.lag` must be at least 1, but is 0."),
        (PIXELS.replace("0.5", "0"), "Key `data.keep` must be above 0, but is 0."),
        (COMMUTE.replace("0.5", "1.5"), "Key `data.angle` must be at most 1, but is 1.5."),
        (
            COMMUTE.replace("0.5", "[0.5, -1]"),
            "Key `data.angle[1]` must be at least 0, but is -1.",
        ),
        (
            'kind = "digits"\nview = "shift"\nshift = 7',
            "Key `data.shift` must be at most 6, but is 7.",
        ),
        (
            'kind = "digits"\nview = "mask"\nkeep = 0.5\nnoise = 0',
            "Key `data.noise` must be above 0, but is 0.",
        ),
        # what does not go together
        (
            STATIC.replace("0.1", "[1, 1, 1]"),
            "Key `data.noise` must be one number or have 2 entries, as `data.signal` does, "
            "but has 3.",
        ),
        (
            DYNAMIC.replace("[0.9, -0.5]", "[0.9]"),
            "Key `data.autocorrelation` must be one number or have 2 entries, "
            "as `data.signal` does, but has 1.",
        ),
        (
            STATIC.replace("0.5]", "0]").replace("0.1", "0"),
            "Key `data.signal[1]` must be above 0 where `data.noise` is 0, but is 0.0.",
        ),
        (
            TEMPORAL + 'policy = { kind = "random", keep = 4 }',
            "Key `data.policy.keep` must be below `data.frames` = 4, but is 4.",
        ),
        (
            TEMPORAL + 'policy = { kind = "block", length = 5 }',
            "Key `data.policy.length` must be below `data.frames` = 4, but is 5.",
        ),
        (
            PIXELS.replace("0.5", "1") + '\ntarget = "hidden"',
            'Key `data.keep` must be below 1 with `data.target` = "hidden", but is 1.0.',
        ),
        (
            BLOCK.replace("[1, 2]", "[3, 1]"),
            "Key `data.block` must be smaller than `data.shape`, [2, 3], but is [3, 1].",
        ),
        (
            BLOCK.replace("[1, 2]", "[2, 3]"),
            "Key `data.block` must be smaller than `data.shape`, [2, 3], but is [2, 3].",
        ),
        (
            BLOCK.replace("[1, 2]", "[2, 2]"),
            "Key `data.block` must leave every pixel visible at times, unless `data.noise` is "
            "above 0, but is [2, 2], of [2, 3].",
        ),
        (
            LOW_RANK.replace("3", "1"),
            "Key `data.dimension` must be at least 2, the entries of `data.signal`, but is 1.",
        ),
        (
            'kind = "images"\nview = "mask"',
            "Key `data.keep` must be given (or `data.block`), but is missing.",
        ),
        (
            'kind = "images"\nview = "mask"\nkeep = 0.5\nblock = [2, 2]',
            "Key `data.keep` must be left out where `data.block` is given, but is given too.",
        ),
        (
            'kind = "images"\nview = "mask"\nblock = [9, 2]',
            "Key `data.block` must be smaller than the patch, [8, 8], but is [9, 2].",
        ),
        (
            SERIES.replace("elnino", "sunspots") + "\nanomalies = true",
            'Key `data.anomalies` must be left out unless `data.name` is "elnino", but is given.',
        ),
        (
            SERIES.replace("12", "364"),
            "Key `data.window` must be such that 2 window + lag is at most 732, the steps there "
            "are, but is 364 with a lag of 6.",
        ),
    ],
)
def test_a_fault_of_a_data_model_is_one_line(data: str, line: str):
    assert faults(toml(data=data)) == (line,)


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
    monkeypatch.setattr("jepa_sim._arrays.BATCH_BYTES", 3 * 8 * 2)  # two rows
    x = np.asarray(np.arange(15).reshape(5, 3), dtype=dtype, order=order)
    batches = list(parse(samples(tmp_path / "s.npz", x=x, y=-x)).data.file.batches())
    assert [len(batch[0]) for batch in batches] == [2, 2, 1]
    for k, sign in ((0, 1), (1, -1)):
        np.testing.assert_array_equal(np.concatenate([batch[k] for batch in batches]), sign * x)


@pytest.mark.parametrize(
    ("arrays", "rest"),
    [
        ({"x": VIEWS}, "hold the arrays `x` and `y`, but"),
        (
            {"x": VIEWS, "y": VIEWS[:3]},
            "hold `x` and `y` of one shape (n, d), none of them empty, but",
        ),
        (
            {"x": VIEWS[0], "y": VIEWS[0]},
            "hold `x` and `y` of one shape (n, d), none of them empty, but",
        ),
        (
            {"x": VIEWS[:0], "y": VIEWS[:0]},
            "hold `x` and `y` of one shape (n, d), none of them empty, but",
        ),
        ({"x": VIEWS.astype(str), "y": VIEWS}, "hold arrays of real numbers, but"),
        ({"x": VIEWS.astype(object), "y": VIEWS}, "hold arrays of real numbers, but"),
        ({"x": VIEWS + 0j, "y": VIEWS}, "hold arrays of real numbers, but"),
    ],
)
def test_samples_that_are_none(tmp_path: Path, arrays: dict[str, np.ndarray], rest: str):
    (line,) = faults(samples(tmp_path / "s.npz", **arrays))
    assert line.startswith(f"Key `data.path` must {rest}")


def test_samples_that_are_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepa_sim._arrays.BATCH_BYTES", 3 * 8 * 2)  # two rows
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


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (
            {"xx": "[[1, 0.5], [0.4, 1]]", "yx": IDENTITY},
            "Key `data.xx` must be symmetric, but has 0.5 at [0][1] and 0.4 at [1][0].",
        ),
        (
            {"xx": "[[1, 2], [2, 1]]", "yx": IDENTITY},
            "Key `data.xx` must be positive definite, but has the eigenvalue -1.",
        ),
        (
            {"xx": "[[1, 0], [0, 0]]", "yx": IDENTITY},
            "Key `data.xx` must be positive definite, but has the eigenvalue 0.",
        ),
        (
            {"xx": IDENTITY, "yx": IDENTITY, "yy": "[[1, 2], [2, 1]]"},
            "Key `data.yy` must be positive semidefinite, but has the eigenvalue -1.",
        ),
        (
            {"xx": IDENTITY, "yx": IDENTITY, "yy": "[[1, 2], [3, 1]]"},
            "Key `data.yy` must be symmetric, but has 2 at [0][1] and 3 at [1][0].",
        ),
        (
            {"xx": IDENTITY, "yx": "[[1, 0]]"},
            "Key `data.yx` must be of shape (2, 2), but is of shape (1, 2).",
        ),
        (
            {"xx": "[[1, 0], [0]]", "yx": IDENTITY},
            "Key `data.xx` must be a matrix, but has rows of different lengths.",
        ),
        (
            {"xx": IDENTITY, "yx": "[[1, nan], [0, 1]]"},
            "Key `data.yx[0][1]` must be finite, but is nan.",
        ),
        ({"xx": IDENTITY, "yx": "[[1, 0], 2]"}, "Key `data.yx[1]` must be a list, but is 2."),
        ({"xx": IDENTITY}, "Key `data.yx` must be given, but is missing."),
        (
            {"path": '"m.npz"', "xx": IDENTITY},
            "Key `data.xx` must be left out where moments are read from `data.path`, but is given.",
        ),
    ],
)
def test_moments_that_are_none(rows: dict[str, str], line: str):
    assert faults(moments(**rows)) == (line,)


@pytest.mark.parametrize(
    ("arrays", "rest"),
    [
        (
            {"xx": [[1.0, 2.0], [2.0, 1.0]]},
            "xx` must be positive definite, but has the eigenvalue -1.",
        ),
        (
            {"xx": [[1.0, 0.0], [0.5, 1.0]]},
            "xx` must be symmetric, but has 0 at [0][1] and 0.5 at [1][0].",
        ),
        ({"yx": [[1.0, math.nan], [0.0, 1.0]]}, "yx` must be finite, but has nan at [0][1]."),
        ({"xx": [1.0, 2.0]}, "xx` must be of shape (2, 2), but is of shape (2,)."),
        ({"yy": np.eye(3)}, "yy` must be of shape (2, 2), but is of shape (3, 3)."),
    ],
)
def test_moments_in_a_file_that_are_none(tmp_path: Path, arrays: dict, rest: str):
    np.savez(tmp_path / "m.npz", **{"xx": np.eye(2), "yx": np.eye(2), **arrays})
    assert faults(moments(path=f'"{tmp_path}/m.npz"')) == (f"Key `data.path.{rest}",)


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
