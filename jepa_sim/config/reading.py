"""Turn pydantic's report of errors into our faults, from its fields and never from its sentences.

pydantic gives the place of an error as a path that also holds tags of unions. `_follow` walks this
path through the tables, to find the path in the TOML and the values allowed there.
"""

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic_core import ErrorDetails

from jepa_sim.config.faults import Fault, dotted, nearest, not_among, shown
from jepa_sim.config.tables.base import Name, OneOf, OneTable, Table

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
    """An error of pydantic and its place in the TOML.

    path: its keys.  known: the keys of the table around it.  wanted: what the value may be.
    """

    error: ErrorDetails
    path: tuple[str | int, ...]
    known: Sequence[str]
    wanted: Any

    def meant(self) -> tuple[str | int, ...] | None:
        """For an unknown key, the path of the known key that was probably meant."""
        if self.error["type"] != "extra_forbidden":
            return None
        word = nearest(str(self.path[-1]), self.known)
        return None if word is None else (*self.path[:-1], word)


def lines(errors: Sequence[ErrorDetails], root: type[Table]) -> list[str]:
    """What to say of errors in a document of which `root` is the outermost table.

    A key that is missing because it is misspelt is reported once.
    """
    placed = [_follow(error, root) for error in errors]
    misspelt = {each.meant() for each in placed}
    told = (p for p in placed if p.error["type"] != "missing" or p.path not in misspelt)
    return [line for each in told for line in _lines(each)]


def names_of(wanted: Any) -> tuple[str, ...]:
    """The names that a value may have; none where it is not a name."""
    if isinstance(wanted, Name):
        return wanted.names
    if isinstance(wanted, OneOf):
        return tuple(wanted.types)
    return get_args(wanted) if get_origin(wanted) is Literal else ()


def wanted_of(kind: Any, metadata: Sequence[Any] = ()) -> Any:
    """What an annotation lets a value be: `OneOf`, `Name`, a table, or a plain type."""
    for each in metadata:
        if isinstance(each, OneOf | Name):
            return each
    if get_origin(kind) is Annotated:
        inner, *further = get_args(kind)
        return wanted_of(inner, further)
    if get_origin(kind) in (Union, UnionType):  # of a type and None
        return wanted_of(next(each for each in get_args(kind) if each is not type(None)))
    return kind


def wanted_at(table: type[Table], key: str) -> Any:
    """What the value of a table's key may be; None where the table has no such key."""
    field = table.model_fields.get(key)
    return None if field is None else wanted_of(field.annotation, field.metadata)


def _follow(error: ErrorDetails, root: type[Table]) -> Placed:
    path: tuple[str | int, ...] = ()
    wanted, known = root, sorted(root.model_fields)
    for part in error["loc"]:
        if isinstance(wanted, OneOf):  # the part is a tag, which is no key
            wanted = wanted_of(wanted.types[str(part)])
        elif isinstance(wanted, type) and issubclass(wanted, Table):
            path, known = (*path, part), sorted(wanted.model_fields)
            wanted = wanted_at(wanted, str(part))
        else:  # an entry of a list
            path = (*path, part)
            wanted = wanted_of(get_args(wanted)[0]) if get_origin(wanted) is tuple else None
    return Placed(error, path, known, wanted)


def _lines(placed: Placed) -> list[str]:
    error, path, known, wanted = placed
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "faults":
            return [fault.line(path) for fault in context["faults"]]
        case "missing":
            fault = Fault((), "be given", "is missing")
        case "union_tag_not_found" if isinstance(wanted, OneTable):
            fault = Fault((wanted.chooser,), "be given", "is missing")
        case "union_tag_invalid" if isinstance(wanted, OneTable):
            fault = not_among((wanted.chooser,), value[wanted.chooser], names_of(wanted))
        case "literal_error":
            fault = not_among((), value, names_of(wanted))
        case "extra_forbidden":
            meant = placed.meant()
            hint = f": did you mean `{dotted(meant[-1:])}`?" if meant else "."
            rule = f"be one of {', '.join(f'`{name}`' for name in known)}"
            return [f"Key `{dotted(path)}` must {rule}, but is unknown{hint}"]
        case _:
            rule = (
                _RULES[kind].format(**context) if kind in _RULES else f"be valid ({error['msg']})"
            )
            fault = Fault((), rule, f"is {shown(value)}")
    return [fault.line(path)]
