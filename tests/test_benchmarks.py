"""The table of the benchmarks, and the field that its peers integrate."""

import jax.numpy as jnp
import numpy as np
import pytest

import jepa_sim as js
from benchmarks.flows import field
from benchmarks.report import Row, markdown, number, slope, table
from jepa_sim.model.dynamics import velocity


def test_slope():
    x = np.array([1.0, 10.0, 100.0])
    assert slope(x, 3 * x**1.5) == pytest.approx(1.5)


def test_rows_are_met_within_their_limit():
    assert Row("a", 1, "s", ratio=2.0, limit=2.0).met is True
    assert Row("a", 1, "s", ratio=2.1, limit=2.0).met is False
    assert Row("a", 1, "s", limit=2.0).met is None


def test_markdown_has_goals_and_missing_peers():
    row = Row("a", 1.5, "ms", {"p": "not installed"}, {"ours": 1e-9}, 3.0, 2.0, "fast")
    text = markdown([row, Row("b", 2.0, "s")], {"cores": 2})
    goals, rows = text.split("## All rows")
    assert "| fast | 3 (limit 2) | not met |" in goals
    assert "p not installed" in rows
    assert "| b " not in goals


def test_table_is_aligned():
    lines = table(["x", "long"], [["a|b", "c"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert number(1234.5) == "1.23e+03"
    assert number("missing") == "missing"


def test_field_of_peers_is_the_velocity():
    draw = np.random.default_rng(0)
    factors = tuple(map(jnp.asarray, draw.normal(size=(4, 3, 3))))
    root = draw.normal(size=(3, 3))
    xx, yx = root @ root.T + np.eye(3), 0.1 * (root + root.T)
    problem = js.Problem(js.Moments(xx, yx), js.JEPA(), js.DeepLinear(3), js.Balanced(0.1))
    moved = velocity(problem, js.Weights(factors[:-1], factors[-1:]))
    found = field(factors, xx, yx)
    for ours, theirs in zip((*moved.encoder, *moved.predictor), found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
