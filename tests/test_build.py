"""Every name of a configuration chooses the object of that name."""

import re
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jepa_sim as js
from jepa_sim import data
from jepa_sim.config import Config, ConfigError, parse
from jepa_sim.config.build import build

FEATURES = 'kind = "features"\nlam = [1.0, 0.5]\nrho = [0.9, 0.8]'
GRID = 'objective = ["mae", "jepa"]\ndepth = [1, 2]\nscale = [0.1]'
TIMES = 'times = { kind = "critical", count = 20 }\n'


def parsed(
    data: str = FEATURES,
    grid: str = GRID,
    solve: str = 'solver = "closed_form"',
    times: str = TIMES,
) -> Config:
    output = 'path = "a.nc"\ncritical_fraction = [0.25]'
    return parse(f"[data]\n{data}\n[grid]\n{grid}\n[solve]\n{times}{solve}\n[output]\n{output}\n")


def built(**tables: str) -> js.Plan:
    return build(parsed(**tables))


def test_grid():
    grid = GRID + "\npredictor_depth = [2]\nseed = { start = 3, stop = 5 }"
    run = built(grid=grid)
    assert [type(objective) for objective in run.grid.objective] == [js.MAE, js.JEPA]
    assert run.grid.depth == (1, 2)
    assert run.grid.predictor_depth == (2,)
    assert run.grid.scale == (0.1,)
    assert run.grid.seed == (3, 4)
    assert run.critical_fraction == (0.25,)


@pytest.mark.parametrize(
    ("keys", "kind", "rotated"),
    [
        ("", js.Balanced, False),
        ("rotated = true", js.Balanced, True),
        ('start = "random_balanced"', js.RandomBalanced, None),
        ('start = "gaussian"', js.RandomGaussian, None),
    ],
)
def test_start(keys: str, kind: type, rotated: bool | None):
    start = built(grid=f"{GRID}\n{keys}", solve='solver = "gradient_flow"').grid.start(0.1)
    assert type(start) is kind
    assert getattr(start, "rotated", None) is rotated


LAYERS = 'solver = "layer_modes"'


def posed(grid: str, **values: float) -> js.Problem:
    """The problem that a [grid] poses at these values of its further axes."""
    run = built(grid=f"scale = [0.1]\ndepth = [2]\n{grid}", solve='solver = "gradient_flow"')
    assert sorted(run.grid.axes) == sorted(values)
    bare = next(run.grid.problems())
    return run.grid.customise(bare, **{name: jnp.asarray(value) for name, value in values.items()})


def test_further_axes_change_what_they_name():
    decayed = posed('objective = ["mae"]\nweight_decay = [0, 0.1]', weight_decay=0.1).training
    assert (decayed.encoder_decay, decayed.predictor_decay) == (0.1, 0.1)
    rates = 'objective = ["jepa"]\nencoder_rate = [1, 3]\npredictor_rate = [2]'
    rated = posed(rates, encoder_rate=3.0, predictor_rate=2.0).training
    assert (rated.encoder_rate, rated.predictor_rate, rated.encoder_decay) == (3, 2, 0)
    teacher = 'objective = ["jepa_moving_average"]\ntime_constant = [5]'
    assert posed(teacher, time_constant=5.0).objective.target.time_constant == 5
    joint = 'objective = ["whitened_joint"]\npenalty = [7]'
    assert posed(joint, penalty=7.0).objective.penalty == 7
    lazy = 'objective = ["mae"]\nstart = "unbalanced"\nrotated = true\nimbalance = [0.5]'
    start = posed(lazy, imbalance=0.5).start
    assert isinstance(start, js.Unbalanced)
    assert (start.imbalance, start.rotated) == (0.5, True)
    np.testing.assert_allclose(start.scale, 0.1)
    turned = 'objective = ["jepa"]\nstart = "misaligned"\nangle = [1.5]'
    assert posed(turned, angle=1.5).start.angle == 1.5
    slow = posed('objective = ["mae"]\nrate_per_layer = true').training
    np.testing.assert_allclose([slow.encoder_rate, slow.predictor_rate], 1 / 3, rtol=1e-15)
    assert slow.is_scaled
    kinds = {"direct_pred": js.DirectPred, "fast": js.FastPredictor}
    for name, kind in {**kinds, "identity": js.IdentityPredictor}.items():
        rule = posed(f'objective = ["jepa"]\npredictor = "{name}"').training.predictor
        assert isinstance(rule, kind)
    given = 'objective = ["jepa"]\npredictor = "given"\npredictor_gain = [0.5]'
    assert posed(given, predictor_gain=0.5).training.predictor.matrix == 0.5


