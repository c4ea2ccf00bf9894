"""The page in the browser: sliders over the closed form, or a stored sweep."""

import base64
import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import xarray as xr

from jepa_sim.explore import _stored
from jepa_sim.explore._live import Live, saved, words_at
from jepa_sim.explore._setting import Knob, Setting, knobs

LOOPBACK = "127.0.0.1"
SUFFIXES = ("svg", "pdf", "png")


class Run(NamedTuple):
    """A stored sweep: its name, how to open it, and which errors say that it cannot be."""

    name: str
    open: Callable[[], tuple[xr.Dataset, str | None]]  # the dataset, and the TOML that made it
    errors: tuple[type[Exception], ...]


def serve(setting: Setting, run: Run | None, *, port: int, show: bool) -> None:
    """Serve the page on the loopback address until interrupted.

    run: a stored sweep; None: the closed form from `setting`.  port: 0 takes a free one.
    show: whether to open a browser.

    Raises ImportError where the extra `jepa_sim[explore]` is missing, OSError where the port is
    taken.
    """
    try:
        from nicegui import app, ui
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        raise ImportError(f"The page needs the extra `jepa_sim[explore]`: {error}.") from None
    if run is None:
        print("Compiling the closed form (the first time takes some seconds) …", flush=True)
        Live(setting)
    # another site's page must not reach this one by a name that it has for this address
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
    port = _free(port)
    page = _live_page if run is None else partial(_stored_page, run)
    print(f"http://{LOOPBACK}:{port}/ (Ctrl-C stops it)", flush=True)
    ui.run(
        partial(page, ui, setting) if run is None else partial(page, ui),
        host=LOOPBACK,
        port=port,
        title="jepa_sim",
        show=show,
        reload=False,
        show_welcome_message=False,
    )


