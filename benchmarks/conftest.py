"""Benchmarks run in float64, without the compilation cache, so that compile times are true."""

import jax

jax.config.update("jax_enable_x64", True)
