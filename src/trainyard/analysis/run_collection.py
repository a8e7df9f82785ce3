"""Logged runs as Python objects: one run with its config, metrics and model, and collections of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from trainyard.analysis.compare.predictions import Predictions, load_predictions
from trainyard.config import RunConfig, format_suggestion, load_config
from trainyard.errors import ConfigError
from trainyard.reporting import format_metric, render_html_table
from trainyard.serving import Predictor, load_predictor
from trainyard.tracking import RunRecord
from trainyard.tracking import names as logged_names

if TYPE_CHECKING:
    import keras
    import pandas as pd

_EPOCH_METRICS = ("/train", "/val", "/value", "/epoch_seconds")
"""Endings of the names of metrics that are logged after each epoch."""
_SHOWN_METRICS = ("accuracy/val", "accuracy/test", "loss/test")
_MISSING = object()

Condition = Callable[[Any], bool] | Iterable[Any] | str | float | None
"""What a value must be: equal to a value, one of several values, or accepted by a function."""


class Run:
    """A logged run. What it logged is loaded when it is first accessed.

    Example:
        >>> from trainyard import load_run
        >>> run = load_run("outputs/quickstart/2026-11-23_08-21-05_8ec42f")  # doctest: +SKIP
        >>> run.metrics["accuracy/test"], run.config.optimizer.learning_rate  # doctest: +SKIP
    """

    def __init__(self, record: RunRecord) -> None:
        """Wraps what a tracking store or a run folder contains of a run; see `load_run`."""
        self.record = record

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None if no store contains it."""
        return self.record.run_id

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.record.name

    @property
    def experiment(self) -> str:
        """The name of its MLflow experiment."""
        return self.record.experiment

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED."""
        return self.record.status

    @property
    def seed(self) -> int:
        """The seed of the run, or 0 if unknown."""
        return self.record.seed

    @property
    def folder(self) -> Path | None:
        """The run's folder; None if it is not on this machine."""
        return self.record.folder

    @property
    def started(self) -> datetime:
        """When the run started, in UTC."""
        return datetime.fromtimestamp(self.record.started / 1000, UTC)

    @property
    def tags(self) -> Mapping[str, str]:
        """All tags of the run, by their logged names."""
        return self.record.tags

    @property
    def params(self) -> Mapping[str, Any]:
        """The values of the config, by dotted path: ``{"optimizer.learning_rate": 0.001}``."""
        return self.record.params

    @property
    def metrics(self) -> Mapping[str, float]:
        """The last value of each metric, by its logged name: ``{"accuracy/test": 0.98}``."""
        return self.record.metrics

    @cached_property
    def config(self) -> RunConfig:
        """The config of the run.

        Raises:
            ConfigError: If the config was written by an incompatible version.
            TrackingError: If the store can't be reached, or does not have the config.
        """
        with self.record.open_files(logged_names.CONFIG_FILE) as folder:
            return load_config(folder / logged_names.CONFIG_FILE)

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The metrics of each epoch, first to last, by their logged names.

        Raises:
            TrackingError: If the store can't be reached.
        """
        steps = self.record.load_history([name for name in self.metrics if name.endswith(_EPOCH_METRICS)])
        return [values for step, values in steps.items() if step]

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions on the test images: ``actual``, ``predicted`` and ``probability``, one value per image.

        Raises:
            TrainyardError: If the run did not log its predictions, for example because it failed.
        """
        return load_predictions(self.record)

    @cached_property
    def predictor(self) -> Predictor:
        """The trained model with its preprocessing, which predicts raw images; see `load_predictor`."""
        reference = self.record.folder or self.record.reference
        return load_predictor(str(reference), self.record.store.uri if self.record.store else None)

    @property
    def model(self) -> keras.Model:
        """The trained Keras model. Its input is what ``run.predictor.preprocessing`` describes."""
        return self.predictor.model

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - a value of any type
        """Returns an attribute, param, metric or tag of the run: ``run.get("status")``, ``run.get("model.name")``."""
        if key in ("run_id", "name", "experiment", "status", "seed", "folder", "started"):
            return getattr(self, key)
        for values in (self.params, self.metrics, self.tags):
            if key in values:
                return values[key]
        return default

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.record.identity == other.record.identity

    def __hash__(self) -> int:
        return hash(self.record.identity)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name} {self.metrics[name]:.4f}" for name in _SHOWN_METRICS if name in self.metrics)
        return f"<Run {self.record.short_name} {self.name!r} {self.status}{f', {metrics}' if metrics else ''}>"

    def _repr_html_(self) -> str:
        """Returns a table of the run for a notebook."""
        return RunCollection([self])._repr_html_()


