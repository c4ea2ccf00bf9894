"""The ledger of published claims: at a small size every verdict is that of its page."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.release
def test_small_runs_support_the_verdicts_of_the_page(monkeypatch):
    script = ROOT / "notebooks" / "laboratory" / "ledger.py"
    monkeypatch.syspath_prepend(str(script.parent))  # as Python does for a script
    monkeypatch.setattr(sys, "argv", [str(script), "small"])
    found = runpy.run_path(str(script), run_name="ledger")["ledger"]()
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "| `ledger.py" in line]
    published = {row[3].strip("`").removeprefix("ledger.py "): (row[0], row[5]) for row in rows}
    assert {name: (row.claim, row.verdict) for name, row in found} == published
