"""Small ε and depth: right-hand sides and time at equal measured error.

The flow is slow before the transition and stiff after it. There the steps of an explicit method
must stay below the limit of stability, for times that grow like ε^{−(2L−1)/L}.
"""

import time

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import jepa_sim as js
from benchmarks import peers
from benchmarks.flows import make_flows, tune
from benchmarks.report import Row

LAM, RHO = np.array([1.0, 0.9, 0.8, 0.7]), np.array([0.9, 0.7, 0.5, 0.4])


@pytest.fixture(scope="module")
def stiff():
    """Four features to the end: L=3, ε=1e-3."""
    return make_flows(LAM, RHO, 1e-3, 3)


def timed(solve, tolerance):
    """(seconds, gains, work) of a second run; the first one compiles."""
    solve(tolerance)
    begin = time.perf_counter()
    gains, work = solve(tolerance)
    return time.perf_counter() - begin, gains, work


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_right_hand_sides(benchmark, record, stiff, rtol):
    """Stabilised solvers at `rtol`; Tsit5 at the loosest tolerance that is as exact."""
    found = {}
    for name, solver in peers.stabilised().items():
        seconds, gains, work = timed(peers.ours(stiff, solver), rtol)
        found[name] = work["rhs"], stiff.error(gains), seconds, work["steps"]
    explicit = peers.ours(stiff)
    wanted = min([error for _, error, *_ in found.values()], default=10 * rtol)
    tolerance, error, work = tune(explicit, stiff, wanted)
    benchmark.pedantic(lambda: explicit(tolerance), rounds=1)
    best = min(found, key=lambda name: found[name][0], default=None)
    record(
        Row(
            f"stiff: L=3, ε=1e-3, four features, rtol={rtol:g}, {best or 'no stabilised solver'}",
            found[best][0] if best else float("nan"),
            "right-hand sides",
            {name: f[0] for name, f in found.items() if name != best} | {"Tsit5": work["rhs"]},
            {name: f[1] for name, f in found.items()}
            | {"Tsit5": error}
            | ({"ours": found[best][1]} if best else {}),
            ratio=found[best][0] / work["rhs"] if best else None,
            limit=1 / 40,
            goal=f"stabilised solver in Tsit5's right-hand sides at equal error, rtol={rtol:g}",
            note="; ".join(f"{name} {1e3 * f[2]:.3g} ms, {f[3]} steps" for name, f in found.items())
            + "; nine steps in ten lie where a feature is being learned: accuracy limits them",
        )
    )


@pytest.mark.parametrize("rtol", [1e-3, 1e-4])
def test_sleeping_latents(benchmark, record, stiff, rtol):
    """`SleepingFlow` at `rtol`; Tsit5 at the loosest tolerance that is as exact."""
    sleeping, explicit = peers.sleeping(stiff), peers.ours(stiff)
    gains, work = sleeping(rtol)
    error = stiff.error(gains)
    tolerance, of_explicit, needed = tune(explicit, stiff, error)
    benchmark.pedantic(lambda: sleeping(rtol), rounds=1)
    record(
        Row(
            f"stiff: L=3, ε=1e-3, four features, SleepingFlow, rtol={rtol:g}",
            work["rhs"],
            "right-hand sides",
            {"Tsit5": needed["rhs"]},
            {"ours": error, "Tsit5": of_explicit},
            ratio=work["rhs"] / needed["rhs"],
            limit=1 / 40,
            goal=f"SleepingFlow in Tsit5's right-hand sides at equal error, rtol={rtol:g}",
            note=f"{work['steps']} steps; Tsit5 at rtol {tolerance:g}",
        )
    )


