"""Records the tour: runs its commands, and writes their outputs into docs/tour.md and pictures into docs/pictures.

Usage, in an environment with the extra ``dev``, and with Chromium: ``python docs/site/record_tour.py``. The commands
run in a terminal, in a temporary clone of the repository. The output of the first training is complete; of the others,
only the results and the next steps are recorded.
"""

from __future__ import annotations

import contextlib
import html
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pyte
from PIL import Image
from selenium import webdriver

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "docs" / "tour.md"
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, ROWS = 100, 200
"""The size of the terminal. It has more rows than any command prints."""
WIDTH, MAX_HEIGHT = 1200, 1600
"""The size of a picture of a page, in pixels. A shorter page has a shorter picture."""

_BLOCK = re.compile(r"```sh\n(?P<commands>.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)
"""A block of commands, with the block of their outputs, if any."""
_PAGES = {
    "tour_report.png": ("trainyard train experiment=quickstart", "outputs/quickstart/*/report.html"),
    "tour_card.png": ("trainyard sweep ", "sweeps/tour/card.html"),
    "tour_compare.png": ("trainyard compare --sweep ", "tour.html"),
}
"""The pages to photograph: by the name of the picture, the start of a command, and the page that it writes."""
_UI = ("tour_mlflow.png", "trainyard compare --experiment ")
"""The picture of the MLflow UI, and the start of the command after which it is taken."""
_LIVE = ("tour_sweep.png", r"\b1[2-9] of 30\b")
"""The picture of the terminal during a command, and the text that it shows at that time."""
_COLOURS = {"default": "#d6deeb", "brown": "#e2b93d", "green": "#7fd88f", "red": "#ff7b72", "cyan": "#6cc5e8"}
"""The colours of the photographed terminal that differ from those of HTML. `brown` is the yellow of terminals."""


class Recorder:
    """Runs the commands of the tour in a folder, one after the other, and takes each picture once."""

    def __init__(self, folder: Path, browser: webdriver.Chrome) -> None:
        """Runs nothing yet."""
        self._folder = folder
        self._browser = browser
        self._run_id = ""
        self._has_training = False
        self._missing = {*_PAGES, _UI[0], _LIVE[0]}
        paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": paths, "TERM": "xterm-256color", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def record_block(self, block: re.Match[str]) -> str:
        """Runs the commands of a block, and returns it with the block of their outputs."""
        commands = [line for line in block["commands"].splitlines() if line.startswith("trainyard ")]
        shown = "\n\n".join(f"$ {command}\n{self._record(command)}" for command in commands)
        return f"```sh\n{block['commands']}```\n\n```text\n{shown}\n```\n"

    def _record(self, command: str) -> str:
        """Runs a command, takes its pictures, and returns its output."""
        sys.stderr.write(f"{command}\n")
        output = self._run(command.replace("RUN_ID", self._run_id))
        self._run_id = next(iter(re.findall(r"\b[0-9a-f]{32}\b", output)[::-1]), self._run_id)
        for picture, (start, page) in _PAGES.items():
            if command.startswith(start):
                self._photograph(picture, max(self._folder.glob(page)).as_uri())
        if command.startswith(_UI[1]):
            self._photograph_ui()
        kind = command.split()[1]
        paragraphs = output.split("\n\n")
        last = 2 if paragraphs[-1].startswith("Next steps") else 1
        is_short = kind in ("train", "rerun") and self._has_training and len(paragraphs) > last
        self._has_training |= kind == "train"
        return "\n\n".join(["[...]", *paragraphs[-last:]]) if is_short else output

    def _run(self, command: str) -> str:
        """Runs a command in a terminal, and returns what the terminal shows at the end."""
        screen = pyte.Screen(COLUMNS, ROWS)
        stream = pyte.Stream(screen)
        process = self._start(command)
        with contextlib.suppress(pexpect.EOF):
            while True:
                stream.feed(process.read_nonblocking(65536, timeout=600))
                if re.search(_LIVE[1], "\n".join(screen.display)):
                    page = self._folder / "terminal.html"
                    page.write_text(_render_terminal(command, screen))
                    self._photograph(_LIVE[0], page.as_uri())
        return "\n".join(line.rstrip() for line in screen.display).strip("\n")

    def _start(self, command: str) -> pexpect.spawn:
        """Starts a command in a terminal."""
        name, *arguments = shlex.split(command)
        size = (ROWS, COLUMNS)
        return pexpect.spawn(
            name, arguments, cwd=self._folder, env=self._environment, dimensions=size, encoding="utf-8", timeout=600
        )

    def _photograph_ui(self) -> None:
        """Takes the picture of the MLflow UI."""
        server = self._start("trainyard ui")
        server.expect(r"(http://\S+?)(/#\S+)[\s\S]*Ctrl-C")
        address, view = server.match.groups()
        self._browser.get(f"{address}/version")
        self._browser.execute_script(  # else MLflow's assistant covers a third of the page
            "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        self._photograph(_UI[0], f"{address}{view}", seconds=8, size=(1600, 720))
        server.sendintr()
        server.expect(pexpect.EOF)

    def _photograph(
        self, picture: str, address: str, *, seconds: float = 1, size: tuple[int, int] | None = None
    ) -> None:
        """Writes a picture of a page, with 256 colours, after some seconds, unless it was written before."""
        if picture not in self._missing:
            return
        self._missing.remove(picture)
        self._browser.get(address)
        self._set_size(*(size or (WIDTH, MAX_HEIGHT)))
        time.sleep(seconds)  # until everything is drawn
        if size is None:
            self._set_size(WIDTH, min(MAX_HEIGHT, self._browser.execute_script("return document.body.scrollHeight")))
        file = PICTURES / picture
        self._browser.save_screenshot(str(file))
        with Image.open(file) as image:
            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)

    def _set_size(self, width: int, height: int) -> None:
        """Sets the size of the visible part of the page."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def _render_terminal(command: str, screen: pyte.Screen) -> str:
    """Returns an HTML page that looks like the terminal, with the command above its output."""
    last = max(row for row, line in enumerate(screen.display) if line.strip())
    lines = [
        "".join(
            f'<span style="color:{_COLOURS.get(cell.fg, cell.fg)};font-weight:{700 if cell.bold else 400}">'
            f"{html.escape(cell.data)}</span>"
            for cell in (screen.buffer[row][column] for column in range(COLUMNS))
        )
        for row in range(last + 1)
    ]
    look = "margin:0;padding:24px;background:#12202f;color:#d6deeb;font:17px/1.35 monospace;white-space:pre-wrap"
    return (
        '<!doctype html><meta charset="utf-8"><body style="margin:0">'
        f'<pre style="{look}">$ {html.escape(command)}\n{chr(10).join(lines)}</pre>'
    )


@contextlib.contextmanager
def _open_browser() -> Iterator[webdriver.Chrome]:
    """Opens headless Chromium for the duration of the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def main() -> None:
    """Records the tour."""
    with tempfile.TemporaryDirectory() as temporary, _open_browser() as browser:
        folder = Path(temporary, "trainyard")
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        recorder = Recorder(folder, browser)
        TOUR.write_text(_BLOCK.sub(recorder.record_block, TOUR.read_text()))


if __name__ == "__main__":
    main()
