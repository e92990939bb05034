"""Sends the signals of this app, so that no receiver changes what it is told about."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.dispatch import Signal

from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.runtime.django_internals import live_receivers
from scheduled_tasks.runtime.sanitizing import safe_repr

logger = logging.getLogger(__name__)


def send(signal: Signal, *, sender: object, **named: Any) -> None:
    """Call each receiver of a signal, and log what it raises, SystemExit included.

    ``Signal.send_robust`` would let SystemExit end a worker, or fail a run. Raise only what comes
    from outside: KeyboardInterrupt, which is Ctrl-C, and the request to a run to stop.
    """
    for receiver in live_receivers(signal, sender):
        try:
            call = async_to_sync(receiver) if iscoroutinefunction(receiver) else receiver
            call(signal=signal, sender=sender, **named)
        except (KeyboardInterrupt, RunInterrupted):
            raise
        except BaseException:
            logger.exception("a receiver of a signal raised: %s", safe_repr(receiver))