def test_rates_per_layer_are_one_rate_at_traced_depths():
    grid = built(grid=f"{GRID}\nrate_per_layer = true").grid

    def pose(depth: jax.Array) -> js.Problem:
        network, start = js.DeepLinear(depth), js.Balanced(0.1)
        return grid.customise(js.Problem(grid.spectrum, js.MAE(), network, start))

    posed = eqx.filter_eval_shape(pose, jnp.asarray(2.0))
    assert posed.training.is_scaled  # so that the closed form applies


def test_objectives_widths_and_observables():
    names = ["jepa_no_stop_gradient", "barlow_twins", "mae"]
    run = built(grid=f"objective = {names}\nscale = [0.1]\ndepth = [1]", solve=LAYERS)
    assert [objective.name for objective in run.grid.objective] == names
    narrow = GRID + "\nwidth = 1\nrotated = true"
    narrow = built(grid=narrow, solve='solver = "gradient_flow"')
    assert narrow.grid.network(2, 1).width == 1
    saved = 'path = "a.nc"\nobservables = ["noise_share", "probe_risk"]\nprobe_ridge = 0.5'
    run = build(
        parse(f"[data]\n{FEATURES}\n[grid]\n{GRID}\n[solve]\n{TIMES}{LAYERS}\n[output]\n{saved}\n")
    )
    share, probe = run.observables
    assert share is js.observables.noise_share
    assert (probe.name, probe.ridge) == ("probe_risk", 0.5)


def test_temporal_data_with_positions_make_networks_of_frames():
    data = (
        'kind = "temporal"\nsignal = [1.0, 0.5]\nautocorrelation = 0.9\nnoise = 0.1\n'
        'frames = 5\npolicy = { kind = "suffix", length = 2 }\n'
    )
    blind, aware = (built(data=data + keys, solve=LAYERS) for keys in ("", "positions = true"))
    assert blind.grid.network(1, 1).frames == (1, 1)
    assert aware.grid.network(1, 1).frames == (3, 2)
    assert aware.grid.spectrum.yx.shape == (1, 4, 6)


def test_data_from_actions_make_a_network_of_as_many_predictors():
    keys = {"signal": [1.0, 0.5], "noise": 0.1, "effect": [[1.0, 1.0], [-1.0, 0.5], [0.2, 1.0]]}
    lines = "\n".join(f"{name} = {value}" for name, value in keys.items())
    table = f'kind = "controlled"\nprobability = [0.5, 0.25, 0.25]\n{lines}\n'
    told, blind = (built(data=table + more, solve=LAYERS) for more in ("", "blind = true"))
    world = data.Controlled(**keys, probability=[0.5, 0.25, 0.25])
    for run, frames, moments in (
        (told, (1, 3), world.exact_moments()),
        (blind, (1, 1), world.blind_moments()),
    ):
        assert run.grid.network(1, 1).frames == frames
        for name in ("xx", "yx", "yy"):
            found = np.asarray(getattr(run.grid.spectrum, name))[0]
            np.testing.assert_allclose(found, getattr(moments, name), rtol=1e-14)
    for more, message in (
        ("turn = [[0.0], [1.0]]", "Key `data.turn` must have 3 lists"),
        ("signal = [1.0]", "Key `data.effect[0]` must have 1 entries"),
    ):
        cut = re.sub("signal.*", "", table) if more.startswith("signal") else table
        with pytest.raises(ConfigError, match=re.escape(message)):
            built(data=cut + more, solve=LAYERS)


