"""Step sizes that follow a trend: Gustafsson's predictive controller."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, PyTree

from jepa_sim.arguments.checks import check_positive


class PredictiveController(dfx.AbstractAdaptiveStepSizeController):
    """h_{n+1} = h_n · safety · min(r_n, r_n · (h_n/h_{n−1}) · (r_n/r_{n−1})),  r = err^{−1/k}.

    err: the norm of the error in units of atol + rtol |y|, and k its order. Gustafsson, ACM Trans.
    Math. Softw. 20 (1994) 496–517, as RKC and ROCK have it. Where the solution becomes faster, as
    when a feature is about to be learned, steps shrink before one fails: diffrax's `PIDController`
    never shrinks after a step that it accepts, and there rejects every other one.

    rtol, atol: tolerances.  norm: of a tree.  safety: factor on every next step.  factormin,
    factormax: bounds on its ratio to the last.
    """

    rtol: Any
    atol: Any
    norm: Callable[[PyTree], Any] = optx.rms_norm
    safety: Any = 0.85
    factormin: Any = 0.1
    factormax: Any = 10.0

    def __check_init__(self):
        for name in ("rtol", "atol", "safety", "factormin", "factormax"):
            check_positive(name, getattr(self, name))

    def wrap(self, direction: Any) -> "PredictiveController":
        return self

    def init(
        self,
        terms: PyTree,
        t0: Any,
        t1: Any,
        y0: PyTree,
        dt0: Any,
        args: Any,
        func: Callable,
        error_order: Any,
    ) -> tuple[Any, tuple]:
        """The first step is that of `PIDController`; there is no last step or error yet."""
        pid = dfx.PIDController(self.rtol, self.atol, norm=self.norm)
        first, _ = pid.init(terms, t0, t1, y0, dt0, args, func, error_order)
        step = jnp.asarray(first - t0)
        none = jnp.asarray(False)
        return first, (jnp.ones_like(step), jnp.ones_like(step), none, none)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree,
        y1_candidate: PyTree,
        args: Any,
        y_error: PyTree,
        error_order: Any,
        controller_state: tuple,
    ) -> tuple:
        last_h, last_r, is_later, was_rejected = controller_state
        h: Any = jnp.asarray(t1 - t0)

        def scaled(before: Array, after: Array, error: Array) -> Array:
            size = jnp.maximum(jnp.abs(before), jnp.abs(jnp.where(jnp.isnan(after), 0, after)))
            units = jnp.asarray(self.atol, size.dtype) + jnp.asarray(self.rtol, size.dtype) * size
            return jnp.abs(error) / units

        size = jnp.asarray(self.norm(jax.tree.map(scaled, y0, y1_candidate, y_error)), h.dtype)
        # a step that overflows has no error: it was far too long
        error = jax.lax.stop_gradient(jnp.where(jnp.isnan(size), jnp.inf, size))
        keep = error < 1
        # 1e-12 keeps r finite where the error is 0; `factormax` then bounds the step
        r = jnp.power(jnp.maximum(error, 1e-12), jnp.asarray(-1 / error_order, h.dtype))
        trend: Any = jnp.where(is_later, jnp.abs(h / last_h) * r / last_r, 1)
        most: Any = jnp.where(was_rejected, 1, self.factormax)  # no growth just after a rejection
        factor = jnp.where(keep, jnp.minimum(r * jnp.minimum(trend, 1), most / self.safety), r)
        factor = jnp.clip(self.safety * factor, self.factormin, jnp.where(keep, most, self.safety))
        next_t0 = jnp.where(keep, t1, t0)
        state = (
            jnp.where(keep, h, last_h),
            jnp.where(keep, r, last_r),
            is_later | keep,
            ~keep,
        )
        next_t1 = next_t0 + jax.lax.stop_gradient(h * factor)
        return keep, next_t0, next_t1, False, state, dfx.RESULTS.successful
