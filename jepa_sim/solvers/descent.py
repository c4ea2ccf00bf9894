"""Steps of an optax optimiser, on the population loss or on minibatches."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import (
    ArrayLike,
    OptionalKey,
    ResultCode,
    Scalar,
    Times,
    as_float_array,
    is_concrete,
    to_numpy,
)
from jepa_sim.data.moments import Moments
from jepa_sim.model.dynamics import follow, settle, velocity
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights
from jepa_sim.solvers.base import (
    AbstractMatrixSolver,
    Observe,
    Solution,
    all_finite,
    blank_unless,
    finite_code,
)
from jepa_sim.solvers.minibatches import check_samples, gaussian, moments_of, resample


class Descent(AbstractMatrixSolver):
    """Steps of an optax optimiser; step k is at time t = kα.

    optimizer: a function from a learning rate to an optax transformation (`optax.sgd`,
    `optax.adam`, …), so that α ties steps to time in one place.  learning_rate: α; may be traced.
    batch_size: None for the population loss; else each step takes the gradient of a fresh
    minibatch.  samples: (x, y) of shapes (n, d) and (n, dy), centred as the problem's moments are,
    or (x, y, actions) where these have actions, (n,) whole numbers; minibatches are drawn from them
    with replacement. None draws minibatches from the Gaussian with the problem's moments (of one
    action at a time, which is drawn first).  max_steps: a run that needs more has the result code
    `out_of_steps`.

    The optimiser gets minus the whole velocity of a factor as its gradient, with rates and weight
    decay (L2, not decoupled). A moving-average teacher follows with the momentum m = 1 − α/τ,
    whatever the optimiser; a predictor set by a formula is set after every step.

    Saved times are the nearest multiples of α, which must differ. Where a sweep spaces times itself
    (`CriticalGrid`, `LogGrid`), times closer than α repeat a step. A run is not differentiable in
    reverse mode, because the number of steps follows the times.

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=1e-1))
    >>> sgd = js.Descent(optax.sgd, learning_rate=1e-2)
    >>> js.simulate(problem, [10.0, 1000.0], sgd).features.round(3)
    Array([[0.175, 0.097],
           [0.81 , 0.09 ]], dtype=float64)

    Raises ValueError where the learning rate or a count is not positive, `optimizer` is not a
    function, the samples do not fit the problem, or two times fall on one step.
    """

    optimizer: Callable[[Array], optax.GradientTransformation] = eqx.field(static=True)
    learning_rate: Float[Array, ""]
    batch_size: int | None = eqx.field(static=True, default=None)
    samples: tuple[Array, ...] | None = None
    max_steps: int = eqx.field(static=True, default=1_000_000)
    is_exact: ClassVar[bool] = False

    def __init__(
        self,
        optimizer: Callable[[Array], optax.GradientTransformation] | optax.GradientTransformation,
        learning_rate: Scalar,
        batch_size: int | None = None,
        samples: Sequence[ArrayLike] | None = None,
        max_steps: int = 1_000_000,
    ):
        if not callable(optimizer):
            rule = "be a function of the learning rate, such as optax.sgd"
            checks.fail("optimizer", rule, type(optimizer).__name__)
        checks.check_positive("learning_rate", learning_rate)
        checks.check_integer_from("max_steps", max_steps, 1)
        if batch_size is not None:
            checks.check_integer_from("batch_size", batch_size, 1)
        elif samples is not None:
            checks.fail("batch_size", "be given with `samples`", None)
        if samples is not None and len(samples) not in (2, 3):
            checks.fail("samples", "be (x, y) or (x, y, actions)", f"of {len(samples)} entries")
        rows = [len(np.asarray(array)) for array in samples or ()]
        for i, count in enumerate(rows):
            if count != rows[0]:
                rule = f"have as many rows as samples[0], {rows[0]}"
                checks.fail(f"samples[{i}]", rule, f"of {count}")
        self.optimizer, self.learning_rate = optimizer, as_float_array(learning_rate)
        self.batch_size, self.max_steps = batch_size, max_steps
        self.samples = None if samples is None else tuple(map(as_float_array, samples))

    @property
    def is_random(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether a run draws minibatches, for which it needs a key."""
        return self.batch_size is not None

    @property
    def label(self) -> str:
        return f"Descent({getattr(self.optimizer, '__name__', type(self.optimizer).__name__)})"

    def work(self, problem: Problem, times: Times) -> Float[Array, ""]:
        return times[-1] / jnp.asarray(self.learning_rate, times.dtype)

    def check_times(self, times: ArrayLike) -> None:
        checks.check_times(times)
        if not is_concrete(times, self.learning_rate):
            return
        rate, times = float(self.learning_rate), to_numpy(times)
        alike = np.flatnonzero(np.diff(np.round(times / rate)) == 0)
        if alike.size:
            i = int(alike[0])
            found = f"{times[i]:.6g} followed by {times[i + 1]:.6g}"
            checks.fail("times", f"fall on different steps of {rate:.6g} (step k is at kα)", found)

    def prepare(self, problem: Problem) -> Problem:
        problem.check()
        if self.samples is not None:
            check_samples(self.samples, problem.moments)
        time_constant = problem.objective.teacher.time_constant
        if time_constant is not None and is_concrete(time_constant, self.learning_rate):
            rule = f"be at most the teacher's time constant {float(time_constant):g}"
            if self.learning_rate > time_constant:
                checks.fail("learning_rate", rule, self.learning_rate)
        return problem

    def solve_from(
        self, start: Weights, problem: Problem, times: Times, observe: Observe, key: OptionalKey
    ) -> Solution:
        def trained(weights: Weights) -> Any:  # the optimiser does not move the teacher's copy
            return weights.encoder, weights.predictor

        rate = jnp.asarray(self.learning_rate, times.dtype)
        optimizer = self.optimizer(rate)
        batch = self._batches(problem.moments, key)

        def step(k: Int[Array, ""], state: tuple) -> tuple:
            weights, memory = state
            moments = problem.moments if batch is None else batch(k)
            drawn = eqx.tree_at(lambda p: p.moments, problem, moments)
            uphill = jax.tree.map(jnp.negative, trained(velocity(drawn, weights)))
            with jax.numpy_dtype_promotion("standard"):  # optax mixes types
                updates, memory = optimizer.update(uphill, memory, trained(weights))
            encoder, predictor = cast(Any, optax.apply_updates(trained(weights), updates))
            moved = Weights(encoder, predictor, weights.teacher)
            teacher = jax.tree.map(  # momentum m = 1 − α/τ; None maps to None
                lambda copy, speed: copy + rate * speed, moved.teacher, follow(problem, moved)
            )
            return settle(drawn, Weights(encoder, predictor, teacher)), memory

        def advance(carry: tuple, last: Int[Array, ""]) -> tuple:
            k, state = carry
            state = jax.lax.fori_loop(k, last, step, state)
            seen = settle(problem, state[0])
            values = observe(last.astype(rate.dtype) * rate, seen)
            return (last, state), (values, all_finite(seen))

        wanted = jnp.round(times / rate)
        steps = jnp.minimum(wanted, self.max_steps).astype(int)
        begin = (jnp.zeros((), steps.dtype), (start, optimizer.init(trained(start))))
        (total, _), (values, finite) = jax.lax.scan(advance, begin, steps)
        reached = wanted <= self.max_steps
        values = blank_unless(reached, values)
        code = jnp.where(reached.all(), ResultCode.success, ResultCode.out_of_steps)
        return Solution(wanted * rate, values, finite_code(finite, code), {"steps": total})

    def _batches(
        self, moments: Moments, key: OptionalKey
    ) -> Callable[[Int[Array, ""]], Moments] | None:
        """A function from a step to the second moments of its minibatch.

        The gradient depends on nothing else of the minibatch.
        """
        if self.batch_size is None or key is None:
            return None
        draw = gaussian(moments) if self.samples is None else resample(*self.samples)
        count = self.batch_size

        def batch(k: Int[Array, ""]) -> Moments:
            return moments_of(draw(jr.fold_in(key, k), count), moments)

        return batch
