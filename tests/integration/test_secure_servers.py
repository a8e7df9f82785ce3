"""Real MLflow servers behind a proxy with TLS or with a token."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from processes import command_line
from servers import SMALL_RUN, FaultyProxy, find_run_id, run_on_store, write_certificate

from trainyard.tracking import TrackingStore

pytestmark = pytest.mark.slow

READ = ("compare", "a" * 32, "b" * 32)
TRUST, IGNORE = "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_INSECURE_TLS"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The certificate of the proxy, with its key, in a PEM file."""
    return write_certificate(tmp_path_factory.mktemp("certificate") / "server.pem", "127.0.0.1")


@pytest.mark.parametrize(
    ("command", "code"),
    [(("train", *SMALL_RUN), 1), (("sweep", *SMALL_RUN, "seed=0,1"), 1), (READ, 2), (("doctor",), 1)],
)
def test_an_untrusted_certificate_is_reported(command, code, server, certificate):
    with FaultyProxy(server, certificate=certificate) as proxy:
        output = run_on_store(proxy.url, *command, code=code)
        assert "has no valid certificate: self-signed certificate. Set MLFLOW_TRACKING_SERVER_CERT_PATH" in output
        assert IGNORE in output
        assert proxy.requests == []


def test_a_certificate_for_another_host_is_reported(server, tmp_path):
    other = write_certificate(tmp_path / "other.pem", "127.0.0.9")
    with FaultyProxy(server, certificate=other) as proxy:
        for command, code in ((("train", *SMALL_RUN), 1), (READ, 2)):
            output = run_on_store(proxy.url, *command, code=code, **{TRUST: str(other)})
            assert "certificate is not valid for '127.0.0.1'. Use a host name for which it was issued" in output
            assert IGNORE in output


def test_a_missing_file_with_a_certificate_is_reported(server, certificate):
    with FaultyProxy(server, certificate=certificate) as proxy:
        assert "missing.pem" in run_on_store(proxy.url, *READ, code=2, **{TRUST: "missing.pem"})


def test_a_run_is_logged_to_a_server_whose_certificate_is_trusted(server, certificate):
    with FaultyProxy(server, certificate=certificate) as proxy:
        variables = {TRUST: str(certificate)}
        run_id = find_run_id(run_on_store(proxy.url, "train", *SMALL_RUN, "name=trusted", **variables))
        assert "accuracy" in run_on_store(proxy.url, "compare", run_id, run_id, **variables)
    _check_finished(server, run_id)


def test_a_run_without_verification_of_the_certificate_warns_at_most_once(server, certificate, monkeypatch):
    monkeypatch.setenv(IGNORE, "true")
    with FaultyProxy(server, certificate=certificate) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        output = _run_in_new_interpreter("train", *SMALL_RUN, "name=insecure")
        run_id = find_run_id(output)
        for command in (("compare", run_id, run_id), ("doctor",)):
            output += run_on_store(proxy.url, *command)
    assert output.count("InsecureRequestWarning") <= 1
    _check_finished(server, run_id)


def _run_in_new_interpreter(*arguments):
    done = subprocess.run(command_line(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _check_finished(server, run_id):
    store = TrackingStore(f"http://127.0.0.1:{server}")
    assert store.load_run(run_id).status == "FINISHED"
    assert store.find_model(run_id)


def test_a_server_with_a_token(server):
    token = "token-81f3"
    with FaultyProxy(server, lambda request: None if request.authorization == f"Bearer {token}" else 401) as proxy:
        wrong = {"MLFLOW_TRACKING_TOKEN": "wrong-7d2"}
        for command, code, variables in (
            (("train", *SMALL_RUN), 1, wrong), (READ, 2, wrong), (READ, 2, {}), (("doctor",), 1, wrong),
        ):  # fmt: skip
            output = run_on_store(proxy.url, *command, code=code, **variables)
            assert "requires credentials" in output
            assert "Set MLFLOW_TRACKING_TOKEN" in output
            assert "wrong-7d2" not in output
        output = run_on_store(proxy.url, "train", *SMALL_RUN, "name=token", MLFLOW_TRACKING_TOKEN=token)
        run_id = find_run_id(output)
        assert token not in output
    _check_finished(server, run_id)
    assert not any(token.encode() in path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file())
