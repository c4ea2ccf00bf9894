"""Every solver's program, and that of a sweep, lowers for GPUs and TPUs, which CI does not have."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import jepa_sim as js
from jepa_sim.sweeps import sweep
from jepa_sim.sweeps.lanes import lanes_at

SOLVERS = {
    "closed form": js.ClosedForm(),
    "modes": js.Modes(),
    "layer modes": js.LayerModes(),
    "matrix flow": js.GradientFlow(solver=js.ROCK4()),
    "descent": js.Descent(optax.sgd, 0.1),
}
MOMENTS = ([1.0, -0.8], [0.9, -0.3])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_simulation_lowers(name, platform):
    moments, key = js.Moments.from_features(*MOMENTS), jax.random.key(0)

    @jax.jit
    def gains(scale):
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), js.Balanced(scale))
        return js.simulate(problem, [1.0, 10.0], SOLVERS[name], key=key).features

    found = export.export(gains, platforms=[platform])(
        jax.ShapeDtypeStruct((), jnp.zeros(()).dtype)
    )
    assert found.platforms == (platform,)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_sweep_lowers(platform):
    moments = js.Moments.from_features(*MOMENTS)
    grid = js.Grid(spectrum=moments, objective=[js.JEPA(), js.MAE()], depth=[1, 2])
    planned = sweep.plan(grid, js.ClosedForm(), times=js.CriticalGrid(3))
    shape = tuple(planned.axes.values())
    index = np.indices(shape).reshape(len(shape), -1)
    [(program, which)] = planned._programs(index)
    lanes = sweep._with_curves(grid, program, lanes_at(grid, index), index, which)
    run = jax.jit(lambda which: program.run(which, lanes))
    found = export.export(run, platforms=[platform])(jax.ShapeDtypeStruct(which.shape, jnp.int32))
    assert found.platforms == (platform,)
