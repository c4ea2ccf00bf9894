"""Random documents, valid, nearly valid or hostile, give a configuration or one clear error."""

import json
import math
import tomllib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jepa_sim as js
from jepa_sim.config import Config, ConfigError, parse
from jepa_sim.config.build import build

VALID = {
    "data": [
        {"kind": "features", "lam": [1.0, 0.5], "rho": [0.9, 0.3]},
        {"kind": "static", "signal": [1.0, 0.5], "noise": 0.5},
        {"kind": "power_law", "dimension": 3, "exponent": 1.0, "noise": 0.5, "noise_exponent": 0.0},
        {"kind": "non_commuting", "dimension": 2, "angle": [0.1, 0.5]},
        {"kind": "pixel_mask", "shape": [2, 2], "length": 1.0, "keep": 0.5, "noise": 0.1},
        {"kind": "images", "view": "noise", "patch": 4, "noise": 0.1},
    ],
    "grid": [
        {"objective": ["jepa", "mae"], "depth": [1, 2], "scale": [0.1]},
        {"objective": ["mae"], "depth": [1], "scale": [0.1, 1e-3], "seed": {"stop": 3}},
        {
            "objective": ["jepa_moving_average"],
            "depth": [2],
            "scale": [0.2],
            "time_constant": [1.0, 5.0],
            "start": "unbalanced",
            "imbalance": [0.1],
        },
    ],
    "solve": [
        {"solver": "closed_form", "times": {"kind": "critical", "count": 5}},
        {"solver": "modes", "times": {"kind": "log", "start": 1, "stop": 10}, "tolerance": 1e-5},
        {"solver": "gradient_flow", "times": {"kind": "critical"}, "max_steps": 100},
        {"solver": "descent", "times": {"kind": "critical"}, "learning_rate": 0.01},
    ],
    "output": [
        {"path": "runs/a"},
        {"path": "a.nc", "critical_fraction": [0.5], "observables": ["features"]},
    ],
}
AXES = {
    "depth": st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
    "predictor_depth": st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True),
    "scale": st.lists(st.floats(1e-6, 0.9), min_size=1, max_size=3, unique=True),
    "seed": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True),
}
HOSTILE = st.one_of(
    st.sampled_from(
        [
            0,
            -1,
            1e308,
            -1e-308,
            10**18,
            2**63 - 1,
            -(2**63),
            math.nan,
            math.inf,
            -math.inf,
            True,
            "",
            "../../etc/passwd",
            "/",
            ".",
            "..",
            "a\u0000b",
            "\u202e",
            "💥" * 300,
            [],
            {},
            [[]],
            [1, "a"],
            {"kind": "features"},
            [math.nan],
            [10**18],
            ["jepa", "jepa"],
            {"start": 5, "stop": 5},
            {"start": 0, "stop": 2**32 - 1},
        ]
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.floats() | st.integers(-3, 3), max_size=3),
)


def written(value) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(str(k))} = {written(v)}" for k, v in value.items()) + "}"
    return str(value)


@st.composite
def documents(draw) -> list[str]:
    """Valid tables, of which some keys are replaced, added or left out; one for each data model.

    To draw a document takes ten times as long as to read it. So one drawn change is made to all.
    """
    document = {name: dict(draw(st.sampled_from(tables))) for name, tables in VALID.items()}
    for key, values in AXES.items():
        if draw(st.booleans()):
            document["grid"][key] = draw(values)
    changes = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(document)))
        keys = st.sampled_from([*sorted(document[name]), "seed", "width", "precision", "rotated"])
        key = draw(keys | st.text(max_size=5))
        leaves_out = draw(st.booleans())
        changes.append((name, key, leaves_out, None if leaves_out else draw(HOSTILE)))
    return [changed(document | {"data": data}, changes) for data in VALID["data"]]


def changed(document: dict, changes: list[tuple]) -> str:
    document = {name: dict(table) for name, table in document.items()}
    for name, key, leaves_out, value in changes:
        if not leaves_out:
            document[name][key] = value
        else:
            document[name].pop(key, None)
    lines = []
    for name, table in document.items():
        lines += [f"[{name}]", *(f"{written(k)} = {written(v)}" for k, v in table.items())]
    return "\n".join(lines)


def attempt(text: str) -> tuple[Config | None, tuple[str, ...]]:
    try:
        return parse(text), ()
    except ConfigError as error:
        return None, error.lines


def check(text: str) -> None:
    config, lines = attempt(text)
    if config is None:
        assert lines
        assert all(line.isprintable() and len(line) < 400 for line in lines)
        return
    trajectories = math.prod(
        len(axis) for axis in (config.grid.objective, config.grid.depth, config.grid.scale)
    )
    assert trajectories * len(config.grid.seeds) < 10**9


def check_built(text: str) -> None:
    """What is built has the axes that the document has."""
    try:
        run = build(parse(text))
    except ConfigError:
        return
    planned = js.plan(
        run.grid,
        run.solver,
        times=run.times,
        observables=run.observables,
        critical_fraction=run.critical_fraction,
    )
    document = tomllib.loads(text)
    grid, data = document["grid"], document["data"]
    assert [o.name for o in planned.grid.objective] == grid.get("objective", ["jepa", "mae"])
    for axis, default in (("depth", None), ("scale", None), ("predictor_depth", [1])):
        assert list(getattr(planned.grid, axis)) == grid.get(axis, default)
    for axis in ("time_constant", "imbalance", "weight_decay"):
        assert list(planned.grid.axes.get(axis, [])) == grid.get(axis, [])
    seed = grid.get("seed", [0])
    if isinstance(seed, dict):
        seed = range(seed.get("start", 0), seed["stop"])
    assert list(planned.grid.seed) == list(seed)
    angles = data["angle"] if isinstance(data.get("angle"), list) else [0]
    assert planned.grid.shape["spectrum"] == len(angles)
    if "count" in (times := document["solve"]["times"]):
        assert planned.times.count == times["count"]
    if data["kind"] == "features":
        features = planned.grid.spectrum.features()
        np.testing.assert_allclose(np.sort(features.rho[0]), np.sort(data["rho"]), rtol=1e-9)


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
KINDS = len(VALID["data"])


@pytest.mark.release
@settings(max_examples=300 // KINDS, derandomize=True, **COMMON)
@given(documents())
def test_a_document_is_a_configuration_or_one_clear_error(texts):
    for text in texts:
        check(text)


@settings(max_examples=30 // KINDS, derandomize=True, **COMMON)
@given(documents())
def test_what_is_built_is_what_the_document_says(texts):
    for text in texts:
        check_built(text)


@pytest.mark.release
@settings(max_examples=300 // KINDS, derandomize=True, **COMMON)
@given(documents())
def test_many_documents_are_built(texts):
    for text in texts:
        check_built(text)


@pytest.mark.release
@settings(max_examples=10_000 // KINDS, derandomize=True, **COMMON)
@given(documents())
def test_ten_thousand_documents(texts):
    for text in texts:
        check(text)


@settings(max_examples=300, derandomize=True, **COMMON)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_text_that_is_no_toml(text):
    check(text)
