"""Shared views of the MLflow UI for an experiment, or for one sweep, which Trainyard's links open.

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
"""Key of the default view of an experiment: latest runs first, with trials nested under the run of their sweep."""
BEST_KEY = "trainyard-best"
"""Key of the view that ranks all runs, including trials. MLflow's page lists both views under "Saved views"."""

_SWEEP_COLUMNS = ("metrics.`best/accuracy/val`", "metrics.`best/loss/val`", "metrics.`trials/finished`")
"""Columns for the runs of sweeps, with the best value of both usual objectives. The page hides empty columns."""

_COLUMNS = (
    "metrics.`accuracy/test`",
    "metrics.`loss/test`",
    "metrics.`f1_macro/test`",
    "metrics.`accuracy/val`",
    *_SWEEP_COLUMNS,
    "params.`model.hidden_units`",
    "params.`model.parameters`",
    "params.`optimizer.name`",
    "params.`optimizer.learning_rate`",
    "params.`training.epochs`",
    "params.`training.batch_size`",
    "params.`seed`",
    "attributes.`Duration`",
)

_PARALLEL_PARAMS = ("model.layers", "model.parameters", "optimizer.learning_rate", "training.batch_size")

_TEST_METRICS = ("accuracy/test", "loss/test", "f1_macro/test")
_MAX_KEY_LENGTH = 60
_MAX_COLUMNS = 20
"""Maximum number of columns for varied settings. MLflow limits a view to 20,000 characters."""
_MAX_AXES = 8
"""Maximum number of varied settings in a parallel coordinates chart; more would be unreadable."""
_START, _START_NESTED = "attributes.`start_time`", "attributes.start_time"
"""Sort keys. The UI nests trials under the run of their sweep only with the second one, without backticks."""
_MAX_SCATTERS = 4
_PAIR = 2
_MAX_RUNS_IN_CHART = 100


def build_experiment_tags(experiment: str, notes: str) -> dict[str, str]:
    """Returns the tags of a new experiment.

    Args:
        experiment: The name of the experiment.
        notes: The description of the experiment.
    """
    note = f"Runs of `{experiment}`, compared by `accuracy/test`.\n\n{notes}".strip()
    charts = {
        "Learning curves": [_build_line_chart(name, [f"{name}/train", f"{name}/val"]) for name in ("loss", "accuracy")],
        "Test metrics": [_build_bar_chart(metric) for metric in _TEST_METRICS],
        "Hyperparameters": [_build_parallel_chart(_PARALLEL_PARAMS, ["accuracy/test"])],
    }
    latest = _build_shared_view("Latest", columns=_COLUMNS, order_by=_START_NESTED, charts=charts)
    best = _build_shared_view(
        "Best first",
        search_filter="tags.`trainyard.role` != 'sweep'",
        columns=[column for column in _COLUMNS if column not in _SWEEP_COLUMNS],
        order_by="metrics.`accuracy/test`",
        charts=charts,
    )
    return {
        names.NOTE: note,
        names.EXPERIMENT_KIND: "custom_model_development",
        f"{names.SHARED_VIEW}.{SHARE_KEY}": latest,
        f"{names.SHARED_VIEW}.{BEST_KEY}": best,
    }


