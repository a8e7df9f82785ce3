"""An example plugin of Trainyard. It registers a data set, a model, an optimizer and a metric for use in configs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainyard.config.fields import setting
from trainyard.config.registry import register_dataset, register_metric, register_model, register_optimizer
from trainyard.config.schema import DatasetConfig, ModelConfig
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.training.optimizers import SGD


@register_dataset("stripes")
@dataclass(kw_only=True, slots=True)
class Stripes(DatasetConfig):
    """Noisy images of horizontal and vertical stripes."""

    images: int = setting(200, ge=20)
    """Number of training images. The number of test images is a quarter of it."""
    noise: float = setting(0.2, ge=0, le=1)
    """Fraction of noise in each pixel."""

    def load(self, progress: bool) -> Dataset:
        generator = np.random.default_rng(0)

        def draw(count: int) -> Split:
            labels = (np.arange(count) % 2).astype(np.uint8)
            horizontal = np.tile(np.arange(8)[:, None] % 2, (count, 1, 8))
            clean = np.where(labels[:, None, None] == 0, horizontal, horizontal.transpose(0, 2, 1))
            noisy = (1 - self.noise) * clean + self.noise * generator.random(clean.shape)
            return Split((255 * noisy).astype(np.uint8), labels)

        spec = DataSpec(image_shape=(8, 8), class_names=("horizontal", "vertical"), pixel_max=255)
        return Dataset(name="stripes", spec=spec, train=draw(self.images), test=draw(self.images // 4), source="acme")


@register_model("linear")
@dataclass(kw_only=True, slots=True)
class Linear(ModelConfig):
    """Logistic regression."""

    l2: float = setting(0.0, ge=0)
    """Weight of the L2 penalty."""

    def build(self, spec: DataSpec):
        import keras

        output = keras.layers.Dense(spec.classes, "softmax", kernel_regularizer=keras.regularizers.L2(self.l2))
        return keras.Sequential([keras.layers.Input(spec.image_shape), keras.layers.Flatten(), output])


@register_optimizer("heavy_ball")
@dataclass(kw_only=True, slots=True)
class HeavyBall(SGD):
    """Gradient descent with high momentum: a subclass of a Trainyard component with another default."""

    momentum: float = setting(0.95, ge=0, lt=1)
    """Fraction of the previous step that is added to the next step."""


@register_metric("worst_recall")
def worst_recall(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the lowest recall of all classes."""
    correct = probabilities.argmax(axis=1) == labels
    return min(float(correct[labels == label].mean()) for label in np.unique(labels))
