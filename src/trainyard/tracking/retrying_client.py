"""An MLflow client that repeats requests after failures that may pass, such as the restart of a server.

MLflow's own retries can't wait long enough for a restart without waiting for minutes for a server that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from trainyard.tracking.failures import is_transient_failure

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_SECONDS = 45.0
"""Default time for which requests are repeated after a failure, before the store counts as failed."""

_MAX_DELAY_SECONDS = 3.0


class RetryingClient:
    """Has the methods of an `MlflowClient`. Requests that fail are repeated with increasing delays.

    The first request is repeated once, so that a wrong address is reported soon. A later request is repeated until it
    succeeds, or until the store has failed for some time; from then on each request is tried once.
    """

    def __init__(self, client: MlflowClient, retry_seconds: float) -> None:
        """Wraps a client. `retry_seconds`: the time for which requests are repeated."""
        self._client = client
        self._retry_seconds = retry_seconds
        self._has_answered = False
        self._failing_since: float | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a client
        attribute = getattr(self._client, name)
        return partial(self.call, attribute) if callable(attribute) else attribute

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Calls a function that sends requests, and repeats it after failures that may pass."""
        return self._call(partial(function, *arguments, **options), lambda: None)

    def create_once(self, method: str, find: Callable[[], Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Calls a method of the client that creates something, such as a run, and never creates it twice.

        A server may have performed a request although its answer was lost. Therefore `find` is called before the
        request is repeated: it returns what the earlier request created, or None.
        """
        return self._call(partial(getattr(self._client, method), *arguments, **options), find)

    def _call(self, function: Callable[[], Any], find: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Calls a function, and repeats it after failures that may pass, unless `find` returns its result."""
        for number, delay in enumerate(iterate_delays()):
            started = time.monotonic()
            try:
                result = find() if number else None
                if result is None:
                    result = function()
            except Exception as error:
                if not is_transient_failure(error):
                    self._has_answered, self._failing_since = True, None
                    raise
                self._failing_since = self._failing_since or started
                if not self._may_repeat(number):
                    raise
                time.sleep(delay)
            else:
                self._has_answered, self._failing_since = True, None
                return result
        return None  # never: the delays have no end

    def _may_repeat(self, repetitions: int) -> bool:
        """Returns whether a request that failed, and was repeated this number of times, is repeated again."""
        if not self._has_answered:
            return repetitions == 0
        return time.monotonic() - (self._failing_since or 0) < self._retry_seconds


def iterate_delays() -> Iterator[float]:
    """Yields the delays in seconds before a request is repeated: 0.5, 1, 2, 3, 3 and so on."""
    delay = 0.5
    while True:
        yield delay
        delay = min(2 * delay, _MAX_DELAY_SECONDS)
