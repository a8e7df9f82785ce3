"""Tests of the sweep card, the leaderboard, and hyperparameter importance."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json
import re
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import optuna
import pytest

from trainyard.config import config_to_dict
from trainyard.evaluation.ranking import rank
from trainyard.evaluation.trials import Trial, TrialResult
from trainyard.reporting.formatting import format_time
from trainyard.reporting.leaderboard import render_leaderboard_markdown, write_leaderboard
from trainyard.sweep import importance
from trainyard.sweep.card import CardPage, SweepCost, write_card
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.grid import Interval
from trainyard.sweep.importance import compute_importances
from trainyard.sweep.ledger import EpochReport, Ledger
from trainyard.sweep.origin import load_origin
from trainyard.sweep.plan import make_plan
from trainyard.sweep.recorder import TrialOutcomes
from trainyard.sweep.sampler import build_interval_distribution
from trainyard.sweep.summary import describe_swept, rank_trials, summarize_sweep
from trainyard.sweep.winner_recipe import Winner

POINTS = {"wide": [0.981, 0.982, 0.980], "narrow": [0.951, 0.953, 0.950], "deep": [0.982, 0.981, 0.9805]}
VARIED = {
    "wide": {"model.hidden_units": [512, 256], "optimizer.learning_rate": 0.001},
    "narrow": {"model.hidden_units": [8], "optimizer.learning_rate": 0.01},
    "deep": {"model.hidden_units": [64, 64, 64], "optimizer.learning_rate": 0.001},
}


class Page(html.parser.HTMLParser):
    """Parses a page: its elements with their attributes, its text, and its tables as rows of cells."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.text, self.cell = [], [], "", None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.rows[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell += data


@pytest.fixture
def ranking(sweep_of):
    return rank(sweep_of(POINTS, varied=VARIED), "accuracy/val")


def make_trial(label, number=1, seed=0):
    return Trial(number=number, point=1, label=f"{label} seed{seed}", varied={}, seed=seed, overrides=(), config={})


def make_card(folder, ranking, **more):
    """Writes the card and returns its files."""
    page = CardPage(**{"name": "lr & <width>", "swept": {}, "ranking": ranking, "cost": SweepCost(), **more})
    return write_card(folder, page)


def write(folder, ranking, **more):
    """Writes the leaderboard and the card. Returns the parsed leaderboard and the text of the page."""
    table = json.loads(write_leaderboard(folder, ranking).read_text())
    return table, make_card(folder, ranking, **more)[0].read_text()


def test_leaderboard_has_a_row_per_point_in_the_table_format_of_mlflow(ranking, tmp_path):
    table, _ = write(tmp_path, ranking)
    assert list(table) == ["columns", "data"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["trial"] for row in rows] == ["deep", "wide", "narrow"]
    assert rows[1] == {
        "rank": 2,
        "trial": "wide",
        "model/hidden_units": "[512, 256]",
        "optimizer/learning_rate": 0.001,
        "accuracy/val": 0.981,
        "std": 0.001,
        "n": 3,
        "low": 0.978516,
        "high": 0.983484,
        "accuracy/test": 0.971,
        "loss/test": 0.019,
        "parameters": 1000,
        "seconds": 2.0,
        "runs": "run1 run2 run3",
    }


def test_leaderboard_without_an_objective_has_no_objective_columns(sweep_of, tmp_path):
    table, page = write(tmp_path, rank(sweep_of({"a": [0.1], "b": [0.2]}, objective=None), None))
    assert table["columns"] == [
        "rank", "trial", "name", "n", "accuracy/test", "loss/test", "parameters", "seconds", "runs",
    ]  # fmt: skip
    assert [row[:4] for row in table["data"]] == [[1, "a", "a", 1], [2, "b", "b", 1]]
    assert "In plan order." in page


def test_page_shows_the_verdict_and_the_ranking(ranking, tmp_path):
    page = Page(write(tmp_path, ranking)[1])
    assert ranking.format_verdict() in page.text
    assert page.rows[0] == [
        "#", "point", "hidden_units", "learning_rate", "accuracy/val", "n", "95 % interval", "accuracy/test", "loss/test",
        "parameters", "time",
    ]  # fmt: skip
    assert page.rows[2] == [
        "2 ≈", "wide", "[512, 256]", "0.001", "0.9810 ± 0.0010", "3", "0.9785 to 0.9835", "0.9710", "0.0190", "1,000",
        "2.00 s",
    ]  # fmt: skip
    assert page.rows[3][:2] == ["3", "narrow"]


