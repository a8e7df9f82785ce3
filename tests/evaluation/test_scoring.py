from __future__ import annotations

import numpy as np
import pytest

from trainyard.data.dataset import DataSpec, Split
from trainyard.evaluation.scoring import evaluate, predict, score_predictions
from trainyard.models import Mlp

SPEC = DataSpec((2, 2), ("cat", "dog", "owl"), 255)
PROBABILITIES = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]], np.float32)
ACTUAL = np.array([0, 1, 1, 0], np.uint8)


def test_scores_match_those_computed_by_hand():
    result = score_predictions(PROBABILITIES, ACTUAL, SPEC)
    assert result.accuracy == 0.5
    assert result.loss == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.4, 0.1])), abs=1e-6)
    assert result.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    cat, dog, owl = result.per_class
    assert (cat.precision, cat.recall, cat.f1, cat.support) == (0.5, 0.5, 0.5, 2)
    assert (dog.name, dog.support) == ("dog", 2)
    assert (owl.precision, owl.recall, owl.f1, owl.support) == (0, 0, 0, 0)
    assert result.macro.f1 == pytest.approx(1 / 3)
    assert result.weighted.f1 == pytest.approx(0.5)


def test_mistakes_are_sorted_by_confidence():
    result = score_predictions(PROBABILITIES, ACTUAL, SPEC)
    assert result.mistakes(5).tolist() == [3, 2]
    assert result.mistakes(1).tolist() == [3]


def test_metrics_have_their_logged_names():
    metrics = score_predictions(PROBABILITIES, ACTUAL, SPEC).metrics()
    assert metrics["accuracy/test"] == 0.5
    assert metrics["recall_by_class/dog"] == 0.5
    assert len(metrics) == 6 + 3 * 3


def test_class_names_that_become_equal_get_their_label_added():
    metrics = score_predictions(PROBABILITIES, ACTUAL, DataSpec((2, 2), ("C+", "C#", "a/b"), 255)).metrics()
    names = [name for name in metrics if name.startswith("f1_by_class/")]
    assert names == ["f1_by_class/C_ 0", "f1_by_class/C_ 1", "f1_by_class/a_b"]


def test_the_report_has_the_published_layout():
    lines = score_predictions(PROBABILITIES, ACTUAL, SPEC).report.splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score", "support"]
    assert lines[2].split() == ["cat", "0.50", "0.50", "0.50", "2"]
    assert [line.split()[0] for line in lines[-3:]] == ["accuracy", "macro", "weighted"]


def test_predict_accepts_any_number_of_raw_images(keras):
    model = Mlp(hidden_units=[4]).build(SPEC)
    raw = np.random.default_rng(0).integers(0, 256, (1500, 2, 2), dtype=np.uint8)
    expected = model.predict(raw / np.float32(255), verbose=0)
    assert np.allclose(predict(model, raw, SPEC), expected, atol=1e-6)
    result = evaluate(model, Split(raw, np.zeros(1500, np.uint8)), SPEC)
    assert result.predicted.tolist() == expected.argmax(1).tolist()


def test_a_class_can_have_the_name_of_a_row_of_the_report():
    spec = DataSpec((2, 2), ("accuracy", "macro avg"), 255)
    result = score_predictions(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([0, 0], np.uint8), spec)
    assert [scores.name for scores in result.per_class] == ["accuracy", "macro avg"]
    assert result.per_class[0].recall == 0.5
    assert result.accuracy == 0.5
