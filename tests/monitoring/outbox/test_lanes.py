"""The lanes of the outbox: what hangs together shares one, so that it holds few places."""

from __future__ import annotations

import pytest

from scheduled_tasks.monitoring.outbox.messages import MAIL_LANES, Recipient, lane_of

pytestmark = pytest.mark.without_database


def test_mails_share_a_few_lanes() -> None:
    lanes = {lane_of(Recipient("mail", f"user{number}@shop.example")) for number in range(100)}
    assert len(lanes) == MAIL_LANES


def test_each_notifier_has_its_lane() -> None:
    lanes = {lane_of(Recipient("notifier", name)) for name in ("ops", "chat", "ops")}
    assert lanes == {"notifier ops", "notifier chat"}
