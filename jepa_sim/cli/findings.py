"""What the demonstration asks and finds: sentences with numbers first, then tables."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from rich import box
from rich.table import Column, Table

from jepa_sim import plot
from jepa_sim.cli import eviction

LEADING = 16  # features of largest λ: the flow runs until the reduced theory has learned them
WIDTH = 96  # of a line of text

QUESTION = """\
[bold]What is asked[/]
Two views of each patch of a photograph differ in light and in sensor noise. So light is a noisy
feature of the patch: it varies a lot, but one view says little about the light of the other.
A JEPA predicts the representation of the second view from the first. An MAE predicts the second
view itself. Which features does each of them learn first, and which does it keep?

Every feature has two numbers: λ, its covariance between the two views, and ρ, which is λ over its
variance. A noisy feature has a small ρ. The encoder has L linear layers, and learns from gains of
size ε. The gain of a feature is how strongly the encoder passes it on.
"""


def leading(ds: xr.Dataset) -> xr.DataArray:
    """Which features are among the `LEADING` of largest λ."""
    return (-ds.lam).argsort(axis=-1).argsort(axis=-1) < LEADING


def found(shown: xr.Dataset, theory: xr.Dataset, flow: xr.Dataset, run: eviction.Run) -> list[str]:
    """All findings, a few sentences each.  shown: of one scale and one kind of light."""
    if not (shown.light > 0.5).any():
        return ["No feature of these photographs is more than half light.", *_trust(theory, flow)]
    return [*_data(shown), *_depth(shown), *_eviction(run), *_trust(theory, flow)]


def numbered(sentences: Sequence[str]) -> str:
    """The findings, one below the other, under a heading."""
    lines = ["\n[bold]What was found[/]"]
    for number, words in enumerate(sentences, 1):
        lines += textwrap.wrap(words, WIDTH, initial_indent=f"{number}. ", subsequent_indent="   ")
    return "\n".join(lines)


def _data(shown: xr.Dataset) -> Iterator[str]:
    noisy = shown.light.values > 0.5
    lam, rho = shown.lam.values, shown.rho.values
    yield (
        f"Of {len(noisy)} features {noisy.sum()} are mostly light. These have "
        f"λ = {_span(lam[noisy])} and ρ = {_span(rho[noisy])}. The features of the scene have "
        f"λ = {_span(lam[~noisy])} and ρ = {_span(rho[~noisy])}."
    )


def _depth(shown: xr.Dataset) -> Iterator[str]:
    """What the shallowest and the deepest encoder do with light, in closed form."""
    noisy = shown.light.values > 0.5
    start = f"from a start that is aligned with the features (ε = {float(shown.scale):g})"
    for name, depth in zip(("shallow", "deep"), shown.depth.values[[0, -1]], strict=True):
        said = [f"A {name} encoder (L = {depth}), {start}."]
        for objective in ("JEPA", "MAE"):
            run = shown.sel(depth=depth, objective=objective.lower())
            light, scene = (_short(np.median(run.plateau[chosen])) for chosen in (noisy, ~noisy))
            said.append(
                f"The {objective} learns light as number {_places(run, noisy)}. In the end, its "
                f"median gain is {light} for light and {scene} for the scene."
            )
        yield " ".join(said)
        start = "from the same start"
    jepa, mae = (f"{_delay(shown, name):.1f}" for name in ("jepa", "mae"))
    yield (
        "Both learn features of large λ sooner. Beside that, the noise delays light by a factor of "
        f"{jepa} in the deep JEPA, and of {mae} in the deep MAE."
    )


def _delay(shown: xr.Dataset, objective: str) -> float:
    """λt* of light over that of the cleanest feature, in the deepest encoder."""
    run = shown.isel(depth=-1).sel(critical_fraction=0.5, objective=objective)
    scaled, noisy = (run.critical_time * run.lam).values, run.light.values > 0.5
    return float(np.median(scaled[noisy]) / scaled[run.rho.values.argmax()])


def _eviction(run: eviction.Run) -> Iterator[str]:
    """What became of light from a random start, and of the order of all features."""
    lost = [each for each in run.lost if run.noisy[each.feature] and each.by is not None]
    first, last = run.first[run.noisy], run.last[run.noisy]
    features = f"the {len(run.noisy)} features of largest λ"
    start = f"From a random start (ε = {eviction.SCALE:g}, L = {eviction.DEPTH}, {features}), "
    if np.isfinite(first).any():
        end = (
            f"Light is learned for good by t = {last.max():.0f}."
            if np.isfinite(last).all()
            else "In this run light is not learned for good."
        )
        yield (
            f"{start}the JEPA learns light from t = {first.min():.0f} on. Then "
            f"{len({each.by for each in lost})} cleaner features evict light, {len(lost)} times in "
            "all. Each takes over the part of the network that carried light (eviction.png). "
            f"{end}"
        )
    rho = run.closed_form.rho
    aligned = run.closed_form.critical_time.sel(critical_fraction=0.5)
    yield (
        "How far does the order of learning follow ρ? Kendall's τ is 1 if a larger ρ always comes "
        f"first, and 0 if the order has nothing to do with ρ. It is {_tau(aligned, rho)} from the "
        f"aligned start. From the random start it is {_tau(run.first, rho)} for the times at which "
        f"features are first learned, and {_tau(run.last, rho)} for those from which on they stay "
        "learned."
    )


def _trust(theory: xr.Dataset, flow: xr.Dataset) -> Iterator[str]:
    times = abs(_errors(theory, flow)[0].isel(spectrum=0)).median("feature")
    said = [
        f"{_percent(times.sel(objective=name, depth=depth)).lstrip('+')} for the "
        f"{plot.OBJECTIVES[name][0]} with L = {depth}"
        for depth in flow.depth.values
        for name in flow.objective.values
    ]
    yield (
        "The times from the aligned start are those of a closed form. To check them, all matrices "
        f"were integrated (ε = {flow.attrs['scale']:g}). The median difference of the times is "
        f"{', '.join(said[:-1])} and {said[-1]}. A large difference is due to evictions: a "
        "cleaner feature that evicts light is learned earlier than in closed form."
    )


def _places(run: xr.Dataset, noisy: np.ndarray) -> str:
    """Such as 1, 2 and 3: where features of light stand in the order of learning."""
    when = run.critical_time.sel(critical_fraction=0.5).values
    places = [str(int((when < t).sum()) + 1) for t in np.sort(when[noisy])]
    return " and ".join(filter(None, [", ".join(places[:-1]), places[-1]]))


def tables(
    shown: xr.Dataset, theory: xr.Dataset, flow: xr.Dataset, level: float
) -> list[Table | str]:
    """All tables, and the remarks of the sweep.  level: the gain of `level_time`."""
    remarks = theory.attrs["remarks"].splitlines()
    return [_kinds(theory), _when_learned(shown, level), *remarks, *_how_far(theory, flow)]


def _kinds(theory: xr.Dataset) -> Table:
    """Light and the others, under each kind of light."""
    table = _table(
        "\nWhich features are noisy?",
        "Light: features with more than half of their variance due to light, once along the\n"
        "patches' own patterns and once uniform or a plane.  Commutator: 0 where the second\n"
        "moments Σxx and Σyx of the views commute, as the closed form supposes.",
        "",
        "commu-\ntator",
        "\nlight",
        "light:\nλ",
        "\nρ",
        "\nothers",
        "others:\nλ",
        "\nρ",
    )
    for i, kind in enumerate(("own patterns", "flat")):
        ds = theory.isel(spectrum=i)
        noisy = ds.light.values > 0.5
        cells = []
        for chosen in (noisy, ~noisy):
            cells += [str(chosen.sum()), _span(ds.lam.values[chosen]), _span(ds.rho.values[chosen])]
        table.add_row(str(kind), f"{float(ds.commutator):.3f}", *cells)
    return table


def _when_learned(shown: xr.Dataset, level: float) -> Table:
    """When each objective learns light and the other features, and in which order."""
    noisy, top = shown.light.values > 0.5, leading(shown).values
    table = _table(
        "\nWhen does each objective learn light, and when the others? "
        f"(ε = {float(shown.scale):g})",
        "Learned: half of a feature's own plateau.  Time t = kα, in units of 1/λ (patches of mean\n"
        "variance 1).  Order: places among all features.  Gains: w̄ in the end, medians.\n"
        f"At {level:g}: when light first has this gain.  "
        "τ: Kendall's, 1 where larger ρ (larger λ) comes\n"
        f"first, of all features and of the {LEADING} of largest λ.",
        "L",
        "",
        "light\nat t",
        "others\nfrom t",
        "order\nof light",
        "gains: light,\nothers",
        f"light\nat {level:g}",
        "τ(ρ)\nall/top",
        "τ(λ)\nall/top",
    )
    for depth in shown.depth.values:
        for objective in shown.objective.values:
            run = shown.sel(depth=depth, objective=objective)
            when = run.critical_time.sel(critical_fraction=0.5).values
            gain, at_level = run.plateau.values, run.level_time.values[noisy]
            table.add_row(
                str(depth),
                plot.OBJECTIVES[objective][0],
                _span(when[noisy]),
                _short(when[~noisy].min()),
                _places(run, noisy).replace(" and ", ", "),
                f"{_short(np.median(gain[noisy]))}, {_short(np.median(gain[~noisy]))}",
                _short(at_level.min()) if np.isfinite(at_level).any() else "never",
                f"{_tau(when, run.rho)}/{_tau(when[top], run.rho[top])}",
                f"{_tau(when, run.lam)}/{_tau(when[top], run.lam[top])}",
            )
        table.add_section()
    return table


def _errors(theory: xr.Dataset, flow: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Critical times and final gains of the flow over those of the reduced theory, less 1."""
    same = theory.sel(scale=flow.attrs["scale"], depth=flow.depth)
    when = flow.half_time.where(np.isfinite(flow.half_time))
    settled = same.critical_time.sel(critical_fraction=0.9) < flow.t.isel(time=-1) / 2
    gains = flow.features.isel(time=-1) / same.plateau - 1
    return when / same.critical_time.sel(critical_fraction=0.5) - 1, gains.where(settled)


