"""What a run tells while it goes on. The command line draws it; a notebook or a test may listen, or not."""

from __future__ import annotations

from collections.abc import Mapping


class Progress:
    """Listens to a run and keeps silent. A display derives from it and overrides what it shows."""

    downloads = False
    """Whether a download may draw a bar of its own."""

    def stage(self, name: str) -> None:
        """A stage of the run begins, ``'load'``, ``'build'``, ``'train'``..."""

    def detail(self, text: str) -> None:
        """Something worth a line about the stage that goes on."""

    def step(self, epoch: int, epochs: int, step: int, steps: int) -> None:
        """A part of an epoch is done: `step` of `steps` in `epoch` of `epochs`, all counted from 1."""

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done. The metrics carry their logged names, ``'loss/train'``."""
