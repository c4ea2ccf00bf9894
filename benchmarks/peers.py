"""Other ways to integrate the flows: each peer is a function flows → (tolerance → (gains, work)).

A peer returns None where its package is not installed. Tolerances are relative; absolute ones refer
to the start's singular value, as ours do. work["rhs"] counts evaluations of the right-hand side, of
the whole batch where a peer steps in batches, and is None where a peer does not count them.
"""

import functools
import importlib.util
import math
import warnings

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.ode import odeint
from scipy.integrate import solve_ivp

import jepa_sim as js
from benchmarks.flows import Flows, encoder_product, field

MAX_STEPS = 50_000  # a run that needs more has diverged, after a step that was too long


def ours(flows: Flows, solver=None, max_steps: int = MAX_STEPS):
    """`GradientFlow`, vmapped; rhs of the slowest flow, since lanes step together."""
    solver = dfx.Tsit5() if solver is None else solver
    return _by(lambda rtol: js.GradientFlow(solver, rtol=rtol, max_steps=max_steps), flows)


def sleeping(flows: Flows):
    """`SleepingFlow`, vmapped; rhs of the slowest flow."""
    return _by(js.SleepingFlow, flows)


def _by(method, flows: Flows):
    xx, yx = jnp.asarray(flows.xx), jnp.asarray(flows.yx)
    patterns = jnp.asarray(flows.basis)

    @jax.jit
    def run(rtol):
        def one(xx, yx, patterns):
            start = js.Balanced(flows.scale)
            network = js.DeepLinear(flows.depth)
            problem = js.Problem(js.Moments(xx, yx), js.JEPA(), network, start)

            def gains(t, state, problem):
                w = encoder_product((*state.encoder, None))
                return jnp.linalg.norm(w @ patterns, axis=0)

            found = js.simulate(problem, flows.times, method(rtol), observables=(gains,))
            rhs = found.stats.get("rhs", found.stats["steps"] * 0 - 1)
            return found["gains"], rhs, found.stats["steps"]

        return jax.vmap(one)(xx, yx, patterns)

    def solve(tolerance):
        gains, rhs, steps = run(jnp.asarray(tolerance))
        rhs = int(rhs.max())
        return np.asarray(gains), {"rhs": None if rhs < 0 else rhs, "steps": int(steps.max())}

    return solve


def scipy(method: str):
    """`scipy.integrate.solve_ivp`, one flow after the other."""

    def prepare(flows: Flows):
        d, parts = flows.xx.shape[1], len(flows.factors)

        def solve(tolerance):
            found, rhs = [], 0
            for i in range(len(flows.xx)):

                def velocity(t, y, i=i):
                    moved = field(tuple(y.reshape(parts, d, d)), flows.xx[i], flows.yx[i])
                    return np.concatenate([m.ravel() for m in moved])

                with np.errstate(all="ignore"):  # steps too long overflow, and are rejected
                    solution = solve_ivp(
                        velocity,
                        (0, flows.times[-1]),
                        np.concatenate([f[i].ravel() for f in flows.factors]),
                        method=method,
                        t_eval=flows.times,
                        rtol=tolerance,
                        atol=tolerance * flows.small,
                    )
                shaped = solution.y.T.reshape(-1, parts, d, d).swapaxes(0, 1)
                found.append(encoder_product(tuple(shaped)))
                rhs += solution.nfev
            return flows.gains(np.stack(found)), {"rhs": rhs}

        return solve

    return prepare


def plain_diffrax(solver: dfx.AbstractSolver):
    """diffrax without jepa_sim, vmapped, with its default of an I controller."""

    def prepare(flows: Flows):
        @jax.jit
        def run(tolerance):
            def one(xx, yx, factors):
                sol = dfx.diffeqsolve(
                    dfx.ODETerm(lambda t, y, args: field(y, xx, yx)),
                    solver,
                    0.0,
                    flows.times[-1],
                    None,
                    factors,
                    saveat=dfx.SaveAt(ts=jnp.asarray(flows.times)),
                    stepsize_controller=dfx.PIDController(tolerance, tolerance * flows.small),
                    max_steps=MAX_STEPS,
                    throw=False,
                )
                return encoder_product(sol.ys), sol.stats["num_steps"]

            return jax.vmap(one)(flows.xx, flows.yx, flows.factors)

        def solve(tolerance):
            w, steps = run(jnp.asarray(tolerance))
            return flows.gains(np.asarray(w)), {"rhs": None, "steps": int(steps.max())}

        return solve

    return prepare


