"""The digits that are always there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainyard.config.registry import register_dataset
from trainyard.config.schema import DatasetConfig
from trainyard.data.dataset import Dataset, DataSpec, Split, stratified_sample

DIGITS_TEST_IMAGES = 360
"""A fifth of scikit-learn's 1,797 digits."""

_SPEC = DataSpec(image_shape=(8, 8), class_names=tuple("0123456789"), pixel_max=16)


@register_dataset("digits")
@dataclass(kw_only=True, slots=True)
class Digits(DatasetConfig):
    """The 1,797 digits of 8 x 8 pixels that scikit-learn brings along (UCI, Alpaydin and Kaynak, 1998)."""

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int]:
        """8 x 8 pixels, ten classes."""
        return _SPEC.image_shape, _SPEC.classes

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - there is nothing to wait for
        """Loads the digits; see `DatasetConfig.load`. A fixed, stratified fifth of them is the test set."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        everything = Split(digits.images.astype(np.uint8), digits.target.astype(np.uint8))
        in_test = np.zeros(len(everything), dtype=bool)
        in_test[stratified_sample(everything.labels, DIGITS_TEST_IMAGES, seed=0)] = True
        return Dataset(
            name="digits",
            spec=_SPEC,
            train=everything.take(np.flatnonzero(~in_test)),
            test=everything.take(np.flatnonzero(in_test)),
            source="scikit-learn",
        )
