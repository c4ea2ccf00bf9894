"""The TOML of a run, checked in full before anything is computed. Nothing here needs JAX.

    [data]    what to learn from    kind = "features" | "images" | "samples" | "moments"
    [grid]    what to sweep         objective, depth, predictor_depth, scale, seed
    [solve]   how, and when to save solver = "closed_form" | "modes" | "gradient_flow" | "descent"
    [output]  where to write        path, critical_fraction

Every table has its own keys and no others; names are chosen by `kind` or `solver`. All faults are
reported together, one line each: the key, the rule, the value.
"""

import os
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from jepa_sim._arrays import SamplesFile, file_faults, matrix_faults
from jepa_sim._faults import ConfigError, Fault, Placed, lines, raise_faults, shown, shown_path


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
    """ConfigError unless a result can be written to `path`; leaves nothing behind."""
    try:
        folder = path.parent
        if path.is_dir():
            raise _output_fault(path, "be a file", "is a folder")
        if path.exists() and not overwrite:
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


class Table(BaseModel):
    """A TOML table: its keys and no others, of the types they say, all numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _not_empty(entries: tuple) -> tuple:
    raise_faults([] if entries else [Fault((), "have at least one entry", "is []")])
    return entries


def _distinct(entries: tuple) -> tuple:
    """Every entry differs from those before it."""
    raise_faults(
        [
            Fault((i,), "differ from the entries before it", f"is {shown(entry)}")
            for i, entry in enumerate(entries)
            if entry in entries[:i]
        ]
    )
    return entries


def _whole_if_possible(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _netcdf(path: str) -> str:
    is_named = Path(path).suffix == ".nc" and "\0" not in path
    raise_faults([] if is_named else [Fault((), "end in .nc (NetCDF)", f"is {shown(path)}")])
    return path


T = TypeVar("T")
_List = Field(strict=False)  # a list in TOML is a tuple here
Listed = Annotated[tuple[T, ...], _List, AfterValidator(_not_empty), AfterValidator(_distinct)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Depth = Annotated[float, Field(ge=1), AfterValidator(_whole_if_possible)]
Numbers = Annotated[tuple[float, ...], _List, AfterValidator(_not_empty)]
Matrix = Annotated[tuple[Numbers, ...], _List, AfterValidator(_not_empty)]


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], list | tuple)


Spectra = Annotated[
    Annotated[Numbers, Tag("one")] | Annotated[Matrix, Tag("several")],
    Discriminator(lambda value: "several" if _is_nested(value) else "one"),
]


class Features(Table):
    """Features given by λ and ρ: one list each, or a list of lists for several spectra."""

    kind: Literal["features"]
    lam: Spectra
    rho: Spectra

    @model_validator(mode="after")
    def _are_variances(self) -> "Features":
        raise_faults(list(self._faults()))
        return self

    @property
    def spectra(self) -> list[tuple[Numbers, Numbers]]:
        """(λ, ρ) of each spectrum."""
        lam = self.lam if _is_nested(self.lam) else (self.lam,)
        rho = self.rho if _is_nested(self.rho) else (self.rho,)
        return list(zip(lam, rho, strict=True))  # pyright: ignore[reportReturnType]

    def _faults(self) -> Iterator[Fault]:
        nested = _is_nested(self.lam)
        if nested != _is_nested(self.rho) or (nested and len(self.lam) != len(self.rho)):
            wanted = f"{len(self.lam)} lists" if nested else "one list of numbers"
            yield Fault(("rho",), f"hold {wanted}, as `data.lam` does", f"is {shown(self.rho)}")
            return
        size = len(self.spectra[0][0])
        for s, (lam, rho) in enumerate(self.spectra):
            at = (s,) if nested else ()
            if len(lam) != size:
                rule = f"have {size} entries, as `data.lam[0]` does"
                yield Fault(("lam", *at), rule, f"has {len(lam)}")
            if len(rho) != len(lam):
                rule = f"have {len(lam)} entries, as `data.lam` does"
                yield Fault(("rho", *at), rule, f"has {len(rho)}")
                continue
            for i, (a, b) in enumerate(zip(lam, rho, strict=True)):
                found = f"is {shown(b)} with λ = {shown(a)}"
                if a == 0:
                    rule = "not be zero (the variance λ/ρ would be)"
                    yield Fault(("lam", *at, i), rule, f"is {shown(a)}")
                elif b == 0:
                    rule = "not be zero (the variance λ/ρ is undefined)"
                    yield Fault(("rho", *at, i), rule, found)
                elif (a > 0) != (b > 0):
                    rule = "have the sign of λ (λ/ρ is a variance)"
                    yield Fault(("rho", *at, i), rule, found)


class Images(Table):
    """Patches of scikit-learn's photographs, each seen twice under independent lighting.

    d = patch². Standard deviations are in units of the patches' own; None leaves one to the data.
    """

    kind: Literal["images"]
    patch: Annotated[int, Field(ge=2, le=64)] = 8
    pairs: Count = 100_000
    brightness_sd: Positive | None = None
    gradient_sd: Positive | None = None
    sensor_sd: Positive | None = None
    seed: Seed = 0


class Samples(Table):
    """Pairs of views: an .npz file with arrays `x` and `y`, both of shape (n, d)."""

    kind: Literal["samples"]
    path: str

    @model_validator(mode="after")
    def _can_be_read(self) -> "Samples":
        raise_faults(self.file.faults())
        return self

    @property
    def file(self) -> SamplesFile:
        """The samples themselves, in batches."""
        return SamplesFile(Path(self.path))


class Moments(Table):
    """Second moments: lists of rows here, or an .npz file with arrays `xx`, `yx` and maybe `yy`."""

    kind: Literal["moments"]
    path: str | None = None
    xx: Matrix | None = None
    yx: Matrix | None = None
    yy: Matrix | None = None

    @model_validator(mode="after")
    def _are_moments(self) -> "Moments":
        given = [name for name in ("xx", "yx", "yy") if getattr(self, name) is not None]
        if self.path is not None:
            rule = "be left out where moments are read from `data.path`"
            raise_faults([Fault((name,), rule, "is given") for name in given])
            raise_faults(file_faults(Path(self.path), ("xx", "yx"), ("yy",)))
        else:
            missing = [name for name in ("xx", "yx") if name not in given]
            raise_faults([Fault((name,), "be given", "is missing") for name in missing])
        rows = self._rows()
        faults = [
            fault for name in rows for fault in matrix_faults(name, rows[name], len(rows["xx"]))
        ]
        at = () if self.path is None else ("path",)
        raise_faults([fault._replace(key=(*at, *fault.key)) for fault in faults])
        return self

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """`xx`, `yx` and, where it is given, `yy`, each (d, d)."""
        return {name: np.asarray(rows, dtype=np.float64) for name, rows in self._rows().items()}

    def _rows(self) -> dict[str, Any]:
        if self.path is not None:
            with np.load(self.path) as arrays:
                names = [name for name in ("xx", "yx", "yy") if name in arrays]
                return {name: np.atleast_1d(arrays[name]) for name in names}
        rows = {"xx": self.xx, "yx": self.yx, "yy": self.yy}
        return {name: value for name, value in rows.items() if value is not None}


class SeedRange(Table):
    """The seeds start, …, stop − 1."""

    start: Seed = 0
    stop: Seed

    @model_validator(mode="after")
    def _has_seeds(self) -> "SeedRange":
        rule = f"be above `grid.seed.start` = {self.start}"
        empty = self.stop <= self.start
        raise_faults([Fault(("stop",), rule, f"is {self.stop}")] if empty else [])
        return self


class Grid(Table):
    """The axes of the sweep; every list is one axis."""

    objective: Listed[Literal["jepa", "mae"]] = ("jepa", "mae")
    depth: Listed[Depth]
    predictor_depth: Listed[Depth] = (1,)
    scale: Listed[Positive]
    seed: Annotated[
        Annotated[Listed[Seed], Tag("list")] | Annotated[SeedRange, Tag("range")],
        Discriminator(lambda value: "range" if isinstance(value, dict | SeedRange) else "list"),
    ] = (0,)
    start: Literal["balanced", "gaussian"] = "balanced"
    rotated: bool = False

    @property
    def seeds(self) -> Sequence[int]:
        """Every seed of the sweep."""
        if isinstance(self.seed, SeedRange):
            return range(self.seed.start, self.seed.stop)
        return self.seed

    @model_validator(mode="after")
    def _only_balanced_starts_rotate(self) -> "Grid":
        misplaced = self.rotated and self.start != "balanced"
        rule = 'be false unless `grid.start` is "balanced"'
        raise_faults([Fault(("rotated",), rule, "is true")] if misplaced else [])
        return self


class CriticalTimes(Table):
    """Fractions of each trajectory's own last critical time."""

    kind: Literal["critical"]
    count: Annotated[int, Field(ge=2)] = 200


