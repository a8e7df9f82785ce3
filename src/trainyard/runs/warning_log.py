"""Warnings of a run: problems after the training that do not fail it, such as a plot that can't be drawn."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from trainyard.errors import TrainyardError, summarize_error
from trainyard.evaluation import EvalResult
from trainyard.system import explain_disk_full, prefer_interrupt, redact_credentials
from trainyard.tracking import names


class WarningLog:
    """Reports each warning of a run on a line, and appends it, with its traceback, to warnings.txt in the folder."""

    def __init__(self, folder: Path, notify: Callable[[str], None]) -> None:
        self._folder = folder
        self._notify = notify
        self.messages: list[str] = []

    def add(self, message: str, details: str = "") -> None:
        """Reports a warning. `details`, such as a traceback, are only written to the file."""
        self.messages.append(message)
        self._notify(f"warning: {message}")
        file = self._folder / names.WARNINGS_FILE
        with file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(redact_credentials(f"{message}\n{details}\n"))

    def add_evaluation_problems(self, result: EvalResult) -> None:
        """Reports the classes without test images, and the metrics of `evaluation.metrics` without a value.

        The Python warnings of such a metric, for example of scikit-learn, are reported by its name.
        """
        if message := result.describe_absent_classes():
            self.add(message)
        for name, metric in result.undefined_metrics.items():
            self.add(f"evaluation.metrics: {name} {metric.reason}. It is not logged", metric.traceback)
        for name, messages in result.metric_warnings.items():
            for message in messages:
                self.add(f"evaluation.metrics: the function of {name} issued a warning: {message}")

    @contextlib.contextmanager
    def catch(self, file: Path) -> Iterator[None]:
        """Converts an exception in the block, which writes a file to the folder, into a warning.

        The file then does not exist. Errors with another cause than the file are raised: a MemoryError, and a
        TrainyardError, for example of a full disk.
        """
        try:
            with prefer_interrupt(), explain_disk_full(self._folder):
                yield
        except (MemoryError, TrainyardError):
            raise
        except Exception as error:  # noqa: BLE001 - a library that draws may raise anything
            file.unlink(missing_ok=True)
            reason = f"{type(error).__name__}: {summarize_error(error)}"
            name = file.relative_to(self._folder).as_posix()
            self.add(f"{name} is left out, because it can't be written: {reason}", traceback.format_exc())