def test_what_does_not_fit_together_is_a_fault_of_the_configuration():
    narrow = GRID + "\nwidth = 1\nrotated = true"
    with pytest.raises(
        ConfigError, match=r"Tables `data`, `grid` and `solve` must fit.*network.width"
    ):
        built(grid=narrow, solve=LAYERS)


def test_times():
    critical = built().times
    assert isinstance(critical, js.CriticalGrid)
    assert (critical.count, critical.last) == (20, 2)
    assert built(times='times = { kind = "critical", last = 9.5 }\n').times.last == 9.5
    log = built(times='times = { kind = "log", start = 2, stop = 1e3, count = 7 }\n').times
    assert isinstance(log, js.LogGrid)
    assert (log.start, log.stop, log.count) == (2, 1e3, 7)


@pytest.mark.parametrize(
    ("grid", "kind"),
    [
        ('objective = ["mae"]\nstart = "random_balanced"\nseed = [0, 1]', js.RandomBalanced),
        ('objective = ["mae", "jepa"]\nstart = "misaligned"\nangle = [0.01]', js.Misaligned),
    ],
)
def test_starts_that_the_reduced_theory_takes(grid, kind):
    run = built(grid=grid + "\ndepth = [1]\nscale = [0.1]")
    assert all(isinstance(problem.start, kind) for problem in run.grid.problems())
    for problem in run.grid.problems():
        run.solver.prepare(problem)


@pytest.mark.parametrize(
    ("keys", "kind", "fields"),
    [
        ('solver = "closed_form"', js.ClosedForm, {}),
        ('solver = "modes"', js.Modes, {"tolerance": js.Modes().tolerance}),
        (
            'solver = "modes"\ntolerance = 1e-5\nmax_steps = 7',
            js.Modes,
            {"tolerance": 1e-5, "max_steps": 7},
        ),
        (
            'solver = "layer_modes"\nrtol = 1e-5\natol = 1e-7\nmax_steps = 7',
            js.LayerModes,
            {"rtol": 1e-5, "atol": 1e-7, "max_steps": 7},
        ),
        (
            'solver = "gradient_flow"\nmethod = "rock4"',
            js.GradientFlow,
            {"solver": js.ROCK4()},
        ),
        ('solver = "gradient_flow"', js.GradientFlow, {"max_steps": js.GradientFlow().max_steps}),
        (
            'solver = "gradient_flow"\nrtol = 1e-5\natol = 1e-7\nmax_steps = 7',
            js.GradientFlow,
            {"rtol": 1e-5, "atol": 1e-7, "max_steps": 7},
        ),
        (
            'solver = "descent"\nlearning_rate = 0.25',
            js.Descent,
            {"optimizer": optax.sgd, "learning_rate": 0.25, "batch_size": None},
        ),
        (
            'solver = "descent"\nlearning_rate = 1\noptimizer = "adam"\n'
            "batch_size = 3\nmax_steps = 7",
            js.Descent,
            {"optimizer": optax.adam, "batch_size": 3, "samples": None, "max_steps": 7},
        ),
    ],
)
def test_solver(keys: str, kind: type, fields: dict):
    solver = built(solve=keys).solver
    assert type(solver) is kind
    assert {name: getattr(solver, name) for name in fields} == fields


def test_sleeping_flow_is_for_jepa_alone():
    keys = 'solver = "sleeping_flow"\nrtol = 1e-4\nmax_steps = 7'
    grid = 'scale = [0.1]\ndepth = [2]\nobjective = ["jepa"]\nstart = "gaussian"'
    solver = built(grid=grid, solve=keys).solver
    assert solver == js.SleepingFlow(rtol=1e-4, max_steps=7)
    with pytest.raises(ValueError, match="`objective` must be JEPA for `SleepingFlow`"):
        built(solve=keys)


