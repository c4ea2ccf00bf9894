"""The command line: `jepa-sim sweep`, `status`, `show`, `explore`, `demo` and others.

Here are its options and its errors; `commands` has what it does.
"""

import argparse
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence

from jepa_sim import __version__
from jepa_sim import config as toml
from jepa_sim.arguments.errors import MissingExtra, StoreError
from jepa_sim.cli import commands
from jepa_sim.cli.help import columns, sweep_help

FAULT = 2  # exit code: what was asked for is wrong, and nothing was written
FAILURE = 1  # exit code: what was asked for could not be done


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(argv)


def _run(argv: list[str]) -> int:
    try:
        if argv[:1] == ["demo"]:  # it has options of its own
            return commands.demo(argv[1:])
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except (toml.ConfigError, StoreError, MissingExtra) as error:
        return _complain(str(error).splitlines(), FAULT)
    except MemoryError as error:
        return _complain([f"There is not enough memory. {error}"], FAILURE)
    except OSError as error:
        return _complain([str(error)], FAILURE)
    except KeyboardInterrupt as interrupt:
        return _complain([str(interrupt) or "Interrupted."], 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jepa-sim",
        description="Simulate how deep linear self-supervised networks learn: JEPA against masked "
        "autoencoding.",
        epilog="`jepa-sim COMMAND --help` has options and examples. Start with `jepa-sim demo`.",
    )
    parser.add_argument("--version", action="version", version=f"jepa-sim {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, about: str, epilog: str = "", run: str = "") -> argparse.ArgumentParser:
        """The command that the function `commands.name` runs.  run: what RUN is, if it has one."""
        added = subparsers.add_parser(
            name,
            help=about,
            description=textwrap.fill(about, columns()),
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=getattr(commands, name))
        if run:
            added.add_argument("run_path", metavar="RUN", help=run)
        return added

    def flag(of: argparse._ActionsContainer, name: str, about: str) -> None:
        of.add_argument(name, action="store_true", help=about)

    result = "a file or folder written by `jepa-sim sweep`"
    sweep = command(
        "sweep",
        "Simulate every trajectory of a grid. A result in a folder continues where it was stopped.",
        f"examples:\n\n  jepa-sim sweep CONFIG.toml\n  jepa-sim sweep CONFIG.toml --engine dask "
        f"--workers 4\n  jepa-sim sweep CONFIG.toml --shard 0/8\n\n{sweep_help()}",
    )
    sweep.add_argument("config", metavar="CONFIG.toml", help="what to sweep, and where to write it")
    flag(sweep, "--overwrite", "replace the result if there is one already")
    flag(sweep, "--quiet", "no progress and no table")
    flag(sweep, "--dry-run", "print what the sweep would cost; compute and write nothing")
    large = sweep.add_argument_group("for a result in a folder")
    about = "allow more values on the axes than the run in the folder has: more seeds, depths, …"
    flag(large, "--extend", about)
    about = "compute blocks i, i + n, i + 2n, … (i counts from 0), for job arrays"
    large.add_argument("--shard", type=_shard, metavar="i/n", help=about)
    about = "compute in this process (the default), or on the workers of a Dask cluster"
    large.add_argument("--engine", choices=("local", "dask"), help=about)
    large.add_argument("--scheduler", metavar="ADDRESS", help="address of a running Dask cluster")
    about = "start a Dask cluster of N processes on this machine (default: 2)"
    large.add_argument("--workers", type=int, metavar="N", help=about)

    status = command(
        "status",
        "Show how much of a run is computed, and how many trajectories failed. It works while the "
        "run is being computed, too.",
        "example:\n\n  jepa-sim status runs/first",
        run=result,
    )
    about = "for a folder: read all data, and mark damaged blocks to be computed again"
    flag(status, "--verify", about)

    retry = command(
        "retry",
        "Compute the failed trajectories of a run again.",
        "example:\n\n  jepa-sim retry runs/first --max-steps 1000000",
        run=result,
    )
    about = "the most steps that a solver may take"
    retry.add_argument("--max-steps", type=int, metavar="N", help=about)
    flag(retry, "--quiet", "no progress")

    export = command(
        "export",
        "Write a run to one file, for other programs.",
        "examples:\n\n  jepa-sim export runs/first first.nc\n"
        "  jepa-sim export runs/first first.parquet\n\n"
        "A .parquet file has one row for each trajectory, feature and fraction.",
        run=result,
    )
    export.add_argument("path", metavar="FILE", help="a name that ends in .nc or .parquet")
    flag(export, "--overwrite", "replace FILE if it is there")

    command(
        "show",
        "Show a result: its axes, its origin, and when features are learned.",
        "example:\n\n  jepa-sim show runs/first.nc",
        run=result,
    )

    explore = command(
        "explore",
        "Open a page in the browser: sliders over the closed form, or a stored sweep.",
        "examples:\n\n  jepa-sim explore                         # two features, equal λ\n"
        "  jepa-sim explore --lam 1 1 0.5 --rho 0.9 0.3 0.8\n"
        "  jepa-sim explore runs/first.nc           # choose axes; phase diagrams\n"
        "  jepa-sim explore runs/large --port 8000 --no-browser   # behind an SSH tunnel\n\n"
        "The page is served to this machine alone, and reads no file but RUN.",
    )
    about = f"{result} (default: sliders over the closed form)"
    explore.add_argument("run_path", metavar="RUN", nargs="?", help=about)
    about = "covariance of each feature (default: 1 1)"
    explore.add_argument("--lam", type=float, nargs="+", help=about)
    about = "regression coefficient of each feature (default: 0.9 0.3)"
    explore.add_argument("--rho", type=float, nargs="+", help=about)
    about = "port of the page (default: a free one)"
    explore.add_argument("--port", type=_port, default=0, help=about)
    flag(explore, "--no-browser", "print the address, and open no browser")

    command("info", "Show versions, devices, precision, and the folder of compiled programs.")
    # `main` hands all of `demo` on; here it is for the list of commands
    subparsers.add_parser(
        "demo", help="Compare JEPA with masked autoencoding on two photographs, in a minute."
    )
    return parser


def _shard(words: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", words)
    if match is None or not int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(f"must be i/n with 0 ≤ i < n, but is {words!r}")
    return int(match[1]), int(match[2])


def _port(words: str) -> int:
    if not words.isdecimal() or int(words) > 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, but is {words!r}")
    return int(words)


def _warn(message: Warning | str, *where: object) -> None:
    print(f"jepa-sim: warning: {message}", file=sys.stderr)


def _complain(lines: Sequence[str], code: int) -> int:
    for line in lines:
        print(f"jepa-sim: error: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
