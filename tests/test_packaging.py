"""What the package imports is what `pyproject.toml` asks for."""

import ast
import re
import sys
import tomllib
from pathlib import Path

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
