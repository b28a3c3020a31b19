"""Ctrl-C is deferred where the program asks for it; the allocator accepts its settings."""

from __future__ import annotations

import ctypes
import signal
import threading

import pytest

from codec.training import memory
from codec.training.interrupts import Interrupts


def test_a_deferred_body_runs_to_its_end() -> None:
    said: list[str] = []
    done = []
    with Interrupts(said.append) as interrupts, pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("step")
    assert (done, said) == (["step"], ["stopping after this step"])


def test_elsewhere_an_interrupt_is_immediate() -> None:
    with Interrupts(print), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not reached")


def test_one_interrupt_is_raised_once() -> None:
    with Interrupts(lambda _: None) as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
        with interrupts.deferred():
            pass


def test_an_error_comes_before_the_interrupt() -> None:
    with Interrupts(lambda _: None) as interrupts, pytest.raises(OSError), interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        raise OSError


def test_sigterm_only_where_the_program_has_made_it_an_interrupt() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts(print):
        assert signal.getsignal(signal.SIGTERM) is before
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            Interrupts(lambda _: None) as interrupts,
            pytest.raises(KeyboardInterrupt),
            interrupts.deferred(),
        ):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_change_no_handlers() -> None:
    def body() -> None:
        with Interrupts(print) as interrupts, interrupts.deferred():
            found.append(signal.getsignal(signal.SIGINT))

    found: list[object] = []
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_a_message_that_cannot_be_written_does_no_harm() -> None:
    def say(line: str) -> None:
        raise RuntimeError("reentrant call")

    with Interrupts(say) as interrupts, pytest.raises(KeyboardInterrupt), interrupts.deferred():
        signal.raise_signal(signal.SIGINT)


def test_glibc_accepts_the_settings() -> None:
    assert memory.keep_freed_memory() is hasattr(ctypes.CDLL(None), "mallopt")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: object) -> object:
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", no_library)
    assert memory.keep_freed_memory() is False
