"""What Hydra runs for ``trainyard train``: one run a job, in this process or, with ``hydra/launcher=fork``, its own.

Before it: run, screen, sweep.pool. After it: train, which hands this to Hydra.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from trainyard.cli.screen import ScreenProgress, print_error, print_heading, print_result
from trainyard.compose import to_run_config
from trainyard.errors import TrackingError, TrainyardError
from trainyard.interrupts import signals_raise
from trainyard.registry import load_plugins
from trainyard.sweep.pool import report


class RunTask:
    """A task function for Hydra, which keeps the failure of a job from Hydra: it would end the others.

    Attributes:
        exit_code: What the jobs so far came to.
        done: A line for each that came to its end: test accuracy and overrides.
        failed: The overrides of those that failed.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self.done: list[str] = []
        self.failed: list[str] = []
        self._overrides: dict[int, str] = {}
        self._stores: dict[int, str | None] = {}

    @signals_raise()
    def __call__(self, tree: DictConfig) -> None:
        """Runs one job, and tells how it went. In a process of its own a failure is handed on, to be told there."""
        from trainyard.run import run_experiment

        load_plugins()  # in a process of its own they are not yet
        job = HydraConfig.get()
        overrides = list(job.overrides.task)
        folder = Path(job.runtime.output_dir)
        if job.mode == RunMode.MULTIRUN:
            print_heading(f"Run {job.job.num + 1}: {' '.join(overrides)}")
        try:
            with ScreenProgress() as progress:
                config = to_run_config(tree)
                report(("store", config.tracking.resolve_uri(os.environ, Path.cwd())))
                result = run_experiment(config, folder=folder, progress=progress, overrides=overrides)
            print_result(result)
            accuracy, seconds = result.evaluation.accuracy, result.timings["total"]
            self.done.append(f"{accuracy:.4f}  {' '.join(overrides)}")
            report(("result", (accuracy, f"{seconds:.1f} s, files in {os.path.relpath(folder)}")))
        except KeyboardInterrupt:
            print_error(TrainyardError(f"interrupted: the run is KILLED. Its files are in {os.path.relpath(folder)}"))
            raise
        except Exception as error:
            told = error if isinstance(error, TrainyardError) else TrainyardError(f"{type(error).__name__}: {error}")
            print_error(told)
            if (folder / "error.txt").exists():
                traceback = "" if told is error else ", the traceback in error.txt"
                print_error(TrainyardError(f"the run is FAILED. Its files are in {os.path.relpath(folder)}{traceback}"))
            if multiprocessing.parent_process():
                raise
            self._fail(" ".join(overrides), told.exit_code)

    def job_began(self, number: int, overrides: Sequence[str]) -> None:
        """Tells that a job begins in a process of its own."""
        self._overrides[number] = " ".join(overrides)
        _say(number, "began", self._overrides[number])

    def job_reported(self, number: int, content: tuple[str, Any]) -> None:
        """Takes in where a job is logged, or tells what it came to: its test accuracy, and where its files are."""
        kind, told = content
        if kind == "store":
            self._stores[number] = told
            return
        accuracy, place = told
        self.done.append(f"{accuracy:.4f}  {self._overrides[number]}")
        _say(number, "done", f"accuracy {accuracy:.4f}, {place}", "green")

    def job_ended(self, number: int, failure: str) -> None:
        """Tells how a job failed, where it did; the run of one that was killed is marked so."""
        from trainyard.resume import close_orphans

        if failure:
            _say(number, "failed", failure, "bold red")
            self._fail(self._overrides[number], 1)
            if store := self._stores.get(number):
                try:
                    close_orphans(store)
                except TrackingError as error:
                    print_error(error)

    def _fail(self, overrides: str, exit_code: int) -> None:
        self.exit_code = exit_code
        self.failed.append(overrides or "(no overrides)")


def _say(number: int, what: str, text: str, style: str = "") -> None:
    line = Text(f"run {number + 1:<3} ") + Text(f"{what:7}", style=style) + Text(text)
    Console(soft_wrap=True, highlight=False).print(line)
