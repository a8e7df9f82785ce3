"""What the MLflow UI shows of an experiment, or of one sweep in it, when it is opened through our link.

That is which runs, in which order, with which columns and charts. The format of a shared view is MLflow's own and
undocumented, so it may stop to have an effect with any release; a run never depends on it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from typing import Any

from trainyard.config.schema import COMPONENT_GROUPS

SHARE_KEY = "trainyard"
"""Of the view that an experiment opens with: the latest runs first, trials folded under the run of their sweep."""
BEST_KEY = "trainyard-best"
"""Of the view that ranks all runs, trials among them. MLflow's page has one beside the other, under "Saved views"."""

_SWEEP_COLUMNS = ("metrics.`best/accuracy/val`", "metrics.`best/loss/val`", "metrics.`trials/finished`")
"""Of the run of a sweep, with the best by either usual objective. The page leaves out columns that no run has."""

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
_LONGEST_KEY = 60
_MOST_COLUMNS = 20
"""Of what varies. MLflow holds 20,000 characters of a view."""
_MOST_AXES = 8
"""Of what varies, in parallel coordinates: more can't be read."""
_START, _START_FOLDED = "attributes.`start_time`", "attributes.start_time"
"""By the second, without backticks, and by no other order the UI folds trials under the run of their sweep."""
_MOST_SCATTERS = 4
_PAIR = 2
_ALL_RUNS = 100


def experiment_tags(experiment: str, notes: str) -> dict[str, str]:
    """Returns the tags of a new experiment.

    Args:
        experiment: Its name.
        notes: What it is about.
    """
    note = f"Runs of `{experiment}`, compared by `accuracy/test`.\n\n{notes}".strip()
    charts = {
        "Learning curves": [_line(name, [f"{name}/train", f"{name}/val"]) for name in ("loss", "accuracy")],
        "Test metrics": [_bar(metric) for metric in _TEST_METRICS],
        "Hyperparameters": [_parallel(_PARALLEL_PARAMS, ["accuracy/test"])],
    }
    latest = _shared_view("Latest", columns=_COLUMNS, order_by=_START_FOLDED, charts=charts)
    best = _shared_view(
        "Best first",
        search_filter="tags.`trainyard.role` != 'sweep'",
        columns=[column for column in _COLUMNS if column not in _SWEEP_COLUMNS],
        order_by="metrics.`accuracy/test`",
        charts=charts,
    )
    return {
        "mlflow.note.content": note,
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{SHARE_KEY}": latest,
        f"mlflow.sharedViewState.{BEST_KEY}": best,
    }


def sweep_view_key(sweep_id: str) -> str:
    """Returns the key of a sweep's view, fit for a link. Sweeps of different ids have different keys."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", sweep_id)[:_LONGEST_KEY]
    distinct = "" if safe == sweep_id else f"-{hashlib.sha256(sweep_id.encode()).hexdigest()[:8]}"
    return f"sweep-{safe}{distinct}"


def sweep_view(sweep_id: str, objective: str | None, varied: Sequence[str]) -> dict[str, str]:
    """Returns the tag of an experiment that holds the view of a sweep: its trials, the best first, and what varies.

    Args:
        sweep_id: The tag `sweep_id` of its trials.
        objective: The metric that they are compared by, ``accuracy/val``: the more the better, unless it is a loss.
            None: nothing is compared, and the trials stand in the order of their start.
        varied: The swept settings by dotted path; a group, ``model``, or ``experiment``, by its bare name.
    """
    params = [_param(setting) for setting in varied][:_MOST_COLUMNS]
    pairs = [params] if len(params) == _PAIR else []
    compared = objective or "accuracy/test"
    metrics = list(dict.fromkeys([compared, "accuracy/test", "loss/test"]))
    curves = list(dict.fromkeys([objective or "accuracy/val", "loss/val", "loss/train"]))
    charts = {
        "What varies": [
            *(_scatter(param, compared) for param in params[:_MOST_SCATTERS]),
            *(_contour(first, second, compared) for first, second in pairs),
            _parallel(params[:_MOST_AXES], [compared]),
        ],
        "Learning curves": [_line(metric, [metric]) for metric in curves],
        "Test metrics": [_bar(metric) for metric in metrics],
    }
    view = _shared_view(
        f"Sweep {sweep_id}",
        search_filter=f"tags.sweep_id = {_quoted(sweep_id)} AND tags.`trainyard.role` = 'trial'",
        columns=[
            *(f"metrics.`{metric}`" for metric in metrics),
            *(f"params.`{param}`" for param in params),
            "attributes.`Duration`",
        ],
        order_by=f"metrics.`{objective}`" if objective else _START,
        ascending=objective is None or objective.startswith("loss/"),
        charts=charts,
        shown="SHOW_ALL",
    )
    return {f"mlflow.sharedViewState.{sweep_view_key(sweep_id)}": view}


def _param(setting: str) -> str:
    """Returns the param that tells what a swept setting was."""
    if setting == "experiment":
        return "name"
    return f"{setting}.name" if setting in COMPONENT_GROUPS else setting


def _quoted(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"


def _shared_view(
    name: str,
    *,
    columns: Sequence[str],
    order_by: str,
    charts: dict[str, list[dict[str, Any]]],
    search_filter: str = "",
    ascending: bool = False,
    shown: str = "FIRST_20_RUNS",
) -> str:
    """Returns a view as MLflow keeps it, with charts by the name of their section."""
    now = int(time.time() * 1000)
    sections = [(name.lower().replace(" ", "-"), name) for name in charts]
    state = {
        "searchFilter": search_filter,
        "orderByKey": order_by,
        "orderByAsc": ascending,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "runsHiddenMode": shown,
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
    return json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})


def _line(name: str, metrics: list[str]) -> dict[str, Any]:
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


def _bar(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "runsCountToCompare": 20, "metricKey": metric}


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "PARALLEL",
        "showAllRuns": True,
        "runsCountToCompare": _ALL_RUNS,
        "selectedParams": list(params),
        "selectedMetrics": list(metrics),
    }


def _scatter(param: str, metric: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "runsCountToCompare": _ALL_RUNS,
        "xaxis": {"key": param, "type": "PARAM"},
        "yaxis": {"key": metric, "type": "METRIC"},
    }


def _contour(first: str, second: str, metric: str) -> dict[str, Any]:
    return {
        "type": "CONTOUR",
        "xaxis": {"key": first, "type": "PARAM"},
        "yaxis": {"key": second, "type": "PARAM"},
        "zaxis": {"key": metric, "type": "METRIC"},
    }
