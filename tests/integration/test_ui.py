"""``trainyard ui`` as a server: which requests it accepts, where it listens, and how it stops."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from types import SimpleNamespace

import psutil
import pytest
from stand_ins import STORE_VARIABLE

from trainyard.tracking import connection

pytestmark = pytest.mark.slow


def _ask(address, headers, *, creates=None):
    """Returns the status of the answer to a request that reads an experiment or creates one with a name."""
    url = f"{address}/api/2.0/mlflow/experiments/{'create' if creates else 'get?experiment_id=0'}"
    data = f'{{"name": "{creates}"}}'.encode() if creates else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def observed(serve_ui, session_folder, tmp_path_factory):
    """How a server on an empty store answered and listened, and how it ended after Ctrl-C."""
    folder = tmp_path_factory.mktemp("ui")
    with pytest.MonkeyPatch.context() as context:
        context.setenv(STORE_VARIABLE, str(session_folder / "mlflow.db"))
        connection._create_store(folder / "mlflow.db")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    other_origin = {"Origin": "http://evil.example.org"}
    with serve_ui(folder, environment | {"XDG_CACHE_HOME": str(folder / "cache")}) as running:
        servers = psutil.Process(running.process.pid).children(recursive=True)
        seen = SimpleNamespace(
            read=_ask(running.address, {}),
            read_with_unknown_host=_ask(running.address, {"Host": "evil.example.org"}),
            created=_ask(running.address, {}, creates="mine"),
            created_from_another_origin=_ask(running.address, other_origin, creates="owned"),
            listening={
                connection.laddr.ip
                for server in servers
                for connection in server.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            },
            telemetry={server.environ()["MLFLOW_DISABLE_TELEMETRY"] for server in servers},
        )
        running.process.send_signal(signal.SIGINT)
        seen.exit_code = running.process.wait(timeout=60)
        _, seen.alive = psutil.wait_procs(servers, timeout=60)
    seen.store_exists = (folder / "mlflow.db").exists()
    return seen


def test_a_request_with_an_unknown_host_header_is_rejected(observed):
    assert (observed.read, observed.read_with_unknown_host) == (200, 403)


def test_a_request_from_another_origin_cannot_write(observed):
    assert (observed.created, observed.created_from_another_origin) == (200, 403)


def test_the_server_listens_only_on_localhost_and_sends_no_telemetry(observed):
    assert observed.listening == {"127.0.0.1"}
    assert observed.telemetry == {"true"}


def test_ctrl_c_stops_the_server_and_all_its_workers(observed):
    assert observed.exit_code == 130
    assert not observed.alive
    assert observed.store_exists
