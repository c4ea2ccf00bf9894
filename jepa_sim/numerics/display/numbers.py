"""Numbers, lists and objects in a few characters."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

LISTED = 6  # values of a list that are written out


def number(value: Any) -> str:
    """Four digits: 0.01, 689.6, 1.235e+10; whole numbers with commas: 5,400."""
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return f"{float(value):.4g}"


def listed(values: Iterable[Any]) -> str:
    """`1, 2, 3`, or the first ones and the last: `1, 2, 3, 4, 5, … 20`."""
    words = [value if isinstance(value, str) else number(value) for value in values]
    if len(words) > LISTED:
        words = [*words[: LISTED - 1], f"… {words[-1]}"]
    return ", ".join(words)


def extent(values: Any) -> str:
    """`0.1 to 1`, or one number where all are equal."""
    low, high = number(np.min(values)), number(np.max(values))
    return low if low == high else f"{low} to {high}"


def described(value: Any, usual: Any = None, *, without: tuple[str, ...] = ()) -> str:
    """An object as it is written: its class, with the fields that differ from their defaults.

    usual: an object of this class, in place of the defaults.  without: fields to leave out.
    """
    if isinstance(value, functools.partial):
        return described(value.func)
    if not isinstance(value, eqx.Module) or not dataclasses.is_dataclass(value):
        return getattr(value, "__name__", None) or _brief(value)
    found, arguments = [], inspect.signature(type(value)).parameters
    for field in dataclasses.fields(value):
        default = _default(field) if usual is None else getattr(usual, field.name)
        own = getattr(value, field.name, None)
        is_shown = field.name in arguments and field.name not in without
        if is_shown and not _is_same(own, default):
            is_object = isinstance(own, eqx.Module) or callable(own)
            found.append(f"{field.name}={described(own) if is_object else _brief(own)}")
    return type(value).__name__ + (f"({', '.join(found)})" if found else "")


def outline(value: Any) -> str:
    """An object whose numbers are not known, or are of several: its fields by shapes or classes."""
    fields = {
        field.name: field.repr for field in getattr(value, "__dataclass_fields__", {}).values()
    }
    parts = [
        f"{name}={_brief(own)}"
        for name, own in vars(value).items()
        if fields.get(name, True) and not name.startswith("_")
    ]
    return f"{type(value).__name__}({', '.join(parts)})"


def _brief(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        is_known = value.shape == () and not isinstance(value, Tracer)
        if is_known and isinstance(value, jax.Array | np.ndarray | np.generic):
            return number(np.asarray(value)[()])
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, int | float):
        return number(value) if math.isfinite(value) else repr(value)
    if isinstance(value, dict):
        return f"{{{listed(sorted(map(str, value)))}}}"
    if isinstance(value, tuple | list):
        kinds = {_brief(entry) for entry in value}
        alike = len(kinds) == 1 and (len(value) > 2 or all(hasattr(x, "shape") for x in value))
        return f"{len(value)} × {kinds.pop()}" if alike else f"({listed(map(_brief, value))})"
    return type(value).__name__


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _is_same(value: Any, default: Any) -> bool:
    arrays = (jax.Array, np.ndarray)
    if isinstance(value, arrays) or isinstance(default, arrays):
        return default is not dataclasses.MISSING and np.array_equal(value, default)
    return value is default or (type(value) is type(default) and bool(value == default))
