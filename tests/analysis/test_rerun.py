"""Reruns: restoring the config of a run, and comparing the rerun with the original."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pages import suggested_commands
from processes import run_trainyard

from trainyard.analysis.compare.predictions import Predictions
from trainyard.analysis.rerun.comparison import Agreement, EnvironmentDifference, RerunComparison, compare_runs
from trainyard.analysis.rerun.original import OriginalRun, load_original, restore_config
from trainyard.cli.rerun import print_comparison
from trainyard.cli.rerun import rerun as rerun_command
from trainyard.config.compose import compose_config
from trainyard.config.serialization import dump_config
from trainyard.errors import ConfigError
from trainyard.runs.experiment import run_experiment
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import RunRecord, TrackingStore, load_run_record, ui_server
from trainyard.tracking.connection import connect

STORE = "mlflow.db"
PREDICTIONS = Predictions(
    class_names=("a", "b"),
    actual=np.array([0, 1, 1], np.uint8),
    predicted=np.array([0, 1, 0], np.uint8),
    probability=np.array([0.5, 0.9, 0.7], np.float32),
)


def run_record(*, weights="w", data="d", accuracy=0.98, status="FINISHED", losses=(0.5, 0.4), initial="i", **tags):
    epochs = {epoch: {"loss/train": loss, "time/epoch_seconds": epoch} for epoch, loss in enumerate(losses, 1)}
    run = RunRecord(
        run_id=None, folder=Path("run"), name="n", experiment="e", status=status,
        tags={"weights_digest": weights, "dataset_digest": data, "initial_weights_digest": initial, "threads": "2", **tags},
        metrics={**epochs[len(losses)], "accuracy/test": accuracy, "f1_by_class/3": accuracy},
    )  # fmt: skip
    return run, epochs


compose_once = functools.cache(lambda *overrides: compose_config([*overrides]))
"""Composes a config that the tests only read, because Hydra needs a tenth of a second."""


def original(logged, config=None, machine=None, versions=None, predictions=PREDICTIONS):
    run, epochs = logged
    return OriginalRun(run, config or compose_once(), epochs, machine or {}, versions or {}, predictions)


compare = functools.partial(compare_runs, test_images=10_000)


# ------------------------------------------------------------------------------------------------------------
# Restoring the config


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=mnist_baseline"],
        ["experiment=mnist_cnn", "seed=7"],
        ["model.activation=[relu,gelu,relu]", "schedule=piecewise", "training.class_weights=null", "notes='it\\'s, a: \"note\" # {x}'"],
        ["model=sequential", "model.layers=[{Conv2D:{filters:4,kernel_size:3,activation:relu}},Flatten,{Dense:{units:8}}]"],
        ["optimizer=sgd", "optimizer.nesterov=true", "loss=focal", "augmentation=shift_rotate", "training=early_stopping", "dataset.validation_fraction=0.1"],
    ],
)  # fmt: skip
def test_restored_config_has_every_value(overrides):
    config = compose_config(overrides)
    again, _ = restore_config(original(run_record(), config))
    expected = dataclasses.replace(config, training=dataclasses.replace(config.training, threads=2))
    again.tracking = expected.tracking
    assert dump_config(again) == dump_config(expected)


def test_automatic_choices_are_fixed_to_those_of_the_run():
    record = run_record(engine="fit: a callback wants every batch", xla="off: a CPU", threads="3")
    config, _ = restore_config(original(record))
    training = config.training
    assert (training.engine, training.xla, training.threads) == ("fit", "off", 3)
    assert config.tracking.tags["rerun_of"] == "run"
    for change in ("training.determinism=strict", "training.batch_size=64"):
        changed, _ = restore_config(original(record), (change,))
        assert (changed.training.engine, changed.training.xla, changed.training.threads) == ("auto", "auto", 3)
    unrelated = ("training.threads=2", "tracking.model=false", "seed=4", "training.epochs=3", "notes=x")
    kept, _ = restore_config(original(record), unrelated)
    assert (kept.training.engine, kept.training.xla) == ("fit", "off")


def test_another_component_replaces_the_original_with_all_its_fields():
    config, overrides = restore_config(
        original(run_record(), compose_config(["optimizer.beta_1=0.8", "seed=7"])), ("optimizer=sgd", "model=cnn")
    )
    assert (config.optimizer.name, config.model.name) == ("sgd", "cnn")
    again = compose_config(overrides)
    assert (again.optimizer, again.model, again.seed) == (config.optimizer, config.model, 7)
    for choice in ("experiment=mnist_cnn", "training=early_stopping"):
        with pytest.raises(ConfigError, match="a rerun sets every field of the run"):
            restore_config(original(run_record()), (choice,))
    with pytest.raises(ConfigError, match="rerun: expected one value for each field, got several: seed=1,2"):
        restore_config(original(run_record()), ("seed=1,2",))


@pytest.mark.parametrize("text", ["C:\\dir\\", "it\\'s", "\\\\'", "cost ${seed}", "größe, 'x' \"y\" [z] {w}: #", ""])
def test_any_text_survives_a_round_trip(text):
    config = dataclasses.replace(compose_once(), notes=text)
    assert restore_config(original(run_record(), config))[0].notes == text


def test_missing_path_of_a_published_data_set_is_dropped():
    config, _ = restore_config(original(run_record(), compose_config(["dataset=mnist", "dataset.path=/nowhere/mnist"])))
    assert config.dataset.path is None
    own, _ = restore_config(original(run_record(), compose_config(["dataset=npz", "dataset.path=/nowhere/own.npz"])))
    assert own.dataset.path == "/nowhere/own.npz"


# ------------------------------------------------------------------------------------------------------------
# The comparison


@pytest.mark.parametrize(
    ("now", "agreement", "first_different_epoch"),
    [
        (run_record(), Agreement.BITWISE, None),
        (run_record(weights="v", losses=(0.5, 0.4000001)), Agreement.METRICS, 2),
        (run_record(weights="v", accuracy=0.9815, losses=(0.5000001, 0.4)), Agreement.SPREAD, 1),
        (run_record(weights="v", accuracy=0.95, initial="j"), Agreement.DRIFTED, 0),
    ],
)
def test_agreement_and_first_different_epoch_are_found(now, agreement, first_different_epoch):
    accuracy = now[0].metrics["accuracy/test"]
    comparison = compare(original(run_record()), original(now), [])
    assert (comparison.agreement, comparison.first_different_epoch) == (agreement, first_different_epoch)
    assert comparison.spread[0] == pytest.approx(1.96 * (2 * accuracy * (1 - accuracy) / 10_000) ** 0.5)


@pytest.mark.parametrize(
    ("record", "predictions", "agreement", "different"),
    [
        ({}, {}, Agreement.BITWISE, []),
        ({"weights": "v"}, {}, Agreement.METRICS, ["weights"]),
        ({"data": "e"}, {}, Agreement.METRICS, ["data"]),
        ({"losses": (0.5, 0.41)}, {}, Agreement.METRICS, ["metrics of epoch 2"]),
        ({}, {"actual": [0, 0, 0]}, Agreement.METRICS, ["labels of the test images: 2 of 3 images"]),
        ({}, {"predicted": [0, 1, 1]}, Agreement.METRICS, ["predicted classes: 1 of 3 images"]),
        ({}, {"probability": [0.5, 0.9, np.nextafter(np.float32(0.7), 1)]}, Agreement.METRICS,
         ["predicted probabilities: 1 of 3 images"]),
        ({}, {"actual": [0], "predicted": [0], "probability": [0.5]}, Agreement.METRICS,
         ["predictions: for 1 test images, was 3"]),
        ({"accuracy": 0.97999}, {}, Agreement.SPREAD, ["test metrics: accuracy/test, f1_by_class/3"]),
        ({"accuracy": 0.1, "data": "e"}, {}, Agreement.DRIFTED, ["data", "test metrics: accuracy/test, f1_by_class/3"]),
    ],
)  # fmt: skip
def test_bitwise_requires_every_part_of_the_result_to_be_equal(record, predictions, agreement, different):
    changed = {name: np.asarray(values, getattr(PREDICTIONS, name).dtype) for name, values in predictions.items()}
    now = original(run_record(**record), predictions=dataclasses.replace(PREDICTIONS, **changed))
    comparison = compare(original(run_record()), now, [])
    assert (comparison.agreement, comparison.different) == (agreement, different)


def test_missing_digests_and_predictions_are_not_bitwise_equal():
    def without_data():
        run, epochs = run_record()
        tags = {name: value for name, value in run.tags.items() if name != "dataset_digest"}
        return original((dataclasses.replace(run, tags=tags), epochs), predictions=None)

    comparison = compare(without_data(), without_data(), [])
    assert comparison.agreement is Agreement.METRICS
    assert comparison.different == ["data", "predictions: those of the original run can't be read"]


def test_spread_is_estimated_from_runs_with_other_seeds():
    seeds = [0.97, 0.975, 0.98, 0.985, 0.99]
    comparison = compare(original(run_record()), original(run_record(weights="v", accuracy=0.96)), seeds)
    assert comparison.agreement is Agreement.SPREAD
    assert comparison.spread == (
        pytest.approx(0.03104, abs=1e-4),
        "estimated from 5 runs of this config with other seeds",
    )


def test_unfinished_original_is_not_compared():
    assert compare(original(run_record(status="KILLED")), original(run_record()), []).agreement is None


def test_environment_differences_and_possible_causes_are_listed():
    before = original(
        run_record(engine="compiled: fast"), machine={"cpu": "A", "host": "a"}, versions={"keras": "3.14", "rich": "1"}
    )
    now = original(
        run_record(threads="1", engine="compiled: asked for"),
        machine={"cpu": "B", "host": "b"},
        versions={"keras": "3.15", "rich": "1"},
    )
    comparison = compare(before, now, [])
    assert [str(difference) for difference in comparison.environment] == [
        "threads: 1, was 2",
        "host: b, was a",
        "cpu: B, was A",
        "package keras: 3.15, was 3.14",
    ]
    assert [difference.name for difference in comparison.causes] == ["threads", "cpu", "package keras"]
    second_comparison = compare(before, dataclasses.replace(now, versions={"keras": "3.14", "rich": "2"}), [])
    assert [difference.name for difference in second_comparison.causes] == [
        "threads",
        "cpu",
    ]  # packages that do not affect the result are not causes


def test_a_comparison_is_printed(capsys):
    comparison = RerunComparison(
        agreement=Agreement.SPREAD, different=["weights", "test metrics: accuracy/test"], before=0.98, now=0.981, spread=(0.003, "estimated from 9 seeds"), first_different_epoch=3, changed=["seed: 1, was 0"],
        environment=[EnvironmentDifference("threads", "2", "1"), *(EnvironmentDifference("package keras", "1", f"{n}") for n in range(20))],
    )  # fmt: skip
    print_comparison(comparison)
    text = capsys.readouterr().out
    assert "within spread: accuracy 0.9810, was 0.9800; spread 0.0030, estimated from 9 seeds" in text
    assert "result differs  weights\nresult differs  test metrics: accuracy/test\n" in text
    assert "The runs diverge in epoch 3: all earlier metrics are the same" in text
    assert "changed         seed: 1, was 0" in text
    assert "possible cause  threads: 1, was 2" in text
    assert "                and 13 more" in text


@pytest.mark.parametrize("variable", ["NO_COLOR", "IGNORED"])
def test_no_color_is_respected(capsys, monkeypatch, variable):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv(variable, "1")
    comparison = RerunComparison(
        agreement=Agreement.BITWISE,
        different=[],
        before=0.98,
        now=0.98,
        spread=(0.003, ""),
        first_different_epoch=None,
        changed=[],
        environment=[],
    )
    print_comparison(comparison)
    assert ("\x1b[32m" in capsys.readouterr().out) == (variable != "NO_COLOR")


# ------------------------------------------------------------------------------------------------------------
# The command


def rerun(reference, *changes, verify=False, as_json=False, uri=None):
    return rerun_command(str(reference), changes, verify=verify, as_json=as_json, uri=uri)


@pytest.fixture(scope="module")
def first(train_once):
    """A finished run, next to its store."""
    return train_once("notes='Again, and again: \\'it\\''")


def test_rerun_from_the_store_is_bitwise_equal_and_logged_to_the_store_of_this_folder(first, capsys):
    uri = first.tracking_uri
    assert rerun(first.run_id, verify=True, as_json=True, uri=uri) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["agreement"], record["first_different_epoch"], record["original"]) == ("bitwise", None, first.run_id)
    repeated = connect(build_sqlite_uri(Path(STORE))).get_run(record["run_id"])
    original = load_original(first.run_id, TrackingStore(uri)).run
    assert repeated.data.tags["rerun_of"] == first.run_id
    assert repeated.info.run_name == "limit300 16 epochs2 seed0"  # without the engine and XLA, which the config sets
    assert load_run_record(Path(record["folder"])).tags["weights_digest"] == original.tags["weights_digest"]


def test_rerun_from_the_folder_is_bitwise_equal_and_verify_accepts_changes_without_effect_on_the_result(first, capsys):
    assert rerun(first.folder, "tracking=off", "notes=again", verify=True) == 0
    text = capsys.readouterr().out
    assert "bitwise: weights, data, metrics and predictions are the same" in text
    assert "changed" not in text


@pytest.mark.parametrize(("recorded", "preferred"), [("on", "off"), ("off", "on")])
def test_rerun_uses_the_recorded_choice_of_xla(tiny, prefer_xla, capsys, recorded, preferred):
    """Also if `auto` chooses otherwise now, for example because the costs have been measured again."""
    prefer_xla(recorded)
    first = run_experiment(tiny("training.xla=auto", "tracking=off"))
    assert first.training.xla.on == (recorded == "on")
    prefer_xla(preferred)
    assert rerun(first.folder, "tracking=off", verify=True) == 0
    assert "bitwise: weights, data, metrics and predictions are the same" in capsys.readouterr().out


@pytest.mark.slow
def test_different_threads_are_reported_as_the_cause():
    def run(*words):
        done = run_trainyard(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("train", "name=it", "tracking=off", "training.epochs=1", "training.threads=1", "training.xla=off")
    (folder,) = Path("outputs/it").iterdir()
    text = run("rerun", str(folder), "training.threads=2", "tracking=off")
    (new,) = set(Path("outputs/it").iterdir()) - {folder}
    exported = {"export": f"trainyard export {new} model-{new.name}"}
    compared = {"compare": f"trainyard compare {folder} {new} --html compared.html"}
    assert suggested_commands(text) == (exported if "\nbitwise: " in text else compared)
    text = text.partition("Comparison with the original run")[2]
    assert "changed" not in text  # engine and XLA are those of the first run
    assert re.search("(possible cause|differs) +threads: 2, was 1", text)


def test_change_of_the_config_is_reported_and_rejected_by_verify(first, capsys):
    with pytest.raises(ConfigError, match="--verify: expected the original config, got seed: 5, was 0"):
        rerun(first.folder, "seed=5", verify=True)
    assert rerun(first.folder, "seed=5", "tracking=off") == 0
    text = capsys.readouterr().out
    assert "changed         seed: 5, was 0" in text
    assert "The runs diverge before the first epoch: their initial weights differ" in text


def test_different_engine_is_reported_as_the_cause(tiny, capsys):
    first = run_experiment(tiny("training.xla=on", "tracking=off"))
    assert rerun(first.folder, "training.engine=fit", "training.xla=off", "tracking=off") == 0
    assert "possible cause  engine: fit, was compiled" in capsys.readouterr().out


def test_verify_fails_if_the_weights_differ(first, capsys):
    folder = Path(shutil.copytree(first.folder, "changed"))
    journal = folder / ".tracking.jsonl"
    digest = load_run_record(folder).tags["weights_digest"]
    journal.write_text(journal.read_text().replace(digest, "0" * 64))
    assert rerun(folder, "tracking=off", verify=True) == 3
    text = capsys.readouterr().out
    assert "same metrics: all metrics on the test images are the same" in text
    assert "result differs  weights" in text


def test_verify_fails_if_the_labels_of_the_test_images_changed_since_the_run(tiny, capsys):
    generator = np.random.default_rng(0)
    arrays = {
        "x_train": generator.integers(0, 256, (60, 8, 8), dtype=np.uint8),
        "y_train": np.arange(60, dtype=np.uint8) % 3,
        "x_test": generator.integers(0, 256, (30, 8, 8), dtype=np.uint8),
        "y_test": np.arange(30, dtype=np.uint8) % 3,
    }
    np.savez("data.npz", **arrays)
    first = run_experiment(tiny("dataset=npz", "dataset.path=data.npz", "dataset.limit=null", "tracking=off"))
    np.savez("data.npz", **{**arrays, "y_test": arrays["y_test"][::-1]})
    assert rerun(first.folder, "tracking=off", verify=True, as_json=True) == 3
    comparison = json.loads(capsys.readouterr().out)
    assert comparison["agreement"] in ("within spread", "drifted")
    assert comparison["different"][:2] == ["data", "labels of the test images: 20 of 30 images"]
    assert comparison["different"][2].startswith("test metrics: ")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nope", "rerun: .* has no run 'nope'"),
        ("empty", "empty"),
    ],
)
def test_unknown_run_is_reported(reference, message, new_store):
    new_store(Path(STORE))
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        rerun(reference)


def test_failed_run_can_be_repeated_but_not_verified(tiny, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr("trainyard.runs.experiment.evaluate", fail)
        with pytest.raises(RuntimeError):
            run_experiment(tiny("tracking=off"))
    (folder,) = Path("outputs/tiny").iterdir()
    with pytest.raises(ConfigError, match="--verify: expected a run that is FINISHED, got .*, which is FAILED"):
        rerun(folder, verify=True)
    assert rerun(folder, "tracking=off") == 0
    assert "not compared: the original run did not finish" in capsys.readouterr().out


@pytest.mark.slow
def test_run_on_the_server_of_another_machine_is_repeated():
    port = ui_server.find_free_port(5760)

    def run(folder, *words, **variables):
        Path(folder).mkdir(exist_ok=True)
        return run_trainyard(*words, folder=Path(folder).absolute(), environment=variables)

    with ui_server.mlflow_server(f"sqlite:///{Path('ui_server.db').absolute()}", port) as running:
        ui_server.wait_until_ready(running)
        address = f"http://127.0.0.1:{port}"
        small = ["dataset.limit=300", "model.hidden_units=[16]", "training.epochs=2", "training.threads=1"]
        assert run("there", "train", *small, MLFLOW_TRACKING_URI=address).returncode == 0
        client = connect(address)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        (first,) = client.search_runs(experiments)
        start = f"training.start_from={first.info.run_id}"
        assert run("there", "train", *small, "seed=3", start, MLFLOW_TRACKING_URI=address).returncode == 0
        shutil.rmtree("there")  # the server has everything that is needed
        logged, _ = client.search_runs(experiments, order_by=["attributes.start_time DESC"])
        assert logged.data.tags["initial_weights_digest"] == first.data.tags["weights_digest"]
        done = run("here", "rerun", logged.info.run_id, "--verify", "--uri", address)
    assert done.returncode == 0, done.stderr
    assert "bitwise" in done.stdout
    here = connect(build_sqlite_uri(Path("here", STORE).absolute()))
    (again,) = here.search_runs([experiment.experiment_id for experiment in here.search_experiments()])
    assert again.data.tags["started_from"] == first.info.run_id
    assert again.data.params["training.start_from"] == first.info.run_id
    assert Path("here", STORE).exists()  # the rerun is logged to the local store
