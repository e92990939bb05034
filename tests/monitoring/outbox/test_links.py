"""Links to the admin in notifications."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import pytest

from scheduled_tasks.monitoring.outbox.links import admin_url

SHOP = {"BASE_URL": "https://shop.example/back-office/"}


def test_links_to_an_execution_or_else_a_task(settings: Any) -> None:
    settings.SCHEDULED_TASKS = SHOP
    page = "https://shop.example/back-office/admin/scheduled_tasks"
    assert admin_url(execution_id=7, task_id=3) == f"{page}/execution/7/change/"
    assert admin_url(task_id=3) == f"{page}/task/3/change/"
    assert admin_url() is None


def test_without_an_address_there_are_no_links() -> None:
    assert admin_url(execution_id=7, task_id=3) is None


def test_without_an_admin_there_are_no_links(settings: Any) -> None:
    settings.SCHEDULED_TASKS = SHOP
    urls = ModuleType("no_admin")
    urls.urlpatterns = []  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urls
    assert admin_url(task_id=3) is None


def test_broken_urls_are_logged(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.SCHEDULED_TASKS = SHOP
    settings.ROOT_URLCONF = "there.is.none"
    with caplog.at_level(logging.WARNING):
        assert admin_url(task_id=3) is None
    assert "ModuleNotFoundError" in caplog.text
