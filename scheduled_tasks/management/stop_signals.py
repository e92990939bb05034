"""The signals that ask a command to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from scheduled_tasks.executors.process.operating_system import STOP_SIGNALS, existing

#: Ask for an end at once.
AT_ONCE = existing("SIGQUIT")


@contextmanager
def stop_signals(on_signal: Callable[[signal.Signals], None], *, last: bool) -> Iterator[None]:
    """Call ``on_signal`` in the block for each signal that asks this process to end.

    ``last`` means that the process ends after the block: from then on the signals are ignored, so
    that they do not change its exit code. Otherwise they do again what they did before.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    # nohup ignores SIGHUP, for a command that is to go on when its terminal closes.
    caught = [number for number in STOP_SIGNALS if not ignored_by_nohup(number, before[number])]
    if threading.current_thread() is not threading.main_thread():
        caught = []  # no other thread can catch signals
    over = False

    def call(number: int, frame: FrameType | None) -> None:
        if not over:
            on_signal(signal.Signals(number))

    for number in caught:
        signal.signal(number, call)
    try:
        try:
            yield
        finally:
            over = True
    finally:
        # Where ``on_signal`` raises, it must not keep the other signals from being put back.
        over = True
        for number in caught:
            signal.signal(number, signal.SIG_IGN if last else before[number] or signal.SIG_DFL)


def ignored_by_nohup(number: signal.Signals, action: Any) -> bool:
    return number in existing("SIGHUP") and action is signal.SIG_IGN
