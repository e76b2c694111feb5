"""Requests to stop: the first is noted, the second obeyed."""

import os
import signal
import threading

import pytest

from training.run.stopping import SIGNALS, noted_stops


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """A test run in the background ignores Ctrl-C, and so would its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ask(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_is_noted_and_the_second_obeyed(number, capsys):
    before = signal.getsignal(number)
    with noted_stops(alone=True) as stop:
        ask(number)
        assert stop.number == number
        assert "after this step" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt) as stopped:
            ask(number)
    assert not stopped.value.args  # at once, by Python
    assert signal.getsignal(number) == before
    with pytest.raises(KeyboardInterrupt, match=str(int(number))):
        stop.obey()


def test_what_is_not_asked_goes_on():
    with noted_stops(alone=True) as stop:
        stop.obey()
    assert stop.number is None


def test_of_several_processes_and_in_threads_all_is_as_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    with noted_stops(alone=False):
        assert [signal.getsignal(number) for number in SIGNALS] == before

    def enter() -> None:
        with noted_stops(alone=True):
            pass

    thread = threading.Thread(target=enter)  # where a handler cannot be set: no error
    thread.start()
    thread.join()


def test_a_job_in_the_background_goes_on_ignoring_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_stops(alone=True) as stop:
            ask(signal.SIGINT)
            assert stop.number is None
    finally:
        signal.signal(signal.SIGINT, before)
