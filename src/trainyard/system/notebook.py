"""Support for notebooks: progress bars, as a widget where ipywidgets is installed, else as text that updates."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from trainyard.system.progress import Progress

_SHOWN_METRICS = ("loss/train", "accuracy/train", "loss/val", "accuracy/val")


def is_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook, not only a program that imported IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def hide_notebook_output() -> AbstractContextManager[object]:
    """Returns a context manager that discards what the block displays in a notebook, such as empty output of Rich."""
    if not is_notebook():
        return nullcontext()
    from IPython.utils.capture import capture_output

    hidden: AbstractContextManager[object] = capture_output()
    return hidden


def open_progress_bar(total: int, description: str) -> Any:  # noqa: ANN401 - a tqdm bar
    """Opens a progress bar over a number of steps, with a description before the bar."""
    if is_notebook() and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    return tqdm(total=total, desc=description, file=sys.stdout)


class BarProgress(Progress):
    """Shows the epochs of a run as one progress bar, with the metrics of the last epoch."""

    def __init__(self) -> None:
        self._bar: Any = None

    def stage(self, name: str) -> None:
        """Closes the bar when the training has ended, which may be before the last epoch."""
        if self._bar is not None and name != "train":
            self._bar.close()
            self._bar = None

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Advances the bar by an epoch, and shows its metrics."""
        if self._bar is None:
            self._bar = open_progress_bar(epochs, "epochs")
        shown = {name: f"{metrics[name]:.4f}" for name in _SHOWN_METRICS if name in metrics}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(epoch - self._bar.n)


def build_default_progress() -> Progress:
    """Returns the progress of calls that do not specify one: a bar in a notebook, nothing elsewhere."""
    return BarProgress() if is_notebook() else Progress()
