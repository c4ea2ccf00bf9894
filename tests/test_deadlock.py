"""Several batched LAPACK calls in one program must not deadlock.

Some versions of JAX do on two cores; `pyproject.toml` excludes them.
"""

import jax
import jax.numpy as jnp
import jax.random as jr

import jepa_sim as js


def test_features_and_rotated_starts_of_many_lanes(time_limit):
    def lane(key):
        a, b = jr.normal(key, (2, 3, 3))
        moments = js.Moments(a @ a.T + jnp.eye(3), b @ b.T)
        start = js.Balanced(0.1, rotated=True)
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(2), start)
        return problem.weights(key).singular_values(), problem.features.rho

    with time_limit(120):
        sizes, rho = jax.jit(jax.vmap(lane))(jr.split(jr.key(0), 4096))
        assert jnp.allclose(sizes, 0.1)
        assert jnp.isfinite(rho).all()
