"""Checks of arguments, in one wording: the argument, the rule, the value.

They check concrete values only. Inside `jit` or `vmap` a value is not known yet, so a traced value
passes.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from jepa_sim.arguments.covariance import MATRIX_TOLERANCE, covariance_fault
from jepa_sim.arguments.types import ArrayLike, Number, is_concrete, to_numpy


def fail(argument: str, rule: str, value: object) -> NoReturn:
    """Raise a ValueError that names the argument, the rule and the value."""
    raise ValueError(f"Argument `{argument}` must {rule}, but is {_shown(value)}.")


def check_entries(
    argument: str, value: ArrayLike, bad: Callable[[np.ndarray], np.ndarray | np.bool], rule: str
) -> None:
    """No entry is `bad`, which breaks the rule."""
    if is_concrete(value):
        found = bad(to_numpy(value))
        if found.any():
            fail(argument, rule, _first(value, found))


def check_finite(argument: str, value: ArrayLike) -> None:
    """Every entry is a finite number."""
    check_entries(argument, value, lambda x: ~np.isfinite(x), "be finite")


def check_positive(argument: str, value: ArrayLike) -> None:
    """Every entry is finite and above zero."""
    check_finite(argument, value)
    check_entries(argument, value, lambda x: x <= 0, "be positive")


def check_not_negative(argument: str, value: ArrayLike) -> None:
    """Every entry is finite and not below zero."""
    check_finite(argument, value)
    check_entries(argument, value, lambda x: x < 0, "not be negative")


def check_open_unit(argument: str, value: ArrayLike) -> None:
    """Every entry lies strictly between 0 and 1."""
    check_finite(argument, value)
    check_entries(argument, value, lambda x: (x <= 0) | (x >= 1), "lie strictly between 0 and 1")


def check_between(
    argument: str, value: ArrayLike, least: Number, most: Number = float("inf")
) -> None:
    """Every entry is finite and lies between `least` and `most`, both included."""
    check_finite(argument, value)
    rule = f"be at least {least:g}" + ("" if most == float("inf") else f" and at most {most:g}")
    check_entries(argument, value, lambda x: (x < least) | (x > most), rule)


def check_integer_from(argument: str, value: object, least: int) -> None:
    """A whole number, at least `least`."""
    if not is_concrete(value):
        fail(argument, "be a concrete whole number", "traced")
    number = float(np.asarray(value))
    if number != int(number) or number < least:
        fail(argument, f"be a whole number, at least {least}", value)


def whole_from(argument: str, value: Any, least: int) -> int:
    """`value` as an int, if it is a whole number, at least `least`."""
    check_integer_from(argument, value, least)
    return int(value)


def check_equal(argument: str, value: object, wanted: int, why: str) -> None:
    """A concrete number equal to `wanted`."""
    check_integer_from(argument, value, 0)
    if float(np.asarray(value)) != wanted:
        fail(argument, f"be {wanted} {why}", value)


LARGE_ASYMMETRY = 0.5  # of Σyx; samples of 100 pairs leave out 40 %, and nothing turns in them


class AmplifiedWarning(UserWarning):
    """A regression coefficient ρ above 1: possible, and usually a mistake."""


def amplified(rho: ArrayLike) -> str:
    """A sentence about ρ above 1; empty where no ρ is above 1."""
    largest = float(np.max(to_numpy(rho)))
    if largest <= 1 + MATRIX_TOLERANCE:
        return ""
    return (
        f"The largest regression coefficient ρ is {largest:.3g}, above 1: a feature is stronger in "
        "the target than in the context. This is right where a part predicts the whole, and in "
        "supervised learning. Otherwise x and y may be exchanged, or in different units, or there "
        "may be too few samples."
    )


def warn_where_amplified(rho: ArrayLike) -> None:
    """An `AmplifiedWarning` where a known ρ is above 1."""
    if is_concrete(rho) and (words := amplified(rho)):
        warnings.warn(words, AmplifiedWarning, stacklevel=4)


class AsymmetryWarning(UserWarning):
    """Features of the symmetric part of a Σyx that turns them, but not in pairs."""


def warn_where_asymmetric(yx: ArrayLike, what: str) -> None:
    """An `AsymmetryWarning` where a known (d, d) Σyx is far from symmetric."""
    if not is_concrete(yx) or np.ndim(yx) != 2 or np.shape(yx)[0] != np.shape(yx)[1]:
        return
    cross = to_numpy(yx)
    share = np.linalg.norm(cross - cross.T) / max(2 * np.linalg.norm(cross), np.finfo(float).tiny)
    if share > LARGE_ASYMMETRY:
        words = (
            f"Σyx turns features, but not in pairs: `{what}` takes its symmetric part, and leaves "
            f"out {share:.0%} of it. `GradientFlow` uses all of it. `Moments.paired` gives the "
            "nearest moments with pairs."
        )
        warnings.warn(words, AsymmetryWarning, stacklevel=4)


@contextlib.contextmanager
def amplification_expected() -> Iterator[None]:
    """Switch that warning off, for data where a part predicts the whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AmplifiedWarning)
        yield


