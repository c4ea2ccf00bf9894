"""Right-hand sides and measured errors of explicit, implicit and stabilised methods.

`python benchmarks/stabilised.py` prints Markdown tables: the matrix flow of four features, to 1.5
times the last critical time, against the closed form. The error in the gains is the largest one,
relative to the plateau: at the end, and over the trajectory, where a shift in time counts too. The
right-hand sides include the estimates of the spectral radius, a product with the Jacobian counting
as one; a rejected step of a stabilised method counts as much as its mean accepted one.
"""

import time

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

import jepa_sim as js
from jepa_sim._dynamics import velocity
from jepa_sim._solve.integrate import tolerances
from jepa_sim._stabilised import AbstractStabilised, rhs_count

LAM, RHO = [1.0, 0.8, 0.6, 0.5], [0.9, 0.7, 0.5, 0.3]


def problem(objective, depth, scale):
    moments = js.Moments.from_features(jnp.array(LAM), jnp.array(RHO))
    return js.Problem(moments, objective, js.DeepLinear(depth), js.Balanced(scale))


def measure(problem, solver, rtol, times, exact, plateaus):
    """RHS, error at the end, along the trajectory, steps, rejected steps, seconds of a run."""
    start = problem.weights()
    _, atol = tolerances(start, rtol, None)
    field = dfx.ODETerm(lambda t, weights, args: velocity(problem, weights))
    is_stabilised = isinstance(solver, AbstractStabilised)

    @jax.jit
    def solve(start):
        return dfx.diffeqsolve(
            field,
            solver,
            0.0,
            times[-1],
            None,
            start,
            saveat=dfx.SaveAt(
                ts=times, fn=lambda t, w, a: w.gains(problem.features), solver_state=is_stabilised
            ),
            stepsize_controller=dfx.PIDController(rtol, atol, pcoeff=0.4, icoeff=0.3),
            max_steps=10_000_000,
            adjoint=dfx.ForwardMode(),
            throw=False,
        )

    sol = jax.block_until_ready(solve(start))
    began = time.perf_counter()
    sol = jax.block_until_ready(solve(start))
    seconds = time.perf_counter() - began
    error = np.abs(np.asarray(sol.ys) - exact) / plateaus
    steps, rejected = int(sol.stats["num_steps"]), int(sol.stats["num_rejected_steps"])
    if is_stabilised:
        rhs = int(rhs_count(sol))
    elif isinstance(solver, dfx.Kvaerno5):
        rhs = steps * 6 * 3  # six implicit stages, about three iterations each, no Jacobians
    else:
        rhs = steps * 6
    return rhs, error[-1].max(), error.max(), steps, rejected, seconds


def table(title, problem, solvers, rtols, points=200):
    last = float(jnp.max(js.critical_times(problem, fraction=0.5)))
    times = jnp.linspace(0, 1.5 * last, points)
    exact = np.asarray(js.simulate(problem, times, js.ClosedForm()).features)
    plateaus = exact[-1]
    print(f"\n### {title}\n")
    print("| method | rtol | RHS | error at the end | along | steps | rejected | ms | Tsit5/RHS |")
    print("|---|---|---|---|---|---|---|---|---|")
    for rtol in rtols:
        reference = None
        for solver in solvers:
            rhs, end, along, steps, rejected, s = measure(
                problem, solver, rtol, times, exact, plateaus
            )
            reference = reference or rhs
            print(
                f"| {type(solver).__name__} | {rtol:g} | {rhs} | {end:.1e} | {along:.1e} | {steps} "
                f"| {rejected} | {1e3 * s:.0f} | {reference / rhs:.1f} |",
                flush=True,
            )


def batch(problem, solver, lanes=32, rtol=1e-5):
    """Seconds of one vmapped solve over scales of the start, and of a single one."""
    last = float(jnp.max(js.critical_times(problem, fraction=0.5)))
    field = dfx.ODETerm(lambda t, weights, args: velocity(problem, weights))

    def end(factor):
        start = jax.tree.map(lambda z: factor * z, problem.weights())
        _, atol = tolerances(start, rtol, None)
        control = dfx.PIDController(rtol, atol, pcoeff=0.4, icoeff=0.3)
        sol = dfx.diffeqsolve(
            field, solver, 0.0, last, None, start, stepsize_controller=control,
            max_steps=10_000_000, adjoint=dfx.ForwardMode(), throw=False,
        )  # fmt: skip
        return sol.ys

    seconds = []
    for run, factors in (
        (jax.jit(end), jnp.asarray(1.0)),
        (jax.jit(jax.vmap(end)), jnp.linspace(1, 1.1, lanes)),
    ):
        jax.block_until_ready(run(factors))
        began = time.perf_counter()
        jax.block_until_ready(run(factors))
        seconds.append(time.perf_counter() - began)
    return seconds


def wall_times():
    """Sixteen features in a random basis, one lane and 32 of them."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    lam, rho = np.linspace(1, 0.4, 16), rng.uniform(0.3, 0.9, 16)
    xx, yx = basis @ np.diag(lam / rho) @ basis.T, basis @ np.diag(lam) @ basis.T
    moments = js.Moments(jnp.asarray(xx), jnp.asarray(yx))
    wide = js.Problem(moments, js.JEPA(), js.DeepLinear(3), js.Balanced(3e-3))
    print("\n### 16 features in a random basis, L = 3, ε = 3e-3, rtol 1e-5\n")
    print("| method | one lane, s | 32 lanes, s |\n|---|---|---|")
    for solver in (js.RKC2(), js.ROCK4(), dfx.Tsit5()):
        one, many = batch(wide, solver)
        print(f"| {type(solver).__name__} | {one:.3f} | {many:.3f} |", flush=True)


def main():
    jax.config.update("jax_enable_x64", True)
    solvers = (dfx.Tsit5(), dfx.Kvaerno5(), js.RKC2(), js.ROCK4())
    for title, objective, depth, scale in (
        ("JEPA, L = 3, ε = 1e-3", js.JEPA(), 3, 1e-3),
        ("JEPA, L = 2, ε = 1e-3", js.JEPA(), 2, 1e-3),
        ("JEPA, L = 3, ε = 1e-2", js.JEPA(), 3, 1e-2),
        ("MAE, L = 3, ε = 1e-3", js.MAE(), 3, 1e-3),
    ):
        table(title, problem(objective, depth, scale), solvers, (1e-4, 1e-6))
    wall_times()


if __name__ == "__main__":
    main()
