"""From what a validator found to one line for a person: the key, the rule and the value."""

import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import ErrorDetails, PydanticCustomError


class StoreError(Exception):
    """A run on disk that is not what was asked for, or that cannot be read or written."""


class ConfigError(ValueError):
    """What is wrong with a configuration: one line per fault."""

    def __init__(self, lines: Iterable[str]):
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class Fault(NamedTuple):
    """`key`, a path below the table that reports it, breaks `rule`; `found`: its value in words."""

    key: tuple[str | int, ...]
    rule: str
    found: str

    def line(self, table: tuple[str | int, ...] = ()) -> str:
        """The sentence of the house."""
        return f"Key `{dotted(table + self.key)}` must {self.rule}, but {self.found}."


def raise_faults(faults: Sequence[Fault]) -> None:
    """Hand faults to pydantic from inside a validator; none is fine."""
    if faults:
        raise PydanticCustomError("faults", "several rules", {"faults": tuple(faults)})


def shown(value: Any, width: int = 60) -> str:
    """A value as TOML would have it, on one line."""
    match value:
        case bool():
            text = str(value).lower()
        case str():
            text = "".join(map(_printable, json.dumps(value, ensure_ascii=False)))
        case list() | tuple():
            text = f"[{', '.join(shown(entry, width) for entry in value[:width])}]"
        case Mapping():
            entries = list(value.items())[:width]
            text = f"{{{', '.join(f'{name} = {shown(entry)}' for name, entry in entries)}}}"
        case _:
            text = str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _printable(character: str) -> str:
    """The character, escaped as in TOML where nobody would see it."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


def shown_path(path: Path) -> str:
    """A path as TOML would have it, in full."""
    return shown(str(path), width=sys.maxsize)


def dotted(path: Sequence[str | int]) -> str:
    """`grid.depth[1]` for ("grid", "depth", 1)."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_bare(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


_RULES = {
    "bool_type": "be true or false",
    "finite_number": "be finite",
    "float_type": "be a number",
    "greater_than": "be above {gt:g}",
    "greater_than_equal": "be at least {ge:g}",
    "int_from_float": "be a whole number",
    "int_type": "be a whole number",
    "less_than": "be below {lt:g}",
    "less_than_equal": "be at most {le:g}",
    "model_attributes_type": "be a table",
    "model_type": "be a table",
    "string_type": "be a string",
    "tuple_type": "be a list",
}


class Placed(NamedTuple):
    """An error of pydantic, its path in the TOML, and the keys that are known at that place."""

    error: ErrorDetails
    path: tuple[str | int, ...]
    known: Sequence[str]

    def meant(self) -> tuple[str | int, ...] | None:
        """For an unknown key, the path of the known key that was probably meant."""
        if self.error["type"] != "extra_forbidden":
            return None
        word = nearest(str(self.path[-1]), self.known)
        return None if word is None else (*self.path[:-1], word)


def lines(errors: Sequence[Placed]) -> list[str]:
    """What to say of errors; a key that is missing because it is misspelt is told once."""
    misspelt = {placed.meant() for placed in errors}
    told = (e for e in errors if e.error["type"] != "missing" or e.path not in misspelt)
    return [line for placed in told for line in _lines(placed)]


def _lines(placed: Placed) -> list[str]:
    error, path, known = placed
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    chooser = context.get("discriminator", "").strip("'()")  # `kind`, `view` or `solver`
    match kind:
        case "faults":
            return [fault.line(path) for fault in context["faults"]]
        case "missing":
            fault = Fault((), "be given", "is missing")
        case "union_tag_not_found":
            fault = Fault((chooser,), "be given", "is missing")
        case "union_tag_invalid":
            names = [name.strip(" '") for name in context["expected_tags"].split(",")]
            fault = _not_among((chooser,), value[chooser], names)
        case "literal_error":
            names = [
                name.strip(" '") for name in context["expected"].replace(" or ", ",").split(",")
            ]
            fault = _not_among((), value, names)
        case "extra_forbidden":
            meant = placed.meant()
            hint = f": did you mean `{dotted(meant[-1:])}`?" if meant else "."
            rule = f"be one of {', '.join(f'`{name}`' for name in known)}"
            return [f"Key `{dotted(path)}` must {rule}, but is none of them{hint}"]
        case _:
            rule = (
                _RULES[kind].format(**context) if kind in _RULES else f"be valid ({error['msg']})"
            )
            fault = Fault((), rule, f"is {shown(value)}")
    return [fault.line(path)]


def _not_among(key: tuple[str, ...], value: Any, names: Sequence[str]) -> Fault:
    meant = nearest(value, names) if isinstance(value, str) else None
    hint = f" (did you mean {shown(meant)}?)" if meant else ""
    return Fault(key, f"be one of {', '.join(map(shown, names))}", f"is {shown(value)}{hint}")


def _bare(name: str) -> str:
    """A key as TOML writes it: quoted where it has to be."""
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else json.dumps(name)
