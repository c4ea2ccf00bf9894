"""Time against trajectories, d, L and 1/ε: a figure, and a row for each slope."""

from benchmarks import growth
from benchmarks.report import FOLDER, Row


def test_growth(benchmark, record):
    curves = benchmark.pedantic(growth.measure, rounds=1)
    growth.draw(curves, FOLDER / "growth.png")
    for size, of_size in curves.items():
        for name, curve in of_size.items():
            record(
                Row(
                    f"growth with {size}: {name}",
                    growth.exponent(curve),
                    "slope",
                    {f"{s:g}": 1e3 * t for s, t in zip(*curve, strict=True)},
                    note="peers are sizes, and milliseconds",
                )
            )
