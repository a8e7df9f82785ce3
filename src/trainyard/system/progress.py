"""Progress notifications of a run, and the duration of its stages.

The command line displays the progress; Python programs can subclass `Progress`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class Progress:
    """Receives the progress of a run and ignores it. Subclasses override the methods whose events they display."""

    downloads = False
    """Whether downloads show their own progress bar."""

    def stage(self, name: str) -> None:
        """Called when a stage of the run begins: ``'load'``, ``'build'``, ``'train'``, ..."""

    def detail(self, text: str) -> None:
        """Called with one line of information about the current stage."""

    def step(self, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Called during an epoch, when `step` of `steps` in `epoch` of `epochs` is done. All are counted from 1."""

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Called at the end of an epoch. Metrics have their logged names, such as ``'loss/train'``."""


@dataclass(slots=True)
class StageTimer:
    """Measures the stages of a run, and reports each to the progress display when it begins."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    """The duration of each completed stage, in order."""
    started_at: float = field(default_factory=time.perf_counter)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the block as a stage, and notifies the progress display that it begins."""
        self.progress.stage(name)
        started_at = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started_at

    def split(self, name: str, **parts: float) -> None:
        """Replaces a stage with its parts, in seconds."""
        del self.seconds[name]
        self.seconds.update(parts)

    @property
    def total(self) -> float:
        """The seconds since this timer was created."""
        return time.perf_counter() - self.started_at

    def metrics(self) -> dict[str, float]:
        """Returns the seconds per stage and in total, under the names of the logged metrics."""
        stages = {f"time/{name}_seconds": seconds for name, seconds in self.seconds.items()}
        return {**stages, "time/total_seconds": self.total}
