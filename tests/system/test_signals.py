from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import pytest

from trainyard.errors import Terminated
from trainyard.system.signals import check_interrupted, prefer_interrupt, raise_on_signals


def _send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.05)


def _send_signal_during_import():
    try:
        _send(signal.SIGTERM)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None


def test_signal_ends_the_block_and_previous_handler_is_restored():
    previous = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as caught, raise_on_signals():
        _send(signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is previous


def test_further_signals_are_ignored_until_the_outermost_block_ends():
    previous = signal.getsignal(signal.SIGTERM)
    reports = []

    @raise_on_signals()
    def outer():
        try:
            with raise_on_signals():
                _send(signal.SIGTERM)
        except Terminated:
            _send(signal.SIGTERM)
            reports.append("interrupted")
            raise

    with pytest.raises(Terminated):
        outer()
    assert reports == ["interrupted"]
    assert signal.getsignal(signal.SIGTERM) is previous


def test_signal_after_an_inner_block_ends_the_outer_block():
    @raise_on_signals()
    def outer():
        with raise_on_signals():
            pass
        _send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        outer()


def test_interrupt_is_raised_instead_of_an_error_caused_by_the_signal():
    causes = []

    @raise_on_signals()
    def outer():
        try:
            with prefer_interrupt():
                _send_signal_during_import()
        except Terminated as interrupt:
            causes.append(str(interrupt.__cause__))
            raise RuntimeError("error during cleanup") from None

    with pytest.raises(Terminated) as caught:
        outer()
    assert causes == ["initialization failed"]
    assert str(caught.value.__cause__) == "error during cleanup"


class _Interrupted:
    """Receives a signal in its destructor, where Python ignores exceptions."""

    def __del__(self):
        _send(signal.SIGTERM)


def test_signal_in_a_destructor_ends_the_block_without_a_message(monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    @raise_on_signals()
    def wait():
        _Interrupted()
        time.sleep(60)
        pytest.fail("the signal was lost")

    with pytest.raises(Terminated):
        wait()
    assert not reports


def test_other_errors_in_a_destructor_are_reported(monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reports.append(str(unraisable.exc_value)))

    class Broken:
        def __del__(self):
            raise ValueError("broken")

    with raise_on_signals():
        Broken()
    assert reports == ["broken"]


def test_error_without_a_signal_is_not_changed():
    with pytest.raises(ImportError, match="no such module"), raise_on_signals(), prefer_interrupt():
        raise ImportError("no such module")
    check_interrupted()


def test_suppressed_interrupt_is_raised_by_check_interrupted():
    @raise_on_signals()
    def outer():
        with contextlib.suppress(Terminated):
            _send(signal.SIGHUP)
        check_interrupted()

    with pytest.raises(Terminated):
        outer()
    check_interrupted()  # the block has ended, so nothing is raised