def test_features():
    spectrum = built(
        data='kind = "features"\nlam = [[1, 2], [3, 4]]\nrho = [[0.5, 0.2], [0.3, 0.4]]'
    ).grid.spectrum
    np.testing.assert_allclose(jax.vmap(jnp.diag)(spectrum.yx), [[1, 2], [3, 4]])
    np.testing.assert_allclose(jax.vmap(jnp.diag)(spectrum.xx), [[2, 10], [10, 10]])


def test_moments():
    spectrum = built(
        data='kind = "moments"\nxx = [[2, 0.5], [0.5, 1]]\nyx = [[1, 0], [0, 0.5]]\n'
        "yy = [[2, 0], [0, 2]]"
    ).grid.spectrum
    np.testing.assert_array_equal(spectrum.xx[0], [[2, 0.5], [0.5, 1]])
    np.testing.assert_array_equal(spectrum.yx[0], [[1, 0], [0, 0.5]])
    np.testing.assert_array_equal(spectrum.yy[0], [[2, 0], [0, 2]])


def test_moments_that_no_views_have():
    data = 'kind = "moments"\nxx = [[1]]\nyx = [[1]]\nyy = [[0.5]]'
    with pytest.raises(ConfigError, match=r"^Table `data` must give moments\. Argument `yy` must"):
        built(data=data)


