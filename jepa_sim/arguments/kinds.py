"""What an argument may be, read from its annotation: a number, an array, an object of a class, …

Constructors of the package's classes (`Checked`) and its public functions (`checked`) check the
kind of every argument before they do anything else. A class in place of an object, a string, a list
in place of one number and complex numbers are ValueErrors that name the argument. The annotation is
the only place that says what an argument may be. `checks` tests whether a value is positive, square
and so on.

Traced values are checked by their shapes and types, so the check adds nothing to a compiled
program.
"""

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import AbstractArray, PRNGKeyArray

from jepa_sim.arguments.checks import fail
from jepa_sim.arguments.types import ArrayLike

P = ParamSpec("P")
R = TypeVar("R")

_ARRAY_LIKE = frozenset(typing.get_args(ArrayLike))
_KEY = frozenset(typing.get_args(PRNGKeyArray))
_LISTS = (collections.abc.Sequence, collections.abc.Iterable, tuple, list)


class Checked(eqx.Module):
    """A module whose constructor checks the kinds of its arguments."""

    def __new__(cls, *args: Any, **kwargs: Any):
        _check(_of_constructor(cls), (None, *args), kwargs)
        return super().__new__(cls)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, with the kinds of its arguments checked before it runs."""
    hints = _hints(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _check(hints, args, kwargs)
        return function(*args, **kwargs)

    return call


def check_kind(argument: str, value: Any, hint: Any) -> None:
    """ValueError unless the value is of a kind that the annotation admits."""
    kinds = _kinds(hint)
    for kind in kinds:
        if kind.fits(value):
            is_read = isinstance(value, tuple | list) or (_is_array(value) and value.ndim == 1)
            if kind.entries is not None and is_read:
                for i, entry in enumerate(value):
                    check_kind(f"{argument}[{i}]", entry, kind.entries)
            return
    rules = dict.fromkeys(kind.rule(value) for kind in kinds if kind is not _NONE)
    fail(argument, f"be {' or '.join(rules)}", _found(value))


def _check(hints: Mapping[str, Any], args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Arguments by place and by name. Python itself reports missing and unknown arguments."""
    given = {**dict(zip(hints, args, strict=False)), **kwargs}
    for name, value in given.items():
        check_kind(name, value, hints.get(name, Any))


def _hints(function: Callable) -> dict[str, Any]:
    """Annotations of the parameters, those that can be given by place first."""
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: Any if p.annotation is p.empty else p.annotation for p in named}


@functools.cache
def _of_constructor(cls: type) -> dict[str, Any]:
    """As `_hints`; a field with a converter takes what the field is, not all that is converted."""
    fields = getattr(cls, "__dataclass_fields__", {}).values()
    converted = {f.name: f.type for f in fields if f.metadata.get("converter") is not None}
    return {name: converted.get(name, hint) for name, hint in _hints(cls.__init__).items()}


class _Kind(NamedTuple):
    """rule: the words for what a value must be.  entries: annotation of a list's entries."""

    fits: Callable[[Any], bool]
    rule: Callable[[Any], str]
    entries: Any = None


def _plain(fits: Callable[[Any], bool], rule: str, entries: Any = None) -> _Kind:
    return _Kind(fits, lambda value: rule, entries)


def _is_number(value: Any) -> bool:
    is_number = not _is_flag(value) and not isinstance(value, str) and _is_real(value)
    return is_number and np.ndim(value) == 0


def _is_flag(value: Any) -> bool:
    """Whether it is True or False; an entry of an xarray is an array of one of them."""
    is_one = _is_array(value) and value.dtype == bool and np.ndim(value) == 0
    return isinstance(value, bool | np.bool) or is_one


def _is_real(value: Any, axes: int | None = None) -> bool:
    """Whether it is an array of real numbers, or lists of them, with so many axes."""
    if isinstance(value, str | bytes | collections.abc.Iterator) or value is None:
        return False  # JAX warns of an iterator
    if not hasattr(value, "dtype"):
        try:
            value = np.asarray(jax.tree.map(_as_type, value, is_leaf=_is_array))
        except (TypeError, ValueError):
            return False
    if not (jnp.issubdtype(value.dtype, np.number) or value.dtype == bool):
        return False
    real = not jnp.issubdtype(value.dtype, np.complexfloating)
    return real and (axes is None or np.ndim(value) == axes)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype")


def _as_type(value: Any) -> Any:
    """A traced value as zeros of its shape and type."""
    return np.zeros(value.shape, value.dtype) if isinstance(value, Tracer) else value


def _is_key(value: Any) -> bool:
    if not _is_array(value):
        return False
    is_raw = value.dtype == jnp.uint32 and value.ndim == 1
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key) or is_raw


