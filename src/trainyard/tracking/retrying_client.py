"""An MLflow client that repeats requests after failures that may pass, such as the restart of a server.

MLflow's own retries can't wait long enough for a restart without waiting for minutes for a server that is gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from trainyard.tracking.mlflow_internals import is_transient_error

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_SECONDS = 50.0
"""Time for which requests are repeated after a failure, before the store counts as failed."""

_MAX_DELAY_SECONDS = 5.0
_FIRST_TIMEOUT, _API_TIMEOUT, _FILE_TIMEOUT = "10", "45", "120"
"""Time limits in seconds for an answer to the first request, to later ones, and to uploads and downloads."""
_TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_FILE_FUNCTIONS = ("log_artifact", "log_artifacts", "log_model_artifacts", "download_artifacts")


class RetryingClient:
    """Has the methods of an `MlflowClient`. Requests that fail are repeated with increasing delays.

    The first request is not repeated, so that a wrong address is reported at once. After that, a request is repeated
    for `RETRY_SECONDS`; if all of them fail, each later request is tried once, until one succeeds.
    """

    def __init__(self, client: MlflowClient, *, sets_timeout: bool) -> None:
        """Wraps a client. With `sets_timeout`, each call sets MLflow's variable for the timeout."""
        self._client = client
        self._sets_timeout = sets_timeout
        self._has_answered = False
        self._deadline: float | None = None  # None if the last request succeeded

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a client
        attribute = getattr(self._client, name)
        return partial(self.call, attribute) if callable(attribute) else attribute

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Calls a function that sends requests, and repeats the call after failures that may pass."""
        return self.call_once(function, lambda: None, *arguments, **options)

    def call_once(
        self,
        function: Callable[..., Any],
        find_result: Callable[[], Any],
        *arguments: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Calls a function that must not be performed twice, such as one that creates a run.

        A server may have performed a request although the answer was lost. So `find_result` is called before the
        function is repeated: it returns what the earlier call created, or None.
        """
        if self._sets_timeout:
            limit = _FILE_TIMEOUT if function.__name__ in _FILE_FUNCTIONS else _API_TIMEOUT
            os.environ[_TIMEOUT_VARIABLE] = limit if self._has_answered else _FIRST_TIMEOUT
        for delay in _iterate_delays():
            try:
                result = function(*arguments, **options)
            except Exception as error:
                if not is_transient_error(error) or not self._may_repeat():
                    raise
            else:
                self._has_answered, self._deadline = True, None
                return result
            time.sleep(delay)
            with contextlib.suppress(Exception):
                if (found := find_result()) is not None:
                    return found
        raise AssertionError  # the delays have no end

    def _may_repeat(self) -> bool:
        """Returns whether there is time to repeat a request that failed."""
        if self._deadline is None:
            self._deadline = time.monotonic() + (RETRY_SECONDS if self._has_answered else 0)
        return time.monotonic() < self._deadline


def _iterate_delays() -> Iterator[float]:
    """Yields the delays in seconds before a request is repeated: 0.5, 1, 2, 4, 5, 5 and so on."""
    delay = 0.5
    while True:
        yield delay
        delay = min(2 * delay, _MAX_DELAY_SECONDS)
