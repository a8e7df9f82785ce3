"""URIs of tracking stores: validation, conversion, and redaction of credentials."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote

MIGRATE_FILES = "mlflow migrate-filestore --source . --target sqlite:///mlflow.db"
"""The command that copies the runs in a folder ``mlruns`` to a database."""

_USER_PATTERN = re.compile(r"(?<=//)(?<!sqlite://)(?<!sqlite:///)(?<!sqlite:////)\S*@")
"""Matches up to the last @, because a password can contain one. Excludes SQLite paths: they have no password."""
_SECRET_PATTERN = re.compile(r"([?&;][^=&\s]*(?:password|passwd|pwd|token|secret)[^=&\s]*=)[^&;\s]+", re.IGNORECASE)
_SERVER_PATTERN = re.compile(r"https?://[^/]")
_DATABASE_PATTERN = re.compile(r"(sqlite:///|(postgresql|mysql|mssql)(\+\w+)?://)")


def redact_credentials(text: str) -> str:
    """Returns a text in which the users, passwords and tokens of all URIs are replaced with ``***``."""
    return _SECRET_PATTERN.sub(r"\1***", _USER_PATTERN.sub("***@", text))


def find_uri_problem(uri: str) -> str | None:
    """Returns a message if the URI of a tracking store is invalid, else None.

    Valid are servers, databases, and the schemes of installed plugins of MLflow.
    """
    plugins = entry_points(group="mlflow.tracking_store")
    if _SERVER_PATTERN.match(uri) or is_database_uri(uri) or uri.partition(":")[0] in plugins.names:
        return None
    expected = (
        "http://..., https://..., sqlite:///..., another database URI, or the scheme of an installed MLflow plugin"
    )
    message = f"expected {expected}, got {redact_credentials(uri)!r}"
    if uri.startswith("file:") or "://" not in uri:
        return f"{message}. {MIGRATE_FILES} converts a folder mlruns into a database"
    return f"{message}. Without a suitable store, use tracking=off, and later trainyard sync"


def is_database_uri(uri: str) -> bool:
    """Returns whether a URI names a database, which MLflow opens in this process, and not a server or service."""
    return _DATABASE_PATTERN.match(uri) is not None


def build_sqlite_uri(path: Path) -> str:
    """Returns the MLflow URI of a SQLite file, with its absolute path, in which ``%`` and ``?`` are escaped."""
    return f"sqlite:///{str(path.absolute()).replace('%', '%25').replace('?', '%3F')}"


def get_sqlite_path(uri: str) -> Path | None:
    """Returns the file of a SQLite URI, or None for other stores."""
    prefix = "sqlite:///"
    return Path(unquote(uri.removeprefix(prefix).partition("?")[0])) if uri.startswith(prefix) else None


def make_uri_absolute(uri: str, working_directory: Path) -> str:
    """Returns the URI; if it is a SQLite URI with a relative path, makes the path absolute."""
    path = get_sqlite_path(uri)
    _, mark, query = uri.partition("?")
    return f"{build_sqlite_uri(working_directory / path)}{mark}{query}" if path else uri
