"""What the MLflow UI shows of an experiment when it is opened through our link: columns, order, charts.

The format of a shared view is MLflow's own and undocumented, so it may stop to have an effect with any release; a run
never depends on it.

Before it: nothing. After it: store, which tags a new experiment with it.
"""

from __future__ import annotations

import json
import time
from typing import Any

SHARE_KEY = "trainyard"

_COLUMNS = (
    "attributes.`Duration`",
    "metrics.`accuracy/test`",
    "metrics.`loss/test`",
    "metrics.`f1_macro/test`",
    "metrics.`accuracy/val`",
    "params.`model.hidden_units`",
    "params.`model.parameters`",
    "params.`optimizer.name`",
    "params.`optimizer.learning_rate`",
    "params.`training.epochs`",
    "params.`training.batch_size`",
    "params.`seed`",
)

_PARALLEL_PARAMS = ("model.layers", "model.parameters", "optimizer.learning_rate", "training.batch_size")


def experiment_tags(experiment: str, notes: str) -> dict[str, str]:
    """Returns the tags of a new experiment.

    Args:
        experiment: Its name.
        notes: What it is about.
    """
    note = f"Runs of `{experiment}`, compared by `accuracy/test`.\n\n{notes}".strip()
    return {
        "mlflow.note.content": note,
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{SHARE_KEY}": _shared_view(),
    }


def _shared_view() -> str:
    now = int(time.time() * 1000)
    sections = (
        ("curves", "Learning curves"),
        ("test", "Test metrics"),
        ("hyperparameters", "Hyperparameters"),
    )
    charts = [
        _line("curves", "loss", ["loss/train", "loss/val"]),
        _line("curves", "accuracy", ["accuracy/train", "accuracy/val"]),
        _bar("test", "accuracy/test"),
        _bar("test", "loss/test"),
        _bar("test", "f1_macro/test"),
        {
            "uuid": "trainyard-parallel",
            "type": "PARALLEL",
            "runsCountToCompare": 20,
            "metricSectionId": "hyperparameters",
            "deleted": False,
            "isGenerated": False,
            "selectedParams": list(_PARALLEL_PARAMS),
            "selectedMetrics": ["accuracy/test"],
        },
    ]
    state = {
        "searchFilter": "",
        "orderByKey": "metrics.`accuracy/test`",
        "orderByAsc": False,
        "selectedColumns": list(_COLUMNS),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": [
            {
                "uuid": uuid,
                "name": name,
                "display": True,
                "isReordered": True,
                "isGenerated": False,
                "deleted": False,
            }
            for uuid, name in sections
        ],
        "isAccordionReordered": True,
    }
    return json.dumps({"name": "Trainyard", "createdAt": now, "updatedAt": now, "state": json.dumps(state)})


def _line(section: str, name: str, metrics: list[str]) -> dict[str, Any]:
    return {
        "uuid": f"trainyard-{name}-curve",
        "type": "LINE",
        "runsCountToCompare": 10,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
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


def _bar(section: str, metric: str) -> dict[str, Any]:
    return {
        "uuid": f"trainyard-{metric}",
        "type": "BAR",
        "runsCountToCompare": 20,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "metricKey": metric,
    }
