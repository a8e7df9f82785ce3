"""What Acme adds to Trainyard: a data set, a model, an optimizer and a metric, each under a name for configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainyard.config.fields import setting
from trainyard.config.registry import register_dataset, register_metric, register_model, register_optimizer
from trainyard.config.schema import DatasetConfig, ModelConfig
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.training.optimizers import Sgd


@register_dataset("stripes")
@dataclass(kw_only=True, slots=True)
class Stripes(DatasetConfig):
    """Stripes that lie or stand, in noise."""

    images: int = setting(200, ge=20)
    """How many training images; a quarter as many to test."""
    noise: float = setting(0.2, ge=0, le=1)
    """The share of noise in a pixel."""

    def load(self, progress: bool) -> Dataset:
        generator = np.random.default_rng(0)

        def draw(count: int) -> Split:
            labels = (np.arange(count) % 2).astype(np.uint8)
            lying = np.tile(np.arange(8)[:, None] % 2, (count, 1, 8))
            clean = np.where(labels[:, None, None] == 0, lying, lying.transpose(0, 2, 1))
            noisy = (1 - self.noise) * clean + self.noise * generator.random(clean.shape)
            return Split((255 * noisy).astype(np.uint8), labels)

        spec = DataSpec(image_shape=(8, 8), class_names=("lying", "standing"), pixel_max=255)
        return Dataset(name="stripes", spec=spec, train=draw(self.images), test=draw(self.images // 4), source="acme")


@register_model("linear")
@dataclass(kw_only=True, slots=True)
class Linear(ModelConfig):
    """Logistic regression."""

    l2: float = setting(0.0, ge=0)
    """The weight of the L2 penalty."""

    def build(self, spec: DataSpec):
        import keras

        output = keras.layers.Dense(spec.classes, "softmax", kernel_regularizer=keras.regularizers.L2(self.l2))
        return keras.Sequential([keras.layers.Input(spec.image_shape), keras.layers.Flatten(), output])


@register_optimizer("heavy_ball")
@dataclass(kw_only=True, slots=True)
class HeavyBall(Sgd):
    """Gradient descent with a lot of momentum: a component of Trainyard with another default."""

    keras_class: ClassVar[str] = "SGD"
    momentum: float = setting(0.95, ge=0, lt=1)
    """The share of the last step that is carried into the next."""


@register_metric("worst_recall")
def worst_recall(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the recall of the class that is told worst."""
    right = probabilities.argmax(axis=1) == labels
    return min(float(right[labels == label].mean()) for label in np.unique(labels))
