"""The documentation has everything public, and its examples run."""

import doctest
import inspect
import json
import re
import typing
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jepa_sim as js
from docs.published import links, publish
from jepa_sim import explore, plot

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def public():
    return [name for name in js.__all__ if not inspect.ismodule(getattr(js, name))]


def documented():
    """Everything that the reference shows, by the name under which it is reached."""
    for name in public():
        yield name, getattr(js, name)
    for module in (js.data, js.observables, plot, explore):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{module.__name__.rpartition('.')[2].lstrip('_')}.{name}", thing


DOCUMENTED = list(documented())
NAMES = [name for name, _ in DOCUMENTED]


def annotations(thing):
    """Of the arguments and the result of a function; of the fields and `__init__` of a class."""
    found = inspect.get_annotations(thing)
    if inspect.isclass(thing) and "__init__" in vars(thing):
        found = found | thing.__init__.__annotations__
    return found


def is_array(annotation):
    """Whether it is of an array of rank one or more, alone or within another type."""
    dims = getattr(annotation, "dim_str", "").split()
    return bool(dims) or any(map(is_array, typing.get_args(annotation)))


def is_number(annotation):
    words = str(annotation)
    return any(word in words for word in ("float", "Float", "Number", "ArrayLike", "Scalar"))


def test_everything_public_is_in_the_reference():
    """Once, by the place that defines it: `docs/conf.py` says what `public` shows."""
    reference = (ROOT / "docs/api.md").read_text()
    places = " ".join(re.findall(r"\.\. public:: (.+)", reference)).split()
    for name in public():
        home = f"{js._HOMES[name]}."
        assert sum(home.startswith(f".{place}.") for place in places) == 1, name
    for module in ("observables", "data", "plot", "explore"):
        assert f"automodule:: jepa_sim.{module}" in reference


@pytest.mark.parametrize(("name", "thing"), DOCUMENTED, ids=NAMES)
def test_everything_public_says_what_it_is(name, thing):
    """A docstring, of every public method too; functions name what is not of our own classes."""
    assert inspect.getdoc(thing)
    members = [] if inspect.isfunction(thing) else vars(thing).items()
    for member, value in members:
        function = getattr(value, "fget", value)
        if not member.startswith("_") and inspect.isfunction(function):
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"
    if inspect.isfunction(thing) and not name.startswith("observables."):
        for argument, parameter in inspect.signature(thing).parameters.items():
            if getattr(parameter.annotation, "__module__", "").startswith("jepa_sim"):
                continue  # its class says what it is
            said = (inspect.getdoc(thing) or "") + (plot.__doc__ if argument == "ax" else "")
            assert re.search(rf"\b{argument}\b", said), f"{name}({argument})"


@pytest.mark.parametrize(("name", "thing"), DOCUMENTED, ids=NAMES)
def test_arrays_have_shapes(name, thing):
    """Such as (d,), (t, d), or (427, 640) of data."""
    if any(map(is_array, annotations(thing).values())) and name not in ("Weights", "Separate"):
        assert re.search(r"\((\w+,|\w+(, [\w ]+)+)\)", inspect.getdoc(thing))


# a function that makes starts, values of a series, and teachers without a time constant
NO_TIMES = ("Grid", "data.Windows", "StopGradient", "NoStopGradient")
TIMED = r"times|values|start|stop|late|time_constant|\w*rate|\w*decay"  # and numbers


@pytest.mark.parametrize(("name", "thing"), DOCUMENTED, ids=NAMES)
def test_times_and_rates_have_units(name, thing):
    timed = [
        argument
        for argument, annotation in annotations(thing).items()
        if re.fullmatch(TIMED, argument) and is_number(annotation)
    ]
    if timed and name not in NO_TIMES:
        assert re.search(r"[Ff]low time|kα", inspect.getdoc(thing)), timed


RAISES = r"\bcheck(s\.|_\w+\()|\braise \w*Error"


