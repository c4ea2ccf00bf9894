"""The page in the browser: sliders over the closed form, or a stored sweep.

Figures are drawn, read and saved in one thread, never on the event loop (`_latest`). A client may
send anything: numbers are clipped to their slider, and a choice that is not offered is ignored.
"""

import base64
import math
import secrets
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import xarray as xr

from jepa_sim.arguments.errors import check_extra
from jepa_sim.explore import _stored
from jepa_sim.explore._latest import Latest, in_thread
from jepa_sim.explore._live import Live, saved, words_at
from jepa_sim.explore._setting import Knob, Setting, is_number, knobs

LOOPBACK = "127.0.0.1"
SUFFIXES = ("svg", "pdf", "png")
PATIENCE = 60.0  # seconds that opening a stored sweep may take


class StoredRun(NamedTuple):
    """A stored sweep: its name, how to open it, and the errors that it raises if it cannot be."""

    name: str
    open: Callable[[], tuple[xr.Dataset, str | None]]  # the dataset, and the TOML that made it
    errors: tuple[type[Exception], ...]


def serve(setting: Setting, run: StoredRun | None, *, port: int, show: bool) -> None:
    """Serve the page on the loopback address until interrupted.

    run: a stored sweep; None: the closed form from `setting`.  port: 0 takes a free one.
    show: whether to open a browser. The address has a token, without which nothing is served.

    Raises ImportError where the extra `jepa_sim[explore]` is missing, OSError where the port is
    taken.
    """
    check_extra("explore", "The page", "nicegui", "starlette", "matplotlib")
    from nicegui import app, ui

    from jepa_sim.explore._guard import Guard

    if run is None:
        print("Compiling the closed form (the first time takes some seconds) …", flush=True)
        Live(setting)  # compiled before the first visit
    port, token = _free(port), secrets.token_urlsafe()
    app.add_middleware(Guard, port=port, token=token)

    @ui.page("/", response_timeout=PATIENCE)
    async def page() -> None:
        await (_live_page(ui, setting) if run is None else _stored_page(ui, run))

    path = f"/?token={token}"
    print(f"http://{LOOPBACK}:{port}{path} (Ctrl-C stops it)", flush=True)
    ui.run(
        host=LOOPBACK,
        port=port,
        title="jepa_sim",
        show=path if show else False,
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
            raise OSError(f"Port {port} cannot be used: {error.strerror}.") from None
        return taken.getsockname()[1]


async def _live_page(ui: Any, setting: Setting) -> None:
    live = await in_thread(Live, setting)

    def moved(knob: Knob, position: object) -> Any:
        nonlocal setting
        value = knob.value_at(position)
        if value is None:
            return None
        setting = setting.changed(knob, value)
        readings[knob].set_text(_reading(knob, setting))
        return pictures.ask(setting)

    def draw(setting: Setting) -> tuple[bytes, list[dict[str, str]], str]:
        return live.show(setting), _rows(live), live.remark

    def show(drawn: tuple[bytes, list[dict[str, str]], str]) -> None:
        png, table.rows, words = drawn
        remark.set_text(words)
        picture.set_source(_source(png))

    pictures = Latest(draw, show)
    _head(ui, "closed form of one setting")
    readings: dict[Knob, Any] = {}
    with ui.grid(columns=2).classes("w-full max-w-6xl gap-x-12 gap-y-0"):
        for knob in knobs(setting):
            with ui.row(wrap=False).classes("w-full items-center"):
                reading = ui.label(_reading(knob, setting)).classes("w-52 shrink-0 text-sm")
                reading.tooltip(knob.about)
                readings[knob] = reading
                _slider(ui, knob, setting.value(knob), partial(moved, knob))
    remark = ui.label(live.remark).classes("text-sm text-red-800")
    picture = _picture(ui, live.png, "w-full max-w-6xl", live.words)
    table = ui.table(rows=_rows(live), columns=COLUMNS).props("dense flat").classes("table")
    _downloads(ui, live.saved, lambda: live.setting.toml.encode())


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
    """The numbers of the picture, as rows of a table."""
    found, rows = live.found, []
    for i in range(found.sizes["feature"]):
        one = found.isel(feature=i)
        row = {"feature": str(i), "lam": f"{float(one.lam):.3g}", "rho": f"{float(one.rho):.3g}"}
        for objective in map(str, found.objective.values):
            here = one.sel(objective=objective)
            row[objective] = f"{float(here.critical_time):.4g}"
            row[f"{objective}_plateau"] = f"{float(here.plateau):.4g}"
        rows.append(row)
    return rows


def _slider(ui: Any, knob: Knob, value: float, moved: Callable[[object], Any]) -> None:
    low, high = knob.decades if knob.in_decades else (knob.low, knob.high)
    position = math.log10(value) if knob.in_decades else value
    slider = ui.slider(min=low, max=high, step=knob.step, value=position)
    slider.on_value_change(lambda event: moved(event.value))
    slider.props(f'aria-label="{knob.letter}"').classes("grow")


def _reading(knob: Knob, setting: Setting) -> str:
    return f"{knob.letter} = {setting.value(knob):.3g}"


async def _stored_page(ui: Any, run: StoredRun) -> None:
    """Open the run again for every visit, to show all blocks that are written by then."""
    _head(ui, run.name)

    def opened() -> tuple[xr.Dataset, str | None, str]:
        found, toml = run.open()
        return found, toml, _stored.failures(found)

    try:
        found, toml, summary = await in_thread(opened)
    except run.errors as error:
        with ui.card().classes("bg-red-100"):
            ui.label("This run cannot be shown.").classes("text-lg")
            ui.label(str(error)).classes("font-mono")
        return
    ui.label(summary).classes("text-sm text-gray-600")
    await _Browser(ui, run, found, toml).show()


class _Browser:
    """The controls of a stored sweep (a view, a value of every other axis) and its picture."""

    def __init__(self, ui: Any, run: StoredRun, found: xr.Dataset, toml: str | None):
        self.ui, self.run, self.found = ui, run, found
        self.numbers = _stored.numbers(found)
        views = [name for name, view in _stored.VIEWS.items() if view.fits(found)]
        phase = ["phase diagram"] if self.numbers else []
        self.view, self.number = views[0], next(iter(self.numbers), "")
        self.across: list[str] = []
        self.at: dict[str, int] = {}
        self.figure: Any = None  # none before the first is drawn
        with ui.row(wrap=False).classes("w-full"):
            with ui.column().classes("w-72 shrink-0 gap-1"):
                self._select("picture", [*views, *phase], self.view, self._choose_view)
                self.controls = ui.column().classes("w-full gap-1")
            with ui.column():
                self.fault = ui.label().classes("font-mono text-red-800")
                self.pictures = Latest(self._draw, self._put)
                self.picture = _picture(ui, b"", "w-[42rem]", self._words)
                _downloads(ui, self._saved, None if toml is None else toml.encode)

    def _choose_view(self, view: str) -> Awaitable[None]:
        self.view = view
        if view == "phase diagram" and not self.across:
            return self._choose_number(self.number)
        return self.show()

    def _choose_number(self, number: str) -> Awaitable[None]:
        self.number = number
        axes = _stored.axes_of(self.found, number)
        if not set(self.across) <= set(axes) or not self.across:
            self.across = axes[:2]
        return self.show()

    def _choose_axis(self, place: int, axis: str) -> Awaitable[None]:
        """Choose one of the two axes; where it is the other one, they change places."""
        if axis == self.across[1 - place]:
            self.across.reverse()
        self.across[place] = axis
        return self.show()

    def _choose_value(self, axis: str, number: int) -> Awaitable[None]:
        self.at[axis] = number
        return self._ask()

    def _current(self) -> _stored.View:
        if self.view == "phase diagram":
            return _stored.phase_diagram(self.number, *self.across)
        return _stored.VIEWS[self.view]

    def show(self) -> Awaitable[None]:
        """Show the controls of this view at once, and its picture when it is drawn."""
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
        return self._ask()

    def _ask(self) -> Awaitable[None]:
        return self.pictures.ask(self._current(), dict(self.at))

    def _draw(self, view: _stored.View, at: dict[str, int]) -> tuple[bytes, str]:
        try:
            self.figure, fault = view.picture(self.found, at), ""
        except self.run.errors as error:
            self.figure, fault = _stored.empty(), f"This cannot be shown. {error}"
        return saved(self.figure, "png", _stored.DPI), fault

    def _put(self, drawn: tuple[bytes, str]) -> None:
        png, fault = drawn
        self.picture.set_source(_source(png))
        self.fault.set_text(fault)

    def _words(self, x: float, y: float) -> str:
        return words_at(self.figure, x, y)

    def _saved(self, suffix: str) -> bytes:
        return saved(self.figure, suffix)

    def _select(
        self, label: str, options: Any, value: str | int, choose: Callable[[Any], Awaitable[None]]
    ) -> None:
        select = self.ui.select(options, value=value, label=label, with_input=len(options) > 20)
        select.on_value_change(
            lambda event: choose(event.value) if event.value in options else None
        ).classes("w-full")


def _head(ui: Any, about: str) -> None:
    with ui.row().classes("items-baseline"):
        ui.label("jepa_sim").classes("text-xl font-bold")
        ui.label(about).classes("text-gray-600")


def _picture(ui: Any, png: bytes, width: str, words: Callable[[float, float], str]) -> Any:
    """A picture of a CSS width, and below it what is drawn under the mouse."""

    def show(words: str) -> None:
        reading.set_text(words or " ")

    def over(event: Any) -> Any:
        place = event.image_x, event.image_y
        return latest.ask(*place) if all(map(is_number, place)) else None

    latest = Latest(words, show)
    picture = ui.interactive_image(
        _source(png), on_mouse=over, events=["mousemove"], cross="#bbbbbb"
    ).classes(width)
    picture.on(
        "mouseleave", lambda: latest.ask(-1.0, -1.0)
    )  # outside: no words of an earlier picture stay
    reading = ui.label(" ").classes("reading h-6 font-mono text-sm whitespace-pre")
    return picture


def _downloads(ui: Any, saved: Callable[[str], bytes], toml: Callable[[], bytes] | None) -> None:
    """Buttons that download the picture, by suffix, and the TOML."""
    contents = {suffix: partial(saved, suffix) for suffix in SUFFIXES}
    contents |= {} if toml is None else {"toml": toml}
    with ui.row():
        for suffix, content in contents.items():
            name = f"jepa_sim.{suffix}"
            latest = Latest(content, partial(ui.download.content, filename=name))
            button = ui.button(suffix, on_click=latest.ask)
            button.props("outline dense no-caps").tooltip(f"download {name}")


def _source(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