def _is_list(value: Any) -> bool:
    is_one = isinstance(value, str | bytes | Mapping) or (_is_array(value) and value.ndim == 0)
    return isinstance(value, collections.abc.Iterable) and not is_one


def _is_sequence(value: Any) -> bool:
    """A list that can be read twice, and has an order."""
    return _is_list(value) and (_is_array(value) or isinstance(value, collections.abc.Sequence))


_ANYTHING = _plain(lambda value: True, "anything")
_NONE = _plain(lambda value: value is None, "None")
_NUMBER = _plain(_is_number, "one real number")
_NUMBERS = _plain(_is_real, "real numbers")
_KEYS = _plain(_is_key, "a key, as `jax.random.key(0)` makes it")
_BY_TYPE = {
    Any: _ANYTHING,
    type(None): _NONE,
    bool: _plain(lambda value: _is_flag(value), "True or False"),
    str: _plain(lambda value: isinstance(value, str), "a string"),
    float: _NUMBER,
    np.floating: _NUMBER,
}
_WHOLE = _plain(
    lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool),
    "a whole number (an int, such as 100)",
)


@functools.cache
def _kinds(hint: Any) -> tuple[_Kind, ...]:
    """The kinds that an annotation admits."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = frozenset(typing.get_args(hint) if is_union else (hint,))
    found = []
    for group, kind in ((_ARRAY_LIKE, _NUMBERS), (_KEY, _KEYS)):
        if group <= members:
            members, found = members - group, [*found, kind]
    if {float, int} <= members:  # one number, whole or not
        members -= {int, np.integer}
    found += [_kind(member) for member in sorted(members, key=str)]
    return tuple(found)


def _kind(hint: Any) -> _Kind:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if hint in (int, np.integer):
        return _WHOLE
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return _array(hint)
    if origin is collections.abc.Callable:
        return _plain(callable, "a function")
    if origin in _LISTS or hint in _LISTS:
        entry = parts[0] if len(set(parts) - {Ellipsis}) == 1 else None
        if origin is tuple and parts and Ellipsis not in parts:
            return _plain(
                lambda value: _is_sequence(value) and len(value) == len(parts),
                f"a list of {len(parts)} entries{_of_what(entry)}",
                entry,
            )
        fits = _is_list if origin is collections.abc.Iterable else _is_sequence
        return _plain(fits, f"a list{_of_what(entry)}", entry)
    cls = hint if origin is None else origin
    if inspect.isclass(cls):
        return _Kind(lambda value: isinstance(value, cls), lambda value: _object(cls, value))
    return _ANYTHING


def _array(hint: Any) -> _Kind:
    """Of a jaxtyping annotation: one number, or an array with as many axes as it has letters."""
    if not hint.dim_str:
        return _NUMBER
    if "*" in hint.dim_str or "..." in hint.dim_str:
        return _NUMBERS
    axes = len(hint.dims)
    rule = f"real numbers with {axes} {'axis' if axes == 1 else 'axes'}"
    return _plain(lambda value: _is_real(value, axes), rule)


def _object(cls: type, value: Any) -> str:
    """An object of a class, with an example that is near to what was given."""
    is_near = inspect.isclass(value) and issubclass(value, cls)
    example = value if is_near else _first_concrete(cls)
    name = cls.__name__.removeprefix("Abstract")
    words = _with_article(name.lower() if name != cls.__name__ else f"`{name}` object")
    return words if example is None or example is cls else f"{words}, such as {_call(example)}"


def _with_article(word: str) -> str:
    return f"{'an' if word.strip('`')[0].lower() in 'aeiou' else 'a'} {word}"


def _call(cls: type) -> str:
    """`JEPA()`, or `Balanced(…)` for a class that needs arguments."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    needs = any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    return f"`{cls.__name__}({'…' if needs else ''})`"


def _first_concrete(cls: type) -> type | None:
    if not inspect.isabstract(cls) and not cls.__name__.startswith("Abstract"):
        return cls
    return next(filter(None, map(_first_concrete, cls.__subclasses__())), None)


def _of_what(hint: Any) -> str:
    """What the entries of a list are, where there is one word for it."""
    rules = {kind.rule(None) for kind in _kinds(Any if hint is None else hint)}
    words = rules.pop()
    return "" if rules or words == _ANYTHING.rule(None) else f", each entry {words}"


def _found(value: Any) -> str:
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return f"the string {value!r}"
    if _is_array(value):
        return f"of shape {value.shape} and type {value.dtype}"
    words = repr(value)
    is_short = len(words) <= 60 and "\n" not in words
    return words if is_short else f"an object of class {type(value).__name__}"
