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

from trainyard.tracking.store import open_store, training_view_url
from trainyard.tracking.view import sweep_view, sweep_view_key
from trainyard.uris import sqlite_uri

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


@pytest.fixture(scope="module")
def swept(ui):
    """The run of a sweep with those of its three trials, in an experiment of its own: the links of two views of it."""
    client, experiment_id = open_store(sqlite_uri(ui.folder / "mlflow.db"), "swept", "")
    tags = {"sweep_id": "my rates", "trainyard.role": "sweep"}
    parent = client.create_run(experiment_id, run_name="the parent", tags=tags).info.run_id
    tags |= {"trainyard.role": "trial", "mlflow.parentRunId": parent}
    for start, (rate, accuracy) in enumerate((("0.1", 0.5), ("0.001", 0.75), ("0.0001", 0.625)), start=10**12):
        run_id = client.create_run(experiment_id, start, tags, run_name=f"lr{rate}").info.run_id
        client.log_param(run_id, "optimizer.learning_rate", rate)
        client.log_param(run_id, "model.hidden_units", "[64]" if rate == "0.1" else "[128, 64]")
        for epoch in (1, 2):
            client.log_metric(run_id, "accuracy/val", accuracy * epoch / 2, step=epoch)
        client.set_terminated(run_id)
    key = sweep_view_key("my rates")
    for view_key, objective in ((key, "accuracy/val"), ("unranked", None)):
        (view,) = sweep_view("my rates", objective, ["optimizer.learning_rate", "model.hidden_units"]).values()
        client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{view_key}", view)
    return SimpleNamespace(
        best_first=training_view_url(ui.address, experiment_id, key),
        unranked=training_view_url(ui.address, experiment_id, "unranked"),
    )


@pytest.mark.parametrize(
    ("view", "order"), [("best_first", ["0.001", "0.0001", "0.1"]), ("unranked", ["0.1", "0.001", "0.0001"])]
)
def test_a_sweep_opens_with_its_trials_in_order(swept, browser, view, order):
    text = _open(browser, getattr(swept, view), "3 matching runs", "optimizer.learning_rate", "lr0.001")
    places = [text.index(f"\nlr{rate}\n") for rate in order]
    assert places == sorted(places)
    assert "the parent" not in text


def test_what_varies_in_a_sweep_is_drawn_against_its_objective(swept, browser):
    _open(browser, f"{swept.best_first}&compareRunsMode=CHART", "What varies", "optimizer.learning_rate vs. accuracy/val",
          "model.hidden_units vs. accuracy/val", "Parallel Coordinates")  # fmt: skip


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


def test_a_page_of_others_cannot_write(ui):
    request = urllib.request.Request(
        f"{ui.address}/api/2.0/mlflow/experiments/create",
        data=b'{"name": "owned"}',
        headers={"Origin": "http://evil.example.org", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_the_server_listens_here_alone_and_reports_to_nobody(ui):
    servers = psutil.Process(ui.process.pid).children(recursive=True)
    listening = {
        connection.laddr.ip
        for server in servers
        for connection in server.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert {server.environ()["MLFLOW_DISABLE_TELEMETRY"] for server in servers} == {"true"}


def test_ctrl_c_ends_the_server_and_all_its_workers(ui):
    children = psutil.Process(ui.process.pid).children(recursive=True)
    assert children
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait(timeout=30) == 130
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert Path(ui.folder, "mlflow.db").exists()
