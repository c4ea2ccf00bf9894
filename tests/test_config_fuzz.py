"""Random documents, valid, nearly valid and hostile: a configuration, or one clear error."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jepa_sim.config import Config, ConfigError, parse

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
    "output": [{"path": "runs/a"}, {"path": "a.nc", "critical_fraction": [0.5], "observables": []}],
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
def documents(draw) -> str:
    """Valid tables, of which some keys are replaced, added or left out."""
    document = {name: dict(draw(st.sampled_from(tables))) for name, tables in VALID.items()}
    for _ in range(draw(st.integers(0, 3))):
        table = document[draw(st.sampled_from(sorted(document)))]
        keys = st.sampled_from([*sorted(table), "seed", "width", "precision", "pairs", "rotated"])
        key = draw(keys | st.text(max_size=5))
        if draw(st.booleans()) and key in table:
            del table[key]
        else:
            table[key] = draw(HOSTILE)
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


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@settings(max_examples=300, derandomize=True, **COMMON)
@given(documents())
def test_a_document_is_a_configuration_or_one_clear_error(text):
    check(text)


@pytest.mark.slow
@settings(max_examples=10_000, derandomize=True, **COMMON)
@given(documents())
def test_ten_thousand_documents(text):
    check(text)


@settings(max_examples=300, derandomize=True, **COMMON)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_text_that_is_no_toml(text):
    check(text)
