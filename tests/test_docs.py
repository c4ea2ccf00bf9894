"""The documentation: everything public is in it, and what it shows runs."""

import inspect
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import jepa_sim as js

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def public():
    return [name for name in js.__all__ if not inspect.ismodule(getattr(js, name))]


def test_everything_public_is_in_the_reference():
    listed = re.findall(
        r"auto(?:class|function):: jepa_sim\.(\w+)", (ROOT / "docs/api.md").read_text()
    )
    assert sorted(listed) == sorted(public())


@pytest.mark.parametrize("name", public())
def test_everything_public_says_what_it_is(name):
    """A docstring, of every public method too; functions name what is not of our own classes."""
    thing = getattr(js, name)
    assert inspect.getdoc(thing)
    members = [] if inspect.isfunction(thing) else vars(thing).items()
    for member, value in members:
        function = getattr(value, "fget", value)
        if not member.startswith("_") and inspect.isfunction(function):
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"
    if inspect.isfunction(thing):
        for argument, parameter in inspect.signature(thing).parameters.items():
            if getattr(parameter.annotation, "__module__", "").startswith("jepa_sim"):
                continue  # its class says what it is
            assert re.search(rf"\b{argument}\b", inspect.getdoc(thing)), f"{name}({argument})"


def test_what_pages_point_to_is_there():
    for page in PAGES:
        for path in re.findall(
            r"`((?:tests|benchmarks|notebooks|jepa_sim)/[\w/.]+)`", page.read_text()
        ):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page, tmp_path, monkeypatch):
    """Blocks marked `python`, one after the other; `py` marks those that need another machine."""
    monkeypatch.chdir(tmp_path)
    moments = js.Moments.from_features([1.0, 1.0], [0.9, 0.3])
    known = {
        "js": js,
        "jax": jax,
        "np": np,
        "moments": moments,
        "problem": js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1)),
        "times": [1.0, 10.0],
        "grid": js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[2, 3]),
        "lam": [1.0, 0.5],
        "rho": [0.9, 0.3],
        "loader": [np.random.default_rng(0).normal(size=(2, 50, 3)) for _ in range(2)],
    }
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        exec(compile(block, page.name, "exec"), known)
