"""Which addresses are refused, and where."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from scheduled_tasks import register_task
from scheduled_tasks.checks import check_settings
from scheduled_tasks.conf import HEARTBEAT_SERVICES
from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.models import Task
from scheduled_tasks.monitoring.heartbeats.services import DIALECTS

USABLE = (
    "https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278",
    "http://8.8.8.8:8000/ping/x?create=1",
    "healthchecks+https://checks.intern/ping/x",
    "cronitor+https://proxy.intern/p/key/job",
    "https://[2606:4700::1111]:8443/x",
)
UNUSABLE = (
    "hc-ping.com/uuid",
    "ftp://hc-ping.com/uuid",
    "sentry+https://x.example/y",
    "https://",
    "https:///uuid",
    "https://hc-ping.com/a b",
    "https://hc-ping.com/uuid\n",
    "https://host:port/x",
    "https://host:99999/x",
    "https://host:0/x",
    "https://[::1/x",
    "https://@/x",
)


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing")
class TestOfTasks:
    @pytest.mark.parametrize("url", USABLE)
    def test_usable_addresses_are_kept(self, url: str) -> None:
        register_task("nightly", "jobs.nothing", heartbeat_url=url)
        assert Task.objects.get().heartbeat_url == url

    @pytest.mark.parametrize("url", UNUSABLE)
    def test_unusable_addresses_are_refused(self, url: str) -> None:
        with pytest.raises(InvalidTask, match="begins with https:// or http://"):
            register_task("nightly", "jobs.nothing", heartbeat_url=url)
        assert not Task.objects.exists()


@pytest.mark.without_database
class TestOfTheScheduler:
    @pytest.mark.parametrize("url", ["", *USABLE])
    def test_usable_addresses_pass_the_check(self, url: str, settings: LazySettings) -> None:
        settings.SCHEDULED_TASKS = {"HEARTBEAT_URL": url}
        assert check_settings() == []

    @pytest.mark.parametrize("url", UNUSABLE)
    def test_unusable_addresses_fail_the_check(self, url: str, settings: LazySettings) -> None:
        settings.SCHEDULED_TASKS = {"HEARTBEAT_URL": url}
        [message] = check_settings()
        assert message.id == "scheduled_tasks.E001"
        assert "HEARTBEAT_URL" in str(message.msg)

    def test_the_refusal_does_not_show_the_address(self, settings: LazySettings) -> None:
        settings.SCHEDULED_TASKS = {"HEARTBEAT_URL": "cronitor.link/p/secret/job"}
        assert "secret" not in str(check_settings())


def test_each_service_has_its_dialect() -> None:
    assert set(DIALECTS) == set(HEARTBEAT_SERVICES)
