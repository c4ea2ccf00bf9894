"""The TOML of a run, checked in full before anything is computed. Nothing here needs JAX.

    [data]    what to learn from    kind = "features" | "images" | "static" | …
    [grid]    what to sweep         objective, depth, predictor_depth, scale, seed, further axes
    [solve]   how, and when to save solver = "closed_form" | "modes" | "layer_modes" | …
    [output]  where, and what       path, critical_fraction, observables

Every table has its own keys and no others; names are chosen by `kind`, `view` or `solver`. All
faults are reported together, one line each: the key, the rule, the value.
"""

import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import PrivateAttr, ValidationError

from jepa_sim.arguments.errors import ConfigError
from jepa_sim.config.faults import Fault, shown_path
from jepa_sim.config.reading import lines
from jepa_sim.config.tables import given, models, real
from jepa_sim.config.tables.base import OneTable, Table, registry, tables_in
from jepa_sim.config.tables.data import Data
from jepa_sim.config.tables.grid import Grid
from jepa_sim.config.tables.output import Output
from jepa_sim.config.tables.solvers import AnySolver
from jepa_sim.sweeps.axes import FURTHER


def load(path: str | os.PathLike[str]) -> "Config":
    """The configuration in a TOML file. ConfigError where it cannot be read or has faults."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"File `{path}` must exist, but does not."]) from None
    except IsADirectoryError:
        raise ConfigError([f"File `{path}` must be a TOML file, but is a folder."]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"File `{path}` must be text in UTF-8, but is not."]) from None
    except (OSError, ValueError) as error:
        raise ConfigError([f"File `{path}` must be readable, but is not: {error}."]) from None
    return parse(text)


def parse(text: str) -> "Config":
    """The configuration in a TOML text. ConfigError with one line per fault."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(["The configuration must be TOML, but is nested too deeply."]) from None
    except ValueError as error:
        raise ConfigError([f"The configuration must be TOML, but is not: {error}."]) from None
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(lines(error.errors(), Config)) from None
    config._text = text
    return config


def check_output(path: Path, *, overwrite: bool) -> None:
    """ConfigError unless a result can be written to `path`; leaves nothing behind.

    A run that is written block by block, in a folder, may be there already: it goes on.
    """
    try:
        folder = path.parent
        if path.suffix and path.is_dir():
            raise _output_fault(path, "be a file", "is a folder")
        if path.is_file() and not path.suffix:
            raise _output_fault(path, "be a folder", "is a file")
        if path.suffix and path.exists() and not overwrite:
            raise _output_fault(path, "not exist yet (unless --overwrite is given)", "exists")
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise _output_fault(path, "lie in a folder", f"`{folder}` is a file")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise _output_fault(path, "be writable", reason) from None


def _output_fault(path: Path, rule: str, reason: str) -> ConfigError:
    return ConfigError([Fault(("output", "path"), rule, f"{shown_path(path)} {reason}").line()])


DATA: dict[str, Any] = {
    **tables_in(vars(given), Data),
    **tables_in(vars(models), Data),
    "images": Annotated[real.Photographs, real.PHOTOGRAPHS],
    "digits": Annotated[real.Digits, real.DIGITS],
    **registry(real.Series),
}


class Config(Table):
    """A whole run. Made by `load` or `parse`."""

    data: Annotated[Data, OneTable("kind", DATA)]
    grid: Grid  # pyright: ignore[reportInvalidTypeForm]
    solve: AnySolver
    output: Output
    _text: str = PrivateAttr("")

    @property
    def beside_axes(self) -> dict:
        """All that a run must keep while its axes may grow, by table and key."""
        axes = {"objective", "depth", "predictor_depth", "scale", "seed", *FURTHER}
        whole = self.model_dump(mode="json", exclude={"output": {"path"}, "grid": axes})
        return {name: whole[name] for name in ("data", "grid", "solve", "output")}

    @property
    def text(self) -> str:
        """The TOML that was parsed."""
        return self._text

    def faults(self) -> Iterator[Fault]:
        """The keys of [grid] that the solver cannot take."""
        return self.solve.grid_faults(self.grid)
