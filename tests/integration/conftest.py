"""A store with runs and a sweep in it, ``trainyard ui`` on it, and the browser that reads its pages."""

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

BROWSER_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1000",
)  # fmt: skip
OF_THE_USER = ("MLFLOW_", "TRAINYARD_", "HYDRA_")
"""How variables begin that would change where runs go."""
PATIENCE = 60
"""Seconds until a page has to show what is expected."""


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from trainyard.cli import main; main()", *arguments]


@contextlib.contextmanager
def serving(folder: Path, environment: dict[str, str] | None = None):
    """Runs ``trainyard ui`` in a folder: its link, the server's address, and the process."""
    command = _command("ui", "--port", str(ephemeral_port()))
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            link = ""
            for line in process.stdout:
                link = link or next(iter(re.findall(r"http://\S+", line)), "")
                if "Ctrl-C" in line:
                    break
            assert link, "the server told no link"
            yield SimpleNamespace(link=link, address=link.partition("/#")[0], process=process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


@pytest.fixture(scope="session")
def serve_ui():
    """The function that runs ``trainyard ui`` for the time of a block."""
    return serving


@pytest.fixture(scope="session")
def ui(tmp_path_factory):
    """``trainyard ui`` where two runs were trained, and a sweep of four trials."""
    folder = tmp_path_factory.mktemp("ui")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_USER)}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "XDG_CACHE_HOME": str(folder / "cache")}

    def run(*arguments: str) -> None:
        quick = ("experiment=quickstart", "training.epochs=3", *arguments[1:])
        subprocess.run(_command(arguments[0], *quick), cwd=folder, env=environment, check=True, capture_output=True)

    for seed, units in (("1", "32"), ("2", "64")):
        run("train", f"seed={seed}", f"model.hidden_units=[{units}]")
    swept = ("dataset.validation_fraction=0.2", "model.hidden_units=[16],[128]", "optimizer.learning_rate=0.01,0.001")
    run("sweep", "sweep.name=rates", *swept)
    with serving(folder, environment) as running:
        yield SimpleNamespace(folder=folder, **vars(running))


@pytest.fixture(scope="session")
def _browser(tmp_path_factory):
    """Headless Chromium. CI has it, and fails where it is missing."""
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
    """The one page of the browser. Pictures of it go to ``--screenshots FOLDER``."""
    folder = request.config.invocation_params.dir / (request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return Page(_browser, folder)


class Page:
    """A page in the browser, as a reader has it: opened, read, clicked."""

    def __init__(self, browser, folder: Path) -> None:
        self.browser = browser
        self._folder = folder

    @property
    def text(self) -> str:
        """All the text that is shown."""
        return self.browser.execute_script("return document.body.innerText")

    def open(self, link: str, *expected: str) -> str:
        """Opens a page and returns its text once it shows what is expected."""
        self.browser.get("about:blank")  # a change after the hash alone would not load the page anew
        self.browser.get(f"{link.partition('/#')[0]}/version")
        self.browser.execute_script(  # MLflow's assistant takes a third of a page that is opened for the first time
            "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        self.browser.get(link)
        return self.shows(*expected)

    def shows(self, *expected: str) -> str:
        """Returns the page's text once it shows what is expected."""
        self.wait(lambda: all(words in self.text for words in expected), f"{expected} are not all on the page")
        return self.text

    def wait(self, condition, otherwise: str):
        """Returns what a condition gives once that is something. The page may change while it is asked."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        passing = (NoSuchElementException, StaleElementReferenceException)
        return WebDriverWait(self.browser, PATIENCE, 0.2, passing).until(lambda _: condition(), otherwise)

    def find(self, css: str):
        """Returns the elements of a CSS selector once there are some."""
        return self.wait(lambda: self.browser.find_elements("css selector", css), f"no {css} on the page")

    def row(self, name: str):
        """Returns the row of the table in which a run stands."""
        return self.browser.find_element("xpath", f"//*[text()='{name}']/ancestor::*[@role='row']")

    def heads(self) -> list[str]:
        """Returns the heads of the columns."""
        return [head.text for head in self.find("[role=columnheader]")]

    def names(self) -> list[str]:
        """Returns the names of the runs in the table, from top to bottom."""

        def found():
            links = self.browser.find_elements("css selector", "[role=row] a[href*='/runs/']")
            return [link.text for link in sorted(links, key=lambda link: link.location["y"]) if link.text]

        return self.wait(found, "no run in the table")

    def click(self, find, what: str = "it") -> None:
        """Clicks what a function finds, as soon as it can be clicked."""
        from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException

        def clicked():
            with contextlib.suppress(ElementNotInteractableException, ElementClickInterceptedException):
                find().click()
                return True

        self.wait(clicked, f"{what} can't be clicked")

    def click_button(self, words: str) -> None:
        """Clicks the button that says something."""
        self.click(lambda: self.browser.find_element("xpath", f"//button[normalize-space()='{words}']"), words)

    def picture(self, name: str) -> None:
        """Takes a picture of what the window shows."""
        assert self.browser.save_screenshot(str(self._folder / f"{name}.png"))