@pytest.mark.parametrize(("name", "thing"), DOCUMENTED, ids=NAMES)
def test_errors_are_named(name, thing):
    """Of everything that checks or raises, in its own source."""
    if isinstance(thing, type) and issubclass(thing, Exception):
        return
    said = [inspect.getdoc(thing) or ""]
    if inspect.isclass(thing):
        said += [inspect.getdoc(getattr(thing, member)) or "" for member in vars(thing)]
    if re.search(RAISES, inspect.getsource(thing)):
        assert re.search(r"\braises? \w*Error|Error (where|unless)", " ".join(said), re.IGNORECASE)


FAMILIES = js.AbstractObjective, js.AbstractStart, js.AbstractSolver


@pytest.mark.parametrize("name", public())
def test_everything_public_has_its_source(name):
    """It stands in the concepts, in a section that names a test.

    Of a family that stands there, a class may have its formula in its own docstring alone, which
    the reference shows. A test then names the class.
    """
    sections = re.split(r"^## ", (ROOT / "docs/concepts.md").read_text(), flags=re.MULTILINE)
    found = [s for s in sections if re.search(rf"`jepa_sim\.{name}`", s)]
    if not found and inspect.isclass(thing := getattr(js, name)) and issubclass(thing, FAMILIES):
        found = [
            f"`tests/{path.name}`"
            for path in (ROOT / "tests").glob("test_*.py")
            if re.search(rf"\b{name}\b", path.read_text())
        ]
    assert found
    assert re.search(r"`tests/test_\w+\.py`", found[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "thing"), DOCUMENTED, ids=NAMES)
def test_examples_of_docstrings_run(name, thing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"js": js, "jax": jax, "np": np, "optax": optax}
    flags = doctest.NORMALIZE_WHITESPACE
    for test in doctest.DocTestFinder(recurse=False).find(thing, name, globs=known):
        doctest.DebugRunner(optionflags=flags).run(test)  # raises where one fails


def test_what_pages_point_to_is_there():
    for page in PAGES:
        for path in re.findall(
            r"`((?:tests|benchmarks|notebooks|jepa_sim)/[\w/.]+)`", page.read_text()
        ):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def sessions(page):
    """What a page shows as typed at Python's prompt, with its output."""
    return "".join(re.findall(r"```pycon\n(.*?)```", page.read_text(), flags=re.DOTALL))


@pytest.mark.slow
@pytest.mark.parametrize("page", list(filter(sessions, PAGES)), ids=lambda page: page.stem)
def test_sessions_print_what_is_shown(page):
    session = doctest.DocTestParser().get_doctest(sessions(page), {}, page.stem, str(page), 0)
    doctest.DebugRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(session)


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


def test_published_notebooks_install_the_release(tmp_path):
    cell = {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": "2"}}]}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "run.ipynb").write_text(json.dumps(notebook))
    publish(tmp_path / "run.ipynb", tmp_path / "λ.ipynb", js.__version__)
    first, *others = json.loads((tmp_path / "λ.ipynb").read_text(encoding="utf-8"))["cells"]
    assert others == [cell]
    assert f'%pip install --quiet "jepa_sim[demo]=={js.__version__}"' in "".join(first["source"])
    (tmp_path / "run.ipynb").write_text(json.dumps({**notebook, "cells": [first]}))
    with pytest.raises(ValueError, match="must have outputs, but has none"):
        publish(tmp_path / "run.ipynb", tmp_path / "λ.ipynb", js.__version__)


def test_pages_of_notebooks_link_to_them():
    assert 'href="why.ipynb"' in links("why", "")
    assert "colab" not in links("why", "")
    found = links("why", "us/jepa/blob/v0.2.0/notebooks")
    assert "/github/us/jepa/blob/v0.2.0/notebooks/why.ipynb" in found
    with pytest.raises(ValueError, match="must be owner/repository/blob/branch/folder"):
        links("why", "us/jepa")
