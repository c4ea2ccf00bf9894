"""Simulate how deep linear self-supervised networks learn: JEPA against MAE.

`__init__.pyi` lists the public names and the module that defines each. A name is loaded when it is
first used. So the command line can answer before JAX is imported, and can set up JAX before that.
"""

import ast
import importlib
import warnings
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def _homes() -> dict[str, str]:
    """The module that defines each public name."""
    stub = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    imports = (node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom))
    return {alias.name: f".{node.module or ''}" for node in imports for alias in node.names}


_HOMES = _homes()
_MODULES = ("data", "observables")  # public names that are modules themselves
_OLDER = {"Rest": "Equilibria", "Sweep": "Plan"}  # names of version 0.1, which 0.3 will not know
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _OLDER:
        about = f"`jepa_sim.{name}` is called `jepa_sim.{_OLDER[name]}` since version 0.2."
        warnings.warn(about, DeprecationWarning, stacklevel=2)
        return __getattr__(_OLDER[name])
    if name not in _HOMES:
        raise AttributeError(f"module `jepa_sim` has no attribute `{name}`")
    home = _HOMES[name]
    if name in _MODULES:
        value = importlib.import_module(f"{home.rstrip('.')}.{name}", __name__)
    else:
        value = getattr(importlib.import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
