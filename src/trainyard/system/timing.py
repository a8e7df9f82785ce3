"""Measures the duration of the stages of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from trainyard.system.progress import Progress


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
