"""Debug modes: one batch through every stage, overfitting a few images, profiling a step."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from trainyard import TrainingError, run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.serialization import dump_config, hash_config, load_config
from trainyard.data.splits import draw_stratified_sample
from trainyard.training.debug import PROFILE_FOLDER
from trainyard.training.profiler import load_profile


def test_one_batch_runs_every_stage(keras, tiny):
    config = tiny("debug=one_batch", "dataset.limit=null", "dataset.validation_fraction=0.2", "training.epochs=30",
                  "schedule=cosine", "schedule.warmup_epochs=10", "training.batch_size=50")  # fmt: skip
    result = run_experiment(config)
    sizes = [len(split) for split in (result.dataset.train, result.dataset.validation, result.dataset.test)]
    assert sizes == [50, 50, 50]
    assert len(result.training.history) == 1
    assert result.training.history[0]["learning_rate/value"] == 1e-4  # the first step of a warmup of ten epochs
    assert "every stage works" in result.findings
    for file in ("model.h5", "report.html", "confusion_matrix.png", "evaluation/metrics.json"):
        assert (result.folder / file).is_file()


def test_a_debug_run_is_logged_to_a_separate_experiment(keras, tiny):
    from trainyard.tracking.connection import connect

    assert tiny().experiment == "tiny"
    assert tiny("debug=overfit", "tracking.experiment=mine").experiment == "mine"
    assert hash_config(tiny("debug=one_batch")) != hash_config(tiny())
    result = run_experiment(tiny("debug=one_batch"))
    client = connect(result.tracking_uri)
    assert client.get_experiment(result.experiment_id).name == "tiny debug"
    run = client.get_run(result.run_id)
    assert (run.info.status, run.data.params["debug.name"]) == ("FINISHED", "one_batch")


def test_overfit_passes_if_the_model_memorises_the_images(keras, tiny):
    config = tiny("debug=overfit", "debug.images=20", "augmentation=shift_rotate", "training.early_stopping.patience=0",
                  "dataset.validation_fraction=0.1", "schedule=exponential", "tracking=off")  # fmt: skip
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


def test_overfit_disables_weight_averaging(keras, tiny):
    config = tiny("debug=overfit", "debug.images=20", "optimizer.use_ema=true", "tracking=off")
    assert run_experiment(config).evaluation.accuracy == 1
    assert config.optimizer.use_ema


def test_overfit_fails_if_a_callback_stops_it_early(keras, tiny):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    config = tiny("debug=overfit", "tracking=off")
    with pytest.raises(TrainingError, match="after 1 epochs"):
        run_experiment(config, callbacks=[Stop()])


def test_a_failed_overfit_run_logs_all_its_files(keras, tiny):
    from trainyard.tracking.connection import connect

    config = tiny("debug=overfit", "debug.epochs=3", "optimizer.learning_rate=1e-9")
    with pytest.raises(
        TrainingError, match=r"memorise all 64 images, .* after 3 epochs. Check optimizer"
    ) as error_info:
        run_experiment(config, folder="outputs/overfit")
    client = connect("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("tiny debug")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == f"TrainingError: {error_info.value}"
    assert {"learning_curves.png", "report.html"} <= {item.path for item in client.list_artifacts(run.info.run_id)}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_profile_reports_the_time_of_a_step(keras, tiny, engine):
    config = tiny("debug=profile", "debug.steps=4", f"training.engine={engine}", "tracking=off", "training.epochs=1",
                  "dataset.validation_fraction=0.2")  # fmt: skip
    result = run_experiment(config)
    assert len(result.dataset.train) == 4 * 32
    assert len(result.training.history) == 2
    assert {"hidden_1", "optimizer"} <= set(load_profile(result.folder / PROFILE_FOLDER).group_by_part())
    assert "threads busy" in result.findings
    names = {path.name for path in (result.folder / PROFILE_FOLDER).iterdir()}
    assert names == {"operations.json", "trace.json.gz", "profile.png", "plugins"}
    assert "Time of a training step" in (result.folder / "report.html").read_text()


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


def _trainyard(*arguments):
    program = "from trainyard.cli import main; main()"
    command = [sys.executable, "-c", program, "train", "dataset.limit=300", "model.hidden_units=[16]", "tracking=off"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_the_command_shows_the_profile_and_the_best_epoch():
    done = _trainyard("debug=profile", "debug.steps=4", "training.keep_best=loss/train")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^hidden_1 +(forward|backward) +MatMul +[\d,]+ us +[\d.]+ %$", done.stdout, re.MULTILINE)
    assert re.search(r"^best +epoch 2, by loss/train [\d.]+$", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_the_command_fails_if_overfit_fails():
    done = _trainyard("debug=overfit", "debug.epochs=2", "optimizer.learning_rate=1e-9")
    assert done.returncode == 1
    assert "error debug=overfit: expected the model to memorise all 64 images" in done.stderr
    assert "the run is FAILED. Its files are in outputs/" in done.stderr