def check_times(times: ArrayLike) -> None:
    """One axis, at least one entry, not negative, strictly ascending."""
    if np.ndim(times) != 1 or np.size(times) < 1:
        fail("times", "have one axis and at least one entry", f"of shape {np.shape(times)}")
    check_finite("times", times)
    if is_concrete(times):
        array = to_numpy(times)
        if array[0] < 0:
            fail("times", "not be negative", array[0])
        steps = np.diff(array)
        if (steps <= 0).any():
            where = int(np.argmax(steps <= 0))
            found = f"{_shown(array[where])} followed by {_shown(array[where + 1])}"
            fail("times", "be strictly ascending", found)


def check_square(argument: str, value: ArrayLike, size: int | None = None) -> None:
    """A square matrix, of the given size if there is one."""
    shape = np.shape(value)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
        fail(argument, "be a square matrix", f"of shape {shape}")
    if size is not None and shape[0] != size:
        fail(argument, f"be of shape ({size}, {size})", f"of shape {shape}")


def check_covariance(
    argument: str, value: ArrayLike, size: int | None = None, *, definite: bool
) -> None:
    """A square matrix of finite numbers, symmetric and positive semidefinite, up to rounding.

    size: of its rows, if given.  definite: positive definite by more than rounding.
    """
    check_square(argument, value, size)
    check_finite(argument, value)
    if is_concrete(value):
        rounding = float(np.finfo(_own_type(value)).eps)
        fault = covariance_fault(to_numpy(value), definite=definite, rounding=rounding)
        if fault is not None:
            fail(argument, *fault)


def check_joint(xx: ArrayLike, yx: ArrayLike, yy: ArrayLike) -> None:
    """ValueError unless some pair (x, y) has these moments.

    That is so where the joint covariance is positive semidefinite.
    """
    if is_concrete(xx, yx, yy):
        xx, yx, yy = to_numpy(xx), to_numpy(yx), to_numpy(yy)
        rest = yy - yx @ np.linalg.solve(xx, yx.T)
        least = np.linalg.eigvalsh(rest / 2 + rest.T / 2)[0]
        if least < -MATRIX_TOLERANCE * max(np.abs(yy).max(), np.abs(yy - rest).max()):
            rule = "be at least Σyx Σxx⁻¹ Σxy (else no pair of views has these moments)"
            fail("yy", rule, f"short of it by {-least:.3g}")


def _own_type(value: ArrayLike) -> np.dtype:
    """The floating-point type of a value as it was given."""
    dtype = np.dtype(getattr(value, "dtype", np.float64))
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _first(value: ArrayLike, bad: np.ndarray | np.bool) -> object:
    """The first bad entry and, in an array, where it is."""
    if np.ndim(bad) == 0:
        return value
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{_shown(np.asarray(value)[where])} at {list(where)}"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return f"{array:.6g}" if array.ndim == 0 and array.dtype.kind == "f" else str(value)
