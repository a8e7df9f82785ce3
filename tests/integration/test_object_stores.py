"""Real MLflow servers whose clients upload artifacts to S3 themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from object_store import run_object_store
from processes import command_line
from servers import SMALL_RUN, FaultyProxy, find_run_id, run_on_store, run_server

from trainyard.tracking import TrackingStore

pytestmark = pytest.mark.slow

BUCKET = "artifacts"


@pytest.fixture(scope="module")
def s3():
    """A server with the API of S3."""
    with run_object_store() as store:
        yield store


@pytest.fixture(scope="module")
def s3_server(s3, tmp_path_factory):
    """The port of an MLflow server that stores artifacts in S3, but does not serve them."""
    options = ["--no-serve-artifacts", "--default-artifact-root", f"s3://{BUCKET}/runs"]
    with run_server(tmp_path_factory.mktemp("server"), options=options) as port:
        yield port


@pytest.fixture
def bucket(s3):
    """Creates the bucket for artifacts, and deletes it after the test."""
    s3.client.create_bucket(Bucket=BUCKET)
    yield
    s3.delete_bucket(BUCKET)


def _get_status(proxy, run_id):
    return TrackingStore(proxy.url).load_run(run_id).status


def test_commands_work_with_artifacts_in_s3(s3, s3_server, bucket):
    with FaultyProxy(s3_server) as proxy:
        run_id = find_run_id(run_on_store(proxy.url, "train", *SMALL_RUN, **s3.variables))
        assert _get_status(proxy, run_id) == "FINISHED"
        assert proxy.count(uploads=True) == 0
        assert any(key.endswith(f"{run_id}/artifacts/model.keras") for key in s3.find_keys(BUCKET))
        assert any(key.endswith("artifacts/data/model.keras") for key in s3.find_keys(BUCKET))
        shutil.rmtree("outputs")  # as on another machine
        np.savez("images.npz", images=np.zeros((2, 8, 8), np.uint8))
        output = run_on_store(
            proxy.url, "predict", run_id, "images.npz", code=1, **s3.variables | {"AWS_SECRET_ACCESS_KEY": "wrong"}
        )
        assert "SignatureDoesNotMatch" in output
        assert "AWS_SECRET_ACCESS_KEY" in output
        assert "probability" in run_on_store(proxy.url, "predict", run_id, "images.npz", **s3.variables)
        run_on_store(proxy.url, "export", run_id, "exported", **s3.variables)
        assert Path("exported/model.keras").is_file()
        assert "accuracy" in run_on_store(proxy.url, "compare", run_id, run_id, **s3.variables)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "InvalidAccessKeyId"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
        ({"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the endpoint"),
        ({}, "NoSuchBucket"),
    ],
)
def test_an_upload_to_s3_that_fails_at_the_start_is_reported_before_the_training(variables, expected, s3, s3_server):
    with FaultyProxy(s3_server) as proxy:
        output = run_on_store(proxy.url, "train", *SMALL_RUN, code=1, **s3.variables | variables)
        assert expected in output
        assert "Check the bucket, the credentials (AWS_ACCESS_KEY_ID" in output
        assert "MLFLOW_TRACKING_TOKEN" not in output
        assert "The run continues" not in output
        assert "epoch 1/2" not in output


def test_a_run_whose_bucket_was_deleted_is_uploaded_later(s3, s3_server):
    s3.client.create_bucket(Bucket=BUCKET)

    def delete_bucket(request):
        if "/runs/log-inputs" in request.path:
            s3.delete_bucket(BUCKET)

    with FaultyProxy(s3_server, delete_bucket) as proxy:
        output = run_on_store(proxy.url, "train", *SMALL_RUN, "tracking.retry_seconds=1", code=1, **s3.variables)
        assert "NoSuchBucket" in output
        assert "Nothing is lost" in output
        assert "upload the run: trainyard sync" in output
        proxy.reject = lambda _: None
        (folder,) = Path("outputs").glob("*/*")
        assert "NoSuchBucket" in run_on_store(proxy.url, "sync", "outputs", code=1, **s3.variables)
        s3.client.create_bucket(Bucket=BUCKET)
        output = run_on_store(proxy.url, "sync", "outputs", **s3.variables)
        assert f"{folder}: FINISHED, uploaded to" in output
        (run_id,) = re.findall(r"\b[0-9a-f]{32}\b", output)
        assert _get_status(proxy, run_id) == "FINISHED"
        assert TrackingStore(proxy.url).find_model(run_id)
    uploaded = {key.rpartition("/")[2] for key in s3.find_keys(BUCKET)}
    assert {path.name for path in folder.iterdir() if path.is_file() and path.name[0] != "."} <= uploaded
    s3.delete_bucket(BUCKET)


def test_missing_boto3_is_reported_with_the_extra_to_install(s3, s3_server, bucket, monkeypatch):
    Path("without_boto3").mkdir()
    Path("without_boto3/boto3.py").write_text("raise ModuleNotFoundError('No module named boto3', name='boto3')")
    monkeypatch.setenv("PYTHONPATH", "without_boto3", prepend=":")
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    with FaultyProxy(s3_server) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        done = subprocess.run(command_line("train", *SMALL_RUN), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs the package boto3" in done.stderr
    assert "pip install 'trainyard[s3]'" in done.stderr
