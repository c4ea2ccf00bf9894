"""The page of `jepa-sim explore`, as the command serves it: in a headless browser, and for
clients that send what no browser would send.
"""

import base64
import html
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import websocket
import xarray as xr
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import jepa_sim as js
from jepa_sim import explore
from jepa_sim.config import parse

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.slow

QUIET = ("background-networking", "component-update", "sync", "gpu", "default-apps")
CONFIG = """
[data]
kind = "features"
lam = [1.0, 1.0]
rho = [0.9, 0.3]
[grid]
objective = ["jepa", "mae"]
depth = [1, 2, 3]
predictor_depth = [1]
scale = [1e-3, 1e-2]
seed = [0]
[solve]
solver = "closed_form"
times = { kind = "critical", count = 20 }
[output]
path = "runs/small.nc"
critical_fraction = [0.5]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one stored sweep, runs/small.nc."""
    path = tmp_path_factory.mktemp("page")
    (path / "small.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "jepa_sim", "sweep", "small.toml", "--quiet"]
    subprocess.run(command, cwd=path, check=True, env=environment())
    return path


def environment() -> dict[str, str]:
    """The environment of a shell: NiceGUI behaves differently where it detects a test."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[1]), "MPLBACKEND": "agg"}


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    """Starts the command; returns the page's address."""
    servers = []

    def start(*arguments: str) -> str:
        command = [sys.executable, "-m", "jepa_sim", "explore", "--no-browser", *arguments]
        server = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
        )
        servers.append(server)
        for line in server.stdout:
            if line.startswith("http://127.0.0.1:"):
                address = line.split()[0]
                wait_for(partial(answers, address))
                return address
        raise AssertionError(f"{command} ended with {server.wait()}")

    yield start
    for server in servers:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if None in (CHROMIUM, DRIVER):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    downloads, profile = (tmp_path_factory.mktemp(name) for name in ("downloads", "profile"))
    for switch in (
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        "--window-size=1300,1000",
        f"--user-data-dir={profile}",
        *(f"--disable-{name}" for name in QUIET),
    ):
        options.add_argument(switch)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.downloads = downloads
    yield driver
    driver.quit()


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until a condition returns something true; return that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=60):
            return True
    except urllib.error.URLError:
        return False


class Visitor:
    """A page without a browser: its elements, and a websocket over which anything can be sent."""

    def __init__(self, address: str):
        with urllib.request.urlopen(address, timeout=60) as answer:
            page = answer.read().decode()
            cookie = answer.headers.get("Set-Cookie", "").split(";")[0]
        self.elements = json.loads(html.unescape(re.search(r"String\.raw`(.*?)`", page, re.S)[1]))
        self.client = re.search(r"'client_id': '([^']+)'", page)[1]
        place = f"ws://{urllib.parse.urlsplit(address).netloc}/_nicegui_ws/socket.io/"
        self.socket = websocket.create_connection(
            f"{place}?EIO=4&transport=websocket", cookie=cookie, timeout=60
        )
        self._send("40")
        hello = {"client_id": self.client, "tab_id": "tab", "document_id": "document"}
        self._emit("handshake", hello)

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def change(self, label: str, sent: str) -> None:
        """Send a new value of a slider or selection, as JSON or as text that is not JSON."""
        (key, element), *_ = (
            item
            for item in self.elements.items()
            if label in (item[1].get("props", {}).get(name) for name in ("aria-label", "label"))
        )
        listener = next(e for e in element["events"] if e["type"].startswith("update"))
        event = {"id": int(key), "client_id": self.client, "listener_id": listener["listener_id"]}
        self._emit("event", event | {"args": [sent]})

    def until(self, condition: Callable[[str], bool]) -> None:
        """Read updates until the page's elements, as text, fulfil a condition."""
        end = time.monotonic() + 60
        while not condition(json.dumps(self.elements, ensure_ascii=False)):
            assert time.monotonic() < end, "waited in vain"
            found = self.socket.recv()
            if found == "2":
                self._send("3")  # still here
            elif found.startswith('42["update",'):
                changed = self.elements | json.loads(found[2:])[1]
                self.elements = {k: v for k, v in changed.items() if isinstance(v, dict)}

    def picture(self) -> bytes:
        sources = (e.get("props", {}).get("src") for e in self.elements.values())
        source = next(filter(None, sources))
        return base64.b64decode(source.removeprefix("data:image/png;base64,"))

    def _emit(self, *message: Any) -> None:
        self._send("42" + json.dumps(message))

    def _send(self, words: str) -> None:
        self.socket.send(words)


