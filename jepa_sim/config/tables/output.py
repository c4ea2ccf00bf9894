"""The table [output]: where to write, and what."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

import jepa_sim as js
from jepa_sim.config.faults import Fault, raise_faults, shown
from jepa_sim.config.tables.base import Fraction, Listed, Name, Positive, Table
from jepa_sim.results.variables import OBSERVABLES

if TYPE_CHECKING:
    from jepa_sim.results.observables import Observable


def _result(path: str) -> str:
    named = Path(path).name and Path(path).suffix in ("", ".nc") and "\0" not in path
    rule = "end in .nc (a file) or have no suffix (a folder)"
    raise_faults([] if named else [Fault((), rule, f"is {shown(path)}")])
    return path


class Output(Table):
    """The file or folder to write, what is saved over time, which fractions count as learned."""

    path: Annotated[str, AfterValidator(_result)]
    critical_fraction: Listed[Fraction] = (0.5, 0.9)
    observables: Listed[Annotated[str, Name(dict.fromkeys(OBSERVABLES))]] = ("features", "loss")
    probe_ridge: Positive = 0.01

    def build(self) -> "tuple[Observable, ...]":
        """The observables."""
        known = {"probe_risk": js.observables.ProbeRisk(self.probe_ridge)}
        return tuple(known.get(name) or getattr(js.observables, name) for name in self.observables)
