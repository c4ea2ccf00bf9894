"""A sheet: a title, facts by name, and a table. It is written as text and as HTML."""

import html
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jepa_sim.display.numbers import number

WIDTH, LINES = 100, 20  # of the text
FACT_LINES = 3  # that one fact may take
HTML_ROWS = 30
LEFT, RIGHT = "text-align: left", "text-align: right"


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
        """A table without any script or sheet of styles; all text is escaped."""
        span = max(len(self.columns), 2)
        rows = [f'<tr><th colspan="{span}" style="{LEFT}">{html.escape(self.title)}</th></tr>']
        for name, fact in self.facts.items():
            if fact:
                head = f'<th style="{LEFT}">{html.escape(name)}</th>'
                cell = f'<td colspan="{span - 1}" style="{LEFT}">{html.escape(fact)}</td>'
                rows.append(f"<tr>{head}{cell}</tr>")
        if self.columns:
            styles = [RIGHT if _is_numeric(cells) else LEFT for cells in self.columns.values()]
            rows.append(_html_row("th", self.columns, styles))
            cells = zip(*self.columns.values(), strict=True)
            body = [_html_row("td", map(_cell, row), styles) for row in cells]
            rows += body[:HTML_ROWS]
            if len(body) > HTML_ROWS:
                left = f"… and {len(body) - HTML_ROWS:,} more"
                rows.append(f'<tr><td colspan="{span}" style="{LEFT}">{left}</td></tr>')
        return f"<table>{''.join(rows)}</table>"


def _wrapped(first: str, text: str) -> list[str]:
    """Lines of `text` after `first`, the later ones indented."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        max_lines=FACT_LINES,
        placeholder=" …",
        drop_whitespace=True,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]


def _html_row(tag: str, cells: Any, styles: Sequence[str]) -> str:
    parts = zip(cells, styles, strict=True)
    inside = (f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell, style in parts)
    return f"<tr>{''.join(inside)}</tr>"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else number(value)


def _is_numeric(cells: Sequence[Any]) -> bool:
    return not any(isinstance(cell, str) for cell in cells)


def column(values: Any) -> list[Any]:
    """An array as cells."""
    return list(np.asarray(values))
