"""The model of the best epoch, kept beside that of the last.

The history alone says which epoch is the best, so that a resumed training goes on with the same judgement.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.system.files import whole_file

if TYPE_CHECKING:
    import keras

BEST_MODEL = "best.keras"


@dataclass(frozen=True, slots=True)
class BestModel:
    """Which model is the best, and where it is kept.

    Attributes:
        monitor: The metric, ``loss/val``; of a loss the lowest is the best, of an accuracy the highest.
        file: Where the best epoch's model is kept.
        earlier: The same file of the run that this one goes on from, or None.
    """

    monitor: str
    file: Path
    earlier: Path | None = None

    def epoch(self, history: Sequence[Mapping[str, float]]) -> int:
        """Returns the best epoch, counted from 1; of equals, the first."""
        values = [metrics[self.monitor] for metrics in history]
        return values.index((min if self.monitor.startswith("loss") else max)(values)) + 1

    def describe(self, history: Sequence[Mapping[str, float]]) -> str:
        """Returns the best epoch in words: ``'3, by loss/val 0.0813'``."""
        epoch = self.epoch(history)
        return f"{epoch}, by {self.monitor} {history[epoch - 1][self.monitor]:.6g}"


def build_best_keeper(
    best: BestModel, history: Sequence[Mapping[str, float]], say: Callable[[str], None]
) -> keras.callbacks.Callback:
    """Builds the callback that saves the model after each epoch that is the best so far.

    It must come after the checkpointer: what a checkpoint was written of can be saved anew when the training goes on.

    Args:
        best: Which, and where.
        history: The metrics of every epoch, kept up to date by another callback.
        say: Told where the best model of a resumed training can't be had any more.
    """
    import keras

    class BestKeeper(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if not history:
                return
            if best.epoch(history) == len(history):
                self._save()
            elif best.earlier and best.earlier.is_file():
                with whole_file(best.file) as partial:
                    shutil.copy2(best.earlier, partial)
            else:
                say(f"{best.file.name}: the model of epoch {best.epoch(history)} was not kept, and is lost")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if best.epoch(history) == epoch + 1:
                self._save()

        def _save(self) -> None:
            with whole_file(best.file) as partial:
                self.model.save(partial)

    return BestKeeper()
