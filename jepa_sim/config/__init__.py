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
from typing import Annotated

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from jepa_sim.arguments.errors import (
    ConfigError,
    Fault,
    Placed,
    lines,
    raise_faults,
    shown,
    shown_path,
)
from jepa_sim.config.tables import given, models, real, run
from jepa_sim.config.tables.base import Table


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
        raise ConfigError(lines([_place(details) for details in error.errors()])) from None
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


Data = Annotated[
    given.Features
    | models.Static
    | models.Dynamic
    | models.Temporal
    | models.PixelMask
    | models.BlockMask
    | models.LowRank
    | models.PowerLaw
    | models.NonCommuting
    | real.AnyPhotographs
    | real.AnyDigits
    | real.Series
    | given.Samples
    | given.Moments,
    Field(discriminator="kind"),
]


class Config(Table):
    """A whole run. Made by `load` or `parse`."""

    data: Data
    grid: run.Grid
    solve: Annotated[
        run.ClosedForm | run.Modes | run.LayerModes | run.GradientFlow | run.Descent,
        Field(discriminator="solver"),
    ]
    output: run.Output
    _text: str = PrivateAttr("")

    @property
    def beside_axes(self) -> dict:
        """All that a run must keep while its axes may grow, by table and key."""
        axes = {"objective", "depth", "predictor_depth", "scale", "seed", *run.AXES}
        whole = self.model_dump(mode="json", exclude={"output": {"path"}, "grid": axes})
        return {name: whole[name] for name in ("data", "grid", "solve", "output")}

    @property
    def text(self) -> str:
        """The TOML that was parsed."""
        return self._text

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        raise_faults(list(self._faults()))
        return self

    def _faults(self) -> Iterator[Fault]:
        solver = f'with `solve.solver` = "{self.solve.solver}"'
        if isinstance(self.solve, run.ClosedForm | run.Modes):
            yield from self._beyond_reduced(solver)
            return
        separable = ("balanced", "unbalanced", "orthogonal", "gaussian")
        if isinstance(self.solve, run.LayerModes) and self.grid.start not in separable:
            rule = f"say how a single feature starts {solver}"
            yield Fault(("grid", "start"), rule, f"is {shown(self.grid.start)}")
        for name in ("depth", "predictor_depth"):
            for i, depth in enumerate(getattr(self.grid, name)):
                if not isinstance(depth, int):
                    rule = f"be a whole number {solver}"
                    yield Fault(("grid", name, i), rule, f"is {shown(depth)}")

    def _beyond_reduced(self, solver: str) -> Iterator[Fault]:
        """What the reduced flow has no place for."""
        if self.grid.start != "balanced":
            found = f"is {shown(self.grid.start)}"
            yield Fault(("grid", "start"), f'be "balanced" {solver}', found)
        for i, objective in enumerate(self.grid.objective):
            if objective in ("jepa_moving_average", "jepa_no_stop_gradient"):
                rule = f"be an objective whose encoder is its own teacher {solver}"
                yield Fault(("grid", "objective", i), rule, f"is {shown(objective)}")
        for name in ("weight_decay", "encoder_rate", "predictor_rate", "width"):
            if getattr(self.grid, name) is not None:
                yield Fault(("grid", name), f"be left out {solver}", "is given")
        if self.grid.predictor != "learned":
            found = f"is {shown(self.grid.predictor)}"
            yield Fault(("grid", "predictor"), f'be "learned" {solver}', found)


# Where the path in pydantic's report holds the variant's name next, which is no key of the TOML.
_VARIANTS = {
    ("data",),
    ("data", "angle"),
    ("data", "autocorrelation"),
    ("data", "lam"),
    ("data", "noise"),
    ("data", "noise_autocorrelation"),
    ("data", "policy"),
    ("data", "rho"),
    ("grid", "seed"),
    ("solve",),
    ("solve", "times"),
}
# The table that variants' names, or keys, lead to.
_TABLES: dict[tuple[str, ...], type[Table]] = {
    ("features",): given.Features,
    ("samples",): given.Samples,
    ("moments",): given.Moments,
    ("static",): models.Static,
    ("dynamic",): models.Dynamic,
    ("temporal",): models.Temporal,
    ("policy", "random"): models.RandomFrames,
    ("policy", "suffix"): models.Suffix,
    ("policy", "block"): models.BlockFrames,
    ("pixel_mask",): models.PixelMask,
    ("block_mask",): models.BlockMask,
    ("low_rank",): models.LowRank,
    ("power_law",): models.PowerLaw,
    ("non_commuting",): models.NonCommuting,
    ("series",): real.Series,
    ("grid",): run.Grid,
    ("range",): run.SeedRange,
    ("closed_form",): run.ClosedForm,
    ("modes",): run.Modes,
    ("layer_modes",): run.LayerModes,
    ("gradient_flow",): run.GradientFlow,
    ("descent",): run.Descent,
    ("critical",): run.CriticalTimes,
    ("log",): run.LogTimes,
    ("output",): run.Output,
} | {(kind, view): table for kind, views in real.VIEWS_OF.items() for view, table in views.items()}


def _place(details: ErrorDetails) -> Placed:
    """Find the path in the TOML, and the keys known beside it, of the path in pydantic's report."""
    path, loc = (), details["loc"]
    names = 0  # of variants, still to come
    for part in loc:
        if names > 0:
            names += -1 if part not in real.VIEWS_OF else 0  # a kind with views has two names
            continue
        path = (*path, part)
        names = int(path in _VARIANTS)
    table = _TABLES.get(tuple(map(str, loc[-3:-1]))) or _TABLES.get(tuple(map(str, loc[-2:-1])))
    return Placed(details, path, sorted((table or Config).model_fields))
