"""A writer in a process of its own, which imports MLflow and opens the store while the run imports TensorFlow.

It also outlives the run: where that ends without a word, by SIGKILL or for lack of memory, the pipe between them
closes, and the run is marked KILLED instead of staying RUNNING for ever.

The run's process puts requests into a queue, from which a thread sends them as pickles; another thread receives how the
worker stands. A signal, which Python raises in the main thread only, can so never cut a message in two.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from trainyard.errors import TrackingError
from trainyard.system.garbage import importing, process_is_ours
from trainyard.system.signals import ignore_signals
from trainyard.system.uris import without_credentials
from trainyard.tracking import operations
from trainyard.tracking.runs import DIED
from trainyard.tracking.writer import Operation, Question, RunRequest, Standing, StoreWriter, T

_NEEDED_LATER = ("mlflow.models", "mlflow.pyfunc")
_SENDING_SECONDS = 2.0
"""How long the last requests may take into the pipe, when nobody waits for what becomes of them."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One call of a `StoreWriter`, by the name of its method."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()
    although_failed: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    """The standing after a request, and what a question was answered with: also a TrackingError."""

    number: int
    standing: Standing
    reply: Any = None


class WorkerWriter:
    """Writes from another process: calls return at once, and `settle` waits for what was asked for."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        received, sent = os.pipe()  # for answers alone: anything may print to stdout while Python starts
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({sent})"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            pass_fds=[sent],
            start_new_session=True,  # Ctrl-C in a terminal goes to the run, which says here what it came to
        )
        os.close(sent)
        self._answered = os.fdopen(received, "rb")
        self._standing = Standing()
        self._lost = False
        self._asked = 0
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def standing(self) -> Standing:
        """What the worker has said by now."""
        with contextlib.suppress(queue.Empty):
            while self._hear(self._answers.get_nowait()) is not None:
                pass
        return self._standing

    @property
    def lost(self) -> bool:
        """Whether the worker is known to be gone, with whatever was asked of it since."""
        return self._lost

    def create(self, request: RunRequest) -> None:
        """Asks for the run to be created."""
        self._ask("create", request)

    def perform(self, operation: Operation, *arguments: Any, although_failed: bool = False) -> None:  # noqa: ANN401
        """Asks for something to be done with the run. The arguments are copied now."""
        self._ask("perform", operation, *arguments, although_failed=although_failed)

    def query(self, question: Question[T], *arguments: Any) -> T:  # noqa: ANN401
        """Waits until the worker has done everything and answered. A signal breaks the wait.

        Raises:
            TrackingError: If the store fails now, or the worker is gone.
        """
        answer = self._wait_for(self._ask("query", question, *arguments))
        reply: Any = answer.reply if answer else self._standing.failure
        if isinstance(reply, TrackingError):
            raise reply
        return reply  # type: ignore[no-any-return]

    def settle(self) -> Standing:
        """Waits until the worker has done everything, and returns how things stand. A signal breaks the wait."""
        self._wait_for(self._ask("settle"))
        return self._standing

    def close(self, *, wait: bool = True) -> None:
        """Ends the worker when it has done everything; its standing remains. Without `wait` it is left to itself."""
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

    def _ask(self, method: str, *arguments: Any, although_failed: bool = False) -> int:  # noqa: ANN401
        self._asked += 1
        self._requests.put(pickle.dumps(_Request(self._asked, method, arguments, although_failed)))
        return self._asked

    def _wait_for(self, number: int) -> _Answer | None:
        """Waits for the answer to a request; None where there will be none."""
        while (answer := self._hear(self._answers.get())) and answer.number != number:
            pass
        return answer

    def _hear(self, answer: _Answer | None) -> _Answer | None:
        """Takes in an answer and returns it; None where there will be no more, for the worker is gone."""
        if answer is None:
            self._answers.put(None)  # for whoever asks next
            self._lost = True
            if not self._standing.failure:
                self._standing = replace(self._standing, failure=self._obituary())
            return None
        self._standing = answer.standing
        return answer

    def _obituary(self) -> TrackingError:
        self._process.kill()  # it may have lost only its voice
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {without_credentials(said[-1])}" if said else ""
        return TrackingError(f"the process that logs to MLflow ended by itself, code {code}{last}")

    def _send(self) -> None:
        """Sends what is in the queue, and closes the pipe when there will be no more. Runs in a thread."""
        pipe: Any = self._process.stdin
        with contextlib.suppress(OSError):  # the worker is gone, as the other thread notices
            while request := self._requests.get():
                pipe.write(request)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()

    def _receive(self) -> None:
        """Receives answers until there are no more. Runs in a thread."""
        try:
            with self._answered as pipe:
                while True:
                    self._answers.put(pickle.load(pipe))  # noqa: S301 - from a process that we started
        except Exception:  # noqa: BLE001 - the end of the pipe, or what is no answer: there will be no more
            self._answers.put(None)


def serve(answers_to: int) -> None:
    """Does what the run's process asks for, until that closes the pipe or dies. The worker's whole life.

    Args:
        answers_to: The file descriptor that answers go to; requests come from stdin.
    """
    process_is_ours()
    ignore_signals()  # a supervisor may signal all processes at once, and the run has yet to say what it came to
    try:
        _serve(_take_over_stdin(), os.fdopen(answers_to, "wb"))
    except BaseException:  # noqa: BLE001 - the run's process sees that this one is gone, and closes the run itself
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # taking the interpreter down takes a second, for which the run would wait


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    writer, open_for_more = StoreWriter(), True
    with contextlib.suppress(EOFError, pickle.UnpicklingError):  # the pipe was closed, or broke in the middle
        while True:
            request: _Request = pickle.load(requests)  # noqa: S301 - from the process that started this one
            before, reply = writer.standing, None
            if request.method == "create":
                with importing("mlflow"):
                    writer.create(*request.arguments)
            elif request.method == "perform":
                writer.perform(*request.arguments, although_failed=request.although_failed)
                open_for_more &= request.arguments[0] is not operations.end
            elif request.method == "query":
                reply = _reply(writer, *request.arguments)
            if request.method in ("settle", "query") or writer.standing != before:
                with contextlib.suppress(OSError):
                    pickle.dump(_Answer(request.number, writer.standing, reply), answers)
                    answers.flush()
            if request.method == "create" and request.arguments[0].logs_model:
                _import_ahead()
    if open_for_more:
        writer.perform(operations.set_tags, {"error": DIED}, although_failed=True)
        writer.perform(operations.end, "KILLED", although_failed=True)


def _reply(writer: StoreWriter, question: Question[T], *arguments: Any) -> T | TrackingError:  # noqa: ANN401
    try:
        return writer.query(question, *arguments)
    except TrackingError as error:
        return error


def _take_over_stdin() -> IO[bytes]:
    """Returns where requests come from, and leaves nothing to read to whatever else reads from stdin."""
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return requests


def _import_ahead() -> None:
    """Imports what logging the model will need, now that nobody waits."""
    with importing("mlflow.pyfunc"), contextlib.suppress(ImportError):
        for name in _NEEDED_LATER:
            importlib.import_module(name)
