"""What tables are made of: the base class and the types of keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from jepa_sim.config.faults import Fault, raise_faults, shown


class Table(BaseModel):
    """A TOML table: only its own keys, values of the annotated types, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fits_together(self) -> "Table":
        raise_faults(list(self.faults()))
        return self

    def faults(self) -> Iterator[Fault]:
        """What is wrong with a combination of keys, each of which is right."""
        yield from ()

    def given(self, *names: str) -> dict[str, Any]:
        """The values of the keys that the TOML sets; the built object has its own defaults."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def own(self, beside: Iterable[str]) -> dict[str, Any]:
        """As `given`, of all keys but those named."""
        return self.given(*(name for name in type(self).model_fields if name not in {*beside}))


class Name:
    """In the annotation of a key: a string that is one of the names of a registry."""

    def __init__(self, registry: Mapping[str, Any]):
        self.names = tuple(registry)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


class OneOf:
    """In the annotation of a key: a value of one of several types.

    types: by tag.  tag: from a value to its tag; None where it is missing.
    """

    def __init__(self, types: Mapping[str, Any], tag: Callable[[Any], str | None]):
        self.types, self.tag = dict(types), tag

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schemas = {tag: handler.generate_schema(kind) for tag, kind in self.types.items()}
        return core_schema.tagged_union_schema(schemas, discriminator=self.tag)


class OneTable(OneOf):
    """In the annotation of a key: one of several tables. Their key `chooser` says which.

    default: the name where that key is left out.
    """

    def __init__(self, chooser: str, tables: Mapping[str, Any], default: str | None = None):
        self.chooser, self.default = chooser, default
        super().__init__(tables, self._chosen)

    def _chosen(self, value: Any) -> str | None:
        if isinstance(value, Table):
            return getattr(value, self.chooser)
        if not isinstance(value, dict):  # any of the tables will say that it must be a table
            return next(iter(self.types))
        name = value.get(self.chooser, self.default)
        return name if name is None or isinstance(name, str) else shown(name)


def registry(*tables: type[Table], chooser: str = "kind") -> dict[str, type[Table]]:
    """Tables by the names that their key `chooser` takes."""
    return {get_args(table.model_fields[chooser].annotation)[0]: table for table in tables}


def tables_in(
    module: Mapping[str, Any], base: type[Table], chooser: str = "kind"
) -> dict[str, type[Table]]:
    """The tables of a module that are a `base` and have a name of their own, in its order."""
    tables = [kind for kind in module.values() if isinstance(kind, type) and issubclass(kind, base)]
    named = [t for t in tables if chooser in t.model_fields and _is_name(t.model_fields[chooser])]
    return registry(*named, chooser=chooser)


def _is_name(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal


def not_empty(entries: tuple) -> tuple:
    """At least one entry."""
    raise_faults([] if entries else [Fault((), "have at least one entry", "is []")])
    return entries


def distinct(entries: tuple) -> tuple:
    """Every entry differs from those before it."""
    rule = "differ from the entries before it"
    repeated = [i for i, entry in enumerate(entries) if entry in entries[:i]]
    raise_faults([Fault((i,), rule, f"is {shown(entries[i])}") for i in repeated])
    return entries


def whole_if_possible(value: float) -> int | float:
    """2 for 2.0."""
    return int(value) if value == int(value) else value


T = TypeVar("T")
LIST = Field(strict=False)  # a list in TOML is a tuple here
Listed = Annotated[tuple[T, ...], LIST, AfterValidator(not_empty), AfterValidator(distinct)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Variance = NotNegative
Correlation = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Depth = Annotated[float, Field(ge=1), AfterValidator(whole_if_possible)]
Numbers = Annotated[tuple[float, ...], LIST, AfterValidator(not_empty)]
Matrix = Annotated[tuple[Numbers, ...], LIST, AfterValidator(not_empty)]


def is_nested(value: Any) -> bool:
    """Whether a list holds lists."""
    return isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], list | tuple)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


# one list of numbers, or a list of lists
Spectra = Annotated[
    Numbers | Matrix,
    OneOf({"one": Numbers, "several": Matrix}, lambda x: "several" if is_nested(x) else "one"),
]
Each = Annotated[tuple[T, ...], LIST, AfterValidator(not_empty)]


def _one_or_each(kind: Any) -> OneOf:
    """One number for all features, or a list with a number for each."""
    return OneOf({"one": kind, "each": Each[kind]}, lambda x: "each" if _is_list(x) else "one")


Variances = Annotated[float | tuple[float, ...], _one_or_each(Variance)]
Correlations = Annotated[float | tuple[float, ...], _one_or_each(Correlation)]
Kept = Annotated[float | tuple[float, ...], _one_or_each(Annotated[float, Field(gt=0, le=1)])]
Frequencies = Annotated[float | tuple[float, ...], _one_or_each(float)]
Angles = Annotated[float | tuple[float, ...], _one_or_each(Annotated[float, Field(ge=0, le=1)])]
