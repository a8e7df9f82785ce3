from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from trainyard.config import registry, schema
from trainyard.config.compose import compose_config
from trainyard.data.dataset import DataSpec
from trainyard.errors import ConfigError
from trainyard.evaluation.scoring import score_predictions

SPEC = DataSpec((2, 2), ("a", "b", "c"), 255)
PROBABILITIES = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]] * 0.7 + 0.1
LABELS = np.array([0, 1, 2, 2], np.uint8)


def test_additional_metrics_are_computed_if_selected():
    config = compose_config(["evaluation.metrics=[balanced_accuracy,cohen_kappa,matthews_corrcoef]"]).evaluation
    metrics = score_predictions(PROBABILITIES, LABELS, SPEC, config).metrics()
    assert metrics["balanced_accuracy/test"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert metrics["cohen_kappa/test"] == pytest.approx((0.75 - 0.3125) / (1 - 0.3125))
    assert 0.6 < metrics["matthews_corrcoef/test"] < 0.75
    assert "cohen_kappa/test" not in score_predictions(PROBABILITIES, LABELS, SPEC).metrics()


def test_an_unknown_metric_is_rejected_with_a_suggestion():
    with pytest.raises(
        ConfigError, match=r"evaluation\.metrics: unknown metric 'kohen_kappa'\. Did you mean 'cohen_kap"
    ):
        compose_config(["evaluation.metrics=[kohen_kappa]"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f1 weighted", "expected a name of letters"),
        ("accuracy", "this name is reserved"),
        ("cohen_kappa", "registered twice, by trainyard.evaluation.optional_metrics and"),
    ],
)
def test_names_of_metrics_are_checked(name, message):
    with pytest.raises(ConfigError, match=message):
        registry.register_metric(name)(lambda probabilities, labels: 1.0)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (lambda probabilities, labels: float("nan"), "is undefined for these predictions: nan"),
        (lambda probabilities, labels: float("-inf"), "is undefined for these predictions: -inf"),
        (lambda probabilities, labels: 1 / 0, "failed: ZeroDivisionError: division by zero"),
        (lambda probabilities, labels: None, "failed: TypeError: .*NoneType"),
    ],
    ids=["nan", "infinite", "exception", "no number"],
)
def test_a_metric_without_a_value_is_left_out_with_its_reason(monkeypatch, metric, reason):
    monkeypatch.setitem(registry._metrics, "broken", metric)
    config = compose_config(["evaluation.metrics=[broken,cohen_kappa]"]).evaluation
    result = score_predictions(PROBABILITIES, LABELS, SPEC, config)
    assert {"broken/test", "cohen_kappa/test"} & set(result.metrics()) == {"cohen_kappa/test"}
    undefined = result.undefined_metrics["broken"]
    assert re.match(reason, undefined.reason)
    assert ("Traceback" in undefined.traceback) == reason.startswith("failed")


def test_warnings_of_scikit_learn_in_a_metric_are_recorded_and_not_printed(monkeypatch):
    """No test image has class 2: balanced accuracy has a value, the area under the ROC curve has none."""
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    def balanced(probabilities, labels):
        return balanced_accuracy_score(labels, probabilities.argmax(axis=1))

    monkeypatch.setitem(registry._metrics, "balanced", balanced)
    monkeypatch.setitem(registry._metrics, "owl_auc", lambda p, labels: roc_auc_score(labels == 2, p[:, 2]))
    config = compose_config(["evaluation.metrics=[balanced,owl_auc,cohen_kappa]"]).evaluation
    with warnings.catch_warnings(record=True) as printed:
        warnings.simplefilter("default")
        result = score_predictions(PROBABILITIES, np.array([0, 1, 1, 0], np.uint8), SPEC, config)
    assert printed == []
    assert result.extra_metrics["balanced"] == 0.75
    assert list(result.undefined_metrics) == ["owl_auc"]
    assert result.metric_warnings["balanced"] == ["UserWarning: y_pred contains classes not in y_true"]
    (message,) = result.metric_warnings["owl_auc"]
    assert message.startswith("UndefinedMetricWarning: Only one class is present")


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_scores_of_test_sets_without_images_of_a_class_do_not_warn(classes):
    """Warnings are errors in the tests."""
    generator = np.random.default_rng(classes)
    spec = DataSpec((2, 2), tuple(f"c{label}" for label in range(classes)), 255)
    config = compose_config(["evaluation.metrics=[balanced_accuracy,cohen_kappa,matthews_corrcoef]"]).evaluation
    for images in (1, 2, 30):
        probabilities = generator.dirichlet(np.ones(classes), images).astype(np.float32)
        for absent in range(classes):
            labels = generator.choice([label for label in range(classes) if label != absent], images)
            result = score_predictions(probabilities, labels.astype(np.uint8), spec, config)
            assert f"c{absent}" in result.classes_without_images
            assert result.metric_warnings == {}


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_lack_of_memory_and_interrupts_in_a_metric_are_raised(monkeypatch, error):
    def fail(probabilities, labels):
        raise error

    monkeypatch.setitem(registry._metrics, "broken", fail)
    config = compose_config(["evaluation.metrics=[broken]"]).evaluation
    with pytest.raises(error):
        score_predictions(PROBABILITIES, LABELS, SPEC, config)


@pytest.mark.parametrize(
    ("labels", "predicted", "expected"),
    [
        ([0, 0], [0, 0], {"balanced_accuracy": 1.0, "matthews_corrcoef": 0.0}),
        ([0, 0], [1, 1], {"balanced_accuracy": 0.0, "cohen_kappa": 0.0, "matthews_corrcoef": 0.0}),
        ([0, 0], [0, 1], {"balanced_accuracy": 0.5, "cohen_kappa": 0.0, "matthews_corrcoef": 0.0}),
        ([0, 1], [1, 1], {"balanced_accuracy": 0.5, "cohen_kappa": 0.0, "matthews_corrcoef": 0.0}),
    ],
)
def test_built_in_metrics_of_one_class_do_not_warn(labels, predicted, expected):
    config = compose_config(["evaluation.metrics=[balanced_accuracy,cohen_kappa,matthews_corrcoef]"]).evaluation
    probabilities = np.eye(3, dtype=np.float32)[predicted]
    result = score_predictions(probabilities, np.array(labels, np.uint8), SPEC, config)
    assert result.extra_metrics == expected
    assert set(result.undefined_metrics) == {"balanced_accuracy", "cohen_kappa", "matthews_corrcoef"} - set(expected)


def test_a_component_name_cannot_be_registered_twice():
    class Mlp(schema.ModelConfig):
        def build(self, spec):
            raise NotImplementedError

    Mlp.__qualname__ = "Mlp"
    with pytest.raises(ConfigError, match=r"model/mlp: registered twice, by trainyard\.models\.mlp and"):
        registry.register_model("mlp")(Mlp)