def test_plots_are_above_the_ranking_because_it_can_be_long(ranking, tmp_path):
    text = write(tmp_path, ranking)[1]
    assert text.index("<h2>Plots</h2>") < text.index("<h2>Ranking</h2>")


def test_pruned_rows_are_marked_and_wide_tables_are_dense_in_print(sweep_of, tmp_path):
    ranking = rank(sweep_of({"a": [0.8], "b": [0.9]}), "accuracy/val", pruned=[2])
    elements = Page(write(tmp_path, ranking)[1]).elements
    rows = [attributes.get("class") for tag, attributes in elements if tag == "tr"]
    assert rows == [None, None, "pruned"]
    classes = {"": {"name": 1}, " dense": {f"s{number}": 1 for number in range(9)}}
    for dense, settings in classes.items():
        ranking = rank(sweep_of({"a": [0.8]}, varied={"a": settings}), "accuracy/val")
        assert f'<table class="ranking sortable{dense}">' in write(tmp_path, ranking)[1]


def test_titles_of_text_columns_are_aligned_also_if_the_best_point_has_no_value(sweep_of, tmp_path):
    settings = {"a": {"model": "cnn"}, "b": {"model": "mlp", "units": [64], "lr": 0.1}}
    text = write(tmp_path, rank(sweep_of({"a": [0.9], "b": [0.8]}, varied=settings), "accuracy/val"))[1]
    for title, is_text in (("model", True), ("units", True), ("lr", False)):
        assert (f'<th scope="col" class="text">{title}</th>' in text) == is_text


def test_long_values_are_wrapped(sweep_of, tmp_path):
    settings = {"a": {"units": [64] * 20}, "b": {"units": [64]}}
    text = write(tmp_path, rank(sweep_of({"a": [0.8], "b": [0.7]}, varied=settings), "accuracy/val"))[1]
    assert text.count('<td class="text long">') == 1


def test_page_lists_failed_trials_and_counts_unfinished_ones(ranking, tmp_path):
    failed = [(make_trial("odd"), "TrainingError: the loss is <nan> & so on")]
    text = write(tmp_path, ranking, failed=failed, unfinished=1234)[1]
    page = Page(text)
    assert "logs/N.log" in page.text
    assert ["1: odd seed0", "TrainingError: the loss is <nan> & so on"] in page.rows
    assert "<nan>" not in text
    assert "1,234" in page.text


def test_html_in_names_is_escaped(sweep_of, tmp_path):
    hostile = "<script>alert(1)</script>"
    ranking = rank(sweep_of({hostile: [0.9], "b": [0.8]}, varied={hostile: {"name": hostile}}), "accuracy/val")
    text = write(tmp_path, ranking)[1]
    assert hostile not in text
    assert hostile in Page(text).text
    assert "lr & <width>" in Page(text).text


def test_page_needs_no_network_and_allows_only_its_own_script(ranking, tmp_path):
    text = write(tmp_path, ranking)[1]
    elements = Page(text).elements
    pictures = [attributes["src"] for tag, attributes in elements if tag == "img"]
    assert len(pictures) == 2, "list-valued settings have no plot"
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    assert not [tag for tag, _ in elements if tag in {"link", "iframe", "object"}]
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [attributes["content"] for _, attributes in elements if "http-equiv" in attributes]
    assert policy.endswith(f"script-src 'sha256-{digest}'")


def test_page_shows_at_most_500_points(sweep_of, tmp_path):
    points = {f"point {number}": [0.9 + number / 1e5] for number in range(600)}
    failed = [(make_trial("odd"), "x" * 300)] * 150
    table, text = write(tmp_path, rank(sweep_of(points), "accuracy/val"), failed=failed)
    assert len(table["data"]) == 600
    assert len(text) < 600 * 1024
    page = Page(text)
    assert len(page.rows) == (1 + 500) + (1 + 100)
    assert "100 more are not listed here; leaderboard.json has all points." in page.text
    assert "50 more are not listed here." in page.text


