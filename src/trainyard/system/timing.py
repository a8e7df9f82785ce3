"""How long each stage of a run takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from trainyard.system.progress import Progress


@dataclass(slots=True)
class StageClock:
    """Measures the stages of a run. `seconds` holds those that are done, in order."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the block as a stage and tells the progress that it begins."""
        self.progress.stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began

    def split(self, name: str, **parts: float) -> None:
        """Replaces a stage by its parts, in seconds."""
        del self.seconds[name]
        self.seconds.update(parts)

    @property
    def total(self) -> float:
        """The seconds since the clock was made."""
        return time.perf_counter() - self.began

    def metrics(self) -> dict[str, float]:
        """Returns the stages and the total so far, in seconds, under the names they are logged by."""
        stages = {f"time/{name}_seconds": seconds for name, seconds in self.seconds.items()}
        return {**stages, "time/total_seconds": self.total}
