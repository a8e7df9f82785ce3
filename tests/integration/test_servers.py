"""Real MLflow servers, of this version and of MLflow 2, that reject requests, restart, or have no logged models."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from servers import (
    SMALL_RUN,
    FaultyProxy,
    create_store_with_mlflow_2,
    find_mlflow_2,
    find_run_id,
    run_on_store,
    run_server,
)

from trainyard import ConfigError, load_run, run_experiment
from trainyard.runs.sync import sync_run
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import TrackingStore, retrying_client

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server_2(tmp_path_factory):
    """The port of a server of MLflow 2."""
    with run_server(tmp_path_factory.mktemp("server2"), find_mlflow_2()) as port:
        yield port


def _get_runs(store):
    return list(store.iterate_runs("attributes.status != ''"))


def _without_logged_models(request):
    return 404 if "/logged-models" in request.path else None


@pytest.mark.parametrize("kind", ["MLflow 2", "404"])
def test_all_commands_work_with_a_server_without_logged_models(kind, request):
    port = request.getfixturevalue("server_2" if kind == "MLflow 2" else "server")
    with FaultyProxy(port, _without_logged_models if kind == "404" else lambda _: None) as proxy:
        name = f"name=models{len(kind)}"
        output = run_on_store(proxy.url, "train", *SMALL_RUN, name)
        assert output.count("the tracking server has no logged models") == 1
        run_on_store(proxy.url, "train", *SMALL_RUN, name, "optimizer.learning_rate=0.01")
        store = TrackingStore(proxy.url)
        experiment_id = store.find_experiment_id(name.removeprefix("name="))
        first, second = store.iterate_runs("attributes.status != ''", [experiment_id])
        for run in (first, second):
            assert run.info.status == "FINISHED"
            assert store.find_model(run.info.run_id).uri == f"runs:/{run.info.run_id}/model"
        run_id = first.info.run_id

        import mlflow

        model = mlflow.artifacts.download_artifacts(
            artifact_uri=store.find_model(run_id).location, tracking_uri=proxy.url, dst_path="downloaded"
        )
        images = np.zeros((2, 8, 8), np.uint8)
        assert mlflow.pyfunc.load_model(model).predict(images).shape == (2, 10)

        folder = load_run(run_id, uri=proxy.url).folder
        log = folder / ".tracking.jsonl"
        log.write_text("".join(line for line in log.read_text().splitlines(True) if '"stored"' not in line))
        assert "uploaded" in run_on_store(proxy.url, "sync", str(folder))
        assert len(list(store.iterate_runs("attributes.status != ''", [experiment_id]))) == 2
        assert "learning_rate" in run_on_store(proxy.url, "compare", run_id, second.info.run_id)
        assert "bitwise" in run_on_store(proxy.url, "rerun", run_id)
        np.savez("images.npz", images=images)
        run_on_store(proxy.url, "predict", run_id, "images.npz")
        run_on_store(proxy.url, "export", run_id, "exported")
        promoted = f"models{len(kind)}"
        run_on_store(proxy.url, "promote", run_id, promoted, "--alias", "champion")
        assert store.client.get_model_version_by_alias(promoted, "champion").run_id == run_id
        output = run_on_store(proxy.url, "sweep", *SMALL_RUN, "optimizer.learning_rate=0.01,0.001")
        assert output.count("the tracking server has no logged models") == 1


def test_a_run_sends_few_requests_for_any_number_of_classes(server, tiny):
    rng = np.random.default_rng(0)
    counts = {}
    for classes in (3, 60):
        images = rng.integers(0, 256, (classes * 5, 6, 6), np.uint8)
        labels = np.tile(np.arange(classes), 5)
        np.savez("data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
        with FaultyProxy(server) as proxy:
            config = tiny(f"tracking.uri={proxy.url}", "dataset=npz", "dataset.path=data.npz", f"name=classes{classes}")
            run_experiment(config)
            uploads = proxy.count(uploads=True)
            counts[classes] = proxy.count(uploads=False)
            files = {request.path for request, _ in proxy.requests if request.method == "PUT"}
            assert uploads - len(files) <= 4  # the files that are also logged at the start
    assert counts[3] == counts[60] <= 30


@pytest.fixture
def untracked(tiny, tmp_path):
    """The folder of a finished run without tracking."""
    return run_experiment(tiny("tracking=off"), folder=tmp_path / "run").folder


@pytest.mark.parametrize("count", [3, 12])
def test_a_sync_survives_a_burst_of_rejected_requests_at_any_moment(count, server, untracked, monkeypatch):
    monkeypatch.setattr(retrying_client, "iterate_delays", lambda: iter([0.01] * 100))
    log = untracked / ".tracking.jsonl"
    text = log.read_text()
    number, total = 3, 1000  # the first contact is not repeated so often
    while number < total:
        # each upload is that of another run
        log.write_text(re.sub(r'("key": ?")[0-9a-f]{32}', rf"\g<1>{count:016x}{number:016x}", text))
        with FaultyProxy(
            server, lambda request, first=number: 503 if first <= request.number < first + count else None
        ) as proxy:
            result = sync_run(untracked, TrackingStore(proxy.url))
            total = len(proxy.requests) - count
            store = TrackingStore(f"http://127.0.0.1:{server}")
            key = f"tags.`trainyard.key` = '{count:016x}{number:016x}'"
            (run,) = store.iterate_runs(key)
            assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
            assert (
                len(store.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"))
                == 1
            )
        number += 2 if count == 3 else 7


def test_a_create_request_whose_answer_is_lost_is_not_performed_twice(server, untracked, monkeypatch):
    monkeypatch.setattr(retrying_client, "iterate_delays", lambda: iter([0.01] * 100))
    with FaultyProxy(server, lose=lambda request: request.path.endswith(("/runs/create", "/logged-models"))) as proxy:
        result = sync_run(untracked, TrackingStore(proxy.url))
        runs = [run for run in _get_runs(TrackingStore(proxy.url)) if run.info.run_id == result.run_id]
        (run,) = runs
        key = run.data.tags["trainyard.key"]
        store = TrackingStore(proxy.url)
        assert len(list(store.iterate_runs(f"tags.`trainyard.key` = '{key}'"))) == 1
        assert (
            len(store.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"))
            == 1
        )


@pytest.mark.parametrize("moment", ["/runs/create", "/runs/log-inputs", "report.html", "/runs/update"])
def test_a_run_survives_a_restart_of_the_server_of_twenty_seconds(moment, server):
    with FaultyProxy(server) as proxy:
        paused = threading.Event()

        def pause(request):
            if moment in request.path and not paused.is_set():
                paused.set()
                threading.Thread(target=_restart, args=(proxy,)).start()
                return 503
            return None

        proxy.reject = pause
        output = run_on_store(proxy.url, "train", *SMALL_RUN, f"name=restart{len(moment)}")
        assert paused.is_set()
        store = TrackingStore(proxy.url)
        assert store.client.get_run(find_run_id(output)).info.status == "FINISHED"


def _restart(proxy):
    proxy.__exit__()
    time.sleep(20)
    proxy.__enter__()


def test_a_server_that_is_gone_delays_the_end_of_a_run_by_at_most_two_minutes(server):
    ended = []

    def fail(request):
        if "report.html" in request.path:
            ended.append(time.monotonic())
            threading.Thread(target=proxy.__exit__).start()
            return 503
        return None

    with FaultyProxy(server, fail) as proxy:
        output = run_on_store(proxy.url, "train", *SMALL_RUN, "name=gone", code=1)
        delay = time.monotonic() - ended[0]
        proxy.__enter__()
    assert 30 < delay < 120
    assert "trying to upload the complete run" in output
    assert "Nothing is lost" in output
    assert "upload the run: trainyard sync" in output


def test_credentials_and_web_pages_in_answers(server, monkeypatch):
    def reject(_):
        return 401

    with FaultyProxy(server, reject) as proxy, pytest.raises(ConfigError, match="MLFLOW_TRACKING_TOKEN") as caught:
        load_run("0" * 32, uri=proxy.url)
    assert "<html" not in str(caught.value)
    with FaultyProxy(server, lambda _: 418) as proxy, pytest.raises(ConfigError, match="error code 418") as caught:
        load_run("0" * 32, uri=proxy.url)
    assert "<html" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------
# Databases of MLflow 2


def test_a_database_of_an_older_mlflow_is_only_changed_after_a_copy(tiny):
    file = Path("mlflow.db").absolute()
    uri = build_sqlite_uri(file)
    create_store_with_mlflow_2(uri)
    before = file.read_bytes()
    for command in (
        ["compare", "a" * 32, "b" * 32],
        ["rerun", "a" * 32],
        ["export", "a" * 32, "x"],
        ["data", "digits"],
    ):
        if command[0] != "data":
            output = run_on_store(uri, *command, code=2)
            assert "older version" in output
            assert "mlflow db upgrade" in output
        assert file.read_bytes() == before
    output = run_on_store(uri, "train", *SMALL_RUN)
    (copy,) = Path().glob("mlflow.db.before-*")
    assert str(copy) in output
    create_store_with_mlflow_2(build_sqlite_uri(copy))  # MLflow 2 can still open the copy
    names = {run.info.run_name for run in _get_runs(TrackingStore(uri))}
    assert "precious" in names
    assert len(names) == 2
    run_on_store(uri, "train", *SMALL_RUN)
    assert len(list(Path().glob("mlflow.db.before-*"))) == 1
