"""A sheet: a title, facts by name, and a table. It is written as text and as HTML."""

import html
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jepa_sim.numerics.display.numbers import number

WIDTH, LINES = 100, 20  # of the text
FACT_LINES = 3  # that one fact may take
HTML_ROWS = 30
LEFT, RIGHT = (f"text-align: {side}; padding: 0 0.5em;" for side in ("left", "right"))


class Sheet(NamedTuple):
    """What an object shows of itself.

    facts: by name; empty ones are left out.  columns: cells by heading, all columns of one length;
    numbers are right aligned, strings left. Only the last column may have long strings.
    """

    title: str
    facts: Mapping[str, str] = {}
    columns: Mapping[str, Sequence[Any]] = {}

    def text(self) -> str:
        """At most 20 lines of at most 100 columns; "…" stands for rows that are left out."""
        facts = {name: fact for name, fact in self.facts.items() if fact}
        names = max(map(len, facts), default=0)
        lines = textwrap.wrap(self.title, WIDTH)
        for name, fact in facts.items():
            lines += _wrapped(f"  {name:<{names}}  ", fact)
        if self.columns:
            lines += self._table(LINES - len(lines))
        return "\n".join(lines)

    def _table(self, room: int) -> list[str]:
        table = [[heading, *map(_cell, cells)] for heading, cells in self.columns.items()]
        widths = [max(map(len, column)) for column in table]
        signs = [">" if _is_numeric(cells) else "<" for cells in self.columns.values()]
        rows = []
        for row in zip(*table, strict=True):
            cells = zip(row[:-1], widths[:-1], signs[:-1], strict=True)
            first = "".join(f"  {cell:{sign}{width}}" for cell, width, sign in cells)
            last = f"{row[-1]:>{widths[-1]}}" if signs[-1] == ">" else row[-1]
            rows.append(_wrapped(f"{first}  ", last))
        if sum(map(len, rows)) <= room:
            return list(itertools.chain(*rows))
        lines, shown = rows[0], 0
        while len(lines) + len(rows[shown + 1]) < room:
            shown += 1
            lines = lines + rows[shown]
        return [*lines, f"  … and {len(rows) - 1 - shown:,} more"]

    def html(self) -> str:
        """A table of facts and one of numbers, with neither script nor style sheet, all escaped."""
        facts = [_html_row([("th", LEFT, self.title)], span=2)]
        for name, fact in self.facts.items():
            if fact:
                facts.append(_html_row([("th", LEFT, name), ("td", LEFT, fact)]))
        styles = [RIGHT if _is_numeric(cells) else LEFT for cells in self.columns.values()]
        heads = [("th", style, name) for style, name in zip(styles, self.columns, strict=True)]
        rows = [_html_row(heads)]
        table = list(zip(*self.columns.values(), strict=True))
        for row in table[:HTML_ROWS]:
            cells = zip(styles, map(_cell, row), strict=True)
            rows.append(_html_row([("td", *cell) for cell in cells]))
        if len(table) > HTML_ROWS:
            left = f"… and {len(table) - HTML_ROWS:,} more"
            rows.append(_html_row([("td", LEFT, left)], span=len(heads)))
        parts = [facts, rows] if self.columns else [facts]
        tables = (f"<table>{''.join(part)}</table>" for part in parts)
        return f"<div>{''.join(tables)}</div>"


def _wrapped(first: str, text: str) -> list[str]:
    """Lines of `text` after `first`, the later ones indented."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        max_lines=FACT_LINES,
        placeholder=" …",
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]


def _html_row(cells: Sequence[tuple[str, str, str]], span: int = 1) -> str:
    """Cells given by tag, style and text, each over so many columns."""
    wide = f' colspan="{span}"' if span > 1 else ""
    inside = (f'<{t}{wide} style="{style}">{html.escape(s)}</{t}>' for t, style, s in cells)
    return f"<tr>{''.join(inside)}</tr>"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else number(value)


def _is_numeric(cells: Sequence[Any]) -> bool:
    return not any(isinstance(cell, str) for cell in cells)


def column(values: Any) -> list[Any]:
    """An array as cells."""
    return list(np.asarray(values))