def test_plots_that_no_longer_apply_are_deleted(ranking, sweep_of, tmp_path):
    rates = {name: {"lr": number} for number, name in enumerate(POINTS)}
    folder = tmp_path / "sweep"
    folder.mkdir()
    first = make_card(folder, rank(sweep_of(POINTS, varied=rates), "accuracy/val"))
    assert {file.name for file in first} == {path.name for path in folder.iterdir()}
    assert folder / "settings.png" in first
    second = make_card(folder, ranking)
    assert {file.name for file in second} == {file.name for file in first} - {"settings.png"}
    assert not (folder / "settings.png").exists()


def test_failed_render_keeps_the_previous_page(ranking, tmp_path, monkeypatch):
    _, previous = write(tmp_path, ranking)
    monkeypatch.setattr("trainyard.sweep.card.TEMPLATE", "nowhere.html")
    with pytest.raises(Exception, match="nowhere"):
        make_card(tmp_path, ranking, name="another")
    assert (tmp_path / "card.html").read_text() == previous
    assert not list(tmp_path.glob("partial*"))


def test_page_without_finished_trials_reports_it(tmp_path):
    table, text = write(tmp_path, rank([], "accuracy/val"), unfinished=3)
    assert table["data"] == []
    assert "No trial finished." in text
    assert "<table" not in text
    assert "Best point" not in text


def winner_of(ranking):
    return Winner(ranking.points[0].label, "abc123", Path("winner.yaml"), "trainyard train experiment=winner")


def test_page_describes_the_best_point_its_lead_and_the_command_to_train_it(ranking, sweep_of, tmp_path):
    text = Page(write(tmp_path, ranking, winner=winner_of(ranking))[1]).text
    assert "model.hidden_units = [64, 64, 64], optimizer.learning_rate = 0.001" in text
    assert "0.0002 ahead of wide; not significant (Tukey's range test of 3 points, p = " in text
    best = ranking.points[0]
    assert re.search(rf"accuracy/test 0\.9712[^A-Z]*, mean of {best.n} seeds", text)
    assert f"abc123, seed {best.runs[0].seed}: accuracy/val {best.runs[0].value:.4f}" in text
    assert "trainyard train experiment=winner" in text
    clear = rank(sweep_of({"good": [0.9, 0.91, 0.9], "bad": [0.5, 0.51, 0.49]}), "accuracy/val")
    assert (
        "0.4033 ahead of bad; significant (Tukey's range test of 2 points, p = "
        in Page(write(tmp_path, clear, winner=winner_of(clear))[1]).text
    )
    level = rank(sweep_of({"one": [0.9], "other": [0.9]}), "accuracy/val")
    assert "none: other has the same value" in write(tmp_path, level, winner=winner_of(level))[1]
    once = rank(sweep_of({"good": [0.9], "bad": [0.5]}), "accuracy/val")
    assert (
        "0.4000 ahead of bad; too few seeds to test the difference, so it may be due to chance"
        in write(tmp_path, once, winner=winner_of(once))[1]
    )


def test_page_says_which_other_points_are_not_shown_to_be_worse(sweep_of, ranking, tmp_path):
    """Here `wide` is the first point of the sweep, and the smallest: it has 1,000 parameters, and `deep` has 3,000."""
    page = Page(write(tmp_path, ranking, winner=winner_of(ranking))[1]).text
    assert "1other point not significantly worse than the best (5 % level)" in "".join(page.split("\n")).replace(
        "  ", ""
    )
    assert "wide: 0.9810 ± 0.0010, 1,000 parameters instead of 3,000. It is not shown to be worse" in page
    significant = rank(sweep_of({"good": POINTS["wide"], "bad": POINTS["narrow"]}), "accuracy/val")
    assert "the best is significantly better than every other point" in write(tmp_path, significant)[1]
    small_best = rank(sweep_of({"best": [0.9, 0.91], "other": [0.89, 0.91]}), "accuracy/val")
    page = write(tmp_path, small_best, winner=winner_of(small_best))[1]
    assert "other point not significantly worse" in page
    assert "smaller" not in page.lower()
    once = rank(sweep_of({"good": [0.9], "bad": [0.5]}), "accuracy/val")
    for untested in (once, rank(sweep_of({"a": [0.1, 0.2]}, objective=None), None)):
        assert "Not shown to be worse" not in write(tmp_path, untested)[1]


