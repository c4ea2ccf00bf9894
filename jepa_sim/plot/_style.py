"""What all figures share: sizes, letters, colours, and how they are saved."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jepa_sim.arguments.errors import check_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.4, 7.0  # inches: one column of a two-column page, and both
FLOW_TIME = "time t = kα (units of 1/λ)"
# Okabe & Ito's palette, told apart by colour-blind readers
OBJECTIVES = {
    "jepa": ("JEPA", "#0072B2", "o"),
    "mae": ("MAE", "#D55E00", "s"),
    "jepa_moving_average": ("JEPA, moving average", "#56B4E9", "P"),
    "jepa_no_stop_gradient": ("JEPA, no stop-gradient", "#000000", "X"),
    "barlow_twins": ("Barlow Twins", "#CC79A7", "p"),
    "whitened_joint": ("whitened joint embedding", "#E69F00", "h"),
}
OTHER = ("#009E73", "D")
STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
}


def panels(
    rows: int, columns: int, size: tuple[float, float], *, sharey: bool | str = False
) -> "tuple[Figure, list[Axes]]":
    """A new figure of `size` inches in the style of this module, and its axes row by row.

    rows, columns: of axes.  sharey: as for `matplotlib.pyplot.subplots`.
    """
    with style():
        drawn, axes = pyplot().subplots(rows, columns, figsize=size, sharey=sharey, squeeze=False)
    return drawn, list(axes.ravel())


def one_panel(ax: "Axes | None", height: float = 2.4) -> "Axes":
    """The axes that were given, or those of a new figure of the width of a column."""
    return panels(1, 1, (COLUMN, height))[1][0] if ax is None else ax


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Settings of matplotlib for figures as wide as a column, with letters that stay legible."""
    plt = pyplot()
    with plt.rc_context(STYLE):
        yield
        # a notebook's backend sets it with its first figure, and `rc_context` would take it back
        interactive = plt.isinteractive()
    plt.matplotlib.interactive(interactive)


SUFFIXES = (".pdf", ".png")


def save(drawn: "Figure", stem: Path | str) -> list[Path]:
    """Write the figure `drawn` to `stem`.pdf (vector) and `stem`.png, and close it.

    stem: a path; a suffix .pdf or .png is left out first. Returns both paths.
    """
    stem = Path(stem)
    # not `with_suffix` alone: of a name such as "decay_0.01" it would replace the digits
    whole = stem.with_suffix("") if stem.suffix in SUFFIXES else stem
    paths = [whole.with_name(whole.name + suffix) for suffix in SUFFIXES]
    for path in paths:
        drawn.savefig(path, dpi=200)
        drawn.set_layout_engine("none")  # else the second file would be laid out again
    pyplot().close(drawn)
    return paths


def look(objective: str) -> tuple[str, str, str]:
    """(name, colour, marker) of an objective."""
    return OBJECTIVES.get(objective, (objective, *OTHER))


def rho_colours() -> "ScalarMappable":
    """cividis without its palest yellow, which is lost on white."""
    plt = pyplot()
    map_ = plt.matplotlib.colors.ListedColormap(plt.get_cmap("cividis")(np.linspace(0, 0.88, 256)))
    return plt.cm.ScalarMappable(plt.Normalize(0, 1), map_)


def pyplot() -> Any:
    check_extra("plot", "A figure", "matplotlib")
    import matplotlib.pyplot

    return matplotlib.pyplot
