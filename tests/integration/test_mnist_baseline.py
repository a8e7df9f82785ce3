"""Runs the published baseline on the real data from the command line, and reads the results from MLflow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from processes import run_trainyard

from trainyard.config.compose import compose_config
from trainyard.config.serialization import flatten_config, hash_config, load_config
from trainyard.data import Mnist
from trainyard.system.environment import hash_weights
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect

pytestmark = pytest.mark.slow

SUPPORTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

ARTIFACTS = {
    "config.yaml", "model.h5", "model.keras", "checksums.txt", "model_summary.txt", "classification_report.txt", "confusion_matrix.png",
    "learning_curves.png", "predictions.png", "preprocessing.json", "report.html",
    "evaluation/metrics.json", "evaluation/per_class.json", "evaluation/confusion_matrix.json",
    "evaluation/first_predictions.json", "evaluation/mistakes.png", "evaluation/calibration.png", "evaluation/test_predictions.npz",
    "environment/versions.txt", "environment/machine.json", "environment/overrides.yaml",
}  # fmt: skip


@pytest.fixture(scope="module")
def baseline(mnist_folder, tmp_path_factory, keras):
    """Returns the finished run: its printed output, and the run as MLflow's client loads it."""
    folder = tmp_path_factory.mktemp("baseline")
    overrides = ["experiment=mnist_baseline", f"dataset.path={mnist_folder}"]
    done = run_trainyard("train", *overrides, folder=folder, timeout=1200)
    assert done.returncode == 0, done.stderr
    client = connect(build_sqlite_uri(folder / "mlflow.db"))
    experiment = client.get_experiment_by_name("mnist_baseline")
    (run,) = client.search_runs([experiment.experiment_id])
    files = Path(client.download_artifacts(run.info.run_id, "", tmp_path_factory.mktemp("artifacts")))
    return SimpleNamespace(
        printed=done.stdout,
        client=client,
        experiment=experiment,
        run=run,
        files=files,
        config=compose_config(overrides),
        overrides=overrides,
        data=Mnist(path=str(mnist_folder)).load(progress=False),
        folder=folder,
    )


def test_the_run_is_finished_with_the_expected_accuracy(baseline):
    assert baseline.run.info.status == "FINISHED"
    assert baseline.run.info.run_name == "300x200x100 relu seed0"
    accuracy = baseline.run.data.metrics["accuracy/test"]
    assert 0.970 <= accuracy <= 0.988


def test_params_contain_the_config(baseline):
    params = baseline.run.data.params
    assert set(params) == (set(flatten_config(baseline.config)) - {"notes"}) | {"model.layers", "model.parameters"}
    assert params["model.hidden_units"] == "[300, 200, 100]"
    assert params["model.parameters"] == "316810"
    assert params["model.layers"] == "4"
    assert params["optimizer.learning_rate"] == "0.001"
    assert (params["training.epochs"], params["training.batch_size"]) == ("10", "32")


def test_metrics_per_epoch_have_ten_steps(baseline):
    for name in ("loss/train", "accuracy/train", "learning_rate/value", "time/epoch_seconds"):
        history = baseline.client.get_metric_history(baseline.run.info.run_id, name)
        assert sorted(metric.step for metric in history) == list(range(1, 11)), name
    assert "loss/val" not in baseline.run.data.metrics


def test_metrics_of_the_run_are_logged_once(baseline):
    stages = ("total", "load", "compile", "train", "evaluate", "log")
    names = [f"time/{stage}_seconds" for stage in stages]
    names += ["loss/test", "accuracy/test", "f1_macro/test", "precision_macro/test", "recall_macro/test"]
    names += [f"{score}_by_class/{digit}" for score in ("f1", "precision", "recall") for digit in range(10)]
    for name in names:
        (metric,) = baseline.client.get_metric_history(baseline.run.info.run_id, name)
        assert (metric.step, np.isfinite(metric.value)) == (0, True), name


def test_tags_describe_the_provenance(baseline):
    tags = baseline.run.data.tags
    for name in (
        "host",
        "pid",
        "started",
        "trainyard.version",
        "weights_digest",
        "dataset_digest",
        "mlflow.note.content",
    ):
        assert tags[name], name
    assert tags["trainyard.role"] == "run"
    assert tags["config_hash"] == hash_config(baseline.config)
    assert tags["dataset_digest"] == baseline.data.digest
    assert (tags["seed"], tags["threads"]) == ("0", str(len(os.sched_getaffinity(0))))
    assert tags["engine"].startswith("compiled: ")
    assert tags["xla"].startswith("on: ")
    assert tags["determinism"] == "seeded"
    assert Path(tags["trainyard.folder"]).is_dir()
    assert "experiment=mnist_baseline" in tags["command"]
    assert "error" not in tags


