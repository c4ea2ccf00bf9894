"""CONTRIBUTING.md says what is so."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_table_of_modules_has_the_order_of_the_contract():
    table = CONTRIBUTING.partition("| module | holds |")[2].partition("\n\n")[0]
    rooms = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers, *_) = contracts["tool"]["importlinter"]["contracts"]
    assert rooms == layers["layers"][::-1]


def test_the_commands_are_targets():
    named = set(re.findall(r"`make ([a-z-]+)", CONTRIBUTING))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