class LogTimes(Table):
    """The same times for all, evenly spaced in log t, from start to stop."""

    kind: Literal["log"]
    start: Positive
    stop: Positive
    count: Annotated[int, Field(ge=2)] = 200

    @model_validator(mode="after")
    def _ascend(self) -> "LogTimes":
        rule = f"be above `solve.times.start` = {shown(self.start)}"
        empty = self.stop <= self.start
        raise_faults([Fault(("stop",), rule, f"is {shown(self.stop)}")] if empty else [])
        return self


class Solve(Table):
    """What all solvers take."""

    times: Annotated[CriticalTimes | LogTimes, Field(discriminator="kind")]
    precision: Literal["float64", "float32"] = "float64"


class ClosedForm(Solve):
    """The exact solution of the reduced equations."""

    solver: Literal["closed_form"]


class Modes(Solve):
    """The reduced equations by an ODE solver; None leaves a field to the solver."""

    solver: Literal["modes"]
    tolerance: Positive | None = None
    max_steps: Count | None = None


class GradientFlow(Solve):
    """All matrices by an ODE solver; None leaves a field to the solver."""

    solver: Literal["gradient_flow"]
    rtol: Positive | None = None
    atol: Positive | None = None
    max_steps: Count | None = None


class Descent(Solve):
    """Steps of an optimiser, on the population loss unless there is a batch size."""

    solver: Literal["descent"]
    learning_rate: Positive
    optimizer: Literal["sgd", "adam"] = "sgd"
    batch_size: Count | None = None
    max_steps: Count | None = None