def jax_odeint(flows: Flows):
    """`jax.experimental.ode.odeint`, vmapped; compiled again for each tolerance."""

    @functools.partial(jax.jit, static_argnums=0)
    def run(tolerance):
        def one(xx, yx, factors):
            def velocity(y, t):
                return field(y, xx, yx)

            tolerances = {"rtol": tolerance, "atol": tolerance * flows.small}
            return encoder_product(
                odeint(velocity, factors, jnp.asarray(flows.times), **tolerances)
            )

        return jax.vmap(one)(flows.xx, flows.yx, flows.factors)

    return lambda tolerance: (flows.gains(np.asarray(run(tolerance))), {"rhs": None})


def torchdiffeq(flows: Flows):
    """`torchdiffeq.odeint` with dopri5, all flows as one batch."""
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("torchdiffeq")):
        return None
    import torch
    import torchdiffeq

    xx, yx, times = (torch.as_tensor(a) for a in (flows.xx, flows.yx, flows.times))
    start = tuple(torch.as_tensor(f) for f in flows.factors)

    def solve(tolerance):
        calls = 0

        def velocity(t, y):
            nonlocal calls
            calls += 1
            return field(y, xx, yx)

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torchdiffeq.odeint(
                velocity,
                start,
                times,
                method="dopri5",
                rtol=tolerance,
                atol=tolerance * flows.small,
            )
        w = encoder_product(found).swapaxes(0, 1).numpy()
        return flows.gains(w), {"rhs": calls}

    return solve


def torch_loop(flows: Flows):
    """The classical Runge–Kutta method in a PyTorch loop, all flows as one batch.

    Its error is of fourth order: at the step 12 tolerance^{1/4} it has the size of the tolerance.
    """
    if not importlib.util.find_spec("torch"):
        return None
    import torch

    xx, yx = torch.as_tensor(flows.xx), torch.as_tensor(flows.yx)

    def step(y, h):
        def shifted(k, c):
            return tuple(a + c * b for a, b in zip(y, k, strict=True))

        k1 = field(y, xx, yx)
        k2 = field(shifted(k1, h / 2), xx, yx)
        k3 = field(shifted(k2, h / 2), xx, yx)
        k4 = field(shifted(k3, h), xx, yx)
        total = (a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        return shifted(total, h / 6)

    def solve(tolerance):
        largest, rhs = 12 * tolerance**0.25, 0
        with torch.no_grad():
            y, saved = tuple(torch.as_tensor(f) for f in flows.factors), []
            for begin, end in zip([0.0, *flows.times[:-1]], flows.times, strict=True):
                count = math.ceil((end - begin) / largest)
                for _ in range(count):
                    y = step(y, (end - begin) / count)
                rhs += 4 * count
                saved.append(encoder_product(y).numpy())
        return flows.gains(np.stack(saved, axis=1)), {"rhs": rhs}

    return solve


def of_matrix_flows():
    """Peers of a batch of matrix flows, by name."""
    return {
        "plain diffrax Tsit5": plain_diffrax(dfx.Tsit5()),
        "jax.experimental.ode": jax_odeint,
        "torchdiffeq dopri5": torchdiffeq,
        "PyTorch loop RK4": torch_loop,
        "scipy RK45": scipy("RK45"),
    }


def of_stiff_flows():
    """Peers of a stiff flow, by name."""
    return {
        "scipy LSODA": scipy("LSODA"),
        "scipy Radau": scipy("Radau"),
        "scipy RK45": scipy("RK45"),
        "plain diffrax Kvaerno5": plain_diffrax(dfx.Kvaerno5()),
        "plain diffrax Tsit5": plain_diffrax(dfx.Tsit5()),
    }


def stabilised():
    """Stabilised solvers of jepa_sim, by name; empty before there are any."""
    return {name: getattr(js, name)() for name in ("RKC2", "ROCK4") if hasattr(js, name)}


__all__ = ["of_matrix_flows", "of_stiff_flows", "ours", "sleeping", "stabilised"]
