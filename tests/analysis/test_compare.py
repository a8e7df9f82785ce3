"""Comparison of runs: selection, table, comparison of predictions, and the page."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import math
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from pages import suggested_commands
from scipy.stats import binomtest
from typer.testing import CliRunner

from trainyard.analysis.compare import page
from trainyard.analysis.compare.predictions import Predictions, compare_predictions, load_predictions, load_test_images
from trainyard.analysis.compare.selection import Selection, select_runs
from trainyard.analysis.compare.table import build_comparison_table, choose_metric
from trainyard.cli.commands import app
from trainyard.config.compose import compose_config
from trainyard.config.serialization import flatten_config, hash_config
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.ranking import higher_is_better
from trainyard.reporting import describe_lead
from trainyard.runs.experiment import run_experiment
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import DatasetInput as Split
from trainyard.tracking import RunRecord, TrackingStore, load_run_record

STORE = Path("mlflow.db")
ACCURACY = "accuracy/test"


compose_once = functools.cache(lambda *overrides: compose_config([*overrides]))
"""Composes a config that the tests only read, because Hydra needs a tenth of a second."""


def fake_run(*overrides, accuracy=0.9, started=0, reference=None, name=None, **metrics):
    """Returns a run with a valid config that was never trained."""
    config = compose_once(*overrides)
    return RunRecord(
        folder=Path(reference or f"{name or config.model.label} {started} {accuracy}"),
        run_id=None,
        name=name or config.model.label,
        experiment="e",
        status="FINISHED",
        started=started,
        params={**flatten_config(config), "model.parameters": 100},
        metrics={"accuracy/test": accuracy, **metrics},
        tags={"config_hash": hash_config(config), "seed": str(config.seed)},
        inputs=(Split("digits", "test", "d", "package", 10, (8, 8), 10),),
    )


# ------------------------------------------------------------------------------------------------------------
# The comparison table


def test_runs_of_a_config_are_one_row_and_only_differing_settings_are_listed():
    runs = [
        fake_run("model.hidden_units=[8]", "seed=0", accuracy=0.90),
        fake_run("model.hidden_units=[8]", "seed=1", accuracy=0.92),
        fake_run("model.hidden_units=[64]", "optimizer.learning_rate=0.01", "training.threads=1", accuracy=0.95),
    ]
    table = build_comparison_table(runs, ACCURACY)
    assert table.varied == ["model.hidden_units", "optimizer.learning_rate"]
    first, second = table.ranking.points
    assert (first.label, first.n, second.label, second.n) == ("64", 1, "8", 2)
    assert second.varied == {"model.hidden_units": [8], "optimizer.learning_rate": 0.001}
    spread = table.summarize_metrics(second)["accuracy/test"]
    assert spread == (pytest.approx(0.91), pytest.approx(np.std([0.90, 0.92], ddof=1)))
    assert [run.seed for run in table.get_runs(second)] == [0, 1]


def test_latest_run_of_a_seed_is_used():
    twice = [
        fake_run("seed=3", accuracy=0.5, started=1),
        fake_run("seed=3", accuracy=0.7, started=2),
        fake_run("seed=4"),
    ]
    (ranked, _) = build_comparison_table([*twice, fake_run("model.hidden_units=[8]")], "accuracy/test").ranking.points
    assert (ranked.mean, ranked.n) == (0.9, 1)  # the other config
    ranked = build_comparison_table(
        [*twice, fake_run("model.hidden_units=[8]", accuracy=0.1)], "accuracy/test"
    ).ranking.points[0]
    assert sorted(ranked.values) == [0.7, 0.9]


def test_seeds_of_one_config_are_one_row_or_separate_rows():
    runs = [fake_run("seed=3", accuracy=0.5), fake_run("seed=5", accuracy=0.7)]
    (ranked,) = build_comparison_table(runs, ACCURACY).ranking.points
    assert (ranked.n, ranked.describe()) == (2, "0.6000 ± 0.1414")
    table = build_comparison_table(runs, ACCURACY, separate_seeds=True)
    assert table.varied == table.select_best(1).varied == ["seed"]
    assert [ranked.label for ranked in table.ranking.points] == ["seed 5", "seed 3"]


def test_labels_are_unique():
    twice = [fake_run("seed=3", reference=f"outputs/a/{name}", started=at) for at, name in enumerate("xy")]
    table = build_comparison_table([*twice, fake_run("seed=4", started=2)], ACCURACY, separate_seeds=True)
    assert {ranked.label for ranked in table.ranking.points} == {"seed 3 x", "seed 3 y", "seed 4"}
    arms = [fake_run(f"model.hidden_units=[{units}]", name=f"seed{units}", started=units) for units in (8, 9)]
    assert {ranked.label for ranked in build_comparison_table(arms, ACCURACY).ranking.points} == {"8", "9"}
    foreign = [
        dataclasses.replace(run, tags={}, params={}, name="run", folder=Path(f"{at}/same"))
        for at, run in enumerate(arms)
    ]
    assert {ranked.label for ranked in build_comparison_table(foreign, ACCURACY).ranking.points} == {
        "run same (1)",
        "run same (2)",
    }


def test_different_components_are_listed_without_the_fields_that_only_one_has():
    table = build_comparison_table(
        [fake_run("model=cnn"), fake_run("model.hidden_units=[8]"), fake_run("model.hidden_units=[9]")], ACCURACY
    )
    assert table.varied == ["model.name", "model.hidden_units"]
    assert [ranked.varied["model"] for ranked in table.ranking.points] == ["cnn", "mlp", "mlp"]


def test_rows_with_equal_names_are_labeled_by_their_settings():
    rates = [fake_run(f"optimizer.learning_rate={rate}", started=number) for number, rate in enumerate((0.1, 0.01))]
    assert [ranked.label for ranked in build_comparison_table(rates, ACCURACY).ranking.points] == ["lr0.1", "lr0.01"]


def test_losses_are_minimized_and_scores_maximized():
    losses = {"a": 0.2, "b": 0.1}
    runs = [fake_run(f"model.hidden_units=[{at}]", name=name, **{"loss/test": loss, "f1_macro/test": loss})
            for at, (name, loss) in enumerate(losses.items(), 1)]  # fmt: skip
    assert [ranked.label for ranked in build_comparison_table(runs, "loss/test").ranking.points] == ["b", "a"]
    assert [ranked.label for ranked in build_comparison_table(runs, "f1_macro/test").ranking.points] == ["a", "b"]
    assert not any(map(higher_is_better, ("loss/val", "ece/test", "time/total_seconds")))


def test_validation_accuracy_is_the_default_if_all_runs_have_it():
    with_val = [fake_run("seed=0", **{"accuracy/val": 0.5}), fake_run("seed=1", **{"accuracy/val": 0.6})]
    assert choose_metric(with_val) == "accuracy/val"
    assert choose_metric([*with_val, fake_run("seed=2")]) == ACCURACY
    with pytest.raises(ConfigError, match=r"--by: no run has the metric 'acuracy/val'. Did you mean 'accuracy/val'\?"):
        build_comparison_table(with_val, "acuracy/val")


def test_runs_that_are_not_ranked_are_counted_by_reason():
    runs = [
        fake_run("seed=0", started=1, accuracy=0.4),
        fake_run("seed=0", started=2),
        fake_run("seed=1", accuracy=math.nan),
        dataclasses.replace(fake_run("seed=2"), metrics={}),
    ]
    table = build_comparison_table(runs, ACCURACY)
    assert table.left_out == {"without accuracy/test": 2, "replaced by a newer run with the same config and seed": 1}
    assert [run.started for run in table.get_runs(table.ranking.points[0])] == [2]


def test_best_rows_list_only_settings_that_differ_among_them():
    runs = [
        fake_run("model.hidden_units=[8]", "training.epochs=3", accuracy=0.95),
        fake_run("model.hidden_units=[9]", "training.epochs=3", accuracy=0.94),
        fake_run("model.hidden_units=[9]", "training.epochs=4", accuracy=0.1),
    ]
    best = build_comparison_table(runs, ACCURACY).select_best(2)
    assert best.varied == ["model.hidden_units"]
    assert best.verdict == build_comparison_table(runs, ACCURACY).verdict  # of all configs
    assert [ranked.varied for ranked in best.ranking.points] == [
        {"model.hidden_units": [8]},
        {"model.hidden_units": [9]},
    ]


def test_the_lead_of_the_best_rows_is_tested_among_all_rows():
    accuracies = {4: (0.95, 0.96, 0.94), 8: (0.94, 0.96, 0.93), 16: (0.93, 0.94, 0.94), 32: (0.1, 0.11, 0.12)}
    runs = [
        fake_run(f"model.hidden_units=[{units}]", f"seed={seed}", accuracy=accuracy)
        for units, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    table = build_comparison_table(runs, ACCURACY)
    lead = describe_lead(table.ranking)
    assert "range test of 4 points, p = " in lead
    assert describe_lead(table.select_best(2).ranking) == lead


# ------------------------------------------------------------------------------------------------------------
# Comparison of predictions


def predictions(actual, predicted, probability=None):
    return Predictions(
        class_names=("cat", "dog", "eel"), actual=np.array(actual, np.uint8), predicted=np.array(predicted, np.uint8),
        probability=np.array(probability or [0.5] * len(actual), np.float32),
    )  # fmt: skip


def test_predictions_are_compared_image_by_image():
    actual = [0, 0, 1, 1, 2, 2]
    diff = compare_predictions(
        predictions(actual, [0, 1, 1, 0, 0, 2]),
        predictions(actual, [1, 0, 1, 1, 0, 2], [0.9, 0.6, 1, 0.8, 1, 1]),
        ("A", "B"),
    )
    assert (diff.improved.tolist(), diff.worsened.tolist()) == ([3, 1], [0])  # most confident first
    assert (diff.both_correct, diff.both_wrong) == (2, 1)
    assert diff.p_value == binomtest(2, 3).pvalue
    assert diff.difference.tolist() == [[0, 0, 0], [-1, 1, 0], [0, 0, 0]]
    assert [(row.name, row.images, row.improved, row.worsened) for row in diff.group_by_class()] == [
        ("cat", 2, 1, 1), ("dog", 2, 1, 0), ("eel", 2, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("better", "worse", "message"),
    [
        (12, 1, "B classifies 12 correctly and A 1: B is significantly better"),
        (1, 12, "B classifies 1 correctly and A 12: A is significantly better"),
        (5, 4, "B is not significantly better (McNemar's exact test of these two trained models, p = 1)"),
        (3, 3, "B classifies 3 correctly and A 3: neither model is better."),
        (0, 0, "Both models classify the same images correctly (20 test images)."),
    ],
)
def test_significance_is_described(better, worse, message):
    actual = [0] * 20
    before = [1] * better + [0] * (20 - better)
    now = [0] * better + [1] * worse + [0] * (20 - better - worse)
    diff = compare_predictions(predictions(actual, before), predictions(actual, now), ("A", "B"))
    assert message in diff.format_verdict()


def test_different_images_are_rejected():
    with pytest.raises(ConfigError, match="expected two runs with the same test images"):
        compare_predictions(predictions([0, 1], [0, 1]), predictions([1, 0], [0, 1]), ("A", "B"))


# ------------------------------------------------------------------------------------------------------------
# Selection of runs from a real store


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


def select(**options):
    return select_runs(Selection(**options), TrackingStore(build_sqlite_uri(STORE)))


def test_experiment_selects_its_finished_runs(store):
    client, mine = store
    kept = [log(client, mine), log(client, mine, accuracy=0.8)]
    log(client, mine, status="FAILED")
    log(client, mine, status="KILLED", pruned="after epoch 2")
    log(client, mine, **{"trainyard.role": "sweep"})
    log(client, client.create_experiment("other"))
    selected = select(experiment="mine")
    assert [run.reference for run in selected.runs] == kept
    assert selected.left_out == {"FAILED": 1, "pruned": 1}
    assert selected.runs[0].params == {"model.hidden_units": [8]}
    narrowed = select(experiment="mine", filter_string="metrics.`accuracy/test` > 0.85")
    assert [run.reference for run in narrowed.runs] == kept[:1]
    both = select(references=(kept[1],), experiment="mine")
    assert [run.reference for run in both.runs] == [kept[1], kept[0]]


def test_sweep_selects_each_trial_once(store):
    client, mine = store
    tags = {"sweep_id": "it's", "trainyard.role": "trial", "mlflow.parentRunId": "p"}
    log(client, mine, status="FAILED", **{**tags, "trainyard.trial": "1"})
    repeated = log(client, mine, **{**tags, "trainyard.trial": "1"})
    other = log(client, mine, **{**tags, "trainyard.trial": "2"})
    log(client, mine)
    selected = select(sweep="it's")
    assert ([run.reference for run in selected.runs], selected.left_out) == ([repeated, other], {})
    log(client, mine, **{**tags, "mlflow.parentRunId": "q", "trainyard.trial": "1"})
    with pytest.raises(ConfigError, match='sweep: expected one sweep with the name "it\'s", got 2'):
        select(sweep="it's")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experiment": "mien"}, r"--experiment: .* has no experiment 'mien'. Did you mean 'mine'\?"),
        ({"sweep": "x"}, "sweep: the store has no sweep 'x'. It has no sweeps"),
        ({"references": ("x",)}, "compare: .* has no run 'x'"),
        ({"experiment": "mine", "filter_string": "foo"}, "--filter: expected an MLflow filter string, such as .*, got 'foo'"),
        ({"experiment": "empty"}, "compare: expected finished runs, found none"),
        ({"experiment": "mine", "test_data": "x"}, "--test-data: no run has test images with a digest that starts with 'x'"),
    ],
)  # fmt: skip
def test_unknown_names_are_reported(store, options, message):
    client, mine = store
    client.create_experiment("empty")
    log(client, mine)
    with pytest.raises(ConfigError, match=message):
        select(**options)


def test_different_test_images_are_rejected_with_both_digests(store):
    client, mine = store
    first, second = log(client, mine, digest="d1"), log(client, mine, digest="e2")
    with pytest.raises(
        ConfigError, match=f"got 2 sets of test images: d1: {first}; e2: {second}. Choose one: --test-data"
    ):
        select(references=(first, second))
    selected = select(experiment="mine", test_data="e2")
    assert ([run.reference for run in selected.runs], selected.left_out) == ([second], {"on other test images": 1})
    unknown = log(client, mine, digest=None)
    with pytest.raises(ConfigError, match=f"d1: {first}; not known: {unknown}"):
        select(references=(first, unknown))


def test_test_images_drawn_by_the_seed_are_accepted_if_every_config_has_all_sets(store):
    client, mine = store
    logged = [
        (config, seed, log(client, mine, digest=f"d{seed}", seed=str(seed))) for config in "ab" for seed in (0, 1)
    ]
    for config, _, key in logged:
        client.set_tag(key, "config_hash", config)
    assert len(select(experiment="mine").runs) == 4
    client.delete_run(logged[-1][2])
    with pytest.raises(ConfigError, match="got 2 sets of test images"):
        select(experiment="mine")


def test_run_given_by_id_and_by_folder_is_selected_once(wide_and_thin):
    first, other = wide_and_thin
    for references in ((first.run_id, first.run_id), (str(first.folder), first.run_id)):
        selected = select_runs(Selection(references=references, experiment="tiny"), TrackingStore(first.tracking_uri))
        assert [run.run_id for run in selected.runs] == [first.run_id, other.run_id]


def test_sweep_without_matching_trials_is_reported(store):
    client, mine = store
    log(client, mine, sweep_id="it", **{"trainyard.role": "sweep"})
    log(client, mine, sweep_id="it", **{"trainyard.role": "trial", "mlflow.parentRunId": "p"})
    with pytest.raises(
        ConfigError, match="sweep: no trial of 'it' is in the selected experiment and matches the filter"
    ):
        select(sweep="it", filter_string="metrics.`accuracy/test` > 2")


def test_sweep_is_rejected_as_a_run(store):
    client, mine = store
    parent = log(client, mine, sweep_id="it", **{"trainyard.role": "sweep"})
    with pytest.raises(
        ConfigError, match="expected a single run, got the sweep .* Select its trials by the name of the sweep, 'it'"
    ):
        select(references=(parent,))


# ------------------------------------------------------------------------------------------------------------
# The command, on trained runs


def run(*words, code=0):
    done = CliRunner().invoke(app, ["compare", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


@pytest.mark.pictures
def test_two_runs_are_compared_as_text_json_csv_and_html(wide_and_thin):
    wide, thin = wide_and_thin
    shutil.copy(wide.folder.parent / STORE, STORE)  # it has everything needed: the folders were moved
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
    assert lines[1].split()[:4] == ["1", "64", "[64]", f"{wide.history[-1]['accuracy/val']:.4f}"]
    assert lines[2].endswith(thin.run_id)
    assert "64 ranks first" in text
    page = f"trainyard compare {wide.run_id} {thin.run_id} --html compared.html"
    assert suggested_commands(text) == {"page": page}
    assert not suggested_commands(run(*shlex.split(page)[2:]))
    assert Path("compared.html").exists()
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
        f"Of {improved + worsened} test images that only one model classifies correctly, 2 classifies {improved}"
        in text
    )

    record = json.loads(run(thin.folder, wide.folder, "--json"))  # in reverse order, from the folders
    assert (record["by"], record["varied"]) == ("accuracy/val", ["model.hidden_units"])
    assert [config["settings"] for config in record["configs"]] == [
        {"model.hidden_units": [64]},
        {"model.hidden_units": [2]},
    ]
    assert [config["range_test"] for config in record["configs"]] == ["best", "not tested: too few seeds"]
    assert record["configs"][0]["metrics"]["loss/test"] == {"mean": pytest.approx(wide.evaluation.loss), "std": None}
    assert (len(record["pair"]["improved"]), len(record["pair"]["worsened"])) == (worsened, improved)

    header, first, second = csv.reader(io.StringIO(run("--experiment", "tiny", "--csv", "--by", "loss/test")))
    row = dict(zip(header, first, strict=True))
    assert (row["rank"], row["config"], row["model.hidden_units"], row["seeds"]) == ("1", "64", "[64]", "1")
    assert float(row["accuracy/test"]) == pytest.approx(wide.evaluation.accuracy)
    assert second[header.index("runs")] == thin.run_id

    assert "page  out.html" in run(wide.run_id, thin.run_id, "--html", "out.html")
    html = Path("out.html").read_text()
    assert html.count("data:image/png;base64,") == 7 - (not improved)
    for caption in (
        "Changes by class",
        "Difference of the confusion matrices",
        "Became wrong",
        "Learning curves: accuracy/val",
        "F1 by class",
    ):
        assert f"<h3>{caption}</h3>" in html
    assert "<h1>64 → 2</h1>" in html
    assert wide.run_id in html
    assert "The images are not shown" not in html

    best = json.loads(run("--experiment", "tiny", "--best", "1", "--json"))
    assert ([config["config"] for config in best["configs"]], "pair" in best) == (["64"], False)


def test_restored_epoch_is_compared_after_early_stopping(tiny):
    result = run_experiment(
        tiny("dataset.validation_fraction=0.3", "training.epochs=30", "training.early_stopping.patience=1",
             "optimizer.learning_rate=0.3", "tracking=off")
    )  # fmt: skip
    best = result.training.best_epoch
    assert best < len(result.training.history)
    loaded = load_run_record(result.folder)
    assert loaded.metrics["loss/val"] == result.training.history[-1]["loss/val"]
    assert loaded.restore_metric("loss/val").metrics["loss/val"] == result.training.history[best - 1]["loss/val"]
    assert loaded.restore_metric("loss/test") is loaded


def test_names_with_matplotlib_markup_are_drawn_literally():
    runs = [
        fake_run(
            f"model.hidden_units=[{units}]", name=name, accuracy=units / 10, **{f"f1_by_class/{c}": 0.5 for c in "ab"}
        )
        for units, name in enumerate(("_hidden", "$\\foo$", "plain"), 1)
    ]
    page.write_comparison_page(Path("out.html"), build_comparison_table(runs, ACCURACY), None, [])
    assert "<h3>F1 by class</h3>" in Path("out.html").read_text()


def test_changed_test_images_are_rejected(wide_and_thin):
    result, _ = wide_and_thin
    folder = Path(shutil.copytree(result.folder, "changed"))
    loaded = load_run_record(folder)
    labels = result.evaluation.actual
    images, spec = load_test_images(loaded, labels)
    np.testing.assert_array_equal(images, result.dataset.test.images)
    assert spec.class_names == result.dataset.spec.class_names
    assert load_predictions(loaded).actual.tolist() == result.evaluation.actual.tolist()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("limit: 300", "limit: 200"))
    with pytest.raises(TrainyardError, match="expected test images with the digest"):
        load_test_images(loaded, labels)
    config.write_text(config.read_text().replace("limit: 200", "limit: 300"))
    with pytest.raises(TrainyardError, match="got other images: their labels differ"):
        load_test_images(loaded, labels[::-1])
    (folder / "evaluation" / "test_predictions.npz").write_bytes(b"PK")
    with pytest.raises(ConfigError, match="cannot read the predictions of the test images"):
        load_predictions(loaded)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "compare: expected ids or folders of runs, or --experiment NAME"),
        (["x", "--json", "--csv"], "--json: cannot be combined with --csv"),
        (["x", "--html", "x.png"], "--html: expected an .html file in an existing folder, got x.png"),
        (["x", "--html", "no/x.html"], "--html: expected an .html file"),
        (["x", "--uri", "gopher://h"], "--uri: "),
    ],
)
def test_invalid_options_are_rejected(words, message):
    assert message in run(*words, code=2)


def test_classes_with_smaller_changes_are_shown_on_a_click(monkeypatch):
    monkeypatch.setattr(page, "MAX_OPEN_CLASSES", 2)
    actual = [0] * 5 + [1] * 3 + [2]
    diff = compare_predictions(predictions(actual, actual), predictions(actual, [2] * 8 + [1]), ("A", "B"))
    runs = [fake_run(f"model.hidden_units=[{units}]", name=name) for units, name in enumerate("AB", 1)]
    page.write_comparison_page(Path("out.html"), build_comparison_table(runs, ACCURACY), diff, [])
    shown, _, hidden = Path("out.html").read_text().partition("<summary>Classes with smaller changes: 1")
    for name, is_shown in (("cat", True), ("dog", True), ("eel", False)):
        assert [f'<th scope="row">{name}</th>' in text for text in (shown, hidden)] == [is_shown, not is_shown]


def test_page_of_several_runs_shows_the_lead_of_the_best():
    runs = [fake_run(f"model.hidden_units=[{units}]", accuracy=units / 10) for units in (1, 2, 4)]
    page.write_comparison_page(Path("out.html"), build_comparison_table(runs, ACCURACY), None, [])
    assert "<dt>Lead</dt><dd>0.2000</dd>" in Path("out.html").read_text()
    equal = [fake_run(f"model.hidden_units=[{units}]") for units in (1, 2)]
    page.write_comparison_page(Path("out.html"), build_comparison_table(equal, ACCURACY), None, [])
    assert "<dt>Lead</dt><dd>none</dd>" in Path("out.html").read_text()
    page.write_comparison_page(Path("out.html"), build_comparison_table(runs[:1], ACCURACY), None, [])
    assert "<dt>Lead</dt>" not in Path("out.html").read_text()


def test_page_of_the_best_configs_describes_the_lead_and_the_ties_of_all():
    accuracies = {1: (0.90, 0.94), 2: (0.93, 0.90), 4: (0.91, 0.92), 8: (0.92, 0.93)}
    runs = [
        fake_run(f"model.hidden_units=[{units}]", f"seed={seed}", accuracy=accuracy)
        for units, pair in accuracies.items()
        for seed, accuracy in enumerate(pair)
    ]
    table = build_comparison_table(runs, ACCURACY)
    texts = []
    for shown in (table, table.select_best(2)):
        page.write_comparison_page(Path("out.html"), shown, None, [])
        html = Path("out.html").read_text()
        texts.append(
            [re.search(rf"<dt>{title}</dt><dd>.*?</div>", html, re.DOTALL)[0] for title in ("Lead", "Not shown.*?")]
        )
    assert texts[0] == texts[1]
    assert "<dd>3</dd>" in texts[0][1]


def test_page_names_the_test_images_and_the_commands_that_use_the_best_run(wide_and_thin):
    wide, thin = wide_and_thin
    run(str(wide.folder), str(thin.folder), "--html", "out.html")
    html = Path("out.html").read_text()
    best = max((wide, thin), key=lambda result: result.evaluation.accuracy)
    assert f"digits: the same {len(best.evaluation.actual):,} test images for all runs · Trainyard" in html
    for words in ("rerun {}", "export {} model", "predict {} image.png"):
        assert f"trainyard {words.format(os.path.relpath(best.folder))}" in html
    stranger = dataclasses.replace(fake_run(), tags={})
    page.write_comparison_page(Path("out.html"), build_comparison_table([stranger], ACCURACY), None, [])
    assert "trainyard export" not in Path("out.html").read_text()


def test_page_reports_the_number_of_rows_not_shown(monkeypatch):
    monkeypatch.setattr(page, "MAX_LISTED", 2)
    runs = [fake_run(f"model.hidden_units=[{units}]", accuracy=units / 10) for units in (1, 2, 3)]
    page.write_comparison_page(Path("out.html"), build_comparison_table(runs, ACCURACY), None, ["Not shown: 1 FAILED."])
    html = Path("out.html").read_text()
    assert html.count("not shown here; --json lists all") == 2  # configs and runs
    assert "Not shown: 1 FAILED." in html
    assert "<h1>3 runs, 3 configs</h1>" in html