def test_page_shows_data_set_epochs_start_and_version_of_a_real_trial(train_once, tmp_path):
    run = train_once("dataset.validation_fraction=0.2", "training.early_stopping.patience=9")
    data = run.dataset
    counts = (
        f"{len(data.train):,} for training, {len(data.validation):,} for validation, {len(data.test):,} for testing"
    )
    trial = Trial(
        number=1, point=1, label="a", varied={}, seed=0, overrides=(), config=config_to_dict(run.config)
    )  # fmt: skip
    result = TrialResult(
        objective=0.9, metrics={"accuracy/val": 0.9}, epochs=1, history=(), seconds=1.0, run_id=run.run_id,
        folder=str(run.folder), parameters=1,
    )  # fmt: skip
    outcomes, ledger = TrialOutcomes(), Ledger(tmp_path / "ledger.jsonl")
    outcomes.done[1] = result
    ledger.record_session_start({"host": "here", "pid": "1", "started": ""}, 1)
    ranking = rank_trials([trial], outcomes, "accuracy/val")
    page = Page(write(tmp_path, ranking, origin=load_origin(ledger, [trial], outcomes, ranking.points[0]))[1]).text
    started = format_time(datetime.fromisoformat(ledger.sessions[0].time))
    epochs = run.config.training.epochs
    line = f"digits images: {counts} · at most {epochs} epochs · started {started} · Trainyard {version('trainyard')}"
    assert line in page
    assert f"tensorflow {version('tensorflow')}" in page
    commands = load_origin(ledger, [trial], outcomes, ranking.points[0]).model_commands
    assert f"export {run.run_id}" in commands["Export its model"]
    varied = dataclasses.replace(trial, varied={"dataset.limit": 300})
    assert "for testing in the best point" in load_origin(ledger, [varied], outcomes, ranking.points[0]).summary[0]
    result_elsewhere = dataclasses.replace(result, folder="not/here")
    outcomes.done[1] = result_elsewhere
    elsewhere = load_origin(ledger, [trial], outcomes, ranking.points[0])
    assert elsewhere.summary == ["digits", f"at most {epochs} epochs", f"started {started}"]
    assert not elsewhere.provenance
    assert not elsewhere.model_commands


def test_values_of_settings_are_listed_as_in_the_command():
    plan = make_plan(
        [
            "sweep.objective=off",
            "model.hidden_units=[8],[16, 8]",
            "model.activation=relu,tanh",
            "dataset.limit=null,300",
        ]
    )
    assert describe_swept({"search": None, "swept": plan.swept}, plan.trials) == {
        "model.hidden_units": "[8], [16, 8]", "model.activation": "relu, tanh", "dataset.limit": "null, 300",
    }  # fmt: skip
    search = {"axes": {"a": {"description": "[[8], [16,8]]"}, "b": {"description": "interval(0.1, 0.2)"}}}
    assert describe_swept({"search": search}, ()) == {"a": "[8], [16,8]", "b": "interval(0.1, 0.2)"}


def test_page_shows_the_command_the_pruned_trials_and_the_cost(ranking, tmp_path):
    pruned = [(make_trial("late"), "after epoch 3, with accuracy/val 0.1, by sweep.pruner=median")]
    cost = SweepCost(wall_seconds=100, done_seconds=150, pruned_seconds=12, epochs=93, spared=7)
    swept = {"optimizer.learning_rate": "interval(0.0001, 0.1), log"}
    page = Page(
        write(
            tmp_path, ranking, pruned=pruned, cost=cost, swept=swept, command="trainyard sweep x=1", chosen_by="tpe, seed 3"
        )[1]
    )  # fmt: skip
    assert ["optimizer.learning_rate", "interval(0.0001, 0.1), log"] in page.rows
    assert ["1: late seed0", "after epoch 3, with accuracy/val 0.1, by sweep.pruner=median"] in page.rows
    for text in ("trainyard sweep x=1", "tpe, seed 3", "1 min 40 s", "93; pruning saved 7 more"):
        assert text in page.text
    assert "2 min 42 s: 2 min 30 s in 9 finished, 12.0 s in 1 pruned" in page.text


