"""Written-out methods take the same steps and give the same numbers as those of diffrax."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa_sim.numerics.unrolled import Unrolled, write_out

CONTROL = {"rtol": 1e-6, "atol": 1e-8, "pcoeff": 0.4, "icoeff": 0.3}


def pendulum(t, y, args):
    angle, speed = y
    return speed, -jnp.sin(angle) - 0.1 * speed + jnp.where(t < 1.5, args, -args)


def solve(force, solver):
    sol = dfx.diffeqsolve(
        dfx.ODETerm(pendulum), solver, 0.0, 4.0,
        0.3,  # the error of a much shorter first step would be rounding
        (jnp.array([0.5, 1.0]), jnp.zeros(2)), force,
        saveat=dfx.SaveAt(ts=jnp.linspace(0, 4, 9)), max_steps=64,
        stepsize_controller=dfx.ClipStepSizeController(
            dfx.PIDController(**CONTROL), jump_ts=jnp.array([1.5])
        ),
    )  # fmt: skip
    return jnp.sum(sol.ys[0] ** 2), (sol.ys, sol.stats["num_steps"])


def assert_same(run, method):
    """Saves between steps, a jump of the right-hand side, a batch."""
    forces = jnp.array([0.1, 0.7, 2.0])
    theirs, ours = (
        jax.jit(jax.vmap(lambda f, s=s: run(f, s)))(forces) for s in (method, write_out(method))
    )
    for expected, found in zip(*map(jax.tree.leaves, (theirs, ours)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


both = pytest.mark.parametrize("method", [dfx.Tsit5(), dfx.Bosh3()])


@both
def test_as_diffrax_has_it(method):
    assert_same(solve, method)


@pytest.mark.release
@pytest.mark.parametrize(
    "method", [dfx.Tsit5(), pytest.param(dfx.Bosh3(), marks=pytest.mark.release)]
)
def test_a_gradient_in_reverse_is_that_of_diffrax(method):
    assert_same(jax.value_and_grad(solve, has_aux=True), method)


def test_other_methods_stay():
    for solver in (dfx.Heun(), dfx.Kvaerno5()):
        assert write_out(solver) is solver
    assert isinstance(write_out(dfx.Tsit5()), Unrolled)
