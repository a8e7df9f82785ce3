"""Explains the failures of tracking stores, which MLflow and its libraries raise as errors of many types."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainyard.errors import summarize_error
from trainyard.system import describe_full_disk, redact_credentials

_PACKAGES = {"boto3": "trainyard[s3]", "google": "google-cloud-storage", "azure": "azure-storage-blob azure-identity"}
"""What to install for artifacts in S3, Google Cloud Storage and Azure, by the module that is missing."""

_BODY = re.compile(r"\.? ?Response body: '\s*<.*", re.DOTALL)
"""Matches an HTML page in a message of MLflow."""
_DELETED = re.compile(r"The run (\w+) must be in the 'active' state")
"""Matches MLflow's message if a program writes to a run that was deleted."""


def explain_full_disk(error: BaseException, paths: Sequence[Path]) -> str | None:
    """Returns which disk of a store is full and what to do, in one line that follows its URI; else None.

    `paths` are the local files and folders of the store. The disk of a server is not known.
    """
    for cause in iterate_causes(error):
        if problem := describe_full_disk(cause, *(paths or [Path.cwd()])):
            is_local = paths or getattr(cause, "filename", None)
            return f"has no space left{f': {problem}' if is_local else ''}. Free some space"
    return None


def explain_failure(error: BaseException) -> str:
    """Returns why a tracking store can't be used and what to do, in one line that follows its URI."""
    from requests.exceptions import SSLError

    causes = list(iterate_causes(error))
    if s3_causes := [cause for cause in causes if type(cause).__module__.startswith(("boto3.", "botocore."))]:
        reason = summarize_error(s3_causes[-1], redact_credentials)
        return (
            f"has its artifacts in S3, which can't be used: {reason}. Check the bucket, the credentials "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and MLFLOW_S3_ENDPOINT_URL"
        )
    if rejection := _explain_rejection(error):
        return rejection
    if any(isinstance(cause, SSLError) for cause in causes):
        found = re.search(r"certificate verify failed: (.*?)\.? \(_ssl", str(error))
        reason = found.group(1) if found else summarize_error(error, redact_credentials)
        remedy = (
            "Use a host name for which it was issued"
            if "mismatch" in reason
            else "Set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of its authority"
        )
        return (
            f"has no valid certificate: {reason}. {remedy}, or set MLFLOW_TRACKING_INSECURE_TLS=true to skip the "
            "verification"
        )
    for cause in causes:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            package = _PACKAGES.get(cause.name.partition(".")[0], cause.name)
            return f"needs the package {cause.name}, which is not installed. Install it: pip install '{package}'"
        if "database is locked" in str(cause):
            return (
                "is locked: another program has been writing to the SQLite file. Wait until it ends, use a server for "
                "several programs, or set tracking.retry_seconds to wait longer"
            )
    summary = summarize_error(error, lambda text: redact_credentials(_BODY.sub("", text)))
    return (
        f"can't be used: {summary}. Start it, specify another (tracking.uri, MLFLOW_TRACKING_URI), or disable tracking "
        "(tracking=off)"
    )


def _explain_rejection(error: BaseException) -> str | None:
    """Returns why MLflow rejected a request because of its credentials or a deleted run, and what to do; else None."""
    if getattr(error, "error_code", None) == "UNAUTHENTICATED":
        received = "the token that it received" if "MLFLOW_TRACKING_TOKEN" in os.environ else "those that it received"
        return (
            f"requires credentials, and rejected {received}. Set MLFLOW_TRACKING_TOKEN, or both "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if deleted := _DELETED.search(str(error)):
        run_id = deleted.group(1)
        return f"contains the run {run_id}, but it was deleted. Restore it: mlflow runs restore --run-id {run_id}"
    return None


def is_transient_failure(error: BaseException) -> bool:
    """Returns whether a request that failed with this error may succeed if it is repeated.

    These are answers 429, 500, 502, 503 and 504, connections that fail or time out, and databases that are locked or
    restarted.
    """
    import sqlalchemy as sa
    from requests import exceptions

    transient = exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError, exceptions.RetryError
    for cause in iterate_causes(error):
        if isinstance(cause, transient):
            return not isinstance(cause, exceptions.SSLError)
        if isinstance(cause, sa.exc.DBAPIError):
            return cause.connection_invalidated or "database is locked" in str(cause)
    return False


def is_missing_endpoint(error: BaseException) -> bool:
    """Returns whether a server does not know the address of a request: it answered 404 without an error of MLflow."""
    return getattr(error, "error_code", None) == "ENDPOINT_NOT_FOUND"


def iterate_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and the errors that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