def test_pruned_point_is_ranked_last_with_its_finished_seeds():
    """Of two points with three seeds, the first has one pruned trial and two good ones."""
    plan = make_plan(
        ["dataset.validation_fraction=0.2", "sweep.seeds=3", "sweep.name=mine", "optimizer.learning_rate=0.1,0.2"]
    )
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(plan, None)
    ledger, outcomes = folder.ledger, TrialOutcomes()
    ledger.record_session_start({"host": "here", "pid": "1", "started": ""}, 1)
    for trial in plan.trials:
        ledger.record_start(trial.number, "")
        if trial.number == 2:
            ledger.record_epoch(EpochReport(2, 1, 10, 0.1))
            ledger.record_pruned(2, "after epoch 1")
            outcomes.pruned[2] = "after epoch 1"
            continue
        value = 0.99 if trial.point == 1 else 0.9
        outcomes.done[trial.number] = TrialResult(
            objective=value, metrics={"accuracy/val": value}, epochs=10, history=(), seconds=1.0, run_id=None, folder="",
            parameters=1,
        )  # fmt: skip
        ledger.record_result(trial.number, outcomes.done[trial.number])
    ranking = rank_trials(plan.trials, outcomes, "accuracy/val")
    sweep_result = summarize_sweep(folder, plan.trials, outcomes, ranking)
    assert [(point.label, point.n) for point in sweep_result.ranking.points] == [("lr0.2", 3), ("lr0.1", 2)]
    assert sweep_result.verdict.startswith("lr0.2 is best: accuracy/val 0.9000")
    assert sweep_result.verdict.endswith("1 point was pruned and ranked last, by the seeds that finished.")
    assert sweep_result.best.label == sweep_result.winner.label == "lr0.2"
    page = Page((folder.path / "card.html").read_text())
    assert any("2, pruned" in row for row in page.rows)
    for text in ("Points that were pruned are last", "all other points were pruned", "51; pruning saved 9 more"):
        assert text in page.text


# ---------------------------------------------------------------------------------------------------------------
# Hyperparameter importance


def rank_search(sweep_of, count, *, alike=False):
    """Ranks a sweep in which the learning rate has a large effect, the width a small one, and the batch size none."""
    generator = np.random.default_rng(0)
    points, varied = {}, {}
    for number in range(count):
        rate, width, batch = (
            10 ** generator.uniform(-4, -1),
            [[8], [64, 32]][number % 2],
            int(generator.integers(16, 99)),
        )
        points[f"p{number}"] = [0.5 if alike else 0.95 - 0.05 * abs(np.log10(rate) + 2.5) + 0.04 * (width == [64, 32])]
        varied[f"p{number}"] = {
            "optimizer.learning_rate": rate, "model.hidden_units": width, "training.batch_size": batch,
        }  # fmt: skip
    return rank(sweep_of(points, varied=varied), "accuracy/val")


def test_importance_orders_settings_by_their_effect(sweep_of):
    shares = compute_importances(rank_search(sweep_of, 60))
    assert list(shares) == ["optimizer.learning_rate", "model.hidden_units", "training.batch_size"]
    assert 0.5 < sum(shares.values()) < 1.01
    assert shares["training.batch_size"] < 0.1


def test_importance_of_the_same_points_is_the_same(sweep_of):
    ranking = rank_search(sweep_of, 10)
    assert compute_importances(ranking) == compute_importances(ranking)


def test_importance_is_empty_if_it_cannot_be_estimated(sweep_of):
    assert compute_importances(rank_search(sweep_of, 7)) == {}
    assert compute_importances(rank_search(sweep_of, 20, alike=True)) == {}
    assert compute_importances(rank([], "accuracy/val")) == {}
    rates = {f"p{number}": {"lr": number} for number in range(20)}
    assert (
        compute_importances(
            rank(sweep_of({name: [0.9 + 0.001 * n] for n, name in enumerate(rates)}, varied=rates), "accuracy/val")
        )
        == {}
    )