def table(browser: webdriver.Chrome) -> list[list[str]]:
    rows = browser.find_elements(By.CSS_SELECTOR, "table tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def picture(browser: webdriver.Chrome) -> bytes:
    source = browser.find_element(By.CSS_SELECTOR, "img").get_property("src")
    return base64.b64decode(source.removeprefix("data:image/png;base64,"))


def words_at(browser: webdriver.Chrome, x: float, y: float) -> str:
    """The words below the picture with the mouse at a share of its width and height."""
    image = browser.find_element(By.CSS_SELECTOR, "img")
    width, height = image.size["width"], image.size["height"]
    offsets = round((x - 0.5) * width), round((y - 0.5) * height)
    ActionChains(browser).move_to_element_with_offset(image, *offsets).perform()
    return wait_for(lambda: browser.find_element(By.CSS_SELECTOR, ".reading").text.strip())


def download(browser: webdriver.Chrome, button: str) -> bytes:
    path = browser.downloads / f"jepa_sim.{button}"
    path.unlink(missing_ok=True)
    browser.find_element(By.XPATH, f"//button[normalize-space()='{button}']").click()
    return wait_for(lambda: path.is_file() and path.read_bytes())


def choose(browser: webdriver.Chrome, label: str, option: str) -> None:
    before = picture(browser)
    field = f"//label[.//*[text()='{label}']]"
    browser.find_element(By.XPATH, field).click()
    item = f"//*[contains(@class, 'q-menu')]//*[text()='{option}']"
    wait_for(lambda: browser.find_elements(By.XPATH, item))[0].click()
    wait_for(lambda: picture(browser) != before)


@pytest.fixture(scope="module")
def live(serve: Callable[..., str]) -> str:
    return serve()


def test_a_slider_moves_the_curves_to_where_the_closed_form_says(
    live: str, browser: webdriver.Chrome
):
    browser.get(live)
    wait_for(lambda: table(browser))
    setting = explore.Setting()
    assert picture(browser) == explore.Live(setting).png
    slider = browser.find_element(By.CSS_SELECTOR, "[aria-label='L'] [tabindex]")
    before = table(browser)
    slider.send_keys(Keys.ARROW_RIGHT * 4)
    wait_for(lambda: table(browser) != before and "L = 4" in browser.page_source)

    moved = explore.Setting(depth=4.0)
    wait_for(lambda: picture(browser) == explore.Live(moved).png)
    moments = js.Moments.from_features(moved.lam, moved.rho)
    for objective, column in ((js.JEPA(), 3), (js.MAE(), 5)):
        problem = js.Problem(moments, objective, js.DeepLinear(4.0), js.Balanced(moved.scale))
        late = js.critical_times(problem, fraction=0.5)
        for row, t, plateau in zip(table(browser), late, problem.plateaus, strict=True):
            assert float(row[column]) == pytest.approx(float(t), rel=5e-4)  # of four digits
            assert float(row[column + 1]) == pytest.approx(float(plateau), rel=5e-4)

    words = words_at(browser, 0.297, 0.3)  # in JEPA's panel, near its end
    feature, gain = re.match(r"t = \S+: feature (\d) .* has w̄ = (\S+)", words).groups()
    assert feature == "0"
    assert float(gain) == pytest.approx(0.9**4, rel=1e-2)


def test_the_picture_and_its_toml_are_exported(live: str, browser: webdriver.Chrome):
    browser.get(live)
    wait_for(lambda: table(browser))
    text = download(browser, "toml").decode()
    assert tomllib.loads(text)["data"] == {"kind": "features", "lam": [1.0, 1.0], "rho": [0.9, 0.3]}
    assert parse(text).grid.depth == (3.0,)
    assert b"<svg" in download(browser, "svg")
    assert download(browser, "pdf").startswith(b"%PDF")


@pytest.mark.release
def test_a_stored_sweep_is_shown_along_any_axes(
    serve: Callable[..., str], browser: webdriver.Chrome, folder: Path
):
    browser.get(serve("runs/small.nc"))
    wait_for(lambda: len(picture(browser)) > 1000)
    assert "12 trajectories, 0 failed, 0 not computed yet" in browser.page_source
    choose(browser, "depth", "3")
    words = words_at(browser, 0.8, 0.2)
    assert "feature 0 (λ = 1, ρ = 0.9) has w̄ = 0.729" in words
    choose(browser, "picture", "phase diagram")
    choose(browser, "number", "critical_time")
    words = words_at(browser, 0.6, 0.2)
    pattern = r"objective = (\w+), depth = (\d): critical_time = (\S+)"
    objective, depth, time = re.match(pattern, words).groups()
    with xr.open_dataset(folder / "runs/small.nc", engine="h5netcdf") as run:
        first = run.critical_time.sel(objective=objective, depth=int(depth)).isel(
            scale=0, feature=0
        )
        assert float(time) == pytest.approx(float(first.squeeze()), rel=1e-3)
    assert download(browser, "toml").decode() == CONFIG
    assert b"<svg" in download(browser, "svg")


def test_a_bad_run_is_a_page_that_says_so(serve: Callable[..., str], browser: webdriver.Chrome):
    browser.get(serve("small.toml"))
    wait_for(lambda: "This run cannot be shown." in browser.page_source)
    assert "be a NetCDF file, but is small.toml" in browser.page_source


def drawn(setting: explore.Setting) -> bytes:
    """The page's picture after its sliders were moved: the layout is that of the start."""
    return explore.Live(explore.Setting()).show(setting)


OUTSIDE = ["1e9", "1e308", "-1e9", "1e400", "NaN", "null", '"4"', "[4]", '{"value": 4}', "true"]


def test_what_a_client_sends_stays_within_the_sliders(live: str):
    """Else one value far outside would keep the page busy for all visitors."""
    with Visitor(live) as visitor:
        for label in ("L", "ε", "ρ of feature 1"):
            for sent in OUTSIDE:
                visitor.change(label, sent)
        for label, sent in (("L", "1e9"), ("ε", "1e9"), ("ρ of feature 1", "-5")):
            visitor.change(label, sent)
        ends = ("L = 8", "ε = 0.1", "ρ of feature 1 = 0.05")
        visitor.until(lambda page: all(f'"{end}"' in page for end in ends))
        expected = drawn(explore.Setting(rho=(0.9, 0.05), scale=0.1, depth=8.0))
        visitor.until(lambda page: visitor.picture() == expected)


@pytest.mark.release
def test_only_what_is_offered_of_a_stored_sweep_is_chosen(serve: Callable[..., str]):
    with Visitor(serve("runs/small.nc")) as visitor:
        before = visitor.picture()
        for label in ("picture", "depth", "scale"):
            for sent in ("null", '"nothing"', '{"value": 99}', '{"value": "0"}', "7", "[]"):
                visitor.change(label, sent)
        visitor.change("depth", '{"value": 2}')
        visitor.until(lambda page: visitor.picture() != before)
        assert "cannot be shown" not in json.dumps(visitor.elements)


def test_of_many_moves_the_last_is_drawn_and_others_need_not_wait(live: str):
    moves = 300
    one, last = (drawn(explore.Setting(rho=(rho, 0.3))) for rho in (0.5, 0.7))
    with Visitor(live) as visitor:
        begin = time.monotonic()
        visitor.change("ρ of feature 0", "0.5")
        visitor.until(lambda page: visitor.picture() == one)
        step = time.monotonic() - begin
        begin = time.monotonic()
        for i in range(moves):
            visitor.change("ρ of feature 0", f"{0.2 + 0.4 * i / moves}")
        visitor.change("ρ of feature 0", "0.7")
        with Visitor(live):  # another visitor gets the page meanwhile
            visitor.until(lambda page: visitor.picture() == last)
        assert time.monotonic() - begin < moves * step / 4


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def asked(address: str, path: str, **headers: str | None) -> Answer:
    """The answer to a GET, with headers that may be left out (None) or wrong."""
    place = urllib.parse.urlsplit(address).netloc
    with closing(http.client.HTTPConnection(place, timeout=60)) as connection:
        connection.putrequest("GET", path, skip_host=True)
        for name, value in {"Host": place, **headers}.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        with connection.getresponse() as found:
            return Answer(found.status, found.headers, found.read())


def test_the_page_is_for_this_machine_alone(live: str):
    """Only its address and its name are served: no other host, and no other name of this one."""
    place = urllib.parse.urlsplit(live)
    page = f"/?{place.query}"
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.2", place.port)) != 0  # of this machine, and not served
    for host in ("elsewhere.example", f"elsewhere.example:{place.port}", "127.0.0.1:1", None):
        assert asked(live, page, Host=host).status == 403
    assert asked(live, page, Host=f"localhost:{place.port}").status == 200
    for origin in (
        "http://elsewhere.example",
        "null",
        "http://127.0.0.1:1",
        f"https://{place.netloc}",
    ):
        assert asked(live, page, Origin=origin).status == 403
    for own in (place.netloc, f"localhost:{place.port}"):
        assert asked(live, page, Origin=f"http://{own}").status == 200


POLL = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"


def test_the_page_is_for_who_has_its_token(live: str):
    place = urllib.parse.urlsplit(live)
    assert re.fullmatch(r"token=[\w-]{32,}", place.query)
    first = asked(live, f"/?{place.query}")
    assert first.status == 200
    cookie, *attributes = first.headers["Set-Cookie"].split("; ")
    assert cookie.startswith(f"jepa_sim_{place.port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    static = re.search(rb'src="(/[^"]+\.js)"', first.body)[1].decode()
    for path in ("/", static, POLL, "/nothing", "/favicon.ico", "/?token=wrong", "/?token=%C3%A9"):
        refused = asked(live, path)
        assert refused.status == 403, path
        assert "Set-Cookie" not in refused.headers
        assert asked(live, path, Cookie=cookie[:-1]).status == 403, path
        assert asked(live, path, Cookie=cookie).status in (200, 404), path


def test_the_websocket_is_the_pages_own(live: str):
    place = urllib.parse.urlsplit(live)
    path = POLL.replace("polling", "websocket")
    own = {
        "Cookie": asked(live, f"/?{place.query}").headers["Set-Cookie"],
        "Origin": f"http://{place.netloc}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec_WebSocket_Version": "13",
    }
    assert asked(live, path, **own).status == 101
    foreign = "elsewhere.example"
    for changes in ({"Cookie": None}, {"Origin": f"http://{foreign}"}, {"Host": foreign}):
        assert asked(live, path, **own | changes).status == 403


@pytest.mark.parametrize("options", [("--port", "99999"), ("runs/small.nc", "--lam", "1")])
def test_options_that_do_not_fit_are_refused(options: tuple[str, ...], folder: Path):
    command = [sys.executable, "-m", "jepa_sim", "explore", "--no-browser", *options]
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.release
def test_a_port_that_is_taken_is_one_line(live: str, folder: Path):
    port = str(urllib.parse.urlsplit(live).port)
    command = [sys.executable, "-m", "jepa_sim", "explore", "--no-browser", "--port", port]
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"jepa-sim: error: Port {port} cannot be used")
    assert len(ended.stderr.splitlines()) == 1
