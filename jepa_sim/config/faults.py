"""A fault of a configuration as one line: the key, the rule and the value."""

import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError


class Fault(NamedTuple):
    """`key`, a path below the table that reports it, breaks `rule`; `found`: its value in words."""

    key: tuple[str | int, ...]
    rule: str
    found: str

    def line(self, table: tuple[str | int, ...] = ()) -> str:
        """The fault as one sentence, worded as the errors of `arguments.checks` are."""
        return f"Key `{dotted(table + self.key)}` must {self.rule}, but {self.found}."


def raise_faults(faults: Sequence[Fault]) -> None:
    """Report faults to pydantic from inside a validator, if there are any.

    pydantic keeps them as they are, and `reading.lines` takes them out again.
    """
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
    """The character, escaped as in TOML where it is not printable."""
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


def not_among(key: tuple[str, ...], value: Any, names: Sequence[str]) -> Fault:
    """The fault of a value that is not one of the names."""
    meant = nearest(value, names) if isinstance(value, str) else None
    hint = f" (did you mean {shown(meant)}?)" if meant else ""
    return Fault(key, f"be one of {', '.join(map(shown, names))}", f"is {shown(value)}{hint}")


def _bare(name: str) -> str:
    """A key as TOML writes it: quoted where it has to be."""
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else json.dumps(name)