def test_importance_of_a_search_uses_the_ranges_of_its_axes(sweep_of):
    """Optuna's own importances of the search. The points are in a small part of the search space."""
    intervals = {"rate": (1e-4, 1e-1, True, None), "units": (8, 512, False, 8), "dropout": (0.0, 0.9, False, None)}
    distributions = {key: build_interval_distribution(Interval(*interval)) for key, interval in intervals.items()}
    study, points, varied = optuna.create_study(), {}, {}
    for number in range(16):  # best first, because the forest depends on the order
        a, b, c = number / 16, number * 7 % 16 / 16, number * 3 % 16 / 16
        params = {"rate": 10 ** (-3 + a), "units": 8 * int(20 + 16 * b), "dropout": 0.3 * c}
        value = 0.9 - 0.05 * a - 0.001 * b
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
        points[f"p{number}"], varied[f"p{number}"] = [value], params
    ranking = rank(sweep_of(points, varied=varied), "accuracy/val")
    axes = {key: {"interval": dataclasses.asdict(Interval(*interval))} for key, interval in intervals.items()}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    expected = evaluator.evaluate(study)
    shares = compute_importances(ranking, axes)
    assert shares == pytest.approx(expected, abs=1e-6)
    assert compute_importances(ranking) != pytest.approx(expected, abs=0.02)


def test_card_says_how_many_points_importances_need(sweep_of, tmp_path):
    swept = {"optimizer.learning_rate": "", "model.hidden_units": ""}
    for count, is_explained in ((7, True), (8, False)):
        make_card(tmp_path, rank_search(sweep_of, count), swept=swept)
        text = Page((tmp_path / "card.html").read_text()).text
        assert ("need at least 8 ranked points; this sweep has 7" in text) == is_explained


def test_card_explains_settings_without_a_share(sweep_of, tmp_path):
    swept = dict.fromkeys(["optimizer.learning_rate", "model.hidden_units", "training.batch_size"], "")
    for more, is_explained in (({}, False), ({"model.filters": "[[8], [16]]"}, True)):
        make_card(tmp_path, rank_search(sweep_of, 20), swept=swept | more)
        assert ("A setting without a share" in (tmp_path / "card.html").read_text()) == is_explained


def test_importance_of_a_large_sweep_is_computed_from_a_subset(sweep_of, monkeypatch):
    """Fitting the forest to all points of a large sweep would take half an hour."""
    subsets, compute_fanova = [], importance._compute_fanova
    monkeypatch.setattr(importance, "MAX_POINTS", 30)
    monkeypatch.setattr(
        importance, "_compute_fanova", lambda points, *more: subsets.append(points) or compute_fanova(points, *more)
    )
    points = {f"p{number}": [0.5 + number / 4000] for number in range(100)}
    varied = {name: {"lr": number + 1, "width": number % 7} for number, name in enumerate(points)}
    ranking = rank(sweep_of(points, varied=varied), "accuracy/val")
    assert next(iter(compute_importances(ranking))) == "lr"
    assert subsets == [ranking.points[::4]]


@pytest.mark.pictures
def test_search_card_has_plots_of_effects_and_parallel_coordinates(sweep_of, tmp_path):
    files = {file.name for file in make_card(tmp_path, rank_search(sweep_of, 12))}
    assert files == {"card.html", "ranking.png", "settings.png", "parallel.png", "learning_curves.png"}
    text = (tmp_path / "card.html").read_text()
    assert len(text) < 600 * 1024


def test_leaderboard_as_markdown(ranking, sweep_of):
    assert render_leaderboard_markdown(ranking, 2).splitlines() == [
        "|  | point | accuracy/val | n | accuracy/test | parameters | time |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| 1 | deep | 0.9812 ± 0.0008 | 3 | 0.9712 | 3,000 | 2.00 s |",
        "| 2 | wide | 0.9810 ± 0.0010 | 3 | 0.9710 | 1,000 | 2.00 s |",
        "",
        "… and 1 more.",
    ]
    (row,) = render_leaderboard_markdown(rank(sweep_of({"a|b*c": [0.9]}, objective=None), None)).splitlines()[2:]
    assert row == "| 1 | a\\|b\\*c | 0.8900 | 1,000 | 2.00 s |"
