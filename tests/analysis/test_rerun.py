"""Having a run again: its config from what it left, the two runs compared."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainyard.analysis.rerun.comparison import Comparison, Difference, Likeness, compare
from trainyard.analysis.rerun.original import Original, read_original, restore
from trainyard.cli.rerun import print_comparison, rerun_command
from trainyard.config.compose import compose_config, dump_config
from trainyard.errors import ConfigError
from trainyard.runs.experiment import run_experiment
from trainyard.system.uris import sqlite_uri
from trainyard.tracking import Account, read_account, ui_server
from trainyard.tracking.connection import connect
from trainyard.tracking.operations import DatasetInput

STORE = "mlflow.db"


def account(*, weights="w", accuracy=0.98, status="FINISHED", losses=(0.5, 0.4), initial="i", **tags):
    history = [({"loss/train": loss, "time/epoch_seconds": 1.0}, epoch, 0) for epoch, loss in enumerate(losses, 1)]
    split = DatasetInput(
        name="mnist", context="test", digest="d", source="", images=10_000, image_shape=(28, 28), classes=10
    )
    return Account(
        key="k", uri=None, experiment="e", notes="", name="n", model=False, started=0, last=0, status=status,
        tags={"weights_digest": weights, "initial_weights_digest": initial, "threads": "2", **tags},
        metrics=[*history, ({"accuracy/test": accuracy, "f1_by_class/3": accuracy}, 0, 0)], inputs=[split],
    )  # fmt: skip


def original(told: Account, config=None, machine=None, versions=None):
    return Original("run", config or compose_config(), told, machine or {}, versions or {})


# ------------------------------------------------------------------------------------------------------------
# The config


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
def test_a_config_is_composed_again_value_by_value(overrides):
    config = compose_config(overrides)
    again, written = restore(original(account(), config))
    expected = dataclasses.replace(config, training=dataclasses.replace(config.training, threads=2))
    again.tracking = expected.tracking
    assert dump_config(again) == dump_config(expected)
    assert compose_config(written).seed == config.seed


def test_what_was_chosen_by_itself_is_fixed_as_it_was():
    told = account(engine="fit: a callback wants every batch", xla="off: a CPU", threads="3")
    config, _ = restore(original(told))
    training = config.training
    assert (training.engine, training.xla, training.threads) == ("fit", "off", 3)
    assert config.tracking.tags["rerun_of"] == "run"
    changed, _ = restore(original(told), ("training.determinism=strict",))
    assert (changed.training.engine, changed.training.xla, changed.training.threads) == ("auto", "auto", 3)
    for change in ("training.threads=2", "tracking.model=false", "seed=4", "training.epochs=3", "notes=x"):
        kept, _ = restore(original(told), (change,))
        assert (kept.training.engine, kept.training.xla) == ("fit", "off"), change


def test_another_component_takes_the_place_of_the_first_with_all_its_fields():
    config, _ = restore(original(account(), compose_config(["optimizer.beta_1=0.8"])), ("optimizer=sgd", "model=cnn"))
    assert (config.optimizer.name, config.model.name) == ("sgd", "cnn")
    for choice in ("experiment=mnist_cnn", "training=early_stopping"):
        with pytest.raises(ConfigError, match="a rerun has every value of the run"):
            restore(original(account()), (choice,))
    with pytest.raises(ConfigError, match="rerun: expected one value of each field, got several: seed=1,2"):
        restore(original(account()), ("seed=1,2",))


@pytest.mark.parametrize("text", ["C:\\dir\\", "it\\'s", "\\\\'", "cost ${seed}", "größe, 'x' \"y\" [z] {w}: #", ""])
def test_any_text_is_written_so_that_it_is_read_again(text):
    config = dataclasses.replace(compose_config(), notes=text)
    assert restore(original(account(), config))[0].notes == text


def test_a_published_set_that_lay_elsewhere_is_looked_for_here():
    config, _ = restore(original(account(), compose_config(["dataset=mnist", "dataset.path=/nowhere/mnist"])))
    assert config.dataset.path is None
    own, _ = restore(original(account(), compose_config(["dataset=npz", "dataset.path=/nowhere/own.npz"])))
    assert own.dataset.path == "/nowhere/own.npz"


# ------------------------------------------------------------------------------------------------------------
# The comparison


@pytest.mark.parametrize(
    ("now", "likeness", "parted"),
    [
        (account(), Likeness.BITWISE, None),
        (account(weights="v", losses=(0.5, 0.4000001)), Likeness.METRICS, 2),
        (account(weights="v", accuracy=0.9815, losses=(0.5000001, 0.4)), Likeness.SPREAD, 1),
        (account(weights="v", accuracy=0.95, initial="j"), Likeness.DRIFTED, 0),
    ],
)
def test_runs_are_as_alike_as_they_are(now, likeness, parted):
    accuracy = now.metrics[-1][0]["accuracy/test"]
    found = compare(original(account()), original(now), [])
    assert (found.likeness, found.parted) == (likeness, parted)
    assert found.spread[0] == pytest.approx(1.96 * (2 * accuracy * (1 - accuracy) / 10_000) ** 0.5)


def test_with_other_seeds_in_the_store_the_spread_is_theirs():
    seeds = [0.97, 0.975, 0.98, 0.985, 0.99]
    found = compare(original(account()), original(account(weights="v", accuracy=0.96)), seeds)
    assert found.likeness is Likeness.SPREAD
    assert found.spread == (
        pytest.approx(0.03104, abs=1e-4),
        "within which two runs of 5 other seeds of this config lie",
    )


def test_a_run_that_did_not_end_is_not_compared():
    assert compare(original(account(status="KILLED")), original(account()), []).likeness is None


def test_what_was_different_around_them_is_told_and_what_may_be_the_cause():
    before = original(
        account(engine="compiled: fast"), machine={"cpu": "A", "host": "a"}, versions={"keras": "3.14", "rich": "1"}
    )
    now = original(
        account(threads="1", engine="compiled: asked for"),
        machine={"cpu": "B", "host": "b"},
        versions={"keras": "3.15", "rich": "1"},
    )
    found = compare(before, now, [])
    assert [str(one) for one in found.environment] == [
        "threads: 1, was 2",
        "host: b, was a",
        "cpu: B, was A",
        "package keras: 3.15, was 3.14",
    ]
    assert [one.what for one in found.causes] == ["threads", "cpu", "package keras"]
    others = compare(before, dataclasses.replace(now, versions={"keras": "3.14", "rich": "2"}), [])
    assert [one.what for one in others.causes] == ["threads", "cpu"]  # whose version changes no bits is no cause


def test_a_comparison_is_printed(capsys):
    told = Comparison(
        likeness=Likeness.SPREAD, before=0.98, now=0.981, spread=(0.003, "what 9 other seeds say"), parted=3, changed=["seed: 1, was 0"],
        environment=[Difference("threads", "2", "1"), *(Difference("package keras", "1", f"{n}") for n in range(20))],
    )  # fmt: skip
    print_comparison(told)
    text = capsys.readouterr().out
    assert "within spread: accuracy 0.9810, was 0.9800; spread 0.0030, what 9 other seeds say" in text
    assert "They part in epoch 3: up to there all metrics are the same" in text
    assert "changed     seed: 1, was 0" in text
    assert "may be why  threads: 1, was 2" in text
    assert "            and 13 more" in text


# ------------------------------------------------------------------------------------------------------------
# The command


def rerun(reference, *changes, verify=False, as_json=False):
    return rerun_command(str(reference), changes, verify=verify, as_json=as_json, uri=None)


def test_a_run_is_had_again_to_the_bit_by_its_folder_and_from_the_store_alone(tiny, capsys):
    first = run_experiment(tiny("notes='Again, and again: \\'it\\'', "[:-2]))
    assert rerun(first.folder, verify=True) == 0
    assert "bitwise: all weights are the same" in capsys.readouterr().out
    shutil.rmtree(first.folder)
    assert rerun(first.run_id, verify=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["likeness"], told["parted"], told["original"]) == ("bitwise", None, first.run_id)
    assert connect(sqlite_uri(Path(STORE))).get_run(told["run_id"]).data.tags["rerun_of"] == first.run_id
    assert (
        read_account(Path(told["folder"])).tags["weights_digest"]
        == read_original(first.run_id, sqlite_uri(Path(STORE))).account.tags["weights_digest"]
    )


def test_a_change_that_computes_nothing_else_may_be_verified(tiny, capsys):
    first = run_experiment(tiny("tracking=off"))
    assert rerun(first.folder, "tracking=off", "notes=again", verify=True) == 0
    assert "changed" not in capsys.readouterr().out


@pytest.mark.slow
def test_other_threads_are_told_apart_and_named_as_the_cause():
    def run(*words):
        command = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("train", "name=it", "tracking=off", "training.epochs=3", "training.threads=1", "training.xla=off")
    (first,) = Path("outputs/it").iterdir()
    text = run("rerun", str(first), "training.threads=2", "tracking=off").partition("The two runs")[2]
    assert "changed" not in text  # engine and XLA stay what they were
    assert re.search("(may be why|around it) +threads: 2, was 1", text)


def test_a_change_is_told_and_no_verification(tiny, capsys):
    first = run_experiment(tiny())
    with pytest.raises(ConfigError, match="--verify: expected the run as it was, got seed: 5, was 0"):
        rerun(first.folder, "seed=5", verify=True)
    assert rerun(first.folder, "seed=5") == 0
    text = capsys.readouterr().out
    assert "changed     seed: 5, was 0" in text
    assert "They part before the first epoch: their initial weights differ" in text


def test_another_engine_is_named_as_the_cause_of_other_bits(tiny, capsys):
    first = run_experiment(tiny("training.xla=on"))
    assert rerun(first.folder, "training.engine=fit", "training.xla=off") == 0
    assert "may be why  engine: fit, was compiled" in capsys.readouterr().out


def test_other_bits_fail_a_verification(tiny, capsys):
    first = run_experiment(tiny())
    journal = first.folder / ".tracking.jsonl"
    digest = read_account(first.folder).tags["weights_digest"]
    journal.write_text(journal.read_text().replace(digest, "0" * 64))
    assert rerun(first.folder, verify=True) == 3
    assert "same metrics: the weights differ, and no figure on the test images does" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("nope", "rerun: .* has no run 'nope'"),
        ("empty", "empty"),
    ],
)
def test_what_is_no_run_is_told(reference, told, new_store):
    new_store(Path(STORE))
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match=told):
        rerun(reference)


def test_a_run_that_failed_can_be_had_again_but_not_verified(tiny, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr("trainyard.runs.experiment.evaluate", fail)
        with pytest.raises(RuntimeError):
            run_experiment(tiny())
    (folder,) = Path("outputs/tiny").iterdir()
    with pytest.raises(ConfigError, match="--verify: expected a run that is FINISHED, got .*, which is FAILED"):
        rerun(folder, verify=True)
    assert rerun(folder) == 0
    assert "not compared: the earlier run did not come to its end" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_on_a_server_of_another_machine_is_had_again():
    port = ui_server.free_port(5760)

    def run(folder, *words, **variables):
        Path(folder).mkdir(exist_ok=True)
        command = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, **variables},
            timeout=300,
            check=False,
        )

    with ui_server.mlflow_server(f"sqlite:///{Path('ui_server.db').absolute()}", port) as running:
        ui_server.wait_until_ready(running)
        address = f"http://127.0.0.1:{port}"
        small = ["dataset.limit=300", "model.hidden_units=[16]", "training.epochs=2", "training.threads=1"]
        assert run("there", "train", *small, MLFLOW_TRACKING_URI=address).returncode == 0
        client = connect(address)
        experiments = [one.experiment_id for one in client.search_experiments()]
        (first,) = client.search_runs(experiments)
        start = f"training.start_from={first.info.run_id}"
        assert run("there", "train", *small, "seed=3", start, MLFLOW_TRACKING_URI=address).returncode == 0
        shutil.rmtree("there")  # what is left of them is on the server
        logged, _ = client.search_runs(experiments, order_by=["attributes.start_time DESC"])
        assert logged.data.tags["initial_weights_digest"] == first.data.tags["weights_digest"]
        done = run("here", "rerun", logged.info.run_id, "--verify", "--uri", address)
    assert done.returncode == 0, done.stderr
    assert "bitwise" in done.stdout
    here = connect(sqlite_uri(Path("here", STORE).absolute()))
    (again,) = here.search_runs([one.experiment_id for one in here.search_experiments()])
    assert again.data.tags["started_from"] == first.info.run_id
    assert again.data.params["training.start_from"] == first.info.run_id
    assert Path("here", STORE).exists()  # the new run goes where runs go to from here