def _free(port: int) -> int:
    """The port, or a free one for 0. OSError where it is taken."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((LOOPBACK, port))
        except OSError as error:
            raise OSError(f"Port {port} cannot be had: {error.strerror}.") from None
        return taken.getsockname()[1]


def _live_page(ui: Any, setting: Setting) -> None:
    live = Live(setting)

    def moved(knob: Knob, value: float) -> None:
        live.show(live.setting.changed(knob, value))
        picture.set_source(_source(live.png))
        readings[knob].set_text(_reading(knob, live.setting))
        table.rows = _rows(live)

    _head(ui, "closed form of one setting")
    readings: dict[Knob, Any] = {}
    with ui.grid(columns=2).classes("w-full max-w-6xl gap-x-12 gap-y-0"):
        for knob in knobs(setting):
            with ui.row(wrap=False).classes("w-full items-center"):
                reading = ui.label(_reading(knob, setting)).classes("w-52 shrink-0 text-sm")
                reading.tooltip(knob.about)
                readings[knob] = reading
                _slider(ui, knob, live.setting.value(knob), partial(moved, knob))
    picture = _picture(ui, live.png, "w-full max-w-6xl", live.words)
    table = ui.table(rows=_rows(live), columns=COLUMNS).props("dense flat").classes("table")
    with ui.row():
        for suffix in SUFFIXES:
            _button(ui, suffix, partial(live.saved, suffix), f"jepa_sim.{suffix}")
        _button(ui, "toml", lambda: live.setting.toml.encode(), "jepa_sim.toml")


COLUMNS = [
    {"name": name, "field": name, "label": label, "align": "right"}
    for name, label in (
        ("feature", "feature"),
        ("lam", "λ"),
        ("rho", "ρ"),
        ("jepa", "JEPA: learned at t*"),
        ("jepa_plateau", "JEPA: plateau"),
        ("mae", "MAE: learned at t*"),
        ("mae_plateau", "MAE: plateau"),
    )
]


def _rows(live: Live) -> list[dict[str, str]]:
    """The numbers behind the picture."""
    found, rows = live.found, []
    for i in range(found.sizes["feature"]):
        one = found.isel(feature=i)
        row = {"feature": str(i), "lam": f"{float(one.lam):.3g}", "rho": f"{float(one.rho):.3g}"}
        for objective in map(str, found.objective.values):
            here = one.sel(objective=objective)
            row[objective] = f"{float(here.critical_time):.6g}"
            row[f"{objective}_plateau"] = f"{float(here.plateau):.6g}"
        rows.append(row)
    return rows


def _slider(ui: Any, knob: Knob, value: float, moved: Callable[[float], None]) -> None:
    if knob.in_decades:
        low, high = knob.decades
        slider = ui.slider(min=low, max=high, step=knob.step, value=math.log10(value))
        slider.on_value_change(lambda event: moved(10.0**event.value))
    else:
        slider = ui.slider(min=knob.low, max=knob.high, step=knob.step, value=value)
        slider.on_value_change(lambda event: moved(float(event.value)))
    slider.props(f'aria-label="{knob.letter}"').classes("grow")


def _reading(knob: Knob, setting: Setting) -> str:
    return f"{knob.letter} = {setting.value(knob):.3g}"


def _stored_page(run: Run, ui: Any) -> None:
    """Opened anew for every visit: a run that goes on is seen as far as it is."""
    _head(ui, run.name)
    try:
        found, toml = run.open()
        summary = _stored.failures(found)
    except run.errors as error:
        with ui.card().classes("bg-red-100"):
            ui.label("This run cannot be shown.").classes("text-lg")
            ui.label(str(error)).classes("font-mono")
        return
    ui.label(summary).classes("text-sm text-gray-600")
    _Browser(ui, run, found, toml)


class _Browser:
    """Chooses a view and a value of every other axis, and shows the picture."""

    def __init__(self, ui: Any, run: Run, found: xr.Dataset, toml: str | None):
        self.ui, self.run, self.found = ui, run, found
        self.numbers = _stored.numbers(found)
        views = [name for name, view in _stored.VIEWS.items() if view.fits(found)]
        phase = ["phase diagram"] if self.numbers else []
        self.view, self.number = views[0], next(iter(self.numbers), "")
        self.across: list[str] = []
        self.at: dict[str, int] = {}
        self.figure: Any = _stored.empty()
        with ui.row(wrap=False).classes("w-full"):
            with ui.column().classes("w-72 shrink-0 gap-1"):
                self._select("picture", [*views, *phase], self.view, self._choose_view)
                self.controls = ui.column().classes("w-full gap-1")
            with ui.column():
                self.fault = ui.label().classes("font-mono text-red-800")
                self.picture = _picture(ui, b"", "w-[42rem]", self._words)
                with ui.row():
                    for suffix in SUFFIXES:
                        _button(ui, suffix, partial(self._saved, suffix), f"jepa_sim.{suffix}")
                    if toml is not None:
                        _button(ui, "toml", toml.encode, "jepa_sim.toml")
        self._show()

    def _choose_view(self, view: str) -> None:
        self.view = view
        if view == "phase diagram" and not self.across:
            self._choose_number(self.number)
        else:
            self._show()

    def _choose_number(self, number: str) -> None:
        self.number = number
        axes = _stored.axes_of(self.found, number)
        if not set(self.across) <= set(axes) or not self.across:
            self.across = axes[:2]
        self._show()

    def _choose_axis(self, place: int, axis: str) -> None:
        """One of the two axes; where it was the other one, they change places."""
        if axis == self.across[1 - place]:
            self.across.reverse()
        self.across[place] = axis
        self._show()

    def _choose_value(self, axis: str, number: int) -> None:
        self.at[axis] = number
        self._draw()

    def _current(self) -> _stored.View:
        if self.view == "phase diagram":
            return _stored.phase_diagram(self.number, *self.across)
        return _stored.VIEWS[self.view]

    def _show(self) -> None:
        """The controls of this view, and its picture."""
        self.controls.clear()
        with self.controls:
            if self.view == "phase diagram":
                axes = _stored.axes_of(self.found, self.number)
                self._select("number", self.numbers, self.number, self._choose_number)
                for place, side in enumerate(("upwards", "to the right")):
                    choose = partial(self._choose_axis, place)
                    self._select(side, axes, self.across[place], choose)
            for axis in self._current().axes(self.found):
                values = dict(enumerate(_stored.named(self.found, axis)))
                choose = partial(self._choose_value, axis)
                self._select(axis.replace("_", " "), values, self.at.get(axis, 0), choose)
        self._draw()

    def _draw(self) -> None:
        try:
            self.figure = self._current().picture(self.found, self.at)
            self.fault.set_text("")
        except self.run.errors as error:
            self.figure = _stored.empty()
            self.fault.set_text(f"This cannot be shown. {error}")
        self.picture.set_source(_source(saved(self.figure, "png", _stored.DPI)))

    def _words(self, x: float, y: float) -> str:
        return words_at(self.figure, x, y)

    def _saved(self, suffix: str) -> bytes:
        return saved(self.figure, suffix)

    def _select(
        self, label: str, options: Any, value: str | int, choose: Callable[[Any], None]
    ) -> None:
        select = self.ui.select(options, value=value, label=label, with_input=len(options) > 20)
        select.on_value_change(lambda event: choose(event.value)).classes("w-full")


def _head(ui: Any, about: str) -> None:
    with ui.row().classes("items-baseline"):
        ui.label("jepa_sim").classes("text-xl font-bold")
        ui.label(about).classes("text-gray-600")


def _picture(ui: Any, png: bytes, width: str, words: Callable[[float, float], str]) -> Any:
    """A picture of a CSS width, and below it what is drawn under the mouse."""

    def over(event: Any) -> None:
        reading.set_text(words(event.image_x, event.image_y) or " ")

    def left() -> None:
        reading.set_text(" ")

    picture = ui.interactive_image(
        _source(png), on_mouse=over, events=["mousemove"], cross="#bbbbbb"
    ).classes(width)
    picture.on("mouseleave", left)  # the picture may change
    reading = ui.label(" ").classes("reading h-6 font-mono text-sm whitespace-pre")
    return picture


def _button(ui: Any, words: str, content: Callable[[], bytes], filename: str) -> None:
    button = ui.button(words, on_click=lambda: ui.download.content(content(), filename))
    button.props("outline dense no-caps").tooltip(f"download {filename}")


def _source(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
