from __future__ import annotations

import numpy as np
import pytest

from trainyard.data.dataset import DataSpec, Split
from trainyard.errors import TrainingError
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
    assert owl.support == 0
    assert np.isnan([owl.precision, owl.recall, owl.f1]).all()
    assert result.macro.f1 == pytest.approx(1 / 2)
    assert result.weighted.f1 == pytest.approx(0.5)


def test_mistakes_are_sorted_by_confidence():
    result = score_predictions(PROBABILITIES, ACTUAL, SPEC)
    assert result.mistakes(5).tolist() == [3, 2]
    assert result.mistakes(1).tolist() == [3]


def test_metrics_have_their_logged_names():
    metrics = score_predictions(PROBABILITIES, ACTUAL, SPEC).metrics()
    assert metrics["accuracy/test"] == 0.5
    assert metrics["recall_by_class/dog"] == 0.5
    assert len(metrics) == 6 + 2 * 3


def test_class_names_that_become_equal_get_their_label_added():
    actual = np.array([0, 1, 1, 2], np.uint8)
    metrics = score_predictions(PROBABILITIES, actual, DataSpec((2, 2), ("C+", "C#", "a/b"), 255)).metrics()
    names = [name for name in metrics if name.startswith("f1_by_class/")]
    assert names == ["f1_by_class/C_ 0", "f1_by_class/C_ 1", "f1_by_class/a_b"]


def _one_hot(classes, predicted):
    """Returns probabilities whose largest value is that of the predicted class."""
    return np.eye(classes, dtype=np.float32)[predicted] * 0.7 + np.float32(0.3 / classes)


UNDEFINED = float("nan")


@pytest.mark.parametrize(
    ("actual", "predicted", "of_class_2", "macro"),
    [
        ([0, 1, 1], [0, 1, 1], (UNDEFINED, UNDEFINED, UNDEFINED), (1, 1, 1)),
        ([0, 1, 1], [0, 1, 2], (0, UNDEFINED, UNDEFINED), (2 / 3, 3 / 4, 5 / 6)),
        ([0, 1, 2], [0, 1, 1], (0, 0, 0), (1 / 2, 2 / 3, 5 / 9)),
        ([0, 1, 2], [0, 1, 2], (1, 1, 1), (1, 1, 1)),
    ],
    ids=["absent", "absent but predicted", "never predicted", "complete"],
)
def test_undefined_scores_are_left_out_of_averages_and_metrics(actual, predicted, of_class_2, macro):
    result = score_predictions(_one_hot(3, predicted), np.array(actual, np.uint8), SPEC)
    scores = [(row.precision, row.recall, row.f1) for row in (result.per_class[2], result.macro)]
    assert scores == [pytest.approx(of_class_2, nan_ok=True), pytest.approx(macro)]
    metrics = result.metrics()
    assert np.isfinite([*metrics.values()]).all()
    for quantity, value in zip(("precision", "recall", "f1"), of_class_2, strict=True):
        assert (f"{quantity}_by_class/owl" in metrics) == (not np.isnan(value))
    assert result.classes_without_images == ([] if 2 in actual else ["owl"])
    assert ("of 3 classes: owl." in result.describe_absent_classes()) == (2 not in actual)
    assert ("roc_auc/test" in metrics) == (2 in actual)


def test_a_message_lists_at_most_ten_absent_classes():
    spec = DataSpec((2, 2), tuple(f"c{label}" for label in range(300)), 255)
    message = score_predictions(_one_hot(300, [0, 1]), np.array([0, 1], np.uint16), spec).describe_absent_classes()
    assert "298 of 300 classes: c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 and 288 more." in message


@pytest.mark.parametrize("classes", [2, 3, 30, 300])
def test_report_and_averages_are_those_of_scikit_learn_if_every_class_has_images(classes):
    from sklearn.metrics import classification_report, precision_recall_fscore_support

    generator = np.random.default_rng(classes)
    names = tuple("n" * (label % 20) + str(label) for label in range(classes))
    actual = np.concatenate([np.arange(classes), generator.integers(0, classes, 100)]).astype(np.uint16)
    predicted = np.where(generator.random(len(actual)) < 0.5, actual, generator.integers(0, classes, len(actual)))
    result = score_predictions(_one_hot(classes, predicted), actual, DataSpec((2, 2), names, 255))
    arguments = {"labels": range(classes), "zero_division": 0.0}
    assert result.report == classification_report(actual, predicted, target_names=names, digits=2, **arguments)
    for average, scores in (("macro", result.macro), ("weighted", result.weighted)):
        expected = precision_recall_fscore_support(actual, predicted, average=average, **arguments)
        assert (scores.precision, scores.recall, scores.f1) == expected[:3]


def test_the_report_has_the_published_layout():
    lines = score_predictions(PROBABILITIES, ACTUAL, SPEC).report.splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score", "support"]
    assert lines[2].split() == ["cat", "0.50", "0.50", "0.50", "2"]
    assert lines[4].split() == ["owl", "nan", "nan", "nan", "0"]
    assert [line.split()[0] for line in lines[-3:]] == ["accuracy", "macro", "weighted"]


@pytest.mark.parametrize(
    ("classes", "dtype", "logged"), [(100, np.uint8, 300), (101, np.uint8, 0), (256, np.uint8, 0), (257, np.uint16, 0)]
)
def test_labels_of_many_classes_are_uint16_and_their_scores_are_not_metrics(classes, dtype, logged):
    labels = np.arange(classes, dtype=dtype)
    spec = DataSpec((2, 2), tuple(map(str, range(classes))), 255)
    result = score_predictions(_one_hot(classes, labels[::-1].astype(int)), labels, spec)
    assert result.predicted.dtype == dtype
    assert result.predicted.tolist() == labels.tolist()[::-1]
    assert result.confusion.shape == (classes, classes)
    assert len(result.per_class) == classes
    assert sum("_by_class/" in name for name in result.metrics()) == logged


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_raise(value):
    with pytest.raises(TrainingError, match="expected finite probabilities, .* for 1 of 4 test images"):
        score_predictions(np.where(np.float32(0.6) == PROBABILITIES, value, PROBABILITIES), ACTUAL, SPEC)


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
