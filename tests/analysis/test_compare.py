"""Runs beside one another: which are chosen, how they stand, what two of them say of each image, the page."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from scipy.stats import binomtest
from typer.testing import CliRunner

from trainyard.analysis.compare import page
from trainyard.analysis.compare.predictions import Predictions, find_change, load_test_images, read_predictions
from trainyard.analysis.compare.runs import ComparedRun, from_folder
from trainyard.analysis.compare.selection import Selection, select_runs
from trainyard.analysis.compare.table import chosen_metric, stand
from trainyard.cli import app
from trainyard.config.compose import compose_config, hash_config
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.ranking import higher_is_better
from trainyard.runs.experiment import run_experiment
from trainyard.runs.tags import config_params
from trainyard.system.uris import sqlite_uri

STORE = Path("mlflow.db")
ACCURACY = "accuracy/test"


def made(*overrides, accuracy=0.9, started=0, reference=None, name=None, **metrics):
    """Returns a run that was never made, of a config that can be."""
    config = compose_config(list(overrides))
    return ComparedRun(
        reference=reference or f"{name or config.model.label} {started} {accuracy}",
        run_id=None,
        name=name or config.model.label,
        experiment="e",
        status="FINISHED",
        started=started,
        params={**config_params(config), "model.parameters": 100},
        metrics={"accuracy/test": accuracy, **metrics},
        tags={"config_hash": hash_config(config), "seed": str(config.seed)},
        test_digest="d",
    )


# ------------------------------------------------------------------------------------------------------------
# How they stand


def test_runs_that_compute_the_same_are_a_row_and_only_what_differs_is_told():
    runs = [
        made("model.hidden_units=[8]", "seed=0", accuracy=0.90),
        made("model.hidden_units=[8]", "seed=1", accuracy=0.92),
        made("model.hidden_units=[64]", "optimizer.learning_rate=0.01", "training.threads=1", accuracy=0.95),
    ]
    standing = stand(runs, ACCURACY)
    assert standing.varied == ["model.hidden_units", "optimizer.learning_rate"]
    first, second = standing.ranking.places
    assert (first.label, first.n, second.label, second.n) == ("64 relu", 1, "8 relu", 2)
    assert second.varied == {"model.hidden_units": [8], "optimizer.learning_rate": 0.001}
    spread = standing.metrics(second)["accuracy/test"]
    assert spread == (pytest.approx(0.91), pytest.approx(np.std([0.90, 0.92], ddof=1)), 2)
    assert [run.seed for run in standing.runs_of(second)] == [0, 1]


def test_of_a_seed_that_was_run_again_the_latest_counts():
    twice = [made("seed=3", accuracy=0.5, started=1), made("seed=3", accuracy=0.7, started=2), made("seed=4")]
    (place, _) = stand([*twice, made("model.hidden_units=[8]")], "accuracy/test").ranking.places
    assert (place.mean, place.n) == (0.9, 1)  # of the other config
    place = stand([*twice, made("model.hidden_units=[8]", accuracy=0.1)], "accuracy/test").ranking.places[0]
    assert sorted(place.values) == [0.7, 0.9]


def test_of_one_config_seeds_are_one_row_or_what_differs():
    runs = [made("seed=3", accuracy=0.5), made("seed=5", accuracy=0.7)]
    (place,) = stand(runs, ACCURACY).ranking.places
    assert (place.n, place.describe()) == (2, "0.6000 ± 0.1414")
    standing = stand(runs, ACCURACY, apart=True)
    assert standing.varied == standing.best(1).varied == ["seed"]
    assert [place.label for place in standing.ranking.places] == ["seed 5", "seed 3"]


def test_rows_that_nothing_tells_apart_are_still_told_apart():
    twice = [made("seed=3", reference=f"outputs/a/{name}", started=at) for at, name in enumerate("xy")]
    standing = stand([*twice, made("seed=4", started=2)], ACCURACY, apart=True)
    assert {place.label for place in standing.ranking.places} == {"seed 3 x", "seed 3 y", "seed 4"}
    arms = [made(f"model.hidden_units=[{units}]", name=f"seed{units}", started=units) for units in (8, 9)]
    assert {place.label for place in stand(arms, ACCURACY).ranking.places} == {"8", "9"}
    foreign = [
        dataclasses.replace(run, tags={}, params={}, name="run", reference=f"{at}/same") for at, run in enumerate(arms)
    ]
    assert {place.label for place in stand(foreign, ACCURACY).ranking.places} == {"run same (1)", "run same (2)"}


def test_another_kind_of_a_component_is_told_and_not_all_the_fields_that_only_it_has():
    standing = stand([made("model=cnn"), made("model.hidden_units=[8]"), made("model.hidden_units=[9]")], ACCURACY)
    assert standing.varied == ["model.name", "model.hidden_units"]
    assert [place.varied["model"] for place in standing.ranking.places] == ["cnn", "mlp", "mlp"]


def test_rows_of_the_same_name_are_named_by_what_differs():
    rates = [made(f"optimizer.learning_rate={rate}", started=number) for number, rate in enumerate((0.1, 0.01))]
    assert [place.label for place in stand(rates, ACCURACY).ranking.places] == ["lr0.1", "lr0.01"]


def test_less_is_better_of_a_loss_and_more_of_a_score():
    losses = {"a": 0.2, "b": 0.1}
    runs = [made(f"model.hidden_units=[{at}]", name=name, **{"loss/test": loss, "f1_macro/test": loss})
            for at, (name, loss) in enumerate(losses.items(), 1)]  # fmt: skip
    assert [place.label for place in stand(runs, "loss/test").ranking.places] == ["b", "a"]
    assert [place.label for place in stand(runs, "f1_macro/test").ranking.places] == ["a", "b"]
    assert not any(map(higher_is_better, ("loss/val", "ece/test", "time/total_seconds")))


def test_it_is_compared_by_validation_where_all_have_it():
    with_val = [made("seed=0", **{"accuracy/val": 0.5}), made("seed=1", **{"accuracy/val": 0.6})]
    assert chosen_metric(with_val) == "accuracy/val"
    assert chosen_metric([*with_val, made("seed=2")]) == ACCURACY
    with pytest.raises(ConfigError, match=r"--by: no run has the metric 'acuracy/val'. Did you mean 'accuracy/val'\?"):
        stand(with_val, "acuracy/val")


def test_runs_without_a_place_are_counted_by_the_reason():
    runs = [
        made("seed=0", started=1, accuracy=0.4),
        made("seed=0", started=2),
        made("seed=1", accuracy=math.nan),
        dataclasses.replace(made("seed=2"), metrics={}),
    ]
    standing = stand(runs, ACCURACY)
    assert standing.left_out == {"without accuracy/test": 2, "run again later with the same seed": 1}
    assert [run.started for run in standing.runs_of(standing.ranking.places[0])] == [2]


def test_the_best_are_shown_with_what_differs_among_them():
    runs = [
        made("model.hidden_units=[8]", "training.epochs=3", accuracy=0.95),
        made("model.hidden_units=[9]", "training.epochs=3", accuracy=0.94),
        made("model.hidden_units=[9]", "training.epochs=4", accuracy=0.1),
    ]
    best = stand(runs, ACCURACY).best(2)
    assert best.varied == ["model.hidden_units"]
    assert best.verdict == stand(runs, ACCURACY).verdict  # of all of them
    assert [place.varied for place in best.ranking.places] == [{"model.hidden_units": [8]}, {"model.hidden_units": [9]}]


# ------------------------------------------------------------------------------------------------------------
# Image by image


def predictions(actual, predicted, probability=None):
    return Predictions(
        class_names=("cat", "dog", "eel"), actual=np.array(actual, np.uint8), predicted=np.array(predicted, np.uint8),
        probability=np.array(probability or [0.5] * len(actual), np.float32),
    )  # fmt: skip


def test_what_changed_is_found_image_by_image():
    actual = [0, 0, 1, 1, 2, 2]
    change = find_change(
        predictions(actual, [0, 1, 1, 0, 0, 2]), predictions(actual, [1, 0, 1, 1, 0, 2], [0.9, 0.6, 1, 0.8, 1, 1])
    )
    assert (change.improved.tolist(), change.worsened.tolist()) == ([3, 1], [0])  # the surest first
    assert (change.both_right, change.both_wrong) == (2, 1)
    assert change.chance == binomtest(2, 3).pvalue
    assert change.difference.tolist() == [[0, 0, 0], [-1, 1, 0], [0, 0, 0]]
    assert [(one.name, one.images, one.improved, one.worsened) for one in change.by_class()] == [
        ("cat", 2, 1, 1), ("dog", 2, 1, 0), ("eel", 2, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("better", "worse", "told"),
    [
        (12, 1, "it was B for 12 and A for 1: that B is ahead is more than chance"),
        (1, 12, "it was B for 1 and A for 12: that A is ahead is more than chance"),
        (5, 4, "that B is ahead may be chance (McNemar's exact test of these two trained models, p = 1)"),
        (3, 3, "it was B for 3 and A for 3: neither is ahead."),
        (0, 0, "Of 20 test images both told the same ones right."),
    ],
)
def test_whether_that_is_more_than_chance_is_said_in_words(better, worse, told):
    actual = [0] * 20
    before = [1] * better + [0] * (20 - better)
    now = [0] * better + [1] * worse + [0] * (20 - better - worse)
    assert told in find_change(predictions(actual, before), predictions(actual, now)).describe("A", "B")


def test_other_images_are_refused():
    with pytest.raises(ConfigError, match="expected two runs on the same test images"):
        find_change(predictions([0, 1], [0, 1]), predictions([1, 0], [0, 1]))


# ------------------------------------------------------------------------------------------------------------
# Which runs, from a real store


def log(client, experiment, *, status="FINISHED", digest="d1", accuracy=0.9, **tags):
    run = client.create_run(experiment, run_name="r", tags={"trainyard.role": "run", "seed": "0", **tags})
    key = run.info.run_id
    client.log_batch(
        key, metrics=[Metric("accuracy/test", accuracy, 0, 0)], params=[Param("model.hidden_units", "[8]")],
        tags=[RunTag("config_hash", key)],
    )  # fmt: skip
    if digest:
        dataset = Dataset(name="mnist", digest=digest, source_type="local", source="{}")
        client.log_inputs(key, [DatasetInput(dataset, [InputTag("mlflow.data.context", "test")])])
    client.set_terminated(key, status)
    return key


@pytest.fixture
def store(new_store):
    client = new_store(STORE)
    return client, client.create_experiment("mine")


def select(**wanted):
    return select_runs(Selection(**wanted), sqlite_uri(STORE))


def test_runs_of_an_experiment_count_that_are_finished(store):
    client, mine = store
    kept = [log(client, mine), log(client, mine, accuracy=0.8)]
    log(client, mine, status="FAILED")
    log(client, mine, status="KILLED", pruned="after epoch 2")
    log(client, mine, **{"trainyard.role": "sweep"})
    log(client, client.create_experiment("other"))
    found = select(experiment="mine")
    assert [run.reference for run in found.runs] == kept
    assert found.left_out == {"FAILED": 1, "pruned": 1}
    assert found.runs[0].params == {"model.hidden_units": [8]}
    narrowed = select(experiment="mine", wanted="metrics.`accuracy/test` > 0.85")
    assert [run.reference for run in narrowed.runs] == kept[:1]
    both = select(references=(kept[1],), experiment="mine")
    assert [run.reference for run in both.runs] == [kept[1], kept[0]]


def test_the_trials_of_a_sweep_count_once_each(store):
    client, mine = store
    tags = {"sweep_id": "it's", "trainyard.role": "trial", "mlflow.parentRunId": "p"}
    log(client, mine, status="FAILED", **{**tags, "trainyard.trial": "1"})
    again = log(client, mine, **{**tags, "trainyard.trial": "1"})
    other = log(client, mine, **{**tags, "trainyard.trial": "2"})
    log(client, mine)
    found = select(sweep="it's")
    assert ([run.reference for run in found.runs], found.left_out) == ([again, other], {})
    log(client, mine, **{**tags, "mlflow.parentRunId": "q", "trainyard.trial": "1"})
    with pytest.raises(ConfigError, match='--sweep: expected one sweep of the name "it\'s", found 2'):
        select(sweep="it's")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"experiment": "mien"}, r"--experiment: .* has no experiment 'mien'. Did you mean 'mine'\?"),
        ({"sweep": "x"}, "--sweep: the store has no sweep 'x'. There are none"),
        ({"references": ("x",)}, "compare: .* has no run 'x'"),
        ({"experiment": "mine", "wanted": "foo"}, "--filter: expected a filter as MLflow takes them, .*, got 'foo'"),
        ({"experiment": "empty"}, "compare: expected runs that came to their end, found none"),
        ({"experiment": "mine", "test_data": "x"}, "--test-data: no run was tested on images whose digest begins"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(store, wanted, told):
    client, mine = store
    client.create_experiment("empty")
    log(client, mine)
    with pytest.raises(ConfigError, match=told):
        select(**wanted)


def test_runs_on_other_test_images_are_refused_with_both_digests(store):
    client, mine = store
    one, other = log(client, mine, digest="d1"), log(client, mine, digest="e2")
    with pytest.raises(ConfigError, match=f"got 2 sets of them. d1: {one}; e2: {other}. Choose one: --test-data"):
        select(references=(one, other))
    found = select(experiment="mine", test_data="e2")
    assert ([run.reference for run in found.runs], found.left_out) == ([other], {"on other test images": 1})
    unknown = log(client, mine, digest=None)
    with pytest.raises(ConfigError, match=f"d1: {one}; not known: {unknown}"):
        select(references=(one, unknown))


def test_test_images_that_the_seed_draws_are_the_same_where_every_config_has_all_of_them(store):
    client, mine = store
    logged = [
        (config, seed, log(client, mine, digest=f"d{seed}", seed=str(seed))) for config in "ab" for seed in (0, 1)
    ]
    for config, _, key in logged:
        client.set_tag(key, "config_hash", config)
    assert len(select(experiment="mine").runs) == 4
    client.delete_run(logged[-1][2])
    with pytest.raises(ConfigError, match="got 2 sets of them"):
        select(experiment="mine")


def test_a_run_counts_once_however_it_is_named(tiny):
    result = run_experiment(tiny())
    for references in ((result.run_id, result.run_id), (str(result.folder), result.run_id)):
        assert len(select(references=references, experiment="tiny").runs) == 1


def test_a_sweep_that_is_narrowed_to_nothing_says_so(store):
    client, mine = store
    log(client, mine, sweep_id="it", **{"trainyard.role": "sweep"})
    log(client, mine, sweep_id="it", **{"trainyard.role": "trial", "mlflow.parentRunId": "p"})
    with pytest.raises(ConfigError, match="--sweep: no trial of 'it' is of that experiment, or matches that filter"):
        select(sweep="it", wanted="metrics.`accuracy/test` > 2")


def test_a_sweep_is_no_run(store):
    client, mine = store
    parent = log(client, mine, sweep_id="it", **{"trainyard.role": "sweep"})
    with pytest.raises(ConfigError, match="is a sweep and no single run. To compare its trials: --sweep it"):
        select(references=(parent,))


# ------------------------------------------------------------------------------------------------------------
# The command, on runs that were trained


def run(*words, code=0):
    done = CliRunner().invoke(app, ["compare", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


@pytest.mark.pictures
def test_two_runs_are_compared_in_the_terminal_as_data_and_on_a_page(tiny):
    wide = run_experiment(tiny("model.hidden_units=[64]", "dataset.validation_fraction=0.2"))
    thin = run_experiment(tiny("model.hidden_units=[2]", "dataset.validation_fraction=0.2"))
    text = run(wide.run_id, thin.run_id)
    lines = text.splitlines()
    assert lines[0].split() == [
        "config",
        "hidden_units",
        "accuracy/val",
        "accuracy/test",
        "loss/test",
        "parameters",
        "time",
        "run",
    ]
    assert lines[1].split()[:4] == ["1", "64", "relu", "[64]"]
    assert lines[2].endswith(thin.run_id)
    assert "64 relu comes first" in text
    improved = int(
        (
            (thin.evaluation.predicted == thin.evaluation.actual)
            & (wide.evaluation.predicted != wide.evaluation.actual)
        ).sum()
    )
    worsened = int(
        (
            (thin.evaluation.predicted != thin.evaluation.actual)
            & (wide.evaluation.predicted == wide.evaluation.actual)
        ).sum()
    )
    assert (
        f"Of {improved + worsened} test images that only one of them told right, it was 2 relu for {improved}" in text
    )

    told = json.loads(run(thin.folder, wide.folder, "--json"))  # the other way round, from the folders
    assert (told["by"], told["varied"]) == ("accuracy/val", ["model.hidden_units"])
    assert [config["settings"] for config in told["configs"]] == [
        {"model.hidden_units": [64]},
        {"model.hidden_units": [2]},
    ]
    assert told["configs"][0]["metrics"]["loss/test"] == {"mean": pytest.approx(wide.evaluation.loss), "std": None}
    assert (len(told["pair"]["improved"]), len(told["pair"]["worsened"])) == (worsened, improved)

    header, first, second = csv.reader(io.StringIO(run("--experiment", "tiny", "--csv", "--by", "loss/test")))
    row = dict(zip(header, first, strict=True))
    assert (row["rank"], row["config"], row["model.hidden_units"], row["seeds"]) == ("1", "64 relu", "[64]", "1")
    assert float(row["accuracy/test"]) == pytest.approx(wide.evaluation.accuracy)
    assert second[header.index("runs")] == thin.run_id

    shutil.rmtree(wide.folder)  # what is wanted is in the store
    shutil.rmtree(thin.folder)
    assert "page  out.html" in run(wide.run_id, thin.run_id, "--html", "out.html")
    html = Path("out.html").read_text()
    assert html.count("data:image/png;base64,") == 7 - (not improved)
    for caption in (
        "The difference of the confusion matrices",
        "Became wrong",
        "Learning curves: accuracy/val",
        "F1 by class",
    ):
        assert f"<h3>{caption}</h3>" in html
    assert "<h1>64 relu → 2 relu</h1>" in html
    assert wide.run_id in html
    assert "The images themselves are not drawn" not in html

    best = json.loads(run("--experiment", "tiny", "--best", "1", "--json"))
    assert ([config["config"] for config in best["configs"]], "pair" in best) == (["64 relu"], False)


def test_what_early_stopping_restored_is_what_is_compared(tiny):
    result = run_experiment(
        tiny("dataset.validation_fraction=0.3", "training.epochs=30", "training.early_stopping.patience=1",
             "optimizer.learning_rate=0.3", "tracking=off")
    )  # fmt: skip
    best = result.training.best_epoch
    assert best < len(result.training.history)
    found = from_folder(result.folder)
    assert found.metrics["loss/val"] == result.training.history[-1]["loss/val"]
    assert found.as_restored("loss/val").metrics["loss/val"] == result.training.history[best - 1]["loss/val"]
    assert found.as_restored("loss/test") is found


def test_names_that_matplotlib_would_read_are_drawn_as_they_are():
    runs = [
        made(f"model.hidden_units=[{units}]", name=name, accuracy=units / 10, **{f"f1_by_class/{c}": 0.5 for c in "ab"})
        for units, name in enumerate(("_hidden", "$\\foo$", "plain"), 1)
    ]
    page.write_page(Path("out.html"), stand(runs, ACCURACY), None, "trainyard compare", [])
    assert "<h3>F1 by class</h3>" in Path("out.html").read_text()


def test_images_that_are_others_by_now_are_not_drawn(tiny):
    result = run_experiment(tiny("tracking=off"))
    found = from_folder(result.folder)
    labels = result.evaluation.actual
    images, spec = load_test_images(found, labels)
    np.testing.assert_array_equal(images, result.dataset.test.images)
    assert spec.class_names == result.dataset.spec.class_names
    assert read_predictions(found).actual.tolist() == result.evaluation.actual.tolist()
    config = result.folder / "config.yaml"
    config.write_text(config.read_text().replace("limit: 300", "limit: 200"))
    with pytest.raises(TrainyardError, match="expected test images with the digest"):
        load_test_images(found, labels)
    config.write_text(config.read_text().replace("limit: 200", "limit: 300"))
    with pytest.raises(TrainyardError, match="found others: their labels differ"):
        load_test_images(found, labels[::-1])
    (result.folder / "evaluation" / "test_predictions.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match="its predictions of the test images can't be read"):
        read_predictions(found)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "compare: expected runs, by their ids or folders, or --experiment NAME"),
        (["x", "--json", "--csv"], "--json: expected it or --csv, got both"),
        (["x", "--html", "x.png"], "--html: expected a file that ends in .html, in a folder that is there, got x.png"),
        (["x", "--html", "no/x.html"], "--html: expected a file that ends in .html"),
        (["x", "--uri", "gopher://h"], "--uri: "),
    ],
)
def test_what_makes_no_sense_is_refused(words, told):
    assert told in run(*words, code=2)


def test_of_many_rows_the_page_says_what_it_leaves_out(monkeypatch):
    monkeypatch.setattr(page, "MOST_LISTED", 2)
    runs = [made(f"model.hidden_units=[{units}]", accuracy=units / 10) for units in (1, 2, 3)]
    page.write_page(Path("out.html"), stand(runs, ACCURACY), None, "trainyard compare", ["Left out: 1 FAILED."])
    html = Path("out.html").read_text()
    assert html.count("1 more are left out here") == 2  # of the rows, and of the runs
    assert "Left out: 1 FAILED." in html
    assert "<h1>3 runs, 3 configs</h1>" in html
