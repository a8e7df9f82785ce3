"""Addresses of tracking stores: what kind they are, whether they hold a secret, and how to show one."""

from __future__ import annotations

import re
from pathlib import Path

_USER = re.compile(r"(?<=//)(?<!sqlite://)(?<!sqlite:///)(?<!sqlite:////)\S*@")
"""Up to the last @, as a password may hold one; a sqlite file may lie in a folder with one, and has no password."""
_SECRET = re.compile(r"([?&;][^=&\s]*(?:password|passwd|pwd|token|secret)[^=&\s]*=)[^&;\s]+", re.IGNORECASE)
_KINDS = re.compile(r"(https?://[^/]|sqlite:///|(postgresql|mysql|mssql)(\+\w+)?://)")


def without_credentials(text: str) -> str:
    """Returns a text with the users, passwords and tokens of the addresses in it replaced by ``***``."""
    return _SECRET.sub(r"\1***", _USER.sub("***@", text))


def uri_problem(uri: str) -> str | None:
    """Returns what is wrong with the address of a store, or None."""
    if _KINDS.match(uri):
        return None
    return (
        f"expected http://..., https://..., sqlite:///... or another database's URI, got {without_credentials(uri)!r}"
    )


def sqlite_uri(path: Path) -> str:
    """Returns the MLflow URI of a sqlite file, absolute."""
    return f"sqlite:///{path.absolute()}"


def sqlite_path(uri: str) -> Path | None:
    """Returns the file behind a sqlite URI, or None for another kind of store."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def absolute_uri(uri: str, working_directory: Path) -> str:
    """Returns the URI, that of a sqlite file made absolute."""
    path = sqlite_path(uri)
    return sqlite_uri(working_directory / path) if path else uri