def test_samples(tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    y = x + rng.standard_normal((50, 2))
    np.savez(tmp_path / "views.npz", x=x, y=y)
    data = f'kind = "samples"\npath = "{tmp_path}/views.npz"'
    spectrum = built(data=data).grid.spectrum
    expected = js.Moments.from_samples(x, y)
    np.testing.assert_allclose(spectrum.xx[0], expected.xx, rtol=1e-12)
    np.testing.assert_allclose(spectrum.yx[0], expected.yx, rtol=1e-12)

    shrunk = built(data=f"{data}\nshrinkage = 0.25").grid.spectrum
    kept = parsed(data=data).beside_axes["data"]
    assert kept == {"kind": "samples", "path": f"{tmp_path}/views.npz"}  # as in version 0.1
    mean = np.trace(expected.xx) / 2  # Ledoit and Wolf's target is this multiple of the identity
    np.testing.assert_allclose(shrunk.xx[0], 0.75 * expected.xx + 0.25 * mean * np.eye(2))
    np.testing.assert_allclose(shrunk.yx[0], 0.75 * expected.yx)

    minibatches = 'solver = "descent"\nlearning_rate = 0.1\nbatch_size = 4'
    drawn_from = built(data=data, solve=minibatches).solver.samples
    # centred, as the moments are
    np.testing.assert_allclose(drawn_from[0], x - x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(drawn_from[1], y - y.mean(axis=0), rtol=1e-14)


def test_samples_with_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepa_sim.config.arrays.BATCH_BYTES", 7 * 8 * 2)  # seven rows
    rng = np.random.default_rng(0)
    x, actions = rng.standard_normal((50, 2)), np.arange(50) % 3
    y = x * (1 - actions)[:, None] + rng.standard_normal((50, 2))
    np.savez(tmp_path / "views.npz", x=x, y=y, actions=actions.astype(np.int32))
    table = f'kind = "samples"\npath = "{tmp_path}/views.npz"'
    solve = 'solver = "descent"\nlearning_rate = 0.1\nbatch_size = 4'
    told, blind = (built(data=table + more, solve=solve) for more in ("", "\nblind = true"))
    for run, given, frames in ((told, actions, (1, 3)), (blind, None, (1, 1))):
        assert run.grid.network(1, 1).frames == frames
        expected = js.Moments.from_samples(x, y, actions=given)
        same_moments(run.grid.spectrum, expected)
    assert len(blind.solver.samples) == 2
    np.testing.assert_allclose(told.solver.samples[1], y - y.mean(axis=0), rtol=1e-13)
    np.testing.assert_array_equal(told.solver.samples[2], actions)
    for wrong, message in (
        (actions[:40], "must hold `actions` of shape (n,), one number for each row of `x`"),
        (actions.astype(bool), "must hold arrays of real numbers"),
        (actions + 1, "must hold every whole number up to 3, but is without 0"),
    ):
        np.savez(tmp_path / "views.npz", x=x, y=y, actions=wrong)
        with pytest.raises(ConfigError, match=re.escape(message)):
            built(data=table, solve=solve)


def same_moments(found: js.Moments, expected: js.Moments) -> None:
    for name in ("xx", "yx", "yy"):
        np.testing.assert_allclose(
            np.asarray(getattr(found, name)).squeeze(0), getattr(expected, name), rtol=1e-12
        )


LASTING = "autocorrelation = [0.9, 0.5]\nnoise_autocorrelation = [0, 0.3]"
SIGNALS = f"signal = [1, 0.5]\nnoise = [0.1, 0.2]\n{LASTING}"
GRID_OF_PIXELS = "shape = [2, 3]\nlength = 1.5\nnoise = 0.1"


def dynamic(**fields) -> data.Dynamic:
    return data.Dynamic([1, 0.5], [0.9, 0.5], [0.1, 0.2], [0, 0.3], **fields)


def pixels() -> data.Gaussian:
    return data.Gaussian(data.grid_covariance((2, 3), 1.5))


@pytest.mark.parametrize(
    ("keys", "views"),
    [
        (
            'kind = "static"\nsignal = [1, 0.5]\nnoise = 0.1',
            lambda: data.Static([1, 0.5], 0.1),
        ),
        (
            'kind = "oscillator"\nsignal = [1.0, 0.5]\nautocorrelation = 0.9\n'
            "frequency = [0.1, 0.0]\nnoise = 0.2\nlag = 2",
            lambda: data.Oscillator([1.0, 0.5], 0.9, [0.1, 0.0], 0.2, lag=2),
        ),
        (f'kind = "dynamic"\nlag = 3\n{SIGNALS}', lambda: dynamic(lag=3)),
        *(
            (
                f'kind = "temporal"\nframes = 5\npolicy = {{ kind = {keys} }}\n{SIGNALS}',
                lambda policy=policy: data.Temporal(dynamic().lag_covariances(5), policy),
            )
            for keys, policy in (
                ('"random", keep = 3', data.RandomFrames(3)),
                ('"suffix", length = 2', data.Suffix(2)),
                ('"block", length = 2', data.BlockFrames(2)),
            )
        ),
        *(
            (
                f'kind = "pixel_mask"\nkeep = 0.3\ntarget = "{name}"\n{GRID_OF_PIXELS}',
                lambda target=target: data.Masked(pixels(), data.PixelMask(0.3), target, noise=0.1),
            )
            for name, target in (
                ("whole", data.Whole()),
                ("hidden", data.Hidden()),
                ("remasked", data.Remasked()),
            )
        ),
        (
            f'kind = "block_mask"\nblock = [1, 2]\n{GRID_OF_PIXELS}',
            lambda: data.Masked(pixels(), data.BlockMask((2, 3), (1, 2)), noise=0.1),
        ),
        (
            'kind = "low_rank"\ndimension = 3\nsignal = [1, 0.5]\nnoise = 0.1\ndenoising = true',
            lambda: data.LowRank([1, 0.5], 0.1, dimension=3, denoising=True),
        ),
        (
            'kind = "power_law"\ndimension = 3\nexponent = 2\nnoise = 0.5\nnoise_exponent = 1',
            lambda: data.power_law(3, 2.0, noise=0.5, noise_exponent=1.0),
        ),
        (
            'kind = "non_commuting"\ndimension = 3\nangle = 0.4\nbasis_seed = 2\nsmallest = 0.2',
            lambda: data.non_commuting(3, 0.4, seed=2, smallest=0.2),
        ),
        (
            'kind = "images"\npatch = 3\nbrightness_sd = 2.0\nsensor_sd = 0.5',
            lambda: data.Lit(data.Patches(3), brightness_sd=2.0, sensor_sd=0.5),
        ),
        (
            'kind = "images"\npatch = 3\nview = "noise"\nnoise = 0.5',
            lambda: data.Noisy(data.Patches(3), 0.5),
        ),
        (
            'kind = "images"\npatch = 3\nview = "shift"\nshift = 2\nnoise = 0.5',
            lambda: data.Shifted(data.Patches(5), 2, noise=0.5),
        ),
        (
            'kind = "images"\npatch = 3\nview = "mask"\nblock = [1, 2]\ntarget = "hidden"',
            lambda: data.Masked(data.Patches(3), data.BlockMask((3, 3), (1, 2)), data.Hidden()),
        ),
        (
            'kind = "digits"\ngradient_sd = 2.0',
            lambda: data.Lit(data.Digits(), gradient_sd=2.0),
        ),
        (
            'kind = "digits"\nview = "noise"\nnoise = 0.5',
            lambda: data.Noisy(data.Digits(), 0.5),
        ),
        (
            'kind = "digits"\nview = "shift"\nshift = 2\nnoise = 0.5',
            lambda: data.Shifted(data.Digits(), 2, noise=0.5),
        ),
        (
            'kind = "digits"\nview = "mask"\nkeep = 0.3\nnoise = 0.5',
            lambda: data.Masked(data.Digits(), data.PixelMask(0.3), noise=0.5),
        ),
        (
            'kind = "series"\nname = "elnino"\nwindow = 4\nlag = 6\nanomalies = false',
            lambda: data.Windows(data.elnino(anomalies=False), 4, 6),
        ),
        (
            'kind = "series"\nname = "sunspots"\nwindow = 4\nlag = 5',
            lambda: data.Windows(data.sunspots(), 4, 5),
        ),
        (
            'kind = "series"\nname = "elnino"\nwindow = 4\nlag = 1\nrolled = true',
            lambda: data.Windows(data.elnino(), 4, 1, rolled=True),
        ),
    ],
)
# 100 pairs of hidden blocks have a Σyx of mere chance
@pytest.mark.filterwarnings("ignore:Σyx turns features")
def test_data_models(keys: str, views: Callable[[], data.AbstractViews]):
    expected = views()
    turns = "series" in keys or "oscillator" in keys
    solve = 'solver = "gradient_flow"' if turns else 'solver = "closed_form"'
    same_moments(built(data=keys, solve=solve).grid.spectrum, expected.exact_moments())
    if "digits" not in keys:  # some pixels hardly vary, and a small sample warns of it
        sampled = built(data=f"{keys}\npairs = 100\nseed = 3", solve=solve).grid.spectrum
        same_moments(sampled, expected.sampled_moments(100, seed=3))


@pytest.mark.parametrize("keys", ["", "\npairs = 100\nseed = 3"])
def test_several_angles_are_several_spectra(keys: str):
    chosen = f'kind = "non_commuting"\ndimension = 3\nangle = [0, 0.4]{keys}'
    spectrum = built(data=chosen).grid.spectrum
    for i, angle in enumerate((0.0, 0.4)):
        views = data.non_commuting(3, angle)
        expected = views.sampled_moments(100, seed=3) if keys else views.exact_moments()
        np.testing.assert_allclose(spectrum.xx[i], expected.xx, rtol=1e-12)


def test_a_data_model_that_has_no_moments():
    keys = 'kind = "images"\nview = "mask"\nkeep = 1.0\npairs = 2'
    with pytest.raises(ConfigError, match=r"^Table `data` must give moments\. Argument `x` must"):
        built(data=keys)
