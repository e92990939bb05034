"""What docs/heartbeats.md says of addresses, limits and Sentry is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scheduled_tasks.monitoring import sentry
from scheduled_tasks.monitoring.heartbeats.dialects import TEMPORARY
from scheduled_tasks.monitoring.heartbeats.healthchecks import MAX_BODY_LENGTH
from scheduled_tasks.monitoring.heartbeats.recording import WORTHLESS_AFTER
from scheduled_tasks.monitoring.heartbeats.services import DIALECTS, HOSTS, addressed

PAGE = (Path(__file__).parents[2] / "docs" / "heartbeats.md").read_text()
pytestmark = pytest.mark.without_database


def test_the_page_names_each_service() -> None:
    table = PAGE.partition("| address |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)\+https://…`", table)) == set(DIALECTS)
    assert set(re.findall(r"`([a-z-]+\.[a-z]+)`", table)) == set(HOSTS)


def test_its_examples_are_recognized() -> None:
    examples = re.findall(r'"(https://hc-ping\.com/[^"]+)"', PAGE)
    assert [addressed(url)[0] for url in examples] == [DIALECTS["healthchecks"]] * 2


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"at most {MAX_BODY_LENGTH // 1000} kB" in PAGE
    assert WORTHLESS_AFTER.total_seconds() == 5 * 60
    assert "waited for five minutes" in PAGE
    assert "408, 425 or 429" in PAGE
    assert sorted(TEMPORARY) == [408, 425, 429]
    assert f"more than {sentry.MAX_SLUG_LENGTH} characters" in PAGE
