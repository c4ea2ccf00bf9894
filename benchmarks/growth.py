"""How time grows: log-log figures of time against each size of a problem, with fitted slopes.

A slope is the exponent p of seconds ~ size^p, fitted to the larger half of the sizes, where fixed
costs are small.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import jepa_sim as js
from benchmarks import peers
from benchmarks.flows import random_flows
from benchmarks.report import slope

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers differ too.
STYLES = [("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]

Curve = tuple[list[float], list[float]]  # sizes, seconds


def seconds(function, rounds: int = 2) -> float:
    """Fewest seconds of a call, without compiling."""
    jax.block_until_ready(function())
    fewest = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        fewest = min(fewest, time.perf_counter() - begin)
    return fewest


def closed_form(count: int, scale: float = 1e-2, depth: float = 3.0):
    """() → gains of `count` trajectories of 16 features at 100 times."""

    def one(lam, rho, scale, depth):
        moments = js.Moments.from_features(lam, rho)
        problem = js.Problem(moments, js.JEPA(), js.DeepLinear(depth), js.Balanced(scale))
        times = js.CriticalGrid(100).times(problem)
        observables = (js.observables.features,)
        return js.simulate(problem, times, js.ClosedForm(), observables=observables).features

    lam_key, rho_key = jr.split(jr.key(0))
    lam = jr.uniform(lam_key, (count, 16), minval=0.1, maxval=1.0)
    rho = jr.uniform(rho_key, (count, 16), minval=0.2, maxval=0.95)
    return lambda: _closed_form(one, lam, rho, jnp.asarray(scale), jnp.asarray(depth))


def _closed_form(one, *arguments):
    key = arguments[0].shape
    if key not in _PROGRAMS:
        _PROGRAMS[key] = jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)))
    return _PROGRAMS[key](*arguments)


_PROGRAMS: dict = {}


def matrix_flow(lanes: int = 16, d: int = 8, scale: float = 0.1, depth: int = 2, solver=None):
    """() → gains of matrix flows to the end, rtol = 1e-6."""
    solve = peers.ours(random_flows(lanes, d, scale, depth), solver)
    return lambda: solve(1e-6)[0]


def measure() -> dict[str, dict[str, Curve]]:
    """Curves, by the size that grows and by the name of the solver."""

    def curve(sizes, run) -> Curve:
        return [float(s) for s in sizes], [seconds(run(s)) for s in sizes]

    stabilised = peers.stabilised().items()
    scales = (1e-1, 3e-2, 1e-2)
    return {
        "trajectories": {
            "closed form, 16 features": curve((16, 256, 1024), closed_form),
            "matrix flow, d = 8": curve((4, 32, 256), lambda n: matrix_flow(lanes=n)),
        },
        "dimension d": {
            "matrix flow, 4 lanes": curve((8, 24, 64), lambda d: matrix_flow(lanes=4, d=d)),
        },
        "depth L": {
            "closed form": curve((1, 2, 3, 5, 8), lambda n: closed_form(256, depth=float(n))),
            "matrix flow, ε = 0.1": curve((1, 2, 4), lambda n: matrix_flow(4, 4, depth=n)),
        },
        "1/ε": {
            "closed form, L = 3": _inverse(
                curve((1e-1, 1e-3, 1e-6, 1e-9, 1e-12), lambda e: closed_form(256, scale=e))
            ),
            "matrix flow, L = 2, Tsit5": _inverse(
                curve(scales, lambda e: matrix_flow(4, 4, scale=e))
            ),
            **{
                f"matrix flow, L = 2, {name}": _inverse(
                    curve(scales, lambda e, solver=solver: matrix_flow(4, 4, e, 2, solver))
                )
                for name, solver in stabilised
            },
        },
    }


def _inverse(curve: Curve) -> Curve:
    sizes, found = curve
    return [1 / size for size in sizes], found


def exponent(curve: Curve) -> float:
    """The slope of the larger half of a curve."""
    half = len(curve[0]) // 2
    return slope(*(np.asarray(values)[half - (half == len(curve[0]) - 1) :] for values in curve))


def draw(curves: dict[str, dict[str, Curve]], path: Path) -> None:
    """One panel for each size that grows."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(3.6 * len(curves), 3.6), sharey=True)
    for ax, (size, of_size) in zip(axes, curves.items(), strict=True):
        for (color, marker), (name, curve) in zip(STYLES, of_size.items(), strict=False):
            label = f"{name}: slope {exponent(curve):.2f}"
            ax.plot(*curve, color=color, marker=marker, markersize=5, label=label)
        ax.set(xscale="log", yscale="log", xlabel=size)
        ticks = sorted({s for sizes, _ in of_size.values() for s in sizes})
        if max(ticks) / min(ticks) < 100:
            ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
            ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)
    axes[0].set_ylabel("seconds, compiled")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
