from __future__ import annotations

import numpy as np
import pytest

from trainyard.config.sections import EvaluationConfig
from trainyard.data.dataset import DataSpec
from trainyard.evaluation.calibration import measure_calibration
from trainyard.evaluation.scoring import score_predictions


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy():
    confidence = np.array([0.95, 0.85, 0.65, 0.55], np.float32)
    calibration = measure_calibration(confidence, np.array([True, False, True, True]), bins=5)
    assert calibration.counts.tolist() == [0, 0, 1, 1, 2]
    assert calibration.accuracy[2:].tolist() == [1.0, 1.0, 0.5]
    assert calibration.confidence[2:] == pytest.approx([0.55, 0.65, 0.9])
    assert np.isnan(calibration.accuracy[:2]).all()
    assert calibration.error == pytest.approx((0.45 + 0.35 + 2 * 0.4) / 4)


def test_edges_belong_to_the_lower_bin_and_every_confidence_has_a_bin():
    calibration = measure_calibration(np.array([0.0, 0.2, 0.4, 1.0], np.float64), np.ones(4, bool), bins=5)
    assert calibration.counts.tolist() == [2, 1, 0, 0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [5, 10, 15, 20, 100])
def test_a_confidence_on_the_upper_edge_of_a_bin_belongs_to_this_bin(bins, dtype):
    for number in range(bins):
        confidence = np.array([(number + 1) / bins], dtype)
        calibration = measure_calibration(confidence, np.array([True]), bins)
        assert np.flatnonzero(calibration.counts).tolist() == [number]


def test_confidences_on_an_edge_are_not_averaged_with_those_above_it():
    """Half of the predictions have the confidence 0.6 and are correct; of the other half, at 0.65, a quarter is."""
    confidence = np.repeat(np.array([0.6, 0.65], np.float32), 400)
    correct = np.arange(800) < 500
    expected = 0.5 * (1 - 0.6) + 0.5 * (0.65 - 0.25)
    assert measure_calibration(confidence, correct, 10).error == pytest.approx(expected, abs=1e-6)


def test_calibrated_confidences_have_no_error():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.1, 1, 200_000).astype(np.float32)
    assert measure_calibration(confidence, generator.uniform(size=200_000) < confidence, 15).error < 0.005
    assert measure_calibration(
        confidence, generator.uniform(size=200_000) < confidence - 0.1, 15
    ).error == pytest.approx(0.1, abs=0.005)


def _score(probabilities, actual, **settings):
    array = np.array(probabilities, np.float32)
    spec = DataSpec((2, 2), tuple("abcdefghij"[: array.shape[1]]), 255)
    return score_predictions(array, np.array(actual, np.uint8), spec, EvaluationConfig(**settings))


def test_top_k_accuracy_requires_more_than_k_classes():
    probabilities = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7]]
    result = _score(probabilities, [0, 1, 0, 2], top_k=2)
    assert result.metrics()["accuracy_top2/test"] == 0.75
    assert "accuracy_top5/test" not in _score(probabilities, [0, 1, 0, 2]).metrics()


def test_roc_auc_for_two_and_more_classes():
    two = _score([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], [0, 0, 1, 1])
    assert two.metrics()["roc_auc/test"] == 0.75
    three = _score(np.eye(3) * 0.7 + 0.1, [0, 1, 2])
    assert three.roc_auc == 1.0
    assert _score(np.eye(3) * 0.7 + 0.1, [0, 1, 1]).roc_auc is None
