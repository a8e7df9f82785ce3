from __future__ import annotations

import numpy as np
import pytest

from trainyard.training.losses import CrossEntropy, Focal

PROBABILITIES = np.array([[0.25, 0.75], [0.9, 0.1]], np.float32)


def test_cross_entropy_is_computed_from_probabilities(keras):
    loss = CrossEntropy()
    assert not loss.one_hot
    assert float(loss.build()(np.array([1, 0]), PROBABILITIES)) == pytest.approx(-np.log([0.75, 0.9]).mean())


def test_label_smoothing_spreads_a_fraction_of_the_target(keras):
    loss = CrossEntropy(label_smoothing=0.2)
    assert loss.one_hot
    expected = -(0.9 * np.log(0.75) + 0.1 * np.log(0.25))
    assert float(loss.build()(np.array([[0.0, 1.0]]), PROBABILITIES[:1])) == pytest.approx(expected)


def test_focal_loss_equals_cross_entropy_for_gamma_0_and_is_lower_otherwise(keras):
    targets = np.eye(2, dtype=np.float32)[[1, 0]]
    plain, focused = (float(Focal(gamma=gamma).build()(targets, PROBABILITIES)) for gamma in (0.0, 2.0))
    assert plain == pytest.approx(-np.log([0.75, 0.9]).mean())
    assert focused == pytest.approx(-(np.log([0.75, 0.9]) * np.square([0.25, 0.1])).mean(), rel=1e-5)
