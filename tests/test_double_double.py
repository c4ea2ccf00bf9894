"""Pairs of floats against 60 digits, compiled, to see what a compiler would simplify away."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jepa_sim import _double_double as dd

mp.mp.dps = 60

OPERATIONS = {
    "add": (dd.add, lambda x, y: x + y),
    "mul": (dd.mul, lambda x, y: x * y),
    "div": (dd.div, lambda x, y: x / y),
    "exp": (lambda x, _: dd.exp(x), lambda x, _: mp.exp(x)),
    "expm1": (lambda x, _: dd.exp_and_expm1(x)[1], lambda x, _: mp.expm1(x)),
    "log": (lambda _, y: dd.log(y), lambda _, y: mp.log(y)),
    "less one": (lambda x, y: dd.add(y, one(y, -1)), lambda x, y: y - 1),
}


def one(like, sign):
    return sign * jnp.ones_like(like[0]), jnp.zeros_like(like[0])


def draw(rng, scale, dtype):
    hi = (rng.normal(size=200) * scale).astype(dtype)
    return hi, (hi * np.finfo(dtype).eps * rng.uniform(-0.4, 0.4, 200)).astype(dtype)


def exact(pair):
    return [mp.mpf(float(hi)) + mp.mpf(float(lo)) for hi, lo in zip(*pair, strict=True)]


@pytest.mark.float32
@pytest.mark.parametrize("operation", ["add", "mul", "div", "exp", "expm1", "log", "less one"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twice_the_precision(operation, dtype):
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        pytest.skip("needs 64-bit types")
    rng = np.random.default_rng(0)
    function, reference = OPERATIONS[operation]
    x = draw(rng, 10.0 ** rng.uniform(-6, 1.3, 200), dtype)
    y = draw(rng, 3, dtype)
    y = np.abs(y[0]), np.sign(y[0]) * y[1]
    pair = jax.jit(function)(tuple(map(jnp.asarray, x)), tuple(map(jnp.asarray, y)))
    expected = [reference(*values) for values in zip(exact(x), exact(y), strict=True)]
    errors = [abs(got / value - 1) for got, value in zip(exact(pair), expected, strict=True)]
    assert max(errors) < 200 * np.finfo(dtype).eps ** 2
    assert all(np.abs(pair[1]) <= np.finfo(dtype).eps * np.abs(pair[0]))


@pytest.mark.float32
def test_products_are_exact():
    """Even where the compiler could contract a product and a sum."""
    rng = np.random.default_rng(1)
    dtype = jnp.asarray(1.0).dtype
    a, b, c = (jnp.asarray(rng.normal(size=200), dtype) for _ in range(3))

    @jax.jit
    def product_and_sum(a, b, c):
        p = dd.two_prod(a, b)
        return dd.add((c, jnp.zeros_like(c)), p), p

    total, product = product_and_sum(a, b, c)
    zero = np.zeros(200)
    pairs = zip(exact((a, zero)), exact((b, zero)), exact((c, zero)), strict=True)
    for (x, y, z), p, s in zip(pairs, exact(product), exact(total), strict=True):
        assert abs(p - x * y) <= 4 * mp.mpf(float(jnp.finfo(dtype).eps)) ** 2 * abs(x * y)
        assert abs(s - x * y - z) <= 4 * mp.mpf(float(jnp.finfo(dtype).eps)) ** 2 * (
            abs(x * y) + abs(z)
        )
