"""The base class of objects that print a sheet of their numbers."""

import jax
import numpy as np
from jax.core import Tracer

from jepa_sim.numerics.display.numbers import outline
from jepa_sim.numerics.display.sheet import WIDTH, Sheet


class Shows:
    """`repr`, `print` and notebooks show `_sheet()`.

    Where numbers are traced, or the sheet cannot be made, they show the fields by their shapes
    alone: a pytree may hold anything in place of its arrays, and a `repr` that raises hides the
    fault that somebody looks for.
    """

    def _sheet(self) -> Sheet:
        """All that is shown.  ValueError where the object holds several, with axes of a batch."""
        raise NotImplementedError

    def __repr__(self) -> str:
        found = known_sheet(self)
        return self._outline() if found is None else found.text()

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        found = known_sheet(self)
        return (Sheet(self._outline()) if found is None else found).html()

    def _outline(self) -> str:
        words = outline(self)
        return words if len(words) <= WIDTH else f"{words[: WIDTH - 2]}…)"


def known_sheet(thing: Shows) -> Sheet | None:
    """The sheet of an object whose numbers are all known; None of another."""
    leaves = jax.tree.leaves(thing)
    if any(isinstance(leaf, Tracer | jax.ShapeDtypeStruct) for leaf in leaves):
        return None
    try:
        return thing._sheet()
    except Exception:  # see the class; inside of `jit` what follows from known arrays is traced too
        return None


def require_single(*ranks: tuple[object, int]) -> None:
    """ValueError unless every value has the number of axes that goes with it."""
    if any(np.ndim(value) != rank for value, rank in ranks):  # pyright: ignore[reportArgumentType]
        raise ValueError("several")
