"""``trainyard ui`` as a server: which requests it accepts, where it listens, and how it stops."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


def test_a_request_with_an_unknown_host_header_is_rejected(ui):
    request = urllib.request.Request(
        f"{ui.address}/api/2.0/mlflow/experiments/get?experiment_id=1", headers={"Host": "evil.example.org"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_a_request_from_another_origin_cannot_write(ui):
    request = urllib.request.Request(
        f"{ui.address}/api/2.0/mlflow/experiments/create",
        data=b'{"name": "owned"}',
        headers={"Origin": "http://evil.example.org", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_the_server_listens_only_on_localhost_and_sends_no_telemetry(ui):
    servers = psutil.Process(ui.process.pid).children(recursive=True)
    listening = {
        connection.laddr.ip
        for server in servers
        for connection in server.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert {server.environ()["MLFLOW_DISABLE_TELEMETRY"] for server in servers} == {"true"}


def test_ctrl_c_stops_the_server_and_all_its_workers(serve_ui, new_store):
    new_store(Path("mlflow.db").absolute())
    with serve_ui(Path.cwd()) as running:
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert children
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=30) == 130
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    assert Path("mlflow.db").exists()
