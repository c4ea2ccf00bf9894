"""The diagonal network: every feature by itself, one scalar per layer, by diffrax.

A network of width one per feature is the matrix flow with 1 × 1 matrices. It has the same
objectives, rates, decays and teachers, but every feature has its own steps.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from jepa_sim.arguments import checks
from jepa_sim.arguments.types import OptionalKey, Times
from jepa_sim.data.moments import Moments
from jepa_sim.model.conditions import check_mixing
from jepa_sim.model.dynamics import settle, velocity
from jepa_sim.model.objectives import product
from jepa_sim.model.problem import Problem
from jepa_sim.model.state import Planes, Separate, Weights
from jepa_sim.solvers.adaptive import AbstractAdaptive
from jepa_sim.solvers.base import Observe, Solution


class LayerModes(AbstractAdaptive):
    """One scalar per layer and feature (and per teacher's copy), with adaptive steps per feature.

    It takes every objective, rate, decay and teacher that the matrix flow takes, any predictor that
    is learned or set feature by feature (`DirectPred` without boost), and any start that says how a
    single feature starts. A random start draws the scalars of each feature independently.
    It is exact for the matrix flow where moments commute and the start is aligned with features.

    Where features turn (`Features.angle`), each is a plane and each of its layers a matrix of two
    rows. The start must then be level, and the predictor learned.

    With actions it is exact where all Σyx^a and Σxx^a are diagonal in the features. Where an action
    turns a feature into others, by a share s, its gain ends at (1 − s²)^{L/2b} of what the matrix
    flow reaches. So s must be at most 0.1.

    solver, rtol, atol, adjoint: as for `GradientFlow`.  max_steps: per feature.

    Raises ValueError where a tolerance or `max_steps` is not positive; in `simulate` and `sweep`
    where features cannot be told apart: such starts, predictors and actions, and bottlenecks.
    """

    keeps_apart: ClassVar[bool] = True

    def prepare(self, problem: Problem) -> Problem:
        problem.check()
        problem.check_read("LayerModes")
        if not problem.start.is_separable:
            rule = "say how a single feature starts for `LayerModes`"
            checks.fail("start", rule, type(problem.start).__name__)
        if not problem.training.predictor.is_separable:
            rule = "set each feature by itself for `LayerModes`"
            checks.fail("training.predictor", rule, problem.training.predictor)
        if problem.is_narrow:
            rule = f"be at least d = {problem.features.lam.size} for `LayerModes`"
            checks.fail("network.width", rule, problem.network.width)
        problem.check_turn("LayerModes")
        check_mixing(problem, "LayerModes")
        if problem.moments.turns:
            if not problem.start.is_level:
                rule = "be level for `LayerModes` where features turn (see `GradientFlow`)"
                checks.fail("start", rule, type(problem.start).__name__)
            if not problem.training.predictor.is_learned:
                rule = "be `Learned()` for `LayerModes` where features turn (see `GradientFlow`)"
                checks.fail("training.predictor", rule, problem.training.predictor)
        return problem

    def begin(self, problem: Problem, key: OptionalKey) -> Weights:
        apart = problem.separate()
        problem.check_key(key)
        keys = None if key is None else jr.split(key, apart.moments.xx.shape[0])
        return jax.vmap(lambda m, key: _with(apart, m).weights(key))(apart.moments, keys)

    def solve_from(
        self, start: Weights, problem: Problem, times: Times, observe: Observe, key: OptionalKey
    ) -> Solution:
        apart, angle = problem.separate(), problem.features.angle

        def solve_feature(start: Weights, moments: Moments) -> Solution:
            alone = _with(apart, moments)

            def move(t: Any, weights: Weights, args: Any) -> Weights:
                return velocity(alone, weights)

            def save(t: Float[Array, ""], weights: Weights) -> dict:
                def gain(weights: Weights) -> Float[Array, ""]:
                    w = product(weights.encoder)
                    return jnp.abs(w[0, 0]) if angle is None else jnp.linalg.norm(w[:, 0])

                _, rate = jax.jvp(gain, (weights,), (velocity(alone, weights),))
                return {"weights": settle(alone, weights), "rate": rate}

            return self.run(move, start, times, save)

        solved = jax.vmap(solve_feature)(start, apart.moments)

        def observe_at(t: Float[Array, ""], networks: Weights) -> dict:
            return observe(t, Separate(networks) if angle is None else Planes(networks, angle))

        # saved weights have the axes (feature, time): observables see all features at one time
        values = jax.vmap(observe_at, in_axes=(0, 1))(times, solved.values["weights"])
        stats = {name: jnp.sum(count) for name, count in solved.stats.items()}
        rates = solved.values["rate"].T
        worst = jnp.max(solved.result)  # success is the smallest code
        return Solution(times, values, worst, stats, rates, solved.atol)


def _with(problem: Problem, moments: Moments) -> Problem:
    return dataclasses.replace(problem, moments=moments)
