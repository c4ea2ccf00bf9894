"""What a run records: its configuration, which must not change, and where it came from."""

import hashlib
import json
import platform
import re
import subprocess
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jepa_sim.campaigns.store import differences
from jepa_sim.results.observables import name_of
from jepa_sim.sweeps.dataset import described, provenance
from jepa_sim.sweeps.sweep import Plan


def manifest(planned: Plan, configuration: dict, text: str) -> dict[str, Any]:
    """The manifest of a run: its `configuration`, which must not change, and where it came from."""
    grid = planned.grid
    axes = {
        "objective": [eqx.tree_pformat(o, short_arrays=False) for o in grid.objective],
        "depth": list(map(float, grid.depth)),
        "predictor_depth": list(map(float, grid.predictor_depth)),
        "scale": list(map(float, grid.scale)),
        **{name: list(map(float, values)) for name, values in grid.axes.items()},
        "seed": list(map(int, grid.seed)),
        "spectrum": {"count": grid.shape["spectrum"], "sha256": _digest(grid.spectrum)},
    }
    whole = {
        "axes": axes,
        "start": _named(grid.start),
        "network": _named(grid.network),
        "customise": _named(grid.customise),
        "training": eqx.tree_pformat(grid.training, short_arrays=False),
        "solver": described(planned.solver),
        "times": repr(planned.times),
        "observables": [name_of(o) for o in planned.observables],
        "critical_fraction": list(planned.critical_fraction),
        "precision": str(grid.spectrum.xx.dtype),
        **configuration,
    }
    whole = json.loads(json.dumps(whole))  # as it will be read: tuples are lists there
    return {
        "configuration": whole,
        "configuration_sha256": hashlib.sha256(json.dumps(whole).encode()).hexdigest(),
        "toml": text,
        "seeds": axes["seed"],
        "provenance": {
            **provenance(grid, planned.solver),
            "git_revision": _git_revision(),
            "host": platform.node(),
            **({"config": text} if text else {}),
        },
    }


def is_grown(there: dict, asked: dict, planned: Plan) -> bool:
    """Whether the configurations differ only in axes that have new values at their ends."""
    before, after = there.get("axes", {}), asked["axes"]
    if differences({**there, "axes": 0}, {**asked, "axes": 0}) or before.keys() != after.keys():
        return False
    for name, values in before.items():
        if name == "spectrum":
            first = [x[: values["count"]] for x in jax.tree.leaves(planned.grid.spectrum)]
            if _digest(first) != values["sha256"]:
                return False
        elif after[name][: len(values)] != values:
            return False
    return True


def renamed(configuration: dict) -> dict:
    """A stored configuration in the names of this version: `pose` is called `customise`."""
    found = dict(configuration)
    if "pose" in found:
        found["customise"] = found.pop("pose").replace("._as_posed", ".apply")
    named = ("start", "network", "customise")
    return {**found, **{key: _public(found[key]) for key in named if key in found}}


def _digest(tree: Any) -> str:
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _named(function: Any) -> str:
    """The name of a function and what it holds; `repr` has an address, which changes."""
    if hasattr(function, "func"):  # a partial
        held = ", ".join(f"{k}={v!r}" for k, v in function.keywords.items())
        return f"partial({_named(function.func)}, {held})"
    return _public(f"{function.__module__}.{function.__qualname__}")


def _public(name: str) -> str:
    """Names of jepa_sim without the modules that define them, which may move between versions."""
    return re.sub(r"\bjepa_sim\.(?:\w+\.)*(\w+)", r"jepa_sim.\1", name)


def _git_revision() -> str:
    """The git revision of the working folder; empty where there is none."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
