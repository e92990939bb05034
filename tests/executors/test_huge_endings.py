"""Whatever size a run ends with, that is not taken for its timeout, on either executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.executors.processes_in_hand import Hand
from tests.executors.threads_in_hand import Holder
from tests.jobs.huge import raise_long_error, return_long_text, return_many_keys

#: In seconds. The handlers need a few tenths, on a busy machine two; what they return would need
#: many as a whole.
TIMEOUT = 10.0
ENDINGS = {return_many_keys: "success", return_long_text: "success", raise_long_error: "failed"}


@pytest.mark.parametrize("handler", ENDINGS)
def test_huge_ends_of_processes_are_no_timeouts(hand: Hand, handler: Callable[..., Any]) -> None:
    outcome = hand.run(handler.__name__, timeout=TIMEOUT)
    assert outcome.status == ENDINGS[handler]
    assert "characters cut" in str(outcome.result or outcome.error)


@pytest.mark.parametrize("handler", ENDINGS)
def test_huge_ends_of_threads_are_no_timeouts(holder: Holder, handler: Callable[..., Any]) -> None:
    holder.start(handler, timeout=TIMEOUT)
    outcome = holder.outcome()
    assert outcome.status == ENDINGS[handler]
    assert "characters cut" in str(outcome.result or outcome.error)
