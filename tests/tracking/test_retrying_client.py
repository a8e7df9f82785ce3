"""Which requests are repeated, how long, and how failures are explained."""

from __future__ import annotations

import ssl

import pytest
import requests
import sqlalchemy as sa
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import UNAUTHENTICATED

from trainyard.tracking import retrying_client
from trainyard.tracking.failures import explain_failure, is_transient_failure
from trainyard.tracking.retrying_client import RetryingClient, iterate_delays


def _wrap(cause: Exception) -> MlflowException:
    """Returns an error of MLflow with a cause, as MLflow raises it."""
    wrapped = MlflowException(f"API request failed with exception {cause}")
    wrapped.__cause__ = cause
    return wrapped


LOCKED = sa.exc.OperationalError("UPDATE x", {}, Exception("database is locked"))
BUSY = _wrap(requests.exceptions.RetryError("too many 503 error responses"))


class _Clock:
    """A clock that only advances while the client sleeps."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(retrying_client.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(retrying_client.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return _Clock(monkeypatch)


class _Failing:
    """A client whose requests fail some times, then succeed."""

    def __init__(self, failures, error=BUSY):
        self.failures, self.error, self.calls = failures, error, 0

    def get_run(self, run_id):
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise self.error
        return run_id


@pytest.mark.parametrize("failures", [1, 3, 12])
def test_a_request_is_repeated_until_it_succeeds(failures, clock):
    server = _Failing(0)
    client = RetryingClient(server, 45)
    client.get_run("first")
    server.failures = failures
    assert client.get_run("x") == "x"
    assert server.calls == failures + 2
    assert clock.now - 100 < 40


def test_the_first_request_is_repeated_once(clock):
    assert RetryingClient(_Failing(1), 45).get_run("x") == "x"
    server = _Failing(99)
    with pytest.raises(MlflowException):
        RetryingClient(server, 45).get_run("x")
    assert server.calls == 2


def test_a_store_that_stays_away_is_waited_for_once(clock):
    server = _Failing(0)
    client = RetryingClient(server, 45)
    client.get_run("first")
    server.failures = 10_000
    with pytest.raises(MlflowException):
        client.get_run("x")
    assert 40 < clock.now - 100 < 50
    before = clock.now, server.calls
    with pytest.raises(MlflowException):
        client.get_run("x")
    assert (clock.now, server.calls) == (before[0], before[1] + 1)


def test_an_error_that_does_not_pass_is_raised_at_once(clock):
    server = _Failing(0)
    client = RetryingClient(server, 45)
    client.get_run("first")
    server.failures, server.error = 1, MlflowException("no such run")
    with pytest.raises(MlflowException):
        client.get_run("x")
    assert clock.now == 100
    clock.now += 1000
    server.failures, server.error = 3, BUSY  # the server answered, so later failures are waited for
    assert client.get_run("x") == "x"


class _Creating:
    """A client that creates a run but reports a failure, the first time."""

    def __init__(self):
        self.created = 0

    def create_run(self, name):
        self.created += 1
        if self.created == 1:
            raise BUSY
        return name


def test_nothing_is_created_twice(clock):
    server = _Creating()
    assert RetryingClient(server, 45).create_once("create_run", lambda: "found", "new") == "found"
    assert server.created == 1
    server = _Creating()
    assert RetryingClient(server, 45).create_once("create_run", lambda: None, "new") == "new"
    assert server.created == 2


def test_the_delays_grow():
    delays = iterate_delays()
    assert [next(delays) for _ in range(6)] == [0.5, 1, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (BUSY, True),
        (_wrap(requests.exceptions.ConnectionError("refused")), True),
        (_wrap(requests.exceptions.ReadTimeout()), True),
        (_wrap(requests.exceptions.SSLError("certificate verify failed")), False),
        (_wrap(LOCKED), True),
        (_wrap(sa.exc.OperationalError("SELECT 1", {}, Exception("closed"), connection_invalidated=True)), True),
        (_wrap(sa.exc.IntegrityError("INSERT", {}, Exception("unique"))), False),
        (MlflowException("no such run"), False),
        (OSError("no space left"), False),
    ],
)
def test_failures_that_may_pass_are_recognized(error, transient):
    assert is_transient_failure(error) is transient


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MlflowException("failed with error code 401", error_code=UNAUTHENTICATED), "MLFLOW_TRACKING_TOKEN"),
        (_wrap(requests.exceptions.SSLError(ssl.SSLCertVerificationError("certificate verify failed: self-signed"))),
         "MLFLOW_TRACKING_INSECURE_TLS=true"),
        (_wrap(requests.exceptions.SSLError("x")), "MLFLOW_TRACKING_SERVER_CERT_PATH"),
        (_wrap(requests.exceptions.SSLError(ssl.SSLCertVerificationError(
            "certificate verify failed: Hostname mismatch, certificate is not valid for 'a'. (_ssl.c:1006)"))),
         "certificate: Hostname mismatch, certificate is not valid for 'a'. Use a host name for which it was issued"),
        (_wrap(ModuleNotFoundError("No module named 'boto3'", name="boto3")), "pip install 'trainyard[s3]'"),
        (_wrap(LOCKED), "is locked: another program has been writing"),
        (MlflowException("The run a1 must be in the 'active' state. Current state is deleted."),
         "contains the run a1, but it was deleted. Restore it: mlflow runs restore --run-id a1"),
        (MlflowException("API failed with error code 404 != 200. Response body: '<!doctype html> <p>x'"), "error code 404"),
    ],
)  # fmt: skip
def test_failures_are_explained(error, expected):
    message = explain_failure(error)
    assert expected in message
    for part in ("<", "UPDATE", "\n"):
        assert part not in message
