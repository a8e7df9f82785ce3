"""Saves the model of the best epoch, in addition to the model of the last epoch.

The best epoch is computed from the history alone, so a resumed training selects the same epoch as an uninterrupted one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.system import atomic_write

if TYPE_CHECKING:
    import keras

BEST_MODEL = "best.keras"


@dataclass(frozen=True, slots=True)
class BestModel:
    """The metric that selects the best epoch, and the file of its model."""

    monitor: str
    """The metric, for example ``loss/val``. The lowest loss is the best, and the highest accuracy."""
    file: Path
    previous_file: Path | None = None
    """The best model of the run that is resumed, or None."""

    def find_best_epoch(self, history: Sequence[Mapping[str, float]]) -> int:
        """Returns the best epoch, counted from 1. If several epochs are equally good, returns the first."""
        values = [metrics[self.monitor] for metrics in history]
        return values.index((min if self.monitor.startswith("loss") else max)(values)) + 1

    def describe(self, history: Sequence[Mapping[str, float]]) -> str:
        """Returns the best epoch as text: ``'3, by loss/val 0.0813'``."""
        epoch = self.find_best_epoch(history)
        return f"{epoch}, by {self.monitor} {history[epoch - 1][self.monitor]:.6g}"


def build_best_model_saver(
    best: BestModel, history: Sequence[Mapping[str, float]], report: Callable[[str], None]
) -> keras.callbacks.Callback:
    """Builds the callback that saves the model after each epoch that is the best so far.

    It must follow the checkpointer in the list of callbacks: if the training is interrupted between the two, the
    resumed training restores the checkpoint and saves the best model again. Another callback appends to `history`.
    `report` is called with a message if the best model of the resumed run is missing.
    """
    import keras

    class BestModelSaver(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            """Saves or copies the best model of a resumed run, or reports that it is not available."""
            if not history:
                return
            if best.find_best_epoch(history) == len(history):
                self._save()
            elif best.previous_file and best.previous_file.is_file():
                with atomic_write(best.file) as partial:
                    shutil.copy2(best.previous_file, partial)
            else:
                report(
                    f"{best.file.name}: the best epoch so far is {best.find_best_epoch(history)}, but its model is not "
                    "available from the resumed run. The file is written when a later epoch is better"
                )

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if best.find_best_epoch(history) == epoch + 1:
                self._save()

        def _save(self) -> None:
            with atomic_write(best.file) as partial:
                self.model.save(partial)

    return BestModelSaver()
