"""The command line: `jepa-sim sweep`, `status`, `show`, `retry`, `export`, `info` and `demo`.

JAX and what rests on it are imported by the commands that need them, and not before the
configuration is known to be right.
"""

import argparse
import contextlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepa_sim import __version__
from jepa_sim import config as toml
from jepa_sim._faults import StoreError

if TYPE_CHECKING:
    import xarray as xr

FAULT = 2  # exit code: what was asked for is wrong, and nothing was written
FAILURE = 1  # exit code: what was asked for could not be done

EXAMPLE = """\
an example of CONFIG.toml:

  [data]
  kind = "features"                 # or another, see below
  lam = [1.0, 1.0, 0.5]             # covariance λ of each feature
  rho = [0.9, 0.3, 0.8]             # its regression coefficient ρ

  [grid]
  objective = ["jepa", "mae"]
  depth = [1, 2, 3, 5]              # encoder layers L
  predictor_depth = [1]             # predictor layers M
  scale = [1e-1, 1e-2]              # encoder gain ε at the start
  seed = { start = 0, stop = 32 }   # or a list

  [solve]
  solver = "closed_form"            # or "modes", "layer_modes", "gradient_flow", "descent"
  times = { kind = "critical", count = 200 }
  #   critical times also take last = 2.0, in units of the last critical time of a trajectory;
  #   or  { kind = "log", start = 1.0, stop = 1e6, count = 200 }

  [output]
  path = "runs/first.nc"            # one NetCDF file; without suffix, a folder that is written
                                    # block by block: what a large sweep wants
  critical_fraction = [0.5, 0.9]

further keys:

  [data]    kind = "samples"        path: an .npz file with x and y, both (n, d)
            kind = "moments"        xx, yx, yy as lists of rows, or path: an .npz file with them
            all others also take pairs, seed: to estimate moments from that many pairs of views
            kind = "static"         signal, noise: variances, a number or one for each feature
            kind = "dynamic"        as "static", autocorrelation, noise_autocorrelation, lag
            kind = "temporal"       as "dynamic" but for lag, frames, policy = { kind = "random",
                                    keep } or { kind = "suffix" (or "block"), length },
                                    positions = true for a predictor that knows positions
            kind = "pixel_mask"     shape = [rows, columns], length (of correlation), keep, noise,
                                    target = "whole" (or "hidden", "remasked")
            kind = "block_mask"     block = [rows, columns], else as "pixel_mask"
            kind = "low_rank"       dimension, signal, noise, denoising = false
            kind = "power_law"      dimension, exponent, noise, noise_exponent
            kind = "non_commuting"  dimension, angle (0 to 1, or a list), basis_seed, smallest
            kind = "images"         patch (of two photographs), and with
              view = "lighting"       brightness_sd, gradient_sd, sensor_sd
              view = "noise"          noise
              view = "shift"          shift (in pixels), noise
              view = "mask"           keep or block, target, noise
            kind = "digits"         view as for "images"
            kind = "series"         name = "elnino" (or "sunspots"), window, lag, anomalies
  [grid]    objective               "jepa", "mae", "jepa_moving_average",
                                    "jepa_no_stop_gradient", "barlow_twins", "whitened_joint"
            start = "balanced"      (or "unbalanced", "misaligned", "orthogonal", "gaussian")
            rotated = true          random frames for "balanced" and "unbalanced"
            width                   of all hidden layers, for a bottleneck
            predictor = "learned"   (or "direct_pred", "fast")
            rate_per_layer = true   learning rates of 1/(L + M), so that depths relax alike
            and further axes, lists of numbers:
              weight_decay, encoder_rate, predictor_rate
              time_constant         of "jepa_moving_average"
              penalty               of "whitened_joint"
              imbalance             of start = "unbalanced"
              angle                 of start = "misaligned", in radians
  [solve]   precision = "float64" (or "float32"), and
            "modes"                 tolerance, max_steps
            "layer_modes"           rtol, atol, max_steps
            "gradient_flow"         rtol, atol, max_steps
            "descent"               learning_rate, optimizer = "sgd" (or "adam"), batch_size,
                                    max_steps
  [output]  observables             "features", "loss" and also "predictor_gains", "noise_share",
                                    "probe_risk" (with probe_ridge), "effective_rank", "alignment",
                                    "plateau_fraction", "balancedness", "off_diagonal_mass"

Paths are relative to the folder that the command runs in."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv[:1] == ["demo"]:  # it has options of its own
            return _demo(argv[1:])
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except toml.ConfigError as error:
        return _complain(error.lines, FAULT)
    except StoreError as error:
        return _complain([str(error)], FAULT)
    except MemoryError as error:
        return _complain([f"There is not enough memory. {error}"], FAILURE)
    except OSError as error:
        return _complain([str(error)], FAILURE)
    except KeyboardInterrupt:
        return _complain(["Interrupted."], 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jepa-sim",
        description="Simulate how deep linear self-supervised networks learn: JEPA against masked "
        "autoencoding.",
        epilog="`jepa-sim COMMAND --help` has options and examples. Start with `jepa-sim demo`.",
    )
    parser.add_argument("--version", action="version", version=f"jepa-sim {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], about: str, epilog: str = ""
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    sweep = command(
        "sweep",
        _sweep,
        "Simulate every trajectory of a grid. A run in a folder that was stopped goes on.",
        f"examples:\n\n  jepa-sim sweep CONFIG.toml\n  jepa-sim sweep CONFIG.toml --engine dask "
        f"--workers 4\n  jepa-sim sweep CONFIG.toml --shard 0/8\n\n{EXAMPLE}",
    )
    sweep.add_argument("config", metavar="CONFIG.toml", help="what to sweep, and where to write it")
    sweep.add_argument(
        "--overwrite", action="store_true", help="replace the result if there is one already"
    )
    sweep.add_argument("--quiet", action="store_true", help="no progress and no table")
    large = sweep.add_argument_group("for a result in a folder")
    large.add_argument(
        "--dry-run", action="store_true", help="say what it would take, and compute nothing"
    )
    large.add_argument(
        "--extend",
        action="store_true",
        help="let axes of the grid be longer than in the run that is there: more seeds, depths, …",
    )
    large.add_argument(
        "--shard",
        type=_shard,
        metavar="i/n",
        help="compute every n-th block, from the i-th on (from 0): for job arrays",
    )
    large.add_argument(
        "--engine",
        choices=("local", "dask"),
        help="who computes: this process (the default), or workers of a Dask cluster",
    )
    large.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that runs")
    large.add_argument(
        "--workers", type=int, metavar="N", help="processes of a Dask cluster on this machine (2)"
    )

    status = command(
        "status",
        _status,
        "Say how far a run is, from its folder; it may be running.",
        "example:\n\n  jepa-sim status runs/first",
    )
    status.add_argument("run_path", metavar="RUN", help="a folder written by `jepa-sim sweep`")
    status.add_argument(
        "--verify", action="store_true", help="read everything; what is damaged is pending again"
    )

    retry = command(
        "retry",
        _retry,
        "Compute those trajectories of a run again that failed.",
        "example:\n\n  jepa-sim retry runs/first --max-steps 1000000",
    )
    retry.add_argument("run_path", metavar="RUN", help="a folder written by `jepa-sim sweep`")
    retry.add_argument("--max-steps", type=int, metavar="N", help="steps that a solver may take")
    retry.add_argument("--quiet", action="store_true", help="no progress")

    export = command(
        "export",
        _export,
        "Write a run to one file, for other programs.",
        "examples:\n\n  jepa-sim export runs/first first.nc\n"
        "  jepa-sim export runs/first first.parquet   # a row a trajectory, feature and fraction",
    )
    export.add_argument("run_path", metavar="RUN", help="a folder written by `jepa-sim sweep`")
    export.add_argument("path", metavar="FILE", help="a name that ends in .nc or .parquet")
    export.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")

    show = command(
        "show",
        _show,
        "Show what a sweep found: its axes, where it came from, when features are learned.",
        "example:\n\n  jepa-sim show runs/first.nc",
    )
    show.add_argument(
        "run_path", metavar="RUN", help="a file or folder written by `jepa-sim sweep`"
    )

    command(
        "info", _info, "Show versions, devices, precision and where compiled programs are kept."
    )
    # `main` hands all of `demo` on; here it is for the list of commands
    commands.add_parser(
        "demo", help="From two photographs to JEPA against masked autoencoding, in a minute."
    )
    return parser


def _sweep(arguments: argparse.Namespace) -> int:
    config = toml.load(arguments.config)
    path = Path(config.output.path)
    toml.check_output(path, overwrite=arguments.overwrite)
    if not path.suffix:
        return _campaign(arguments, config, path)
    for option in ("dry_run", "extend", "shard", "engine", "scheduler", "workers"):
        if getattr(arguments, option):
            rule = "be left out unless `output.path` is a folder"
            name = "--" + option.replace("_", "-")
            raise toml.ConfigError([f"Option `{name}` must {rule}, but that is `{path}`."])
    _prepare_jax(config.solve.precision)
    from jepa_sim._build import build
    from jepa_sim._sweep import sweep

    run = build(config)
    dataset = sweep(
        run.grid,
        run.solver,
        times=run.times,
        observables=run.observables,
        critical_fraction=run.critical_fraction,
        progress=not arguments.quiet,
    )
    dataset.attrs["config"] = config.text
    with _written_aside(path) as partial:
        dataset.to_netcdf(partial, engine="h5netcdf")
    if not arguments.quiet:
        from jepa_sim._report import print_run

        print_run(dataset, path)
    return 0


def _campaign(arguments: argparse.Namespace, config: toml.Config, path: Path) -> int:
    engine = _engine(arguments)
    if arguments.overwrite and path.exists():
        rule = "be left out for a run in a folder: remove the folder, or let the run go on"
        raise toml.ConfigError([f"Option `--overwrite` must {rule}."])
    _prepare_jax(config.solve.precision)
    from jepa_sim import _campaign as campaigns
    from jepa_sim._build import build

    run = build(config)
    asked = {"times": run.times, "observables": run.observables}
    asked["critical_fraction"] = run.critical_fraction
    if arguments.dry_run:
        from jepa_sim._sweep import plan

        print(campaigns.forecast(plan(run.grid, run.solver, **asked)))
        return 0
    try:
        dataset = campaigns.campaign(
            path,
            run.grid,
            run.solver,
            **asked,
            engine=engine(),
            shard=arguments.shard,
            extend=arguments.extend,
            progress=not arguments.quiet,
            configuration=config.beside_axes,
            text=config.text,
        )
    except KeyboardInterrupt:
        again = f"The same command goes on with `{path}`."
        return _complain([f"Interrupted; what was in hand is written. {again}"], 130)
    if not arguments.quiet and arguments.shard is None:
        from jepa_sim._report import print_run

        print_run(dataset, path)
    return 0


def _engine(arguments: argparse.Namespace) -> Callable[[], Any]:
    """Makes the engine, once JAX may be imported."""
    dask = arguments.engine == "dask"
    for option in ("scheduler", "workers"):
        if getattr(arguments, option) is not None and not dask:
            raise toml.ConfigError([f"Option `--{option}` must come with `--engine dask`."])
    if dask and arguments.shard:
        raise toml.ConfigError(["Option `--shard` must be left out with `--engine dask`."])
    if arguments.workers is not None and arguments.workers < 1:
        fault = f"Option `--workers` must be at least 1, but is {arguments.workers}."
        raise toml.ConfigError([fault])
    if dask and importlib.util.find_spec("distributed") is None:
        line = "Option `--engine dask` must have Dask: `pip install 'jepa_sim[dask]'`."
        raise toml.ConfigError([line])

    def make() -> Any:
        from jepa_sim._engine import Dask, Local

        return Dask(arguments.scheduler, arguments.workers or 2) if dask else Local()

    return make


def _shard(words: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", words)
    if match is None or not int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(f"must be i/n with 0 ≤ i < n, but is {words!r}")
    return int(match[1]), int(match[2])


def _status(arguments: argparse.Namespace) -> int:
    from jepa_sim._store import open_store, status

    store = open_store(arguments.run_path)
    if arguments.verify:
        with store.lock():
            damaged = store.verify()
        print(f"{len(damaged)} damaged blocks" + "".join(f"\n  {block}" for block in damaged))
    print(status(store))
    return 0


def _retry(arguments: argparse.Namespace) -> int:
    from jepa_sim._store import open_store

    if arguments.max_steps is not None and arguments.max_steps < 1:
        fault = f"Option `--max-steps` must be at least 1, but is {arguments.max_steps}."
        raise toml.ConfigError([fault])
    store = open_store(arguments.run_path)
    if not store.manifest["toml"]:
        raise StoreError(f"Run `{store.path}` must be of `jepa-sim sweep`, but is of Python.")
    config = toml.parse(store.manifest["toml"])
    if arguments.max_steps is not None:
        if not hasattr(config.solve, "max_steps"):
            rule = f"be left out with `solve.solver` = {config.solve.solver!r}"
            raise toml.ConfigError([f"Option `--max-steps` must {rule}."])
        longer = config.solve.model_copy(update={"max_steps": arguments.max_steps})
        config = config.model_copy(update={"solve": longer})
    _prepare_jax(config.solve.precision)
    from jepa_sim import _campaign as campaigns
    from jepa_sim._build import build
    from jepa_sim._sweep import plan

    grid, solver, times, observables, fractions = build(config)
    planned = plan(grid, solver, times=times, observables=observables, critical_fraction=fractions)
    campaigns.retry(store.path, planned, progress=not arguments.quiet)
    return _status(argparse.Namespace(run_path=arguments.run_path, verify=False))


def _export(arguments: argparse.Namespace) -> int:
    from jepa_sim._store import export, open_run

    path = Path(arguments.path)
    if path.suffix not in (".nc", ".parquet"):
        raise toml.ConfigError([f"Argument `FILE` must end in .nc or .parquet, but is {path}."])
    if path.exists() and not arguments.overwrite:
        rule = "not exist yet (unless --overwrite is given)"
        raise toml.ConfigError([f"Argument `FILE` must {rule}, but {path} exists."])
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        line = "Parquet must have pyarrow: `pip install 'jepa_sim[parquet]'`."
        raise toml.ConfigError([line])
    dataset = open_run(arguments.run_path)
    with _written_aside(path) as partial:
        export(dataset, partial, path.suffix)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from jepa_sim._report import print_run

    path = Path(arguments.run_path)
    print_run(_open(path), path)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    _prepare_jax("float64")
    from jepa_sim._report import print_info

    print_info(_cache_folder())
    return 0


def _demo(argv: Sequence[str]) -> int:
    _prepare_jax("float64")
    try:
        from jepa_sim import demo
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("jepa_sim"):
            raise
        line = f"The demo needs `pip install 'jepa_sim[demo]'`: there is no module {error.name}."
        return _complain([line], FAULT)
    return demo.main(argv) or 0


def _open(path: Path) -> "xr.Dataset":
    """A result from a file. ConfigError where it is none."""
    import xarray as xr

    def fault(rule: str) -> toml.ConfigError:
        return toml.ConfigError([f"Argument `RUN` must {rule}, but is {path}."])

    if path.is_dir():
        from jepa_sim._store import open_run

        return open_run(path)
    if not path.is_file():
        raise fault("be a file or folder that exists")
    try:
        dataset = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise fault("be a NetCDF file") from error
    if not {"critical_time", "result", "lam", "rho"} <= set(dataset.data_vars):
        raise fault("be a file written by `jepa-sim sweep`")
    return dataset


@contextlib.contextmanager
def _written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name `path` when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _prepare_jax(precision: str) -> None:
    """Set JAX's precision and where it keeps compiled programs, before it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else false alarms on every cached program
    os.environ.setdefault("EQX_ON_ERROR", "nan")  # else JAX 0.9 cannot cache an ODE solver
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
    folder = _cache_folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _cache_folder() -> Path | None:
    """Where compiled programs are kept: JEPA_SIM_CACHE (empty: nowhere) or the user's cache."""
    import platformdirs

    named = os.environ.get("JEPA_SIM_CACHE")
    if named == "":
        return None
    return Path(named or platformdirs.user_cache_dir("jepa_sim", appauthor=False))


def _complain(lines: Sequence[str], code: int) -> int:
    for line in lines:
        print(f"jepa-sim: error: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
