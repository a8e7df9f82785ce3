"""What the views say that MLflow's UI shows; that it shows it, tests in a browser tell."""

from __future__ import annotations

import json

import pytest

from trainyard.tracking.connection import training_view_url
from trainyard.tracking.ui_views import SHARE_KEY, experiment_tags, sweep_view, sweep_view_key


def _states(tags):
    views = [value for key, value in tags.items() if key.startswith("mlflow.sharedViewState.")]
    return [json.loads(json.loads(view)["state"]) for view in views]


def _state(tags):
    (state,) = _states(tags)
    return state


def _charts(state, kind):
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


def test_a_sweep_shows_its_trials_the_best_first():
    state = _state(sweep_view("widths", "accuracy/val", ["optimizer.learning_rate", "model.hidden_units"]))
    assert state["searchFilter"] == "tags.sweep_id = 'widths' AND tags.`trainyard.role` = 'trial'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`accuracy/val`", False)
    assert state["selectedColumns"] == state["columnOrder"]
    assert state["selectedColumns"] == [
        "metrics.`accuracy/val`", "metrics.`accuracy/test`", "metrics.`loss/test`",
        "params.`optimizer.learning_rate`", "params.`model.hidden_units`", "attributes.`Duration`",
    ]  # fmt: skip


def test_the_lowest_loss_is_the_best():
    state = _state(sweep_view("widths", "loss/val", ["seed"]))
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`loss/val`", True)


def test_without_an_objective_trials_stand_in_the_order_of_their_start():
    state = _state(sweep_view("widths", None, ["seed"]))
    assert (state["orderByKey"], state["orderByAsc"]) == ("attributes.`start_time`", True)
    assert state["selectedColumns"][0] == "metrics.`accuracy/test`"


def test_groups_are_shown_by_the_param_that_names_them():
    state = _state(sweep_view("widths", "accuracy/val", ["model", "experiment", "training.epochs", "seed"]))
    (parallel,) = _charts(state, "PARALLEL")
    assert parallel["selectedParams"] == ["model.name", "name", "training.epochs", "seed"]
    assert parallel["selectedMetrics"] == ["accuracy/val"]


@pytest.mark.parametrize(("varied", "contours"), [(["a"], 0), (["a", "b"], 1), (["a", "b", "c"], 0)])
def test_each_setting_is_drawn_against_the_objective_and_two_together(varied, contours):
    state = _state(sweep_view("widths", "loss/val", varied))
    scatters = _charts(state, "SCATTER")
    assert [chart["xaxis"] for chart in scatters] == [{"key": key, "type": "PARAM"} for key in varied]
    assert {chart["yaxis"]["key"] for chart in scatters} == {"loss/val"}
    assert len(_charts(state, "CONTOUR")) == contours


@pytest.mark.parametrize("tags", [experiment_tags("tiny", ""), sweep_view("widths", "loss/val", ["model", "seed"])])
def test_every_chart_has_a_place_and_a_name_of_its_own(tags):
    states = _states(tags)
    assert states
    for state in states:
        sections = {section["uuid"] for section in state["compareRunSections"]}
        charts = state["compareRunCharts"]
        assert {chart["metricSectionId"] for chart in charts} == sections
        assert len({chart["uuid"] for chart in charts}) == len(charts)


def test_an_experiment_has_a_view_that_folds_and_one_that_ranks():
    latest, best = _states(experiment_tags("tiny", ""))
    assert (latest["orderByKey"], latest["orderByAsc"], latest["searchFilter"]) == ("attributes.start_time", False, "")
    assert (best["orderByKey"], best["orderByAsc"]) == ("metrics.`accuracy/test`", False)
    assert best["searchFilter"] == "tags.`trainyard.role` != 'sweep'"
    assert {column for column in latest["selectedColumns"] if column not in best["selectedColumns"]} == {
        "metrics.`best/accuracy/val`",
        "metrics.`best/loss/val`",
        "metrics.`trials/finished`",
    }


def test_mlflow_holds_a_view_whatever_varies():
    ((key, content),) = sweep_view(
        "s" * 200, "accuracy/val", [f"model.setting_{'x' * 40}_{n}" for n in range(300)]
    ).items()
    assert len(content) < 20_000
    assert len(key) < 250


def test_keys_are_fit_for_links_and_as_different_as_the_sweeps():
    ids = ["widths", "Widths.2_b-c", "a b", "a/b", "a&b=c", "ä", "s" * 200, "s" * 201, ""]
    keys = [sweep_view_key(sweep_id) for sweep_id in ids]
    assert keys[:2] == ["sweep-widths", "sweep-Widths.2_b-c"]
    assert len(set(keys)) == len(ids)
    for key in keys:
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
    assert training_view_url("http://a", "7", keys[0]).endswith("&viewStateShareKey=sweep-widths")
    assert training_view_url("http://a", "7").endswith(f"&viewStateShareKey={SHARE_KEY}")


def test_a_name_with_a_quote_stays_a_filter():
    assert _state(sweep_view("it's", None, []))["searchFilter"].startswith("""tags.sweep_id = "it's" AND """)