class Output(Table):
    """The NetCDF file to write, and the fractions of a plateau that count as learned."""

    path: Annotated[str, AfterValidator(_netcdf)]
    critical_fraction: Listed[Fraction] = (0.5, 0.9)


class Config(Table):
    """A whole run. Made by `load` or `parse`."""

    data: Annotated[Features | Images | Samples | Moments, Field(discriminator="kind")]
    grid: Grid
    solve: Annotated[ClosedForm | Modes | GradientFlow | Descent, Field(discriminator="solver")]
    output: Output
    _text: str = PrivateAttr("")

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
        if isinstance(self.solve, ClosedForm | Modes):
            if self.grid.start != "balanced":
                found = f"is {shown(self.grid.start)}"
                yield Fault(("grid", "start"), f'be "balanced" {solver}', found)
            return
        for name in ("depth", "predictor_depth"):
            for i, depth in enumerate(getattr(self.grid, name)):
                if not isinstance(depth, int):
                    rule = f"be a whole number {solver}"
                    yield Fault(("grid", name, i), rule, f"is {shown(depth)}")


# Where the path in pydantic's report holds the variant's name next, which is no key of the TOML.
_VARIANTS = {
    ("data",),
    ("data", "lam"),
    ("data", "rho"),
    ("grid", "seed"),
    ("solve",),
    ("solve", "times"),
}
_TABLES: dict[str, type[Table]] = {
    "features": Features,
    "images": Images,
    "samples": Samples,
    "moments": Moments,
    "grid": Grid,
    "range": SeedRange,
    "closed_form": ClosedForm,
    "modes": Modes,
    "gradient_flow": GradientFlow,
    "descent": Descent,
    "critical": CriticalTimes,
    "log": LogTimes,
    "output": Output,
}


def _place(details: ErrorDetails) -> Placed:
    """Find the path in the TOML, and the keys known beside it, of the path in pydantic's report."""
    path, loc = (), details["loc"]
    is_variant = False
    for part in loc:
        if is_variant:
            is_variant = False
            continue
        path = (*path, part)
        is_variant = path in _VARIANTS
    table = _TABLES.get(str(loc[-2]), Config) if len(loc) > 1 else Config
    return Placed(details, path, sorted(table.model_fields))
