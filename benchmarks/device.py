"""`make bench-gpu`: the closed form and the matrix flow on one device, in float64 and float32.

The roofline of the closed form is the larger of two measured times for an array of its size: the
time to write it, and the time of one pass of `jnp.exp`. Each precision runs in its own process.
Sizes: `small` is for a CPU, `full` is 10⁶ trajectories × 64 features × 256 times, in chunks.
"""

import argparse
import functools
import subprocess
import sys
import time

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr

import jepa_sim as js
from benchmarks.flows import random_flows
from benchmarks.peers import stabilised
from benchmarks.report import FOLDER, Row, facts, write

# trajectories in all, trajectories of a chunk, features, times, matrix flows
SIZES = {"small": (2_000, 500, 8, 64, 8), "full": (1_000_000, 4_000, 64, 256, 1024)}
BUDGET = 200.0  # seconds of a precision; chunks left after it are estimated from those measured


def seconds(function, *arguments, rounds: int = 3) -> float:
    """Fewest seconds of a call, without compiling."""
    jax.block_until_ready(function(*arguments))
    fewest = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        fewest = min(fewest, time.perf_counter() - begin)
    return fewest


def closed_form_rows(size: str, deadline: float) -> list[Row]:
    """All trajectories in chunks, beside writing the result and passes of exp; and a gradient."""
    total, chunk, features, count, _ = SIZES[size]

    def gains(lam, rho):
        def one(lam, rho):
            moments = js.Moments.from_features(lam, rho)
            problem = js.Problem(moments, js.JEPA(), js.DeepLinear(3.0), js.Balanced(1e-2))
            times = js.CriticalGrid(count).times(problem)
            observables = (js.observables.features,)
            return js.simulate(problem, times, js.ClosedForm(), observables=observables).features

        return jax.vmap(one)(lam, rho)

    def draw(seed):
        lam_key, rho_key = jr.split(jr.key(seed))
        shape = (chunk, features)
        return (
            jr.uniform(lam_key, shape, minval=0.1, maxval=1.0),
            jr.uniform(rho_key, shape, minval=0.2, maxval=0.95),
        )

    result = jax.jit(lambda seed: gains(*draw(seed)).astype(jnp.float32))
    shape = (chunk, count, features)
    fill = jax.jit(lambda value: jnp.full(shape, value))
    write_one = seconds(fill, jnp.float32(0.5))
    array = -jnp.ones(shape) * jnp.linspace(0.0, 1.0, features)
    exp_one = seconds(jax.jit(jnp.exp), array)
    del array

    begin = time.perf_counter()
    jax.block_until_ready(result(0))
    first = time.perf_counter() - begin
    chunks, done, begin = total // chunk, 0, time.perf_counter()
    while done < chunks and (done == 0 or time.perf_counter() < deadline):
        jax.block_until_ready(result(done))
        done += 1
    each = (time.perf_counter() - begin) / max(done, 1)
    values, bandwidth = total * features * count, array_bytes(shape) / write_one
    measured = f"{done} of {chunks} chunks of {chunk:,} measured, first call {first:.3g} s"
    rows = [
        Row(
            f"closed form, {total:,} trajectories × {features} features × {count} times",
            each * chunks,
            "s",
            {"to write it": write_one * chunks, "one pass of exp": exp_one * chunks},
            ratio=each / write_one,
            limit=5,
            goal="closed form on the device, in the time to write its float32 result",
            note=f"{100 * max(write_one, exp_one) / each:.3g} % of the roofline; "
            f"{each * chunks / values * 1e12:.3g} ps per value; writes {bandwidth / 1e9:.3g} GB/s; "
            + measured,
        ),
        Row(
            "closed form, one value",
            1e12 * each * chunks / values,
            "ps",
            {"one pass of exp": 1e12 * exp_one * chunks / values},
            ratio=each / exp_one,
            limit=10,
            goal="one output of the closed form in passes of exp, on the device",
        ),
    ]
    if time.perf_counter() > deadline:
        return rows
    fewer = tuple(a[: max(chunk // 8, 1)] for a in draw(0))
    value = jax.jit(lambda lam, rho: jnp.sum(gains(lam, rho)))
    slope = jax.jit(jax.grad(lambda lam, rho: jnp.sum(gains(lam, rho)), argnums=(0, 1)))
    of_value, of_slope = seconds(value, *fewer), seconds(slope, *fewer)
    rows.append(
        Row(
            f"gradient of a sum of gains in λ, ρ, {len(fewer[0]):,} trajectories",
            1e3 * of_slope,
            "ms",
            {"value": 1e3 * of_value},
            ratio=of_slope / of_value,
            limit=3,
            goal="gradient of the closed form, in values, on the device",
        )
    )
    return rows


def array_bytes(shape: tuple[int, ...]) -> int:
    """Bytes of a float32 array."""
    return 4 * functools.reduce(int.__mul__, shape)


def flow_rows(size: str, deadline: float) -> list[Row]:
    """Matrix flows, d=16, L=2, by every explicit solver, each with its error."""
    count, double = SIZES[size][4], jax.config.jax_enable_x64
    flows, rows = random_flows(count, 16, 0.1, 2), []
    rtol = 1e-6 if double else 1e-4
    times = jnp.asarray(flows.times)

    @functools.partial(jax.jit, static_argnums=0)
    def run(solver, xx, yx, patterns):
        def one(xx, yx, patterns):
            start, network = js.Balanced(flows.scale), js.DeepLinear(flows.depth)
            problem = js.Problem(js.Moments(xx, yx), js.JEPA(), network, start)

            def gains(t, state, problem):
                return jnp.linalg.norm(state.encoder[1] @ state.encoder[0] @ patterns, axis=0)

            method = js.GradientFlow(solver, rtol=rtol)
            found = js.simulate(problem, times, method, observables=(gains,))
            return found["gains"], found.stats["steps"]

        return jax.vmap(one)(xx, yx, patterns)

    for name, solver in {"Tsit5": dfx.Tsit5(), **stabilised()}.items():
        if time.perf_counter() > deadline:
            break
        arguments = [jnp.asarray(a) for a in (flows.xx, flows.yx, flows.basis)]
        taken = seconds(run, solver, *arguments, rounds=2)
        gains, steps = run(solver, *arguments)
        rows.append(
            Row(
                f"{count} matrix flows, d=16, L=2, ε=0.1, rtol={rtol:g}, {name}",
                1e3 * taken,
                "ms",
                errors={"ours": flows.error(gains)},
                note=f"{int(steps.max())} steps",
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--precision", choices=("float64", "float32"))
    chosen = parser.parse_args()
    if chosen.precision is None:
        for precision in ("float64", "float32"):
            again = ["-m", "benchmarks.device", "--size", chosen.size, "--precision", precision]
            subprocess.run([sys.executable, *again], check=True)
        return
    begin = time.perf_counter()
    jax.config.update("jax_enable_x64", chosen.precision == "float64")
    rows = flow_rows(chosen.size, begin + BUDGET / 2)
    print(f"{chosen.precision}: flows {time.perf_counter() - begin:.0f} s", flush=True)
    rows += closed_form_rows(chosen.size, begin + BUDGET)
    stem = f"device-{chosen.precision}"
    print(write(rows, facts() | {"size": chosen.size}, stem))
    print(f"Written to {FOLDER}/{stem}.md and .json, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