class RunCollection(Sequence[Run]):
    """Runs in a fixed order.

    Example:
        >>> from trainyard import load_runs
        >>> runs = load_runs(sweep="widths").filter({"model.name": "mlp"})  # doctest: +SKIP
        >>> runs.sort("accuracy/val", reverse=True).to_frame()  # doctest: +SKIP
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        """Creates a collection of these runs."""
        self._runs = tuple(runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> RunCollection: ...

    def __getitem__(self, index: int | slice) -> Run | RunCollection:
        return RunCollection(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def filter(
        self, conditions: Mapping[str, Condition] | None = None, predicate: Callable[[Run], bool] | None = None
    ) -> RunCollection:
        """Returns the runs that meet all conditions.

        Args:
            conditions: What params, metrics, tags or attributes must be, by their names (see `Run.get`): a value,
                several values, or a function that accepts the value. A run without the value is left out.
            predicate: A function that accepts the run; None accepts all.

        Raises:
            ConfigError: If no run has one of the values.

        Example:
            >>> runs.filter({"optimizer.name": ["adam", "sgd"], "accuracy/val": lambda v: v > 0.9})  # doctest: +SKIP
        """
        for key in conditions or {}:
            self._check_known(key)
        return RunCollection(
            run
            for run in self._runs
            if all(_meets(run.get(key, _MISSING), condition) for key, condition in (conditions or {}).items())
            and (predicate is None or predicate(run))
        )

    def sort(self, *keys: str, reverse: bool = False) -> RunCollection:
        """Returns the runs sorted by values of `Run.get`. Runs without a value are last.

        Args:
            keys: The names of the values (see `Run.get`), the most important first.
            reverse: Whether the largest values are first.

        Raises:
            ConfigError: If no run has one of the values.
        """
        runs = list(self._runs)
        for key in reversed(keys):
            self._check_known(key)
            known = [run for run in runs if run.get(key, _MISSING) is not _MISSING]
            known.sort(key=lambda run: _build_sort_key(run.get(key)), reverse=reverse)
            runs = [*known, *(run for run in runs if run.get(key, _MISSING) is _MISSING)]
        return RunCollection(runs)

    def to_frame(self, *columns: str) -> pd.DataFrame:
        """Returns a pandas DataFrame with a row per run, indexed by the run id, or the folder of runs without one.

        Args:
            columns: The names of params, metrics, tags or attributes (see `Run.get`). Without any: the name, the
                status, the seed, the params that differ between the runs, and the metrics except those of single
                classes.
        """
        import pandas as pd

        for column in columns:
            self._check_known(column)
        metrics = dict.fromkeys(name for run in self._runs for name in run.metrics if "_by_class/" not in name)
        names = columns or ["name", "status", "seed", *self._list_varied(), *metrics]
        rows = [[run.get(name) for name in names] for run in self._runs]
        return pd.DataFrame(rows, pd.Index([run.record.identity for run in self._runs], name="run"), list(names))

    def _check_known(self, key: str) -> None:
        """Raises a ConfigError if there are runs, but none has a value; see `Run.get`."""
        if self._runs and all(run.get(key, _MISSING) is _MISSING for run in self._runs):
            known = [*self._runs[0].params, *self._runs[0].metrics]
            suggestion = format_suggestion(key, known)
            raise ConfigError(f"{key}: expected a param, metric, tag or attribute of the runs.{suggestion}")

    def _list_varied(self) -> list[str]:
        """Returns the params of components and sections that differ between the runs."""
        paths = dict.fromkeys(path for run in self._runs for path in run.params if "." in path)
        return [path for path in paths if len({repr(run.params.get(path)) for run in self._runs}) > 1]

    def __repr__(self) -> str:
        return f"<RunCollection of {len(self)} runs>"

    def _repr_html_(self) -> str:
        """Returns a table of the runs for a notebook: name, status, seed, what differs, and the main metrics."""
        varied = self._list_varied()
        metrics = [name for name in _SHOWN_METRICS if any(name in run.metrics for run in self._runs)]
        header = ["run", "name", "status", "seed", *varied, *metrics]
        rows = [
            [
                run.record.short_name,
                run.name,
                run.status,
                str(run.seed),
                *(str(run.params.get(path, "")) for path in varied),
                *(format_metric(name, run.metrics[name]) if name in run.metrics else "" for name in metrics),
            ]
            for run in self._runs
        ]
        return render_html_table(header, rows)


def _meets(value: Any, condition: Condition) -> bool:  # noqa: ANN401 - a value of any type
    """Returns whether a value meets a condition; a missing value meets none."""
    if value is _MISSING:
        return False
    if callable(condition):
        return bool(condition(value))
    if isinstance(condition, Iterable) and not isinstance(condition, str) and value != condition:
        return any(value == accepted for accepted in condition)
    return bool(value == condition)


def _build_sort_key(value: Any) -> tuple[int, Any]:  # noqa: ANN401 - a value of any type
    """Returns a key that sorts numbers before texts, and lists by their elements."""
    if isinstance(value, bool | int | float):
        return 0, float(value)
    if isinstance(value, list):
        return 1, [_build_sort_key(element) for element in value]
    return 2, str(value)
