"""Labels of results: what `variables.py` says of a variable, as a dataset has it."""

import numpy as np

from jepa_sim.arguments.types import ResultCode
from jepa_sim.results.variables import VARIABLES, Variable


def meaning(name: str, rank: int) -> tuple[tuple[str, ...], dict]:
    """The axes of a result of one run, of which there are `rank`, and its attributes."""
    own = ("time", *(f"{name}_{axis}" for axis in range(1, rank)))  # an observable of the user
    inner, long_name, units, _ = VARIABLES.get(name, Variable(own, name, "unknown"))
    attrs: dict = {"long_name": long_name, "units": units}
    if name == "result":
        attrs["flag_values"] = np.array([code.value for code in ResultCode], np.int8)
        attrs["flag_meanings"] = " ".join(code.name for code in ResultCode)
    return inner, attrs
