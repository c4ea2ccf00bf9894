"""The page of `jepa-sim explore`, as the command serves it, in a real browser without a screen."""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
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
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason="needs chromium and chromedriver"),
]

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
    command = [sys.executable, "-m", "jepa_sim.cli", "sweep", "small.toml", "--quiet"]
    subprocess.run(command, cwd=path, check=True, env=environment())
    return path


def environment() -> dict[str, str]:
    """As of a shell: NiceGUI serves otherwise where it sees that it is tested."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[1]), "MPLBACKEND": "agg"}


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    """Starts the command; returns the page's address."""
    servers = []

    def start(*arguments: str) -> str:
        command = [sys.executable, "-m", "jepa_sim.cli", "explore", "--no-browser", *arguments]
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
    """What the condition says once it says something."""
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


def table(browser: webdriver.Chrome) -> list[list[str]]:
    rows = browser.find_elements(By.CSS_SELECTOR, "table tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def picture(browser: webdriver.Chrome) -> bytes:
    source = browser.find_element(By.CSS_SELECTOR, "img").get_property("src")
    return base64.b64decode(source.removeprefix("data:image/png;base64,"))


def words_at(browser: webdriver.Chrome, x: float, y: float) -> str:
    """What the page says with the mouse at a share of the picture's width and height."""
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
            assert float(row[column]) == pytest.approx(float(t), rel=1e-5)
            assert float(row[column + 1]) == pytest.approx(float(plateau), rel=1e-5)

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


def test_a_stored_sweep_is_shown_along_any_axes(
    serve: Callable[..., str], browser: webdriver.Chrome, folder: Path
):
    browser.get(serve("runs/small.nc"))
    wait_for(lambda: len(picture(browser)) > 1000)
    assert "12 trajectories, 0 failed, 0 not there yet" in browser.page_source
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


@pytest.mark.parametrize(
    ("path", "words"),
    [("runs/nothing", "must be a file or folder that exists"), ("small.toml", "be a NetCDF file")],
)
def test_a_bad_run_is_a_page_that_says_so(
    path: str, words: str, serve: Callable[..., str], browser: webdriver.Chrome
):
    browser.get(serve(path))
    wait_for(lambda: "This run cannot be shown." in browser.page_source)
    assert words in browser.page_source
    assert path in browser.page_source


def test_the_page_is_for_this_machine_alone(live: str):
    """By its address and by its name: no other host, and no other name for this one."""
    port = int(live.rstrip("/").rsplit(":", 1)[1])
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.2", port)) != 0  # of this machine, and not served
    request = urllib.request.Request(live, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=60)


@pytest.mark.parametrize("options", [("--port", "99999"), ("runs/small.nc", "--lam", "1")])
def test_options_that_do_not_fit_are_refused(options: tuple[str, ...], folder: Path):
    command = [sys.executable, "-m", "jepa_sim.cli", "explore", "--no-browser", *options]
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_one_line(live: str, folder: Path):
    port = live.rstrip("/").rsplit(":", 1)[1]
    command = [sys.executable, "-m", "jepa_sim.cli", "explore", "--no-browser", "--port", port]
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"jepa-sim: error: Port {port} cannot be had")
    assert len(ended.stderr.splitlines()) == 1