def _how_far(theory: xr.Dataset, flow: xr.Dataset) -> list[Table]:
    """A table of `_errors` for each kind of light."""
    off, gain_off = _errors(theory, flow)
    noisy = theory.light > 0.5
    tables = []
    for spectrum, kind in enumerate(theory.kind.values):
        table = _table(
            f"\nHow far is the reduced theory from the flow? (light {kind}, "
            f"ε = {flow.attrs['scale']:g})",
            "Medians of flow / theory − 1.  Times: to half of the theory's plateau.  Gains: at\n"
            "the end of the run, of features that the theory has learned by half of it.",
            "L",
            "",
            "features\nlearned",
            "times:\n|all|",
            "\nothers",
            "\nlight",
            "gains:\n|all|",
            "\nothers",
            "\nlight",
        )
        is_noisy = noisy.sel(spectrum=spectrum)
        for depth in flow.depth.values:
            for objective in flow.objective.values:
                at = {"depth": depth, "objective": objective, "spectrum": spectrum}
                cells = []
                for ratio in (off.sel(at), gain_off.sel(at)):
                    cells.append(_percent(abs(ratio).median()).lstrip("+"))
                    cells += [_percent(ratio.where(c).median()) for c in (~is_noisy, is_noisy)]
                found = str(int(off.sel(at).notnull().sum()))
                table.add_row(str(depth), plot.OBJECTIVES[objective][0], found, *cells)
            table.add_section()
        tables.append(table)
    return tables


def _table(title: str, caption: str, *columns: str) -> Table:
    return Table(
        *(Column(name, no_wrap=True) for name in columns),
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
        padding=0,
    )


def _tau(when: np.ndarray | xr.DataArray, size: xr.DataArray) -> str:
    """Kendall's τ between early and large."""
    from scipy.stats import kendalltau

    return f"{kendalltau(-when, size)[0]:.2f}"


def _span(values: np.ndarray) -> str:
    if len(values) == 0:
        return "none"
    low, high = _short(np.min(values)), _short(np.max(values))
    return low if low == high else f"{low}–{high}"


def _short(value: float) -> str:
    """Two digits or three: 0.044, 13, 152, 1.6e4."""
    return f"{value:.0f}" if 99.5 <= value < 999.5 else f"{value:.2g}".replace("e+0", "e")


def _percent(value: xr.DataArray) -> str:
    return "–" if np.isnan(value) else f"{float(value):+.1%}"
