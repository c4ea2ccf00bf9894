"""The matrix flow: all factors, any moments, by diffrax."""

import dataclasses
from typing import Any

import jax
from jaxtyping import Array, Float

from jepa_sim.arguments.types import OptionalKey, Times
from jepa_sim.model.dynamics import settle, velocity
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Weights
from jepa_sim.solvers.adaptive import AbstractAdaptive
from jepa_sim.solvers.base import Observe, Solution


class GradientFlow(AbstractAdaptive):
    """Ż of every factor, integrated by a diffrax solver with adaptive steps.

    solver: any diffrax ODE solver. None takes ROCK4, a stabilised explicit method, where the closed
    form predicts that the run lasts more than 1000 relaxation times of its fastest feature, and
    Tsit5 otherwise. Under a transformation of JAX, such as `jit`, nothing can be predicted, and
    None takes Tsit5.  rtol: relative tolerance per step; None takes 1e-8 in float64 and 1e-5 in
    float32.  atol: absolute tolerance; None takes rtol times the smallest root-mean-square singular
    value of the starting factors, since an atol that does not follow the scale ε of the start gives
    wrong times.  max_steps: a run that needs more has the result code `out_of_steps`.
    adjoint: how diffrax differentiates. The default is for reverse mode (`jax.grad`), and
    `diffrax.ForwardMode()` for forward mode (`jax.jvp`, `jax.jacfwd`).

    >>> moments = js.Moments.from_features(lam=[1.0, 1.0], rho=[0.9, 0.3])
    >>> problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth=2), js.Balanced(scale=1e-1))
    >>> js.simulate(problem, [10.0, 1000.0], js.GradientFlow()).features.round(3)
    Array([[0.175, 0.097],
           [0.81 , 0.09 ]], dtype=float64)

    Raises ValueError where a tolerance or `max_steps` is not positive; in `simulate` and `sweep`
    where the problem's parts do not fit together.
    """

    def prepare(self, problem: Problem) -> Problem:
        problem.check()
        return problem

    def solve_from(
        self, start: Weights, problem: Problem, times: Times, observe: Observe, key: OptionalKey
    ) -> Solution:
        def move(t: Any, weights: Weights, args: Any) -> Weights:
            return velocity(problem, weights)

        def observe_both(t: Float[Array, ""], weights: Weights) -> dict:
            def gains(weights: Weights) -> Float[Array, " d"]:
                return weights.gains(problem.features)

            _, rates = jax.jvp(gains, (weights,), (velocity(problem, weights),))
            return {"values": observe(t, settle(problem, weights)), "rates": rates}

        solution = self.run(move, start, times, observe_both)
        # its values are {"values": …, "rates": …}, as saved above: the two fields of these names
        return dataclasses.replace(solution, **solution.values)
