"""``trainyard ui`` on a real store, with a real `mlflow server`, read in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

pytestmark = pytest.mark.slow

BROWSER_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1700,1200",
)  # fmt: skip


def _trainyard(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from trainyard.cli import main; main()", *arguments]


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """Two runs in a store, and ``trainyard ui`` on it: its link, the folder and the process."""
    folder = tmp_path_factory.mktemp("ui")
    for seed in ("1", "2"):
        command = _trainyard("train", "experiment=quickstart", "training.epochs=2", f"seed={seed}")
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    command = _trainyard("ui", "--port", "5620")
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        link = ""
        for line in process.stdout:
            link = link or next(iter(re.findall(r"http://\S+", line)), "")
            if "Ctrl-C" in line:
                break
        yield SimpleNamespace(link=link, folder=folder, process=process, address=link.partition("/#")[0])
        if process.poll() is None:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium. CI has it, and fails where it is missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield driver
    driver.quit()


def _open(browser, link: str, *expected: str) -> str:
    """Opens a page and returns its text once it shows what is expected."""
    from selenium.webdriver.support.ui import WebDriverWait

    def text(driver) -> str:
        return driver.execute_script("return document.body.innerText")

    browser.get("about:blank")  # a change after the hash alone would not load the page anew
    browser.get(link)
    WebDriverWait(browser, 60).until(
        lambda driver: all(word in text(driver) for word in expected), f"{expected} not on {link}"
    )
    return text(browser)


def test_the_link_opens_the_training_view_with_our_columns(ui, browser):
    assert "viewStateShareKey=trainyard" in ui.link
    text = _open(browser, ui.link, "300x200x100 relu", "accuracy/test", "2 matching runs")
    assert "quickstart" in text
    assert "f1_macro/test" in text
    assert "Model training" in text


def test_charts_are_grouped_in_our_sections(ui, browser):
    _open(browser, f"{ui.link}&compareRunsMode=CHART", "Learning curves", "Test metrics")


def test_a_run_shows_its_scores_data_and_report(ui, browser):
    (artifacts,) = (ui.folder / "mlartifacts").iterdir()
    run_id = next(path.name for path in artifacts.iterdir() if path.name != "models")
    page = f"{ui.link.partition('/runs')[0]}/runs/{run_id}"
    _open(browser, page, "accuracy/test", "Finished", "digits", "test images right")
    _open(browser, f"{page}/artifacts/report.html", "report.html")
    from selenium.webdriver.support.ui import WebDriverWait

    frame = WebDriverWait(browser, 30).until(lambda driver: driver.find_elements("css selector", "iframe"))[0]
    browser.switch_to.frame(frame)
    WebDriverWait(browser, 30).until(lambda driver: "Test accuracy" in driver.page_source)
    pictures = browser.find_elements("tag name", "img")
    assert len(pictures) == 5
    assert all(picture.get_property("naturalWidth") > 0 for picture in pictures)
    browser.switch_to.default_content()


def test_a_stranger_is_sent_away(ui):
    request = urllib.request.Request(
        f"{ui.address}/api/2.0/mlflow/experiments/get?experiment_id=1", headers={"Host": "evil.example.org"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_ctrl_c_ends_the_server_and_all_its_workers(ui):
    children = psutil.Process(ui.process.pid).children(recursive=True)
    assert children
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait(timeout=30) == 130
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert Path(ui.folder, "mlflow.db").exists()
