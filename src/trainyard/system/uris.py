"""URIs of tracking stores: validation, conversion, and redaction of credentials."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

_USER_PATTERN = re.compile(r"(?<=//)(?<!sqlite://)(?<!sqlite:///)(?<!sqlite:////)\S*@")
"""Matches up to the last @, because a password can contain one. Excludes SQLite paths: they have no password."""
_SECRET_PATTERN = re.compile(r"([?&;][^=&\s]*(?:password|passwd|pwd|token|secret)[^=&\s]*=)[^&;\s]+", re.IGNORECASE)
_STORE_PATTERN = re.compile(r"(https?://[^/]|sqlite:///|(postgresql|mysql|mssql)(\+\w+)?://)")


def redact_credentials(text: str) -> str:
    """Returns a text in which the users, passwords and tokens of all URIs are replaced with ``***``."""
    return _SECRET_PATTERN.sub(r"\1***", _USER_PATTERN.sub("***@", text))


def find_uri_problem(uri: str) -> str | None:
    """Returns a message if the URI of a tracking store is invalid, else None."""
    if _STORE_PATTERN.match(uri):
        return None
    return f"expected http://..., https://..., sqlite:///... or another database URI, got {redact_credentials(uri)!r}"


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
    return build_sqlite_uri(working_directory / path) if path else uri
