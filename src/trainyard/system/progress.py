"""Progress notifications of a run. The command line displays them; Python programs can subclass `Progress`."""

from __future__ import annotations

from collections.abc import Mapping


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
