from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from trainyard.errors import Terminated
from trainyard.system.signals import raise_if_stopped, signals_raise, stop_wins


def _send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.05)


def _send_into_a_library():
    try:
        _send(signal.SIGTERM)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None


def test_a_signal_ends_the_block_and_what_was_there_before_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as caught, signals_raise():
        _send(signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_after_the_first_signal_no_other_is_heard_until_the_outer_block_ends():
    before = signal.getsignal(signal.SIGTERM)
    told = []

    @signals_raise()
    def outer():
        try:
            with signals_raise():
                _send(signal.SIGTERM)
        except Terminated:
            _send(signal.SIGTERM)
            told.append("what happened")
            raise

    with pytest.raises(Terminated):
        outer()
    assert told == ["what happened"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_outer_block_hears_what_comes_after_an_inner_one_that_was_left_in_peace():
    @signals_raise()
    def outer():
        with signals_raise():
            pass
        _send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        outer()


def test_an_error_that_a_library_made_of_the_signal_does_not_hide_it():
    told = []

    @signals_raise()
    def outer():
        try:
            with stop_wins():
                _send_into_a_library()
        except Terminated as stop:
            told.append(str(stop.__cause__))
            raise RuntimeError("and once more, on the way out") from None

    with pytest.raises(Terminated) as caught:
        outer()
    assert told == ["initialization failed"]
    assert str(caught.value.__cause__) == "and once more, on the way out"


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(ImportError, match="no such module"), signals_raise(), stop_wins():
        raise ImportError("no such module")
    raise_if_stopped()


def test_a_signal_that_was_swallowed_is_heard_where_it_is_asked_for():
    @signals_raise()
    def outer():
        with contextlib.suppress(Terminated):
            _send(signal.SIGHUP)
        raise_if_stopped()

    with pytest.raises(Terminated):
        outer()
    raise_if_stopped()  # nothing is left of the block
