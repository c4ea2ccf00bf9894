"""Compiled programs are kept for several processes at once, without messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jepa_sim as js

PROGRAM = """
import sys
import jepa_sim as js
assert "jax" not in sys.modules
print(js.keep_compiled(sys.argv[1]))
import jax, jax.numpy as jnp
print(jax.jit(lambda x: jnp.linalg.eigvalsh(x @ x.T))(jnp.eye(3)).sum())
"""


def start(folder: Path, program: str = PROGRAM) -> subprocess.Popen:
    env = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "EQX_ON_ERROR")}
    env["PYTHONPATH"] = str(Path(js.__file__).parents[1])
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True)


@pytest.mark.release
def test_two_processes_share_a_folder_and_say_nothing(tmp_path):
    for _ in range(2):  # while they are written, and when they are there
        both = [start(tmp_path), start(tmp_path)]
        for process in both:
            out, err = process.communicate(timeout=120)
            assert (process.returncode, err) == (0, "")
            assert out.split() == [str(tmp_path), "3.0"]
        assert list(tmp_path.iterdir())


def test_it_warns_where_jax_was_there_before(tmp_path):
    out, err = start(tmp_path, "import jax" + PROGRAM.replace("assert", "#")).communicate()
    assert "JAX was imported before `keep_compiled` was called" in err
    assert "3.0" in out


def test_nothing_is_kept_where_no_folder_is_wanted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JEPA_SIM_CACHE", "")
    assert js.keep_compiled() is None
