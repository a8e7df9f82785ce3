"""Shared views of the MLflow UI: one for an experiment, which Trainyard's links open, and one for each sweep.

A view defines the selection and the order of the runs, the columns and the charts. MLflow does not document the format
of views, so any release may ignore them; a run never depends on them.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from typing import Any

from trainyard.config import COMPONENT_GROUPS
from trainyard.tracking import names

SHARE_KEY = "trainyard"
"""Key of the view of an experiment: latest runs first, with trials nested under the run of their sweep."""

EXPERIMENT_VIEW = f"{names.SHARED_VIEW}.{SHARE_KEY}"
"""The experiment tag with this view."""

_COLUMNS = (
    *(f"metrics.`{name}`" for name in ("accuracy/test", "loss/test", "f1_macro/test", "accuracy/val")),
    *(f"metrics.`{name}`" for name in ("best/accuracy/val", "best/loss/val", "trials/finished")),  # of sweeps
    *(f"params.`{name}`" for name in ("model.hidden_units", "model.parameters", "optimizer.name")),
    *(f"params.`{name}`" for name in ("optimizer.learning_rate", "training.epochs", "training.batch_size", "seed")),
    "attributes.`Duration`",
)
"""The UI hides columns that are empty for all runs."""

_VARIED = "trainyard.varied"
"""The key in a view, next to those of MLflow, with the columns that `add_varied_settings` put in front."""
_MAX_LEADING = 5
"""The maximum number of these columns, next to which those of the metrics are visible."""

_MAX_KEY_LENGTH = 60
_MAX_COLUMNS = 20
"""Maximum number of columns for varied settings. MLflow limits a view to 20,000 characters."""
_MAX_AXES, _MAX_SCATTERS = 8, 4
"""Maximum number of varied settings in a parallel coordinates chart, and of scatter plots."""
_START, _START_NESTED = "attributes.`start_time`", "attributes.start_time"
"""Sort keys. The UI nests trials under the run of their sweep only with the second one, without backticks."""

_Chart = dict[str, Any]
"""MLflow's definition of a chart."""


def build_experiment_tags(experiment: str, notes: str) -> dict[str, str]:
    """Returns the tags of a new experiment, with its name and its notes in the description."""
    curves = [_build_line_chart(name, [f"{name}/train", f"{name}/val"]) for name in ("loss", "accuracy")]
    view = _build_view("Latest", columns=_COLUMNS, orderByKey=_START_NESTED, charts={"Learning curves": curves})
    return {
        names.NOTE: (
            f"Runs of `{experiment}`, compared by `accuracy/test`. Trials are compared by the objective of their sweep."
            f"\n\n{notes}"
        ).strip(),
        names.EXPERIMENT_KIND: "custom_model_development",
        EXPERIMENT_VIEW: view,
    }


def add_varied_settings(view: str, varied: Sequence[str]) -> str | None:
    """Returns the view of an experiment with the columns of settings that vary, in front of all others.

    The settings that were added last are first. Other columns stay as they are, because the view can be edited in the
    UI. Returns None if the settings have been added before, or if the view has another format. For `varied`, see
    `build_sweep_view`.
    """
    columns = [f"params.`{_find_param(setting)}`" for setting in varied][:_MAX_LEADING]
    try:
        content = json.loads(view)
        state, earlier = json.loads(content["state"]), content.get(_VARIED, [])
        if set(columns) <= set(earlier):
            return None
        leading = list(dict.fromkeys([*columns, *earlier]))[:_MAX_LEADING]
        others = [column for column in state["selectedColumns"] if column not in (*leading, *earlier)]
        others += [column for column in earlier if column not in leading]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    state["selectedColumns"] = state["columnOrder"] = [*leading, *others]
    return json.dumps({**content, _VARIED: leading, "state": json.dumps(state)})


