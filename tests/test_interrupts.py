from __future__ import annotations

import os
import signal
import time

import pytest

from trainyard.errors import Terminated
from trainyard.interrupts import signals_raise


def _send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.05)


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
