"""A server with the API of S3, for tests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import boto3
import requests
from moto.server import ThreadedMotoServer

_REGION = "us-east-1"
_ALLOW_S3 = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


class ObjectStore:
    """A running server with one user. `variables` are the environment variables for access to it."""

    def __init__(self, url: str) -> None:
        self.variables = {
            "MLFLOW_S3_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": _REGION, "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
        }  # fmt: skip
        users = self._connect("iam")
        users.create_user(UserName="ann")
        users.put_user_policy(UserName="ann", PolicyName="s3", PolicyDocument=json.dumps(_ALLOW_S3))
        key = users.create_access_key(UserName="ann")["AccessKey"]
        self.variables |= {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        requests.post(f"{url}/moto-api/reset-auth", data="0", timeout=10)  # from now on, signatures are checked
        self.client = self._connect("s3")

    def find_keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Returns the keys of the objects in a bucket that start with a prefix."""
        found = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def delete_bucket(self, bucket: str) -> None:
        """Deletes a bucket with its objects."""
        for key in self.find_keys(bucket):
            self.client.delete_object(Bucket=bucket, Key=key)
        self.client.delete_bucket(Bucket=bucket)

    def _connect(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.variables["MLFLOW_S3_ENDPOINT_URL"],
            region_name=_REGION,
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
        )


@contextlib.contextmanager
def run_object_store() -> Iterator[ObjectStore]:
    """Runs a server without buckets for the duration of the block."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield ObjectStore(f"http://{host}:{port}")
    finally:
        server.stop()
