"""The results of benchmarks, as rows of one table, in Markdown and JSON.

A row is one quantity of jepa_sim, the same quantity of its peers in the same run, and the error of
each against the exact solution. A row with a goal says whether the goal was met.
"""

import dataclasses
import datetime
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from jepa_sim.sweeps.dataset import versions

FOLDER = Path("runs/bench")
NOT_INSTALLED = "not installed"
PEERS = ("scipy", "torch", "torchdiffeq")


@dataclasses.dataclass
class Row:
    """One measured quantity.

    ours: in `unit`.  peers: the same quantity by other ways, a number or why there is none.
    errors: by the same names, and "ours", against the exact solution.  ratio: ours to the first
    peer, or whatever the limit is on.  limit: what the ratio may be at most.  goal: in words; empty
    for a row that has none.  note: conditions, or what limits a goal that is not met.
    """

    name: str
    ours: float
    unit: str
    peers: dict[str, float | str] = dataclasses.field(default_factory=dict)
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    ratio: float | None = None
    limit: float | None = None
    goal: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the ratio is within the limit; None where there is no limit."""
        if self.ratio is None or self.limit is None:
            return None
        return bool(self.ratio <= self.limit)


def number(value: Any) -> str:
    """A number to three digits; words, which stand for a missing number, as they are."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "nan" if math.isnan(value) else f"{value:.3g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with columns of one width."""
    cells = [head, *rows]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    widths = [max(3, *(len(row[j]) for row in cells)) for j in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
             for row in cells]  # fmt: skip
    lines.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    return "\n".join(lines)


def markdown(rows: list[Row], facts: dict[str, Any]) -> str:
    """Goals first, then every row with its peers."""
    verdict = {True: "met", False: "not met", None: "not measured"}
    goals = [
        [r.goal, f"{number(r.ratio)} (limit {number(r.limit)})", verdict[r.met]]
        for r in rows
        if r.goal
    ]
    lines = [
        [
            r.name,
            f"{number(r.ours)} {r.unit}".strip(),
            number(r.errors.get("ours")),
            "; ".join(
                f"{name} {number(value)}"
                + (f" (error {number(r.errors[name])})" if name in r.errors else "")
                for name, value in r.peers.items()
            ),
            number(r.ratio),
            number(r.limit),
            r.note,
        ]
        for r in rows
    ]
    return "\n\n".join(
        [
            "# Benchmarks",
            "\n".join(f"- {name}: {value}" for name, value in facts.items()),
            "## Goals",
            table(["goal", "measured", "met"], goals),
            "## All rows",
            "Peers have ours' unit. Errors are against the exact solution.",
            table(["row", "ours", "error", "peers", "ratio", "limit", "note"], lines),
            "",
        ]
    )


def write(rows: list[Row], facts: dict[str, Any], stem: str = "table") -> str:
    """Write Markdown and JSON into `FOLDER`; returns the Markdown."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = markdown(rows, facts)
    (FOLDER / f"{stem}.md").write_text(text, encoding="utf-8")
    records = [dataclasses.asdict(r) | {"met": r.met} for r in rows]
    for record in records:  # JSON has no NaN
        record["ours"] = None if math.isnan(record["ours"]) else record["ours"]
    found = {"facts": facts, "rows": records}
    (FOLDER / f"{stem}.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    return text


def facts() -> dict[str, Any]:
    """The conditions of the measurements: machine, versions, precision, date."""
    import jax

    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load at the start": round(os.getloadavg()[0], 2),
        "device": jax.devices()[0].device_kind,
        "precision": "float64" if jax.config.jax_enable_x64 else "float32",
        "versions": ", ".join(f"{name} {found}" for name, found in versions(*PEERS).items()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "")


def slope(x: Any, y: Any) -> float:
    """The exponent p of y ~ x^p, by least squares in logarithms."""
    return float(np.polyfit(np.log(np.asarray(x, float)), np.log(np.asarray(y, float)), 1)[0])
