"""What each command does, from its parsed arguments to an exit code.

JAX and what rests on it are imported by the commands that need them, and not before the
configuration is known to be right.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jepa_sim import config as toml
from jepa_sim.arguments.errors import StoreError, check_extra
from jepa_sim.numerics.cache import cache_folder, keep_compiled

if TYPE_CHECKING:
    import xarray as xr

    from jepa_sim.sweeps.sweep import Plan


def sweep(arguments: argparse.Namespace) -> int:
    config = toml.load(arguments.config)
    path = Path(config.output.path)
    if arguments.dry_run:  # whatever there is at `path`: nothing is written
        planned = _planned(config)
        from jepa_sim.campaigns.blocks import forecast

        print(forecast(planned, in_blocks=not path.suffix))
        return 0
    toml.check_output(path, overwrite=arguments.overwrite)
    if not path.suffix:
        return _campaign(arguments, config, path)
    for option in ("extend", "shard", "engine", "scheduler", "workers"):
        if getattr(arguments, option):
            rule = "be left out unless `output.path` is a folder"
            name = "--" + option.replace("_", "-")
            raise toml.ConfigError([f"Option `{name}` must {rule}, but that is `{path}`."])
    planned = _planned(config)
    from jepa_sim.campaigns.store import check_room, write_netcdf
    from jepa_sim.sweeps.sweep import collect

    check_room(path, planned.least_bytes)
    dataset = collect(planned, progress=not arguments.quiet)
    dataset.attrs["config"] = config.text
    write_netcdf(dataset, path)
    if not arguments.quiet:
        from jepa_sim.cli.report import print_run

        print_run(dataset, path)
    return 0


def _campaign(arguments: argparse.Namespace, config: toml.Config, path: Path) -> int:
    _check_engine(arguments)
    if arguments.overwrite and path.exists():
        rule = "be left out for a run in a folder: remove the folder, or let the run go on"
        raise toml.ConfigError([f"Option `--overwrite` must {rule}."])
    planned = _planned(config)
    from jepa_sim.campaigns.campaign import campaign
    from jepa_sim.campaigns.engine import Dask, Local

    is_local = arguments.engine != "dask"
    engine = Local() if is_local else Dask(arguments.scheduler, arguments.workers or 2)
    try:
        dataset = campaign(
            path,
            planned,
            engine=engine,
            shard=arguments.shard,
            extend=arguments.extend,
            progress=not arguments.quiet,
            configuration=config.beside_axes,
            text=config.text,
        )
    except KeyboardInterrupt:
        again = f"Run the same command again to continue `{path}`."
        message = f"Interrupted. Every block that was computed is stored. {again}"
        raise KeyboardInterrupt(message) from None
    if not arguments.quiet and arguments.shard is None:
        from jepa_sim.cli.report import print_run

        print_run(dataset, path)
    return 0


def _check_engine(arguments: argparse.Namespace) -> None:
    """ConfigError where the options of the engine do not go together."""
    dask = arguments.engine == "dask"
    for option in ("scheduler", "workers"):
        if getattr(arguments, option) is not None and not dask:
            raise toml.ConfigError([f"Option `--{option}` must come with `--engine dask`."])
    if dask and arguments.shard:
        raise toml.ConfigError(["Option `--shard` must be left out with `--engine dask`."])
    if arguments.workers is not None and arguments.workers < 1:
        fault = f"Option `--workers` must be at least 1, but is {arguments.workers}."
        raise toml.ConfigError([fault])
    if dask:
        check_extra("dask", "Option `--engine dask`", "distributed")


def status(arguments: argparse.Namespace) -> int:
    from jepa_sim.campaigns.store import open_store, status, status_of_file

    path = Path(arguments.run_path)
    if not path.is_dir():
        dataset = _open(path)
        if arguments.verify:
            rule = "be left out for a file: only runs in folders have checksums"
            raise toml.ConfigError([f"Option `--verify` must {rule}."])
        print(status_of_file(path, dataset))
        return 0
    code = _verify(arguments.run_path) if arguments.verify else 0
    print(status(open_store(arguments.run_path)))
    return code


def _verify(path: str) -> int:
    """Say what is damaged; 1 where something is."""
    from jepa_sim.campaigns.store import open_store, verify

    store = open_store(path)
    with store.lock():
        found = verify(store)
    for kind, damaged in (("blocks", found.blocks), ("arrays", found.arrays.values())):
        print(f"{len(damaged)} damaged {kind}" + "".join(f"\n  {each}" for each in damaged))
    if found.unchecked:
        lines = f"{found.unchecked:,} blocks are of an older version, which kept no checksums"
        print(f"{lines}: whether chunks of them were exchanged is not known")
    if found.arrays or found.blocks:
        print("The same `jepa-sim sweep`, or campaign, writes again what is damaged.")
    return int(bool(found.arrays or found.blocks))


def retry(arguments: argparse.Namespace) -> int:
    if arguments.max_steps is not None and arguments.max_steps < 1:
        fault = f"Option `--max-steps` must be at least 1, but is {arguments.max_steps}."
        raise toml.ConfigError([fault])
    path = Path(arguments.run_path)
    dataset, text = _open(path), _toml_of(path)
    if text is None:
        raise StoreError(f"Run `{path}` must be of `jepa-sim sweep`, but is of Python.")
    config = toml.parse(text)
    if arguments.max_steps is not None:
        if not hasattr(config.solve, "max_steps"):
            rule = f"be left out with `solve.solver` = {config.solve.solver!r}"
            raise toml.ConfigError([f"Option `--max-steps` must {rule}."])
        longer = config.solve.model_copy(update={"max_steps": arguments.max_steps})
        config = config.model_copy(update={"solve": longer})
    planned = _planned(config)
    if path.is_dir():
        from jepa_sim.campaigns import campaign

        campaign.retry(path, planned, progress=not arguments.quiet)
    else:
        from jepa_sim.campaigns.store import write_netcdf
        from jepa_sim.sweeps.sweep import collect_again

        write_netcdf(collect_again(dataset, planned, progress=not arguments.quiet), path)
    return status(argparse.Namespace(run_path=arguments.run_path, verify=False))


def export(arguments: argparse.Namespace) -> int:
    from jepa_sim.campaigns.store import export

    path = Path(arguments.path)
    if path.suffix not in (".nc", ".parquet"):
        raise toml.ConfigError([f"Argument `FILE` must end in .nc or .parquet, but is {path}."])
    if path.exists() and not arguments.overwrite:
        rule = "not exist yet (unless --overwrite is given)"
        raise toml.ConfigError([f"Argument `FILE` must {rule}, but {path} exists."])
    if path.suffix == ".parquet":
        check_extra("parquet", "A Parquet file", "pyarrow")
    export(_open(Path(arguments.run_path)), path)
    return 0


def show(arguments: argparse.Namespace) -> int:
    from jepa_sim.cli.report import print_run

    path = Path(arguments.run_path)
    print_run(_open(path), path)
    return 0


def explore(arguments: argparse.Namespace) -> int:
    if arguments.run_path is not None and (arguments.lam or arguments.rho):
        raise toml.ConfigError(["Options `--lam` and `--rho` must be left out with RUN."])
    if arguments.run_path is not None and not Path(arguments.run_path).exists():
        raise _missing(Path(arguments.run_path))
    _prepare_jax("float64")
    from jepa_sim.explore import Setting, StoredRun, serve

    try:
        setting = Setting(tuple(arguments.lam or (1.0, 1.0)), tuple(arguments.rho or (0.9, 0.3)))
    except ValueError as error:
        raise toml.ConfigError([str(error)]) from None
    run = None
    if arguments.run_path is not None:
        path = Path(arguments.run_path)
        errors = (toml.ConfigError, StoreError, OSError, ValueError, KeyError)
        run = StoredRun(str(path), lambda: (_open(path), _toml_of(path)), errors)
    serve(setting, run, port=arguments.port, show=not arguments.no_browser)
    return 0


def info(arguments: argparse.Namespace) -> int:
    _prepare_jax("float64")
    from jepa_sim.cli.report import print_info

    print_info(cache_folder())
    return 0


def demo(argv: Sequence[str]) -> int:
    check_extra("demo", "The demo", "matplotlib", "sklearn", "PIL")
    _prepare_jax("float64")
    from jepa_sim.cli import demo

    return demo.main(argv) or 0


def _planned(config: toml.Config) -> "Plan":
    """What a configuration asks for; JAX is imported here, with its settings."""
    _prepare_jax(config.solve.precision)
    from jepa_sim.config.build import build

    return build(config)


def _open(path: Path) -> "xr.Dataset":
    """A result from a file. ConfigError where it is none."""
    import xarray as xr

    if path.is_dir():
        from jepa_sim.campaigns.store import open_run

        dataset = open_run(path)
    elif path.is_file():
        try:
            dataset = xr.load_dataset(path, engine="h5netcdf")
        except MemoryError:
            raise
        except Exception as error:  # HDF5 raises almost anything where a file is damaged
            raise _fault("be a NetCDF file", path) from error
    else:
        raise _missing(path)
    if not {"critical_time", "result", "lam", "rho", "plateau", "t"} <= set(dataset.data_vars):
        raise _fault("be written by `jepa-sim sweep`", path)
    return dataset


def _missing(path: Path) -> toml.ConfigError:
    return _fault("be a file or folder that exists", path)


def _fault(rule: str, path: Path) -> toml.ConfigError:
    return toml.ConfigError([f"Argument `RUN` must {rule}, but is {path}."])


def _toml_of(path: Path) -> str | None:
    """The TOML that made a result; None where it was made in Python."""
    if path.is_dir():
        from jepa_sim.campaigns.store import open_store

        return open_store(path).manifest.get("toml") or None
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        text = str(dataset.attrs.get("config", ""))
    return text if "[grid]" in text else None


def _prepare_jax(precision: str) -> None:
    """Set JAX's precision, and keep its compiled programs."""
    keep_compiled()
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
