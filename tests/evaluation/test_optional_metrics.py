from __future__ import annotations

import numpy as np
import pytest

from trainyard.config import registry, schema
from trainyard.config.compose import compose_config
from trainyard.data.dataset import DataSpec
from trainyard.errors import ConfigError, TrainingError
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


def test_a_metric_that_returns_nan_raises(monkeypatch):
    monkeypatch.setitem(registry._metrics, "broken", lambda probabilities, labels: float("nan"))
    config = compose_config(["evaluation.metrics=[broken]"]).evaluation
    with pytest.raises(TrainingError, match="expected broken to return a finite number, got nan"):
        score_predictions(PROBABILITIES, LABELS, SPEC, config)


def test_the_error_names_the_metric_that_failed(monkeypatch):
    monkeypatch.setitem(registry._metrics, "broken", lambda probabilities, labels: 1 / 0)
    config = compose_config(["evaluation.metrics=[broken]"]).evaluation
    with pytest.raises(TrainingError, match="broken failed: ZeroDivisionError: division by zero"):
        score_predictions(PROBABILITIES, LABELS, SPEC, config)


def test_a_component_name_cannot_be_registered_twice():
    class Mlp(schema.ModelConfig):
        def build(self, spec):
            raise NotImplementedError

    Mlp.__qualname__ = "Mlp"
    with pytest.raises(ConfigError, match=r"model/mlp: registered twice, by trainyard\.models\.mlp and"):
        registry.register_model("mlp")(Mlp)