def build_sweep_view_key(sweep_id: str) -> str:
    """Returns the key of a sweep's view, which is safe in URLs. Sweeps with different ids have different keys."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", sweep_id)[:_MAX_KEY_LENGTH]
    suffix = "" if safe == sweep_id else f"-{hashlib.sha256(sweep_id.encode()).hexdigest()[:8]}"
    return f"sweep-{safe}{suffix}"


def build_sweep_view(sweep_id: str, objective: str | None, varied: Sequence[str]) -> dict[str, str]:
    """Returns the experiment tag with the view of a sweep: its trials, best first, and the settings that vary.

    Trials are ranked by the objective. Without one, they are sorted by start time. `varied` has the dotted paths of the
    swept settings; a component group (``model``) or ``experiment`` by its name.
    """
    params = [_find_param(setting) for setting in varied][:_MAX_COLUMNS]
    metric = objective or "accuracy/test"
    metrics = dict.fromkeys([metric, "accuracy/test", "loss/test"])
    curves = dict.fromkeys([objective or "accuracy/val", "loss/val", "loss/train"])
    yaxis = {"key": metric, "type": "METRIC"}
    scatters = [
        {"type": "SCATTER", "xaxis": {"key": param, "type": "PARAM"}, "yaxis": yaxis}
        for param in params[:_MAX_SCATTERS]
    ]
    axes = {"selectedParams": params[:_MAX_AXES], "selectedMetrics": [metric]}
    quote = '"' if "'" in sweep_id else "'"
    view = _build_view(
        f"Sweep {sweep_id}",
        columns=[*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in params), _COLUMNS[-1]],
        charts={
            "Varied settings": [*scatters, {"type": "PARALLEL", "showAllRuns": True, **axes}],
            "Learning curves": [_build_line_chart(name, [name]) for name in curves],
        },
        searchFilter=f"tags.sweep_id = {quote}{sweep_id}{quote} AND tags.`trainyard.role` = 'trial'",
        orderByKey=f"metrics.`{objective}`" if objective else _START,
        orderByAsc=objective is None or objective.startswith("loss/"),
        runsHiddenMode="SHOW_ALL",
    )
    return {f"{names.SHARED_VIEW}.{build_sweep_view_key(sweep_id)}": view}


def _find_param(setting: str) -> str:
    """Returns the name of the param with the value of a swept setting."""
    if setting == "experiment":
        return "name"
    return f"{setting}.name" if setting in COMPONENT_GROUPS else setting


def _build_view(name: str, columns: Sequence[str], charts: dict[str, list[_Chart]], **state: Any) -> str:  # noqa: ANN401
    """Returns a view as the JSON text that MLflow stores: charts by the title of their section, and further state."""
    milliseconds = int(time.time() * 1000)
    uuids = {title: title.lower().replace(" ", "-") for title in charts}
    generated = {"isGenerated": False, "deleted": False}
    chart_defaults = {"runsCountToCompare": 100, **generated}
    state = {
        "searchFilter": "",
        "orderByAsc": False,
        "runsHiddenMode": "FIRST_20_RUNS",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "compareRunCharts": [
            {"uuid": f"trainyard-{uuid}-{number}", "metricSectionId": uuid, **chart_defaults, **chart}
            for title, uuid in uuids.items()
            for number, chart in enumerate(charts[title])
        ],
        "compareRunSections": [
            {"uuid": uuid, "name": title, "display": True, "isReordered": True, "columns": 2, **generated}
            for title, uuid in uuids.items()
        ],
        "isAccordionReordered": True,
        **state,
    }
    return json.dumps({"name": name, "createdAt": milliseconds, "updatedAt": milliseconds, "state": json.dumps(state)})


def _build_line_chart(title: str, metrics: list[str]) -> _Chart:
    """Returns a line chart of metrics by step, of up to ten runs."""
    shown = {"metricKey": metrics[0], "selectedMetricKeys": metrics, "displayName": title, "displayPoints": True}
    axes = {"xAxisKey": "step", "yAxisKey": "metric", "scaleType": "linear", "range": {}, "lineSmoothness": 0}
    return {"type": "LINE", "runsCountToCompare": 10, **shown, **axes}
