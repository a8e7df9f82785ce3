"""Which MLflow store a config means. Answers without importing MLflow, to keep errors and ``trainyard ui`` quick."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainyard.config.registry import register_tracking
from trainyard.config.schema import TrackingConfig
from trainyard.errors import ConfigError
from trainyard.system.uris import absolute_uri, sqlite_uri, uri_problem

URI_VARIABLE = "MLFLOW_TRACKING_URI"


@register_tracking("local")
@dataclass(kw_only=True, slots=True)
class LocalStore(TrackingConfig):
    """The default: `uri`, else MLFLOW_TRACKING_URI, else the sqlite file mlflow.db in the working directory."""

    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> str:
        """Returns the first of the three that there is; see `TrackingConfig.resolve_uri`."""
        return _named_uri(self.uri, environment, working_directory) or sqlite_uri(working_directory / "mlflow.db")


@register_tracking("server")
@dataclass(kw_only=True, slots=True)
class ServerStore(TrackingConfig):
    """A tracking server or database: `uri`, else MLFLOW_TRACKING_URI, and an error where there is neither."""

    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> str:
        """Returns the URI of the config, else that of the environment; see `TrackingConfig.resolve_uri`."""
        uri = _named_uri(self.uri, environment, working_directory)
        if not uri:
            raise ConfigError(
                f"tracking.uri: expected the address of a tracking server, got null, and {URI_VARIABLE} is not set. "
                "Set tracking.uri=http://host:5000, or use tracking=local"
            )
        return uri


@register_tracking("off")
@dataclass(kw_only=True, slots=True)
class NoStore(TrackingConfig):
    """No tracking: the run folder still holds everything."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem for a store that nothing would be logged to."""
        if self.uri is not None:
            message = f"tracking is off, so nothing would go to {self.uri!r}. Use tracking=server, or leave the uri out"
            yield "uri", message

    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> None:
        """Returns None."""


def store_of_command(uri: str | None) -> str:
    """Returns the store that a command is to look into.

    Args:
        uri: The value of ``--uri``; None: the store that runs go to from the working directory.

    Raises:
        ConfigError: If it is no address of a store.
    """
    if uri is None:
        return LocalStore().resolve_uri(os.environ, Path.cwd())
    if problem := uri_problem(uri):
        raise ConfigError(f"--uri: {problem}")
    return absolute_uri(uri, Path.cwd())


def _named_uri(uri: str | None, environment: Mapping[str, str], working_directory: Path) -> str | None:
    """Returns the absolute URI of the config, else that of the environment, else None."""
    if uri is None:
        uri = environment.get(URI_VARIABLE) or None
        if uri and (problem := uri_problem(uri)):
            raise ConfigError(f"{URI_VARIABLE}: {problem}")
    return absolute_uri(uri, working_directory) if uri else None
