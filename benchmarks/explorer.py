"""How long the explorer takes to redraw its figure while a slider moves.

    python -m benchmarks.explorer

Every slider goes from one end to the other in a hundred steps. Each step solves, draws and encodes
the picture. The goal is 50 ms.
"""

import statistics
import time

import jax
import numpy as np

GOAL = 50.0  # milliseconds
STEPS = 100


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    from jepa_sim.explore import Live, Setting, knobs

    begin = time.perf_counter()
    live = Live(Setting())
    print(f"first picture, with compiling: {time.perf_counter() - begin:.1f} s")
    print(f"{'slider':<16}{'median':>9}{'95 %':>9}{'largest':>9}  ms; of steps within {GOAL:g} ms")
    every = []
    for knob in knobs(live.setting):
        spaced = np.geomspace if knob.in_decades else np.linspace
        taken = []
        for value in spaced(knob.low, knob.high, STEPS):
            begin = time.perf_counter()
            live.show(Setting().changed(knob, float(value)))
            taken.append(1e3 * (time.perf_counter() - begin))
        every += taken
        print(_row(knob.letter, taken))
    print(_row("all", every))


def _row(name: str, taken: list[float]) -> str:
    within = sum(t <= GOAL for t in taken) / len(taken)
    numbers = statistics.median(taken), float(np.quantile(taken, 0.95)), max(taken)
    return f"{name:<16}" + "".join(f"{number:9.1f}" for number in numbers) + f"  {within:.0%}"


if __name__ == "__main__":
    main()
