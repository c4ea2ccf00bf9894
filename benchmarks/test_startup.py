"""The time until the first number: of the import, and of first calls, which compile.

Each is measured in a fresh process. A second process finds the compiled programs in the cache.
"""

import os
import re
import subprocess
import sys

import pytest

from benchmarks.report import Row

START = """
import time
import jax
jax.config.update("jax_enable_x64", True)
import jepa_sim as js
lam, rho = [1.0, 0.8, 0.6, 0.5], [0.9, 0.7, 0.5, 0.3]
moments = js.Moments.from_features(lam, rho)
problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(0.1))
times = [1.0, 10.0, 100.0]
def sweep(padded):
    grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 2, 3], scale=[0.1])
    return js.sweep(grid, js.GradientFlow(), times=times, padded=padded, progress=False)
begin = time.perf_counter()
jax.block_until_ready(CALL)
print("seconds", time.perf_counter() - begin)
"""
CALLS = {
    "ClosedForm": "js.simulate(problem, times, js.ClosedForm()).values",
    "GradientFlow": "js.simulate(problem, times, js.GradientFlow()).values",
    "sweep, padded": "sweep(True).features.values",
    "sweep, in groups": "sweep(False).features.values",
}


def seconds_in_process(code: str, **environment: str) -> float:
    """The seconds that a fresh process prints."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(re.findall(r"seconds (\S+)", found.stdout)[-1])


def test_import(benchmark, record):
    def imported(name):
        code = f"import time; b = time.perf_counter(); import {name}\n"
        return code + "print('seconds', time.perf_counter() - b)"

    # public names are loaded when they are first used, so some of each kind are used here
    used = imported("jepa_sim").replace(
        "import jepa_sim\n", "import jepa_sim as js; js.simulate, js.sweep, js.ClosedForm\n"
    )
    codes = {"ours": imported("jepa_sim"), "with simulate, sweep": used, "jax": imported("jax")}
    seconds_in_process(codes["ours"])  # fills the file cache
    seconds = {name: min(seconds_in_process(c) for _ in range(3)) for name, c in codes.items()}
    benchmark.pedantic(lambda: seconds_in_process(codes["ours"]), rounds=1)
    record(
        Row(
            "import jepa_sim",
            seconds.pop("ours"),
            "s",
            seconds,
            ratio=max(0.0, seconds["with simulate, sweep"] - seconds["jax"]),
            limit=1.5,
            goal="seconds of import jepa_sim (what is used, loaded) above import jax",
        )
    )


FIRST = """
import time
import jax, jax.numpy as jnp, diffrax
jax.config.update("jax_enable_x64", True)
import jepa_sim as js
moments = js.Moments.from_features([1.0, 0.8, 0.6, 0.5], [0.9, 0.7, 0.5, 0.3])
problem = js.Problem(moments, js.JEPA(), js.DeepLinear(3), js.Balanced(0.01))
grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 2, 3],
               scale=[1e-1, 1e-2, 1e-3, 1e-4])
@jax.jit
def peer(y):
    term, save = diffrax.ODETerm(lambda t, y, args: y * (1 - y)), jnp.linspace(0.0, 10.0, 200)
    return diffrax.diffeqsolve(
        term, diffrax.Tsit5(), 0.0, 10.0, None, y, saveat=diffrax.SaveAt(ts=save),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8)).ys
js.critical_times, js.simulate, js.sweep, js.ClosedForm
def clock(call):
    begin = time.perf_counter()
    jax.block_until_ready(call())
    print("seconds", time.perf_counter() - begin)
clock(lambda: js.critical_times(problem, fraction=0.5))
clock(lambda: js.simulate(problem, [10.0, 100.0, 1000.0], js.ClosedForm()).values)
clock(lambda: js.sweep(grid, js.ClosedForm(), progress=False).features.values)
clock(lambda: peer(jnp.asarray(0.1)))
"""


def test_first_answers_of_the_closed_form(benchmark, record):
    def run():
        return subprocess.run(
            [sys.executable, "-c", FIRST], capture_output=True, text=True, check=True
        ).stdout

    found = [float(x) for x in re.findall(r"seconds (\S+)", benchmark.pedantic(run, rounds=1))]
    *ours, peer = found
    names = ("critical_times", "simulate", "sweep of 24 lanes")
    for name, seconds, limit in zip(names, ours, (1, 1, 3), strict=True):
        record(
            Row(
                f"first {name} in closed form",
                seconds,
                "s",
                {"first diffrax solve of one equation, 200 saves": peer},
                ratio=seconds / peer,
                limit=limit,
                goal=f"first {name} in closed form, in first diffrax solves",
            )
        )


@pytest.mark.parametrize("name", CALLS)
def test_first_call(benchmark, record, tmp_path, name):
    code = START.replace("CALL", CALLS[name])
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "EQX_ON_ERROR": "nan",  # as the command line sets it: else programs of diffrax are not kept
    }
    first = seconds_in_process(code, **cache)
    second = benchmark.pedantic(lambda: seconds_in_process(code, **cache), rounds=1)
    record(
        Row(
            f"first call, {name}",
            first,
            "s",
            {"second process, from the cache": second},
            note="d=4; sweeps: 2 objectives × 3 depths",
        )
    )
