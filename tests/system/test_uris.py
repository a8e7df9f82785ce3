from __future__ import annotations

from pathlib import Path

import pytest

from trainyard.errors import ConfigError
from trainyard.system.uris import (
    build_sqlite_uri,
    find_uri_problem,
    get_sqlite_path,
    make_uri_absolute,
    redact_credentials,
)
from trainyard.tracking.stores import LocalStore, NoStore, ServerStore

HERE = Path("/here")


@pytest.mark.parametrize(
    ("redacted", "uri"),
    [
        ("http://***@host:1/x", "http://ada:canary@host:1/x"),
        ("http://***@host", "http://ada:p@canary@host"),
        ("http://***@host", "http://canary@host"),
        ("postgresql://***@host/db", "postgresql://ada:p/canary@host/db"),
        ("postgresql://h/db?user=a&password=***", "postgresql://h/db?user=a&password=canary"),
        ("error at http://***@h then http://plain", "error at http://a:canary@h then http://plain"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("sqlite:////home/me@work/b.db", "sqlite:////home/me@work/b.db"),
        ("sqlite:///me@work/b.db", "sqlite:///me@work/b.db"),
        ("sqlite:////a/b.db,http://***@h", "sqlite:////a/b.db,http://ada:canary@h"),
        ("postgresql://***@host/db", "postgresql://ada:p@can/ary@host/db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_credentials_are_redacted(redacted, uri):
    assert redact_credentials(uri) == redacted


@pytest.mark.parametrize(
    "uri", ["http://h:1", "https://h", "sqlite:////a.db", "postgresql+psycopg2://h/db", "mysql://h/d"]
)
def test_supported_uris_are_accepted(uri):
    assert find_uri_problem(uri) is None


@pytest.mark.parametrize("uri", ["", "h", "./mlruns", "file:///x", "http://", "sqlite://x.db", "ftp://x"])
def test_unsupported_uris_are_rejected(uri):
    assert find_uri_problem(uri).startswith("expected http://...")


@pytest.mark.parametrize("uri", ["./mlruns", "file:./mlruns", "file:///x"])
def test_the_message_for_a_folder_of_runs_names_the_command_that_converts_it(uri):
    assert "mlflow migrate-filestore" in find_uri_problem(uri)


@pytest.mark.parametrize("uri", ["databricks://profile", "azureml://eastus.api.azureml.ms/x"])
def test_the_message_for_a_service_without_a_plugin_names_an_alternative(uri):
    assert find_uri_problem(uri).endswith("use tracking=off, and later trainyard sync")


def test_relative_sqlite_path_is_made_absolute():
    assert make_uri_absolute("sqlite:///rel.db", HERE) == "sqlite:////here/rel.db"
    assert make_uri_absolute("sqlite:////abs.db", HERE) == "sqlite:////abs.db"
    assert make_uri_absolute("sqlite:///rel.db?timeout=60", HERE) == "sqlite:////here/rel.db?timeout=60"
    assert make_uri_absolute("http://h", HERE) == "http://h"


@pytest.mark.parametrize("name", ["plain", "a%2Fb", "a%", "a?b", "a b"])
def test_any_path_is_a_sqlite_uri(name):
    assert get_sqlite_path(build_sqlite_uri(HERE / name)) == HERE / name


def test_uri_is_resolved_from_config_then_environment_then_default():
    environment = {"MLFLOW_TRACKING_URI": "http://env"}
    assert LocalStore(uri="http://config").resolve_uri(environment, HERE) == "http://config"
    assert LocalStore().resolve_uri(environment, HERE) == "http://env"
    assert LocalStore().resolve_uri({}, HERE) == "sqlite:////here/mlflow.db"
    assert ServerStore().resolve_uri(environment, HERE) == "http://env"
    assert NoStore().resolve_uri(environment, HERE) is None
    with pytest.raises(ConfigError, match="expected the address of a tracking server"):
        ServerStore().resolve_uri({}, HERE)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI: expected http://..., .* got './mlruns'"):
        LocalStore().resolve_uri({"MLFLOW_TRACKING_URI": "./mlruns"}, HERE)
