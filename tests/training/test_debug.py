"""Debug modes: one batch through every stage, overfitting a few images, profiling a step."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from processes import run_trainyard

from trainyard import TrainingError, run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.serialization import dump_config, hash_config, load_config
from trainyard.data.loading import draw_stratified_sample
from trainyard.system.uris import build_sqlite_uri
from trainyard.training.profiler import PROFILE_FOLDER, describe_trace


def test_one_batch_runs_every_stage_and_is_logged_to_a_separate_experiment(keras, tiny):
    from trainyard.tracking.connection import connect

    config = tiny("debug=one_batch", "dataset.limit=null", "dataset.validation_fraction=0.2", "training.epochs=30",
                  "schedule=cosine", "schedule.warmup_epochs=10", "training.batch_size=50")  # fmt: skip
    result = run_experiment(config)
    sizes = [len(split) for split in (result.dataset.train, result.dataset.validation, result.dataset.test)]
    assert sizes == [50, 50, 50]
    assert len(result.training.history) == 1
    assert result.training.history[0]["learning_rate/value"] == 0  # the first step of a warmup, which rises from 0
    assert "every stage works" in result.findings
    for file in ("model.h5", "report.html", "confusion_matrix.png", "evaluation/metrics.json"):
        assert (result.folder / file).is_file()
    client = connect(result.tracking_uri)
    assert client.get_experiment(result.experiment_id).name == "tiny debug"
    run = client.get_run(result.run_id)
    assert (run.info.status, run.data.params["debug.name"]) == ("FINISHED", "one_batch")


def test_a_debug_mode_changes_the_experiment_unless_it_is_set_and_the_config_hash(tiny):
    assert tiny().experiment == "tiny"
    assert tiny("debug=overfit", "tracking.experiment=mine").experiment == "mine"
    assert hash_config(tiny("debug=one_batch")) != hash_config(tiny())


def test_overfit_passes_if_the_model_memorises_the_images(keras, tiny):
    """Augmentation, early stopping, schedule and weight averaging would prevent it, and are disabled."""
    config = tiny("debug=overfit", "debug.images=20", "augmentation=shift_rotate", "training.early_stopping.patience=0",
                  "dataset.validation_fraction=0.1", "schedule=exponential", "optimizer.use_ema=true",
                  "training.early_stopping.restore_best=false", "tracking=off")  # fmt: skip
    result = run_experiment(config)
    assert len(result.dataset.train) == len(result.dataset.test) == 20
    np.testing.assert_array_equal(result.dataset.train.images, result.dataset.test.images)
    assert result.evaluation.accuracy == 1
    assert 2 < len(result.training.history) < 200
    assert result.training.history[-1]["accuracy/val"] == 1
    assert f"memorised all images in {len(result.training.history)} epochs" in result.findings
    rates = {metrics["learning_rate/value"] for metrics in result.training.history}
    assert rates == {0.001}
    assert load_config(result.folder / "config.yaml") == config  # the logged config is unchanged


def test_overfit_fails_if_a_callback_stops_it_early_and_the_run_logs_all_its_files(keras, tiny):
    from trainyard.tracking.connection import connect

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.raises(
        TrainingError, match=r"memorise all 64 images, .* after 1 epochs. Check optimizer"
    ) as error_info:
        run_experiment(tiny("debug=overfit"), folder="outputs/overfit", callbacks=[Stop()])
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    experiment = client.get_experiment_by_name("tiny debug")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == f"TrainingError: {error_info.value}"
    assert {"learning_curves.png", "report.html"} <= {item.path for item in client.list_artifacts(run.info.run_id)}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_profile_writes_a_trace_and_reports_how_to_open_it(keras, tiny, engine):
    config = tiny("debug=profile", "debug.steps=4", f"training.engine={engine}", "tracking=off", "training.epochs=1",
                  "dataset.validation_fraction=0.2")  # fmt: skip
    result = run_experiment(config)
    assert len(result.dataset.train) == 4 * 32
    assert len(result.training.history) == 2
    (trace,) = (result.folder / PROFILE_FOLDER).rglob("*.xplane.pb")
    assert b"hidden_1" in trace.read_bytes()
    assert f"tensorboard --logdir {result.folder / PROFILE_FOLDER}" in result.findings
    assert f"run={trace.parent.name}&" in result.findings


def test_a_missing_trace_raises(tmp_path):
    with pytest.raises(TrainingError, match="expected a trace"):
        describe_trace(tmp_path)


def test_profile_uses_all_images_if_there_are_fewer_than_requested():
    config = compose_config(["debug=profile", "training.batch_size=64"])
    from trainyard.data import load_dataset

    dataset = load_dataset(config.dataset, 0, progress=False)
    reduced = config.debug.reduce_dataset(dataset, 5000, 0)
    assert len(reduced.train) == len(dataset.train)
    assert len(config.debug.reduce_dataset(dataset, 64, 0).train) == len(dataset.train) // 64 * 64


def test_a_stratified_sample_depends_on_the_seed():
    labels = np.repeat(np.arange(4, dtype=np.uint8), 25)
    first, repeated, other = (draw_stratified_sample(labels, 20, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, repeated)
    assert not np.array_equal(first, other)


def test_the_fields_of_a_debug_mode_are_in_the_config():
    assert "images: 7" in dump_config(compose_config(["debug=overfit", "debug.images=7"]))


SMALL = ("train", "dataset.limit=300", "model.hidden_units=[16]", "training.xla=off", "tracking=off")


@pytest.mark.slow
def test_the_command_shows_how_to_open_the_trace_and_the_best_epoch():
    profile = ("debug=profile", "debug.steps=4")
    done = run_trainyard(*SMALL, *profile, "training.keep_best=loss/train")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^TensorBoard: .*tensorboard --logdir \S+/profile$", done.stdout, re.MULTILINE)
    assert re.search(r"^best +epoch 2, by loss/train [\d.]+$", done.stdout, re.MULTILINE)


def test_the_command_fails_if_overfit_fails():
    done = run_trainyard(*SMALL, "debug=overfit", "debug.epochs=2", "optimizer.learning_rate=1e-9")
    assert done.returncode == 1
    assert "error debug=overfit: expected the model to memorise all 64 images" in done.stderr
    assert "after 2 epochs" in done.stderr
    assert "the run is FAILED. Its files are in outputs/" in done.stderr
