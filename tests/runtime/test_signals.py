"""The first signal lets work end in order, Ctrl-C after it stops it at once."""

from __future__ import annotations

import os
import signal

import pytest

from translate.runtime.signals import interruption


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_tells_and_ctrl_c_after_it_raises(
    kind: signal.Signals, request: pytest.FixtureRequest
) -> None:
    standard = signal.SIG_DFL if kind == signal.SIGHUP else signal.getsignal(kind)
    earlier = signal.signal(kind, standard)  # the tests may run under nohup
    request.addfinalizer(lambda: signal.signal(kind, earlier))
    before = signal.getsignal(kind)
    told = []
    with interruption(lambda: told.append("ending")) as interrupted:
        assert not interrupted.is_set()
        os.kill(os.getpid(), kind)
        assert interrupted.is_set()
        if kind != signal.SIGINT:
            os.kill(os.getpid(), kind)  # as Slurm and torchrun both do
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert told == ["ending"]
    assert signal.getsignal(kind) is before


def test_a_message_that_cannot_be_written_now_does_not_end_the_work() -> None:
    def reentrant() -> None:
        raise RuntimeError("reentrant call")

    with interruption(reentrant) as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.is_set()


def test_the_end_of_a_terminal_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)