def build_sweep_view_key(sweep_id: str) -> str:
    """Returns the key of a sweep's view, which is safe in URLs. Sweeps with different ids have different keys."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", sweep_id)[:_MAX_KEY_LENGTH]
    suffix = "" if safe == sweep_id else f"-{hashlib.sha256(sweep_id.encode()).hexdigest()[:8]}"
    return f"sweep-{safe}{suffix}"


def build_sweep_view(sweep_id: str, objective: str | None, varied: Sequence[str]) -> dict[str, str]:
    """Returns the experiment tag with the view of a sweep: its trials, best first, and the settings that vary.

    Args:
        sweep_id: The tag `sweep_id` of the trials.
        objective: The metric by which the trials are ranked, such as ``accuracy/val``. Higher is better, except for
            losses. None disables the ranking, and the trials are sorted by start time.
        varied: The dotted paths of the swept settings; a component group (``model``) or ``experiment`` by its name.
    """
    params = [_find_param(setting) for setting in varied][:_MAX_COLUMNS]
    pairs = [params] if len(params) == _PAIR else []
    metric_to_plot = objective or "accuracy/test"
    metrics = list(dict.fromkeys([metric_to_plot, "accuracy/test", "loss/test"]))
    curves = list(dict.fromkeys([objective or "accuracy/val", "loss/val", "loss/train"]))
    charts = {
        "Varied settings": [
            *(_build_scatter_chart(param, metric_to_plot) for param in params[:_MAX_SCATTERS]),
            *(_build_contour_chart(first, second, metric_to_plot) for first, second in pairs),
            _build_parallel_chart(params[:_MAX_AXES], [metric_to_plot]),
        ],
        "Learning curves": [_build_line_chart(metric, [metric]) for metric in curves],
        "Test metrics": [_build_bar_chart(metric) for metric in metrics],
    }
    view = _build_shared_view(
        f"Sweep {sweep_id}",
        search_filter=f"tags.sweep_id = {_quote_filter_value(sweep_id)} AND tags.`trainyard.role` = 'trial'",
        columns=[
            *(f"metrics.`{metric}`" for metric in metrics),
            *(f"params.`{param}`" for param in params),
            "attributes.`Duration`",
        ],
        order_by=f"metrics.`{objective}`" if objective else _START,
        ascending=objective is None or objective.startswith("loss/"),
        charts=charts,
        visible_runs="SHOW_ALL",
    )
    return {f"{names.SHARED_VIEW}.{build_sweep_view_key(sweep_id)}": view}


def _find_param(setting: str) -> str:
    """Returns the name of the param with the value of a swept setting."""
    if setting == "experiment":
        return "name"
    return f"{setting}.name" if setting in COMPONENT_GROUPS else setting


def _quote_filter_value(text: str) -> str:
    """Returns a text in quotes for MLflow's search syntax; double quotes if it contains a single one."""
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"


def _build_shared_view(
    name: str,
    *,
    columns: Sequence[str],
    order_by: str,
    charts: dict[str, list[dict[str, Any]]],
    search_filter: str = "",
    ascending: bool = False,
    visible_runs: str = "FIRST_20_RUNS",
) -> str:
    """Returns a view as the JSON text that MLflow stores; `charts` has the charts by the name of their section."""
    milliseconds = int(time.time() * 1000)
    sections = [(name.lower().replace(" ", "-"), name) for name in charts]
    state = {
        "searchFilter": search_filter,
        "orderByKey": order_by,
        "orderByAsc": ascending,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "runsHiddenMode": visible_runs,
        "compareRunCharts": [
            {
                "uuid": f"trainyard-{uuid}-{number}",
                "metricSectionId": uuid,
                "deleted": False,
                "isGenerated": False,
                **chart,
            }
            for uuid, name in sections
            for number, chart in enumerate(charts[name])
        ],
        "compareRunSections": [
            {
                "uuid": uuid,
                "name": name,
                "display": True,
                "isReordered": True,
                "isGenerated": False,
                "deleted": False,
                "columns": 2 if len(charts[name]) in (2, 4) else 3,
            }
            for uuid, name in sections
        ],
        "isAccordionReordered": True,
    }
    return json.dumps({"name": name, "createdAt": milliseconds, "updatedAt": milliseconds, "state": json.dumps(state)})


def _build_line_chart(name: str, metrics: list[str]) -> dict[str, Any]:
    """Returns MLflow's definition of a line chart titled `name`, with metrics by step."""
    return {
        "type": "LINE",
        "runsCountToCompare": 10,
        "metricKey": metrics[0],
        "selectedMetricKeys": metrics,
        "displayName": name,
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "range": {},
        "displayPoints": True,
    }


def _build_bar_chart(metric: str) -> dict[str, Any]:
    """Returns MLflow's definition of a bar chart with the last value of a metric for each run."""
    return {"type": "BAR", "runsCountToCompare": 20, "metricKey": metric}


def _build_parallel_chart(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Returns MLflow's definition of a parallel coordinates chart."""
    return {
        "type": "PARALLEL",
        "showAllRuns": True,
        "runsCountToCompare": _MAX_RUNS_IN_CHART,
        "selectedParams": list(params),
        "selectedMetrics": list(metrics),
    }


def _build_scatter_chart(param: str, metric: str) -> dict[str, Any]:
    """Returns MLflow's definition of a scatter plot of a metric (y) by a param (x)."""
    return {
        "type": "SCATTER",
        "runsCountToCompare": _MAX_RUNS_IN_CHART,
        "xaxis": {"key": param, "type": "PARAM"},
        "yaxis": {"key": metric, "type": "METRIC"},
    }


def _build_contour_chart(first: str, second: str, metric: str) -> dict[str, Any]:
    """Returns MLflow's definition of a contour plot of a metric by two params."""
    return {
        "type": "CONTOUR",
        "xaxis": {"key": first, "type": "PARAM"},
        "yaxis": {"key": second, "type": "PARAM"},
        "zaxis": {"key": metric, "type": "METRIC"},
    }
