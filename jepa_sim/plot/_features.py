"""Features themselves: their spectrum, and as images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from jepa_sim.arguments import checks
from jepa_sim.data.moments import Moments
from jepa_sim.plot._style import COLUMN, one_panel, panels, pyplot, rho_colours, style
from jepa_sim.results.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def spectrum(
    data: xr.Dataset | Trajectory | Moments, ax: "Axes | None" = None, *, bar: bool = True
) -> "Axes":
    """Covariance λ of every feature by rank, coloured by its ρ; grey: its variance σ² = λ/ρ.

    data: moments, or a run or dataset of one spectrum. Features with λ ≤ 0 are never learned, and
    have no place on the logarithmic axis.  bar: whether to draw the key beside the axes.

    Raises ValueError where `data` has several spectra.
    """
    if isinstance(data, Moments):
        found = data.features()
    else:
        found = data.problem.features if isinstance(data, Trajectory) else data
    lam, rho = (np.atleast_1d(np.asarray(x)) for x in (found.lam, found.rho))
    if lam.ndim == 2 and len(lam) == 1:
        lam, rho = lam[0], rho[0]
    if lam.ndim != 1:
        checks.fail("data", "be of one spectrum", f"of {lam.shape[0]}")
    order = np.argsort(-lam, kind="stable")
    lam, rho = lam[order], rho[order]
    rank, is_learned = np.arange(1, len(lam) + 1), lam > 0
    with style():
        ax = one_panel(ax)
        # ρ = 0 has λ = 0, which is not drawn
        ax.plot(rank[is_learned], (lam / np.where(rho == 0, 1, rho))[is_learned], "_", color="0.6")
        points = {"c": rho[is_learned], "cmap": rho_colours().cmap, "vmin": 0, "vmax": 1}
        drawn = ax.scatter(rank[is_learned], lam[is_learned], s=12, zorder=2, **points)
        ax.xaxis.set_major_locator(pyplot().matplotlib.ticker.MaxNLocator(integer=True))
        ax.set(yscale="log", xlabel="rank of the feature by λ", ylabel="λ (grey: variance σ²)")
        if bar:
            ax.figure.colorbar(drawn, ax=ax, aspect=30).set_label("ρ of the feature")

    def words(x: float, y: float) -> str:
        i = int(np.clip(round(x) - 1, 0, len(lam) - 1))
        return f"feature {order[i]}: λ = {lam[i]:.4g}, ρ = {rho[i]:.4g}"

    ax.format_coord = words
    return ax


def patches(
    images: "ArrayLike",
    ax: "Axes | None" = None,
    *,
    shape: tuple[int, int] | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 8,
) -> "Axes":
    """Images side by side, each in greys from −max|x| to max|x|: patterns of features have no sign.

    images: (n, rows, columns), or (n, pixels) with `shape` = (rows, columns), such as
    `features.patterns.T`.  titles: one above each.  columns: images in a row.

    Raises ValueError where the shapes do not fit.
    """
    found = np.asarray(images, dtype=float)
    if shape is not None and found.ndim == 2 and found.shape[1] == shape[0] * shape[1]:
        found = found.reshape(-1, *shape)
    if found.ndim != 3 or len(found) == 0:
        rule = "be (n, rows, columns), or (n, pixels) of `shape`"
        checks.fail("images", rule, np.shape(images))
    if titles is not None and len(titles) != len(found):
        checks.fail("titles", f"be of {len(found)} entries", f"of {len(titles)}")
    n, height, width = found.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    gap = 1
    above = gap if titles is None else max(2, round(0.35 * height))
    canvas = np.full((rows * (height + above), columns * (width + gap) - gap), np.nan)
    corners = [
        (above + k // columns * (height + above), k % columns * (width + gap)) for k in range(n)
    ]
    for image, (top, left) in zip(found, corners, strict=True):
        most = np.abs(image).max()
        canvas[top : top + height, left : left + width] = image / (most if most > 0 else 1)
    with style():
        if ax is None:
            inches = COLUMN * canvas.shape[0] / canvas.shape[1]
            ax = panels(1, 1, (COLUMN, inches + 0.1))[1][0]
        drawn = ax.imshow(canvas, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        drawn.set_mouseover(False)
        ax.set_axis_off()
        for title, (top, left) in zip(titles or [""] * n, corners, strict=True):
            ax.text(left + (width - 1) / 2, top - 0.7, title, ha="center", va="bottom", fontsize=6)

    def words(x: float, y: float) -> str:
        i, j = round(y), round(x)
        inside = 0 <= i < canvas.shape[0] and 0 <= j < canvas.shape[1]
        value = canvas[i, j] if inside else np.nan
        return "" if np.isnan(value) else f"{value:.3g} of the largest"

    ax.format_coord = words
    return ax
