"""Whatever a receiver of a signal raises changes nothing for the sender and other receivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.dispatch import Signal

from scheduled_tasks.exceptions import TimeLimitExceeded
from scheduled_tasks.runtime.signal_sending import send


class Receiver:
    """A receiver without a name, as ``functools.partial`` is one."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, **named: Any) -> None:
        """Raise the error."""
        raise self.error


def waiting(error: BaseException) -> Callable[..., Any]:
    async def receive(**named: Any) -> None:
        raise error

    return receive


@pytest.mark.parametrize("kind", [Receiver, waiting])
@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), ValueError()], ids=repr)
def test_a_receiver_that_raises_is_only_logged(
    kind: Callable[[BaseException], Any], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    signal, heard = Signal(), []

    def listen(**named: Any) -> None:
        heard.append(named)

    receiver = kind(error)
    for each in (receiver, listen):
        signal.connect(each)
    send(signal, sender=None, count=1)
    assert heard == [{"signal": signal, "sender": None, "count": 1}]
    [record] = [each for each in caplog.records if each.exc_info]
    assert record.exc_info[1] is error
    assert repr(receiver) in record.getMessage()


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeLimitExceeded])
def test_what_comes_from_outside_is_raised(error: type[BaseException]) -> None:
    signal, receiver = Signal(), Receiver(error())
    signal.connect(receiver)
    with pytest.raises(error):
        send(signal, sender=None)


def test_other_senders_are_not_heard() -> None:
    signal, receiver = Signal(), Receiver(ValueError())
    signal.connect(receiver, sender=Receiver)
    send(signal, sender=Signal)
