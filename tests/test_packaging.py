"""What the package imports is what `pyproject.toml` asks for."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import jepa_sim as js
from jepa_sim import cli
from tests import extras

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL"}  # distributions named unlike their module


def modules(requirements):
    names = (re.match(r"[\w-]+", line).group() for line in requirements)
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def imported(statements):
    """Other people's packages that these statements import."""
    for node in statements:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        for name in (name.split(".")[0] for name in names):
            if name not in sys.stdlib_module_names and name != "jepa_sim":
                yield name


def test_every_import_is_declared():
    core = modules(PROJECT["dependencies"])
    extras = modules(line for lines in PROJECT["optional-dependencies"].values() for line in lines)
    for path in (ROOT / "jepa_sim").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert set(imported(ast.walk(tree))) <= core | extras, path
        if path.name != "_guard.py":  # a module of the page alone, and loaded by it
            assert set(imported(tree.body)) <= core, path


@pytest.mark.parametrize(("extra", "module", "call"), extras.CALLS)
def test_what_needs_an_extra_says_which(monkeypatch, extra, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as error:
        call()
    assert str(error.value).endswith(extras.message(extra, module))


@pytest.mark.parametrize(("extra", "module", "command"), extras.COMMANDS)
def test_commands_that_need_an_extra_say_which(
    monkeypatch, tmp_path, capsys, extra, module, command
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(extras.SWEEP)
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(extras.message(extra, module))
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_every_extra_for_users_is_tried():
    said = {(extra, module) for extra, module, _ in extras.CALLS + extras.COMMANDS}
    for extra in ("images", "plot", "series", "dask", "parquet", "explore"):
        wanted = modules(PROJECT["optional-dependencies"][extra])
        # of jepa_sim itself; those that come with others; and one that makes things quicker only
        wanted -= {"jepa_sim", "cloudpickle", "dask", "threadpoolctl"}
        wanted -= {"PIL"} if extra == "explore" else set()
        assert wanted <= {module for name, module in said if name == extra}


def test_one_version():
    """In the package, the citation and the newest heading of the changelog."""
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited
    assert newest
    assert cited[1] == newest[1] == js.__version__