def test_the_data_set_is_logged(baseline):
    inputs = {entry.tags[0].value: entry.dataset for entry in baseline.run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "test"}
    assert inputs["train"].name == "mnist"
    assert inputs["train"].digest == baseline.data.train.digest[:36]
    assert json.loads(inputs["test"].profile) == {"images": 10000, "image_shape": [28, 28], "classes": 10}


def test_every_artifact_is_logged_with_the_correct_content(baseline):
    logged = {str(path.relative_to(baseline.files)) for path in baseline.files.rglob("*") if path.is_file()}
    assert logged - {"environment/git.diff"} == ARTIFACTS
    assert load_config(baseline.files / "config.yaml") == baseline.config
    assert yaml.safe_load((baseline.files / "environment/overrides.yaml").read_text()) == baseline.overrides
    for path in baseline.files.rglob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((baseline.files / "evaluation/metrics.json").read_text()) == pytest.approx(
        {
            name: baseline.run.data.metrics[name]
            for name in baseline.run.data.metrics
            if "_by_class/" in name or "/test" in name
        }
    )
    matrix = np.array(json.loads((baseline.files / "evaluation/confusion_matrix.json").read_text())["matrix"])
    assert matrix.sum(axis=1).tolist() == SUPPORTS
    assert np.trace(matrix) / 10000 == baseline.run.data.metrics["accuracy/test"]
    assert "316,810" in (baseline.files / "model_summary.txt").read_text()
    assert "tensorflow==" in (baseline.files / "environment/versions.txt").read_text()
    assert "<img" in (baseline.files / "report.html").read_text()


def test_the_report_is_printed_in_the_published_layout(baseline):
    report = (baseline.files / "classification_report.txt").read_text()
    assert report.rstrip() in baseline.printed
    rows = [line.split() for line in report.splitlines() if line.strip()]
    assert rows[0] == ["precision", "recall", "f1-score", "support"]
    assert [row[0] for row in rows[1:11]] == [str(digit) for digit in range(10)]
    assert [int(row[4]) for row in rows[1:11]] == SUPPORTS
    assert [" ".join(row[:2]) for row in rows[12:]] == ["macro avg", "weighted avg"]


def test_the_first_ten_predictions_are_printed(baseline):
    assert "actual    7 2 1 0 4 1 4 9 5 9" in baseline.printed
    first = json.loads((baseline.files / "evaluation/first_predictions.json").read_text())
    assert " ".join(row["predicted"] for row in first) in baseline.printed


def test_all_saved_models_make_the_same_predictions(baseline, keras):
    import mlflow

    raw = baseline.data.test.images[:1000]
    scaled = raw / np.float32(255)
    keras_model = keras.models.load_model(baseline.files / "model.keras")
    h5_model = keras.models.load_model(baseline.files / "model.h5")
    assert hash_weights(keras_model) == hash_weights(h5_model) == baseline.run.data.tags["weights_digest"]
    assert [type(layer).__name__ for layer in h5_model.layers] == ["Flatten", "Dense", "Dense", "Dense", "Dense"]
    expected = keras_model.predict_on_batch(scaled)
    assert np.array_equal(h5_model.predict_on_batch(scaled), expected)
    assert (
        int(keras_model.optimizer.iterations.numpy()) == 18750
    )  # ten epochs of 1,875 steps: the optimizer state is saved

    (output,) = baseline.run.outputs.model_outputs
    logged = baseline.client.get_logged_model(output.model_id)
    assert (logged.name, logged.status.value) == ("300x200x100 relu seed0", "READY")
    assert {metric.key for metric in logged.metrics} >= {"accuracy/test", "loss/test"}
    mlflow.set_tracking_uri(build_sqlite_uri(baseline.folder / "mlflow.db"))
    try:
        served = mlflow.pyfunc.load_model(logged.model_uri)
    finally:
        mlflow.set_tracking_uri(None)
    assert np.allclose(served.predict(raw), expected, atol=1e-6)
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, 28, 28)

    saved = np.load(baseline.files / "evaluation/test_predictions.npz")
    assert np.array_equal(saved["predicted"][:1000], expected.argmax(axis=1))
    assert np.array_equal(saved["actual"], baseline.data.test.labels)


def test_the_experiment_has_a_description_and_a_view(baseline):
    tags = baseline.experiment.tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "accuracy/test" in tags["mlflow.note.content"]
    state = json.loads(json.loads(tags["mlflow.sharedViewState.trainyard"])["state"])
    assert "metrics.`accuracy/test`" in state["selectedColumns"]
    assert len(tags["mlflow.sharedViewState.trainyard"]) <= 20_000
    assert baseline.experiment.artifact_location.startswith("file:///")
