"""The losses that a config can select, ``loss=focal``. They compare labels with predicted probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config import LossConfig, register_loss, setting

if TYPE_CHECKING:
    import keras


@register_loss("cross_entropy")
@dataclass(kw_only=True, slots=True)
class CrossEntropy(LossConfig):
    """Categorical cross-entropy, optionally with label smoothing."""

    label_smoothing: float = setting(0.0, ge=0, lt=1)
    """Fraction of each target that is spread evenly over all classes (Szegedy et al., 2015). 0 disables smoothing."""

    @property
    def one_hot(self) -> bool:
        """Whether targets are one-hot vectors. Keras smooths only one-hot targets."""
        return self.label_smoothing > 0

    def build(self) -> keras.losses.Loss:
        """Builds `SparseCategoricalCrossentropy`, or `CategoricalCrossentropy` if labels are smoothed."""
        import keras

        if self.one_hot:
            return keras.losses.CategoricalCrossentropy(label_smoothing=self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy()


@register_loss("focal")
@dataclass(kw_only=True, slots=True)
class Focal(LossConfig):
    """Focal loss: cross-entropy that down-weights images that are already classified well (Lin et al., 2017)."""

    gamma: float = setting(2.0, ge=0)
    """Focusing parameter: higher values down-weight well-classified images more. 0 gives plain cross-entropy."""
    label_smoothing: float = setting(0.0, ge=0, lt=1)
    """Fraction of each target that is spread evenly over all classes (Szegedy et al., 2015). 0 disables smoothing."""

    @property
    def one_hot(self) -> bool:
        """Always true: Keras implements the focal loss for one-hot targets."""
        return True

    def build(self) -> keras.losses.Loss:
        """Builds `keras.losses.CategoricalFocalCrossentropy` with equal weights for all classes."""
        import keras

        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=self.gamma, label_smoothing=self.label_smoothing
        )
