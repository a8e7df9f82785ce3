"""The tracking configs, which resolve to the URI of an MLflow store, without importing MLflow, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainyard.config import TrackingConfig, register_tracking
from trainyard.errors import ConfigError
from trainyard.system import build_sqlite_uri, find_uri_problem, make_uri_absolute

ARTIFACTS = "mlartifacts"
"""The artifact folder of a SQLite store, next to the file."""

URI_VARIABLE = "MLFLOW_TRACKING_URI"


@register_tracking("local")
@dataclass(kw_only=True, slots=True)
class LocalStore(TrackingConfig):
    """The default store: `uri`, else MLFLOW_TRACKING_URI, else the SQLite file mlflow.db in the working directory."""

    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> str:
        """Returns `uri`, else MLFLOW_TRACKING_URI, else the URI of mlflow.db; see `TrackingConfig.resolve_uri`."""
        default = build_sqlite_uri(working_directory / "mlflow.db")
        return _find_named_uri(self.uri, environment, working_directory) or default


@register_tracking("server")
@dataclass(kw_only=True, slots=True)
class ServerStore(TrackingConfig):
    """A tracking server or database: `uri`, else MLFLOW_TRACKING_URI; an error if neither is set."""

    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> str:
        """Returns `uri`, else MLFLOW_TRACKING_URI; see `TrackingConfig.resolve_uri`."""
        uri = _find_named_uri(self.uri, environment, working_directory)
        if not uri:
            raise ConfigError(
                f"tracking.uri: expected the address of a tracking server, got null, and {URI_VARIABLE} is not set. "
                "Set tracking.uri=http://host:5000, or use tracking=local"
            )
        return uri


@register_tracking("off")
@dataclass(kw_only=True, slots=True)
class NoStore(TrackingConfig):
    """Disables tracking; the run folder still contains all results."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if `uri` is set although tracking is off."""
        if self.uri is not None:
            message = f"expected null because tracking is off, got {self.uri!r}. Remove it, or use tracking=server"
            yield "uri", message

    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> None:
        """Returns None, which disables tracking."""


def _find_named_uri(uri: str | None, environment: Mapping[str, str], working_directory: Path) -> str | None:
    """Returns the URI from the config, else from the environment, as an absolute URI; None if neither is set."""
    if uri is None:
        uri = environment.get(URI_VARIABLE) or None
        if uri and (problem := find_uri_problem(uri)):
            raise ConfigError(f"{URI_VARIABLE}: {problem}")
    return make_uri_absolute(uri, working_directory) if uri else None
