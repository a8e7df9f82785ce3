"""Fixtures: ``trainyard ui`` on a store with runs and a sweep, a browser that opens its pages, and other servers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ports import ephemeral_port
from postgresql import run_postgresql
from servers import run_server

BROWSER_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1000",
)  # fmt: skip
USER_VARIABLE_PREFIXES = ("MLFLOW_", "TRAINYARD_", "HYDRA_")
"""Prefixes of environment variables that are removed, because they would change where runs are stored."""
TIMEOUT_SECONDS = 60
"""Time limit within which a page must show the expected text."""


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from trainyard.cli import main; main()", *arguments]


@contextlib.contextmanager
def serving(folder: Path, environment: dict[str, str] | None = None):
    """Runs ``trainyard ui`` in a folder; yields its link, the server's address, and the process."""
    command = _command("ui", "--port", str(ephemeral_port()))
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            link = ""
            for line in process.stdout:
                link = link or next(iter(re.findall(r"http://\S+", line)), "")
                if "Ctrl-C" in line:
                    break
            assert link, "the server printed no link"
            yield SimpleNamespace(link=link, address=link.partition("/#")[0], process=process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


@pytest.fixture(scope="session")
def serve_ui():
    """The function that runs ``trainyard ui`` for the duration of a block."""
    return serving


@pytest.fixture(scope="session")
def ui(tmp_path_factory):
    """A running ``trainyard ui`` on a store with three runs, of which two are equal, and a sweep of four trials."""
    folder = tmp_path_factory.mktemp("ui")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(USER_VARIABLE_PREFIXES)}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "XDG_CACHE_HOME": str(folder / "cache")}

    def run(*arguments: str) -> None:
        quick = ("experiment=quickstart", *arguments[1:])
        subprocess.run(_command(arguments[0], *quick), cwd=folder, env=environment, check=True, capture_output=True)

    for seed, units in (("1", "32"), ("2", "64"), ("2", "64")):
        run("train", f"seed={seed}", f"model.hidden_units=[{units}]")
    swept = ("dataset.validation_fraction=0.2", "model.hidden_units=[16],[128]", "optimizer.learning_rate=0.01,0.001")
    run("sweep", "sweep.name=rates", *swept)
    with serving(folder, environment) as running:
        yield SimpleNamespace(folder=folder, **vars(running))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The port of a server of the installed MLflow."""
    with run_server(tmp_path_factory.mktemp("server")) as port:
        yield port


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server without databases."""
    with run_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def _browser(tmp_path_factory):
    """Headless Chromium. If it is not installed, tests are skipped, but fail in CI."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(_browser, request, tmp_path):
    """The page of the browser. Screenshots are written to ``--screenshots FOLDER``."""
    folder = request.config.invocation_params.dir / (request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return Page(_browser, folder)


class Page:
    """A page in the browser, with methods that open, read and click it as a user would."""

    def __init__(self, browser, folder: Path) -> None:
        self.browser = browser
        self._folder = folder

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return self.browser.execute_script("return document.body.innerText")

    def open(self, link: str, *expected: str) -> str:
        """Opens a page, waits until it shows the expected texts, and returns its text."""
        self.browser.get("about:blank")  # a link that differs only after # would not reload the page
        self.browser.get(f"{link.partition('/#')[0]}/version")
        self.browser.execute_script(  # MLflow's assistant covers a third of a page on the first visit
            "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        self.browser.get(link)
        return self.shows(*expected)

    def shows(self, *expected: str) -> str:
        """Waits until the page shows the expected texts, and returns the text of the page."""
        self.wait(lambda: all(words in self.text for words in expected), f"some of {expected} are not on the page")
        return self.text

    def wait(self, condition, message: str):
        """Waits until a condition returns a true value, and returns it; the page may change during the call."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = (NoSuchElementException, StaleElementReferenceException)
        return WebDriverWait(self.browser, TIMEOUT_SECONDS, 0.2, ignored).until(lambda _: condition(), message)

    def find(self, css: str):
        """Waits for elements that match a CSS selector, and returns them."""
        return self.wait(lambda: self.browser.find_elements("css selector", css), f"no {css} on the page")

    def row(self, name: str):
        """Returns the table row of a run."""
        return self.browser.find_element("xpath", f"//*[text()='{name}']/ancestor::*[@role='row']")

    def heads(self) -> list[str]:
        """Returns the column headings."""
        return [head.text for head in self.find("[role=columnheader]")]

    def names(self) -> list[str]:
        """Returns the names of the runs in the table, from top to bottom."""

        def find_names():
            links = self.browser.find_elements("css selector", "[role=row] a[href*='/runs/']")
            return [link.text for link in sorted(links, key=lambda link: link.location["y"]) if link.text]

        return self.wait(find_names, "no run in the table")

    def click(self, find, description: str = "the element") -> None:
        """Clicks the element that a function returns, as soon as it can be clicked."""
        from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException

        def clicked():
            with contextlib.suppress(ElementNotInteractableException, ElementClickInterceptedException):
                find().click()
                return True

        self.wait(clicked, f"{description} can't be clicked")

    def click_button(self, words: str) -> None:
        """Clicks the button with a label."""
        self.click(lambda: self.browser.find_element("xpath", f"//button[normalize-space()='{words}']"), words)

    def screenshot(self, name: str) -> None:
        """Writes a screenshot of the window."""
        assert self.browser.save_screenshot(str(self._folder / f"{name}.png"))