def test_stiff_peers(benchmark, record, stiff):
    """Every solver at the loosest tolerance with which its error is within 1e-4."""
    wanted = 1e-4
    own = {"Tsit5": dfx.Tsit5(), "Kvaerno5": dfx.Kvaerno5(), **peers.stabilised()}
    every = {f"ours {name}": peers.ours(stiff, solver) for name, solver in own.items()}
    every |= {name: prepare(stiff) for name, prepare in peers.of_stiff_flows().items()}
    seconds, errors, sides = {}, {}, {}
    for name, solve in every.items():
        tuned = tune(solve, stiff, wanted)
        if tuned is None:
            seconds[name] = f"does not reach {wanted:g}"
            continue
        begin = time.perf_counter()
        solve(tuned[0])
        seconds[name], errors[name] = 1e3 * (time.perf_counter() - begin), tuned[1]
        sides[name] = tuned[2]["rhs"] or f"{tuned[2]['steps']} steps"
    reached = {name: s for name, s in seconds.items() if not isinstance(s, str)}
    best = min((name for name in reached if name.startswith("ours")), key=reached.get)
    others = [s for name, s in reached.items() if not name.startswith("ours")]
    tolerance = tune(every[best], stiff, wanted)[0]
    benchmark.pedantic(lambda: every[best](tolerance), rounds=1)
    record(
        Row(
            f"stiff: L=3, ε=1e-3, four features, gains within {wanted:g}, {best}",
            seconds.pop(best),
            "ms",
            seconds,
            errors | {"ours": errors[best]},
            ratio=reached[best] / min(others),
            note="ratio to the fastest peer; right-hand sides: "
            + ", ".join(f"{name} {count}" for name, count in sides.items()),
        )
    )


def test_single_features(race, record):
    """Diagonal JEPA, L=1, ε=1e-4: the closed form against its one equation, vmapped, by diffrax."""
    count, scale, wanted = 512, 1e-4, 1e-5
    lam_key, rho_key = jr.split(jr.key(0))
    lam = jr.uniform(lam_key, (count, 1), minval=0.1, maxval=1.0)
    rho = jr.uniform(rho_key, (count, 1), minval=0.2, maxval=0.95)

    def problem_of(lam, rho):
        moments = js.Moments.from_features(lam, rho)
        return js.Problem(moments, js.JEPA(), js.DeepLinear(1.0), js.Balanced(scale))

    times = jax.jit(
        jax.vmap(lambda lam, rho: js.CriticalGrid(200, last=1.5).times(problem_of(lam, rho)))
    )(lam, rho)

    @jax.jit
    def ours(lam, rho, times):
        def one(lam, rho, times):
            observables = (js.observables.features,)
            run = js.simulate(problem_of(lam, rho), times, js.ClosedForm(), observables=observables)
            return run.features[:, 0]

        return jax.vmap(one)(lam, rho, times)

    def integrated(solver):
        @jax.jit
        def run(tolerance):
            def one(lam, rho, times):
                return dfx.diffeqsolve(
                    dfx.ODETerm(lambda t, u, args: u**2 * (lam - lam / rho * u)),
                    solver,
                    0.0,
                    times[-1],
                    None,
                    jnp.asarray(scale),
                    saveat=dfx.SaveAt(ts=times),
                    stepsize_controller=dfx.PIDController(tolerance, tolerance * scale),
                    max_steps=1_000_000,
                    throw=False,
                ).ys

            return jax.vmap(one)(lam[:, 0], rho[:, 0], times)

        return run

    exact = ours(lam, rho, times)
    runs, errors, notes = {}, {}, []
    for name, solver in {"Tsit5": dfx.Tsit5(), "Kvaerno5": dfx.Kvaerno5()}.items():
        run = integrated(solver)
        for tolerance in 10.0 ** -np.arange(4, 10.1, 0.5):
            error = float(jnp.max(jnp.abs(run(jnp.asarray(tolerance)) / exact - 1)))
            if error <= wanted:
                break
        runs[f"diffrax {name}"] = lambda run=run, t=tolerance: run(jnp.asarray(t))
        errors[f"diffrax {name}"] = error
        notes.append(f"{name} at tolerance {tolerance:.1g}")
    seconds = race(lambda: ours(lam, rho, times), runs, rounds=2)
    per_value = {name: 1e9 * s / exact.size for name, s in seconds.items()}
    mine = per_value.pop("ours")
    record(
        Row(
            "one feature at one time, diagonal JEPA, L=1, ε=1e-4",
            mine,
            "ns",
            per_value,
            errors,
            ratio=mine / min(per_value.values()),
            note="errors against the closed form; " + ", ".join(notes),
        )
    )
