"""Explicit Runge–Kutta steps with their stages written out, one after the other.

diffrax loops over the stages and keeps them in one array. Every stage then reads the whole array,
with zeros for the stages to come, and a batch of matrix flows waits for memory, not for products.
Where stages are written out, each reads only what it needs. The numbers are the same.
"""

from typing import Any, ClassVar

import diffrax as dfx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jepa_sim.numerics.stabilised.trees import combine

METHODS = (dfx.Bosh3, dfx.Dopri5, dfx.Tsit5)  # whose last stage is the next step's first


def write_out(solver: dfx.AbstractSolver) -> dfx.AbstractSolver:
    """The same method, written out where it is one of `METHODS`."""
    return Unrolled(solver) if type(solver) in METHODS else solver


class Unrolled(dfx.AbstractAdaptiveSolver):
    """`method`, one of `METHODS`; its state is the right-hand side at the current point."""

    method: Any

    term_structure: ClassVar = dfx.ODETerm

    @property
    def interpolation_cls(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The method's own interpolation; stages are gathered only where a time is asked for."""
        gathered = self.method.interpolation_cls

        class Interpolation(dfx.AbstractLocalInterpolation):
            t0: Any
            t1: Any
            y0: PyTree
            y1: PyTree
            h: Any
            stages: list

            def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree:
                k = jax.tree.map(lambda *f: self.h * jnp.stack(f), *self.stages)
                whole = gathered(t0=self.t0, t1=self.t1, y0=self.y0, y1=self.y1, k=k)
                return whole.evaluate(t0, t1, left)

        return Interpolation

    @property
    def rhs(self) -> int:
        """Right-hand sides of a step."""
        return self.method.tableau.num_stages - 1

    def order(self, terms: Any) -> Any:
        return self.method.order(terms)

    def func(self, terms: dfx.AbstractTerm, t0: Any, y0: PyTree, args: Any) -> PyTree:
        return terms.vf(t0, y0, args)

    def init(self, terms: dfx.AbstractTerm, t0: Any, t1: Any, y0: PyTree, args: Any) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: dfx.AbstractTerm,
        t0: Any,
        t1: Any,
        y0: PyTree,
        args: Any,
        solver_state: PyTree,
        made_jump: Any,
    ) -> tuple[PyTree, PyTree, dict, PyTree, dfx.RESULTS]:
        f = solver_state
        if made_jump is not False:
            jumped = eqxi.unvmap_any(jnp.asarray(made_jump))
            f = jax.lax.cond(jumped, lambda: terms.vf(t0, y0, args), lambda: solver_state)
        h, tableau = jnp.asarray(terms.contr(t0, t1)), self.method.tableau

        def along(row: Any, stages: list) -> list:
            return [(h * float(a), f) for a, f in zip(row, stages, strict=True)]

        stages, y1 = [f], y0
        for row, c in zip(tableau.a_lower, tableau.c, strict=True):
            y1 = combine((1, y0), *along(row, stages))
            at = t1 if c == 1 else t0 + float(c) * h  # t1 as given, on its side of a jump
            stages.append(terms.vf(at, y1, args))
        error = combine(*along(tableau.b_error, stages))
        dense = {"y0": y0, "y1": y1, "h": h, "stages": stages}
        return y1, error, dense, stages[-1], dfx.RESULTS.successful
