"""Losses between labels and probabilities.

Before them: the registry. After them: training, which compiles the model with what they build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config.fields import setting
from trainyard.config.registry import register_loss
from trainyard.config.schema import LossConfig

if TYPE_CHECKING:
    import keras


@register_loss("cross_entropy")
@dataclass(kw_only=True, slots=True)
class CrossEntropy(LossConfig):
    """Cross-entropy between labels and probabilities (sparse categorical cross-entropy)."""

    label_smoothing: float = setting(0.0, ge=0, lt=1)
    """The share of each target that is spread evenly over all classes (Szegedy et al., 2015)."""

    @property
    def one_hot(self) -> bool:
        """Keras smooths targets that are one-hot, and no others."""
        return self.label_smoothing > 0

    def build(self) -> keras.losses.Loss:
        """Builds the Keras loss; without smoothing `keras.losses.SparseCategoricalCrossentropy`."""
        import keras

        if self.one_hot:
            return keras.losses.CategoricalCrossentropy(label_smoothing=self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy()


@register_loss("focal")
@dataclass(kw_only=True, slots=True)
class Focal(LossConfig):
    """Cross-entropy that counts images the less the better they are told already (Lin et al., 2017)."""

    gamma: float = setting(2.0, ge=0)
    """How much less such images count; 0: no less, which is cross-entropy."""
    label_smoothing: float = setting(0.0, ge=0, lt=1)
    """The share of each target that is spread evenly over all classes."""

    @property
    def one_hot(self) -> bool:
        """Keras has it for one-hot targets."""
        return True

    def build(self) -> keras.losses.Loss:
        """Builds `keras.losses.CategoricalFocalCrossentropy`, with all classes weighted alike."""
        import keras

        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=self.gamma, label_smoothing=self.label_smoothing
        )
