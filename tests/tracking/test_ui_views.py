"""The content of the views for the MLflow UI. Browser tests (test_ui_pages.py) check that the UI applies them."""

from __future__ import annotations

import json

import pytest

from trainyard.tracking.connection import build_training_view_url
from trainyard.tracking.ui_views import (
    EXPERIMENT_VIEW,
    SHARE_KEY,
    add_varied_settings,
    build_experiment_tags,
    build_sweep_view,
    build_sweep_view_key,
)


def _states(tags):
    views = [value for key, value in tags.items() if key.startswith("mlflow.sharedViewState.")]
    return [json.loads(json.loads(view)["state"]) for view in views]


def _state(tags):
    (state,) = _states(tags)
    return state


def _charts(state, kind):
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


def test_a_sweep_view_lists_the_best_trials_first():
    state = _state(build_sweep_view("widths", "accuracy/val", ["optimizer.learning_rate", "model.hidden_units"]))
    assert state["searchFilter"] == "tags.sweep_id = 'widths' AND tags.`trainyard.role` = 'trial'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`accuracy/val`", False)
    assert state["selectedColumns"] == state["columnOrder"]
    assert state["selectedColumns"] == [
        "metrics.`accuracy/val`", "metrics.`accuracy/test`", "metrics.`loss/test`",
        "params.`optimizer.learning_rate`", "params.`model.hidden_units`", "attributes.`Duration`",
    ]  # fmt: skip


def test_a_loss_is_sorted_in_ascending_order():
    state = _state(build_sweep_view("widths", "loss/val", ["seed"]))
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`loss/val`", True)


def test_without_an_objective_trials_are_sorted_by_start_time():
    state = _state(build_sweep_view("widths", None, ["seed"]))
    assert (state["orderByKey"], state["orderByAsc"]) == ("attributes.`start_time`", True)
    assert state["selectedColumns"][0] == "metrics.`accuracy/test`"


def test_component_groups_are_shown_by_their_name_param():
    state = _state(build_sweep_view("widths", "accuracy/val", ["model", "experiment", "training.epochs", "seed"]))
    (parallel,) = _charts(state, "PARALLEL")
    assert parallel["selectedParams"] == ["model.name", "name", "training.epochs", "seed"]
    assert parallel["selectedMetrics"] == ["accuracy/val"]


def test_each_setting_is_plotted_against_the_objective():
    state = _state(build_sweep_view("widths", "loss/val", ["a", "b", "c"]))
    scatters = _charts(state, "SCATTER")
    assert [chart["xaxis"] for chart in scatters] == [{"key": key, "type": "PARAM"} for key in "abc"]
    assert {chart["yaxis"]["key"] for chart in scatters} == {"loss/val"}


@pytest.mark.parametrize(
    "tags", [build_experiment_tags("tiny", ""), build_sweep_view("widths", "loss/val", ["model", "seed"])]
)
def test_every_chart_has_a_section_and_a_unique_id(tags):
    states = _states(tags)
    assert states
    for state in states:
        sections = {section["uuid"] for section in state["compareRunSections"]}
        charts = state["compareRunCharts"]
        assert {chart["metricSectionId"] for chart in charts} == sections
        assert len({chart["uuid"] for chart in charts}) == len(charts)


def test_an_experiment_has_a_nested_view_with_learning_curves():
    state = _state(build_experiment_tags("tiny", ""))
    assert (state["orderByKey"], state["orderByAsc"], state["searchFilter"]) == ("attributes.start_time", False, "")
    assert [chart["selectedMetricKeys"] for chart in _charts(state, "LINE")] == [
        ["loss/train", "loss/val"],
        ["accuracy/train", "accuracy/val"],
    ]


def _add(view, *varied):
    """Returns a view with varied settings, and the columns in their order."""
    extended = add_varied_settings(view, varied)
    assert extended is not None
    state = _state({EXPERIMENT_VIEW: extended})
    assert state["selectedColumns"] == state["columnOrder"]
    assert len(set(state["columnOrder"])) == len(state["columnOrder"])
    return extended, [column.split(".", 1)[1].strip("`") for column in state["columnOrder"]]


def test_the_settings_that_vary_are_the_first_columns():
    view, columns = _add(build_experiment_tags("tiny", "")[EXPERIMENT_VIEW], "training.epochs", "model.dropout")
    assert columns[:3] == ["training.epochs", "model.dropout", "accuracy/test"]
    view, columns = _add(view, "model", "model.dropout")
    assert columns[:4] == ["model.name", "model.dropout", "training.epochs", "accuracy/test"]
    _, columns = _add(view, *(f"model.a{number}" for number in range(4)), "seed", "model.b")
    assert columns[:6] == ["model.a0", "model.a1", "model.a2", "model.a3", "seed", "accuracy/test"]
    assert {"model.name", "model.dropout", "training.epochs", "Duration"} < set(columns)


def test_a_view_stays_as_it_is_if_it_shows_the_settings_or_is_of_another_program():
    view, _ = _add(build_experiment_tags("tiny", "")[EXPERIMENT_VIEW], "training.epochs", "seed")
    assert add_varied_settings(view, ["seed"]) is None
    assert add_varied_settings(view, []) is None
    for other in ("", "[]", "{}", '{"state": 1}', '{"state": "{}"}', '{"state": "{\\"selectedColumns\\": 1}"}'):
        assert add_varied_settings(other, ["seed"]) is None


def test_columns_that_were_edited_in_the_ui_are_kept():
    content = json.loads(_add(build_experiment_tags("tiny", "")[EXPERIMENT_VIEW], "seed")[0])
    edited = {"selectedColumns": ["params.`seed`", "metrics.`loss/val`"], "searchFilter": "x"}
    state = json.loads(content["state"]) | edited
    view, columns = _add(json.dumps({**content, "state": json.dumps(state)}), "model.dropout")
    assert columns == ["model.dropout", "seed", "loss/val"]
    assert _state({EXPERIMENT_VIEW: view})["searchFilter"] == "x"


def test_a_view_fits_into_a_tag_for_any_number_of_settings():
    ((key, content),) = build_sweep_view(
        "s" * 200, "accuracy/val", [f"model.setting_{'x' * 40}_{n}" for n in range(300)]
    ).items()
    assert len(content) < 20_000
    assert len(key) < 250


def test_view_keys_are_safe_in_links_and_unique():
    ids = ["widths", "Widths.2_b-c", "a b", "a/b", "a&b=c", "ä", "s" * 200, "s" * 201, ""]
    keys = [build_sweep_view_key(sweep_id) for sweep_id in ids]
    assert keys[:2] == ["sweep-widths", "sweep-Widths.2_b-c"]
    assert len(set(keys)) == len(ids)
    for key in keys:
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
    assert build_training_view_url("http://a", "7", keys[0]).endswith("&viewStateShareKey=sweep-widths")
    assert build_training_view_url("http://a", "7").endswith(f"&viewStateShareKey={SHARE_KEY}")


def test_a_sweep_name_with_a_quote_gives_a_valid_filter():
    assert _state(build_sweep_view("it's", None, []))["searchFilter"].startswith("""tags.sweep_id = "it's" AND """)
