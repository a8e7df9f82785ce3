"""The digits of scikit-learn, which need no download."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainyard.config import DatasetConfig, register_dataset
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.loading import draw_stratified_sample

_SPEC = DataSpec(image_shape=(8, 8), class_names=tuple("0123456789"), pixel_max=16)


@register_dataset("digits")
@dataclass(kw_only=True, slots=True)
class Digits(DatasetConfig):
    """1,797 handwritten digits of 8 x 8 pixels, included in scikit-learn (UCI, Alpaydin and Kaynak, 1998)."""

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int]:
        """The shape of an image and the number of classes; see `DatasetConfig.known_shape`."""
        return _SPEC.image_shape, _SPEC.classes

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - no download, so no progress
        """Loads the digits; see `DatasetConfig.load`. The test set is a fixed fifth of them, stratified by class."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        all_digits = Split(digits.images.astype(np.uint8), digits.target.astype(np.uint8))
        in_test = np.zeros(len(all_digits), dtype=bool)
        in_test[draw_stratified_sample(all_digits.labels, 360, seed=0)] = True  # a fifth of the 1,797 images
        train, test = (all_digits.take(np.flatnonzero(mask)) for mask in (~in_test, in_test))
        return Dataset("digits", _SPEC, train, test, source="scikit-learn")
