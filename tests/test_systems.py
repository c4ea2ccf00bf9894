"""Every system of notebooks/systems runs and has a description; those of studies are right."""

from pathlib import Path

import pytest

from jepa_sim import config
from jepa_sim.config.build import build

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SYSTEMS = sorted((NOTEBOOKS / "systems").glob("*.toml"))
STUDIES = sorted((NOTEBOOKS / "laboratory").glob("*/*.toml"))


def described(path: Path, folder: str) -> config.Config:
    """The file as read. It says what it is and what to look at, and writes into its folder."""
    loaded = config.load(path)
    what, look, blank, *_ = loaded.text.splitlines()
    assert what.startswith("# ")
    assert look.startswith("# Look at ")
    assert blank == ""
    assert loaded.output.path == f"runs/{folder}/{path.stem}.nc"
    return loaded


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_a_system_is_built(path: Path):
    loaded = described(path, "systems")
    run = build(loaded)
    assert run.grid.size <= 200  # a run takes seconds


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_sweep_of_a_study_is_read(path: Path):
    described(path, path.parent.name)


def test_there_are_systems():
    assert len(SYSTEMS) >= 30
    assert len(STUDIES) >= 8
