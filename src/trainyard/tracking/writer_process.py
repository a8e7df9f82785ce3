"""A writer in a separate process, which imports MLflow and opens the store while the run imports TensorFlow.

The process also outlives the run: if the run's process is killed (SIGKILL, out of memory), the pipe between them is
closed, and the writer process marks the run as KILLED, which would otherwise stay RUNNING for ever.

The run's process puts requests into a queue. A thread sends them as pickles, and another thread receives the answers.
Python raises signals only in the main thread, so a signal never interrupts the transfer of a message.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from trainyard.errors import TrackingError, TrainyardError
from trainyard.system import gc_paused_import, ignore_signals, mark_process_owned, open_shared_lock, redact_credentials
from trainyard.tracking import names, operations
from trainyard.tracking.operations import OpenRun
from trainyard.tracking.tracking_store import PROCESS_DIED, TrackingStore
from trainyard.tracking.writer import Operation, RunRequest, StoreWriter, T, WriterStatus

_MAX_RESTARTS = 3
"""How often a process that died is started again."""

_SENDING_SECONDS = 2.0
"""Time limit for sending the last requests when the run does not wait for the answers."""


class _Answer(NamedTuple):
    """The `WriterStatus` after a request, and the result of a query, which is a TrainyardError if the query failed."""

    number: int
    status: WriterStatus
    result: Any


class ProcessWriter:
    """Writes from another process: calls return immediately, and `flush` waits until all of them are performed.

    If the process dies, it is started again, and the requests that it has not confirmed are sent again. Repeating an
    operation does not log anything twice. The process holds a shared lock on the `lock_file`, if any, until it ends,
    even if this process is killed.
    """

    def __init__(self, lock_file: Path | None = None) -> None:
        self._lock_file = lock_file
        self._status = WriterStatus()
        self.is_lost = False  # whether the process has died too often; requests since then were not performed
        self._store: TrackingStore | None = None
        self._has_key = self._is_ended = False
        self._last_number = self._restarts = 0
        self._unconfirmed: deque[tuple[int, bytes]] = deque()
        self._start_process()

    def _start_process(self) -> None:
        """Starts the process, and the threads that exchange messages with it."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        source, request_pipe = os.pipe()  # separate pipes: other code may use stdin and stdout while Python starts
        answer_pipe, sink = os.pipe()
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({source}, {sink})"
        with open_shared_lock(self._lock_file) as lock:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=[source, sink, *lock],
                start_new_session=True,  # so that Ctrl-C in a terminal interrupts only the run, which logs its status
            )
        os.close(source)
        os.close(sink)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_send_requests, args=(self._requests, os.fdopen(request_pipe, "wb")), daemon=True),
            threading.Thread(target=_receive_answers, args=(os.fdopen(answer_pipe, "rb"), self._answers), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def status(self) -> WriterStatus:
        """The run's ids and the first failure of the store, according to the answers received so far."""
        with contextlib.suppress(queue.Empty):
            while self._handle_answer(self._answers.get_nowait()) is not None:
                pass
        return self._status

    def create(self, store: TrackingStore, request: RunRequest) -> None:
        """Requests that the run is created or reopened, and returns without waiting for it."""
        self._store, self._has_key = store, names.RUN_KEY in request.tags
        self._request("create", store, request)

    def perform(
        self,
        operation: Operation,
        *arguments: Any,  # noqa: ANN401
        even_after_failure: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Requests an operation on the run. The arguments are pickled now, so later changes have no effect."""
        self._is_ended |= operation is operations.end
        self._request("perform", operation, *arguments, even_after_failure=even_after_failure, **options)

    def query(self, run_query: Callable[[OpenRun], T]) -> T:
        """Waits for all earlier requests, and returns the result of a query. A signal interrupts the wait.

        Raises a TrackingError if the query fails, or the writer process has died.
        """
        answer = self._wait_for(self._request("query", run_query))
        result: Any = answer.result if answer else self._status.failure
        if isinstance(result, TrainyardError):
            raise result
        return result  # type: ignore[no-any-return]

    def flush(self) -> WriterStatus:
        """Waits until all requests have been performed, and returns `status`. A signal interrupts the wait."""
        self._wait_for(self._request("flush"))
        return self._status

    def close(self, *, wait: bool = True) -> None:
        """Ends the writer process after all requests, and waits for it if `wait` is True. `status` remains readable."""
        self._requests.put(None)
        sender, receiver = self._threads
        if not wait:
            sender.join(timeout=_SENDING_SECONDS)
            return
        sender.join()
        receiver.join()
        self._answers = queue.SimpleQueue()
        self._process.wait()
        self._errors.close()

    def _request(self, method: str, *arguments: Any, **options: Any) -> int:  # noqa: ANN401
        """Puts a call of a method of `StoreWriter` into the queue, and returns the number of the request."""
        self._last_number += 1
        request = pickle.dumps((self._last_number, method, arguments, options))
        self._unconfirmed.append((self._last_number, request))
        self._requests.put(request)
        return self._last_number

    def _wait_for(self, number: int) -> _Answer | None:
        """Waits for the answer to a request, and returns it; None if the writer process died."""
        while (answer := self._handle_answer(self._answers.get())) and answer.number != number:
            pass
        return answer

    def _handle_answer(self, answer: _Answer | None) -> _Answer | None:
        """Stores the `WriterStatus` of an answer, and returns the answer; None means that the writer process died.

        If the process is started again, returns an answer to no request.
        """
        if answer is None:
            error = self._build_process_died_error()
            if self._may_restart():
                self._restart()
                return _Answer(0, self._status, None)
            self._answers.put(None)  # so that the next call does not wait for an answer
            self.is_lost = True
            if not self._status.failure:
                self._status = replace(self._status, failure=error)
            return None
        self._status = answer.status
        while self._unconfirmed and self._unconfirmed[0][0] <= answer.number:
            self._unconfirmed.popleft()
        return answer

    def _may_restart(self) -> bool:
        """Returns whether the process is started again. A run without a key could be created twice."""
        is_safe = self._status.run_id is not None or self._has_key
        return is_safe and not self._status.failure and self._restarts < _MAX_RESTARTS

    def _restart(self) -> None:
        """Starts the process again, and sends it the requests that the last one has not confirmed."""
        self._restarts += 1
        self._requests.put(None)
        self._errors.close()
        self._start_process()
        state = self._store, self._status, self._is_ended
        self._requests.put(pickle.dumps((0, "continue_run", state, {})))
        for _, request in self._unconfirmed:
            self._requests.put(request)

    def _build_process_died_error(self) -> TrackingError:
        """Returns the error for a writer process that died, with the last line of its output."""
        self._process.kill()  # the process may be alive although its answer pipe is closed
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {redact_credentials(lines[-1])}" if lines else ""
        return TrackingError(f"the process that logs to MLflow ended unexpectedly with exit code {code}{last}")


def _send_requests(requests: queue.SimpleQueue[bytes | None], pipe: IO[bytes]) -> None:
    """Sends the requests in the queue, and closes the pipe after the last one. Runs in a thread."""
    with contextlib.suppress(OSError):  # the writer process died, which the other thread detects
        while request := requests.get():
            pipe.write(request)
            pipe.flush()
    with contextlib.suppress(OSError):
        pipe.close()


def _receive_answers(pipe: IO[bytes], answers: queue.SimpleQueue[_Answer | None]) -> None:
    """Receives answers until the pipe is closed. Runs in a thread."""
    try:
        with pipe:
            while True:
                answers.put(pickle.load(pipe))  # noqa: S301 - from a process that this one started
    except Exception:  # noqa: BLE001 - the pipe was closed, or sent an invalid answer: no more answers follow
        answers.put(None)


def serve(source: int, sink: int) -> None:
    """Runs the writer process: performs requests until the run's process closes the pipe or dies, then exits.

    `source` and `sink` are the descriptors of the pipes for requests and answers.
    """
    mark_process_owned()
    ignore_signals()  # a supervisor may signal all processes at once, and the run must still log its status
    try:
        _perform_requests(os.fdopen(source, "rb"), os.fdopen(sink, "wb"))
    except BaseException:  # noqa: BLE001 - the run's process detects that this one has died, and closes the run itself
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # a normal exit of the interpreter takes a second, and the run would wait for it


def _perform_requests(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Performs pickled requests until the pipe is closed; then marks a run that is still open as KILLED."""
    writer = StoreWriter()
    with contextlib.suppress(EOFError, pickle.UnpicklingError):  # the pipe was closed, perhaps within a message
        while True:
            number, method, arguments, options = pickle.load(requests)  # noqa: S301 - from the parent process
            try:
                with gc_paused_import("mlflow") if method == "create" else contextlib.nullcontext():
                    result = getattr(writer, method)(*arguments, **options)
            except TrainyardError as error:
                result = error
            with contextlib.suppress(OSError):
                pickle.dump(_Answer(number, writer.status, result), answers)
                answers.flush()
            if method == "create" and arguments[1].model_label:
                # while the run does not wait for this process
                with gc_paused_import("mlflow.pyfunc"), contextlib.suppress(ImportError):
                    import mlflow.models
                    import mlflow.pyfunc  # noqa: F401
    if not writer.is_ended:
        writer.perform(operations.set_tags, {names.ERROR: PROCESS_DIED}, even_after_failure=True)
        writer.perform(operations.end, "KILLED", even_after_failure=True)
