"""What tables are made of: the base class and the types of keys."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from jepa_sim.arguments.errors import Fault, raise_faults, shown


class Table(BaseModel):
    """A TOML table: its keys and no others, of the types they say, all numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def not_empty(entries: tuple) -> tuple:
    """At least one entry."""
    raise_faults([] if entries else [Fault((), "have at least one entry", "is []")])
    return entries


def distinct(entries: tuple) -> tuple:
    """Every entry differs from those before it."""
    raise_faults(
        [
            Fault((i,), "differ from the entries before it", f"is {shown(entry)}")
            for i, entry in enumerate(entries)
            if entry in entries[:i]
        ]
    )
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


Spectra = Annotated[
    Annotated[Numbers, Tag("one")] | Annotated[Matrix, Tag("several")],
    Discriminator(lambda value: "several" if is_nested(value) else "one"),
]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


OneOrEach = Annotated[  # a number for all features, or a list with one for each
    Annotated[T, Tag("one")]
    | Annotated[tuple[T, ...], LIST, AfterValidator(not_empty), Tag("each")],
    Discriminator(lambda value: "each" if _is_list(value) else "one"),
]
Each = Annotated[tuple[T, ...], LIST, AfterValidator(not_empty)]
