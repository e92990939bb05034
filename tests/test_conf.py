"""The one setting: its defaults, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from scheduled_tasks.conf import AppSettings, app_settings, load
from scheduled_tasks.exceptions import InvalidSettings, ScheduledTasksError


def refusal(given: Any) -> str:
    with override_settings(SCHEDULED_TASKS=given), pytest.raises(InvalidSettings) as refused:
        load()
    assert isinstance(refused.value, ImproperlyConfigured)
    assert isinstance(refused.value, ScheduledTasksError)
    return str(refused.value)


def test_without_the_setting_all_defaults_hold() -> None:
    with override_settings():
        from django.conf import settings  # noqa: PLC0415 -- the overridden one

        del settings.SCHEDULED_TASKS
        assert load() == AppSettings()


def test_given_values_replace_defaults_and_take_their_types() -> None:
    given = {"LEASE": 90, "CONCURRENCY": 3, "DISCOVER_MODULES": ["jobs"], "EXECUTOR": "a.B"}
    with override_settings(SCHEDULED_TASKS=given):
        options = load()
    assert options == AppSettings(
        LEASE=90.0, CONCURRENCY=3, DISCOVER_MODULES=("jobs",), EXECUTOR="a.B"
    )
    assert isinstance(options.LEASE, float)


def test_a_changed_setting_is_read_anew() -> None:
    with override_settings(SCHEDULED_TASKS={"CONCURRENCY": 3}):
        assert app_settings.CONCURRENCY == 3
    with override_settings(SCHEDULED_TASKS={}):
        assert app_settings.CONCURRENCY == AppSettings().CONCURRENCY


def test_a_misspelled_key_suggests_the_right_one() -> None:
    assert refusal({"CONCURENCY": 3}) == (
        "SCHEDULED_TASKS has no key 'CONCURENCY': did you mean 'CONCURRENCY'?"
    )
    assert "did you mean 'LEASE'?" in refusal({"lease": 60})


def test_a_strange_key_is_answered_with_all_keys() -> None:
    for key in ("X", 1, None, ("LEASE",)):
        said = refusal({key: 1})
        assert f"no key {key!r}" in said
    assert all(field.name in refusal({"X": 1}) for field in fields(AppSettings))


@pytest.mark.parametrize("given", [None, [], "CONCURRENCY", 5, {"LEASE"}])
def test_what_is_no_dictionary_is_refused(given: Any) -> None:
    assert refusal(given) == "SCHEDULED_TASKS must be a dictionary."


@pytest.mark.parametrize(
    ("key", "values", "wanted"),
    [
        ("SYNC_AFTER_MIGRATE", [0, 1, "yes", None], "True or False"),
        ("CONCURRENCY", [0, -1, 1.5, "3", True, None, 10**12], "a whole number from 1"),
        (
            "POLL_INTERVAL",
            [0, -0.1, math.nan, math.inf, "1", True, None, 10**12, 1e300],
            "a number above 0",
        ),
        ("EXECUTOR", [None, b"a.B", 5, object], "text"),
        ("DISCOVER_MODULES", ["tasks", b"tasks", None, [1], ("tasks", None)], "a list of names"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key: str, values: list[Any], wanted: str) -> None:
    for value in values:
        said = refusal({key: value})
        assert said.startswith(f"SCHEDULED_TASKS[{key!r}] must be {wanted}"), said
        assert said.endswith(f", not {value!r}.")


def test_a_lease_too_short_for_heartbeats_is_refused() -> None:
    for settings in ({"HEARTBEAT_INTERVAL": 45}, {"LEASE": 19}):
        assert "at least 4 times HEARTBEAT_INTERVAL" in refusal(settings)
    with override_settings(SCHEDULED_TASKS={"LEASE": 20}):
        assert load().LEASE == 20


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "*",
        "*.example.com",
        ".example.com",
        "example.com:8080",
        "http://example.com",
        "bücher.example",
        "[::1]",
        "fe80::1%eth0",
        "127.1",
        "0x7f000001",
        "2130706433",
        "010.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0-10.0.0.9",
    ],
)
def test_what_is_no_host_cannot_be_allowed(entry: str) -> None:
    assert refusal({"OUTGOING_ALLOW": ["localhost", entry]}) == (
        f"SCHEDULED_TASKS['OUTGOING_ALLOW'] contains {entry!r}, which is not a host name, an "
        "address or a network, such as 'intranet.example', '10.0.0.5' or '10.0.0.0/8'."
    )


@pytest.mark.parametrize(
    ("entry", "network"),
    [("10.0.0.5/8", "10.0.0.0/8"), ("fd00::5/64", "fd00::/64"), ("10.0.0.5/0", "0.0.0.0/0")],
)
def test_an_address_within_a_network_is_refused(entry: str, network: str) -> None:
    said = refusal({"OUTGOING_ALLOW": [entry]})
    assert said.startswith(f"SCHEDULED_TASKS['OUTGOING_ALLOW'] contains {entry!r}, which")
    assert f"write {network!r} for the network" in said


def test_names_addresses_and_networks_can_be_allowed() -> None:
    entries = ("my_service", "Intranet.Example.", "10.0.0.5", "::1", "10.0.0.0/8", "fe80::/10")
    with override_settings(SCHEDULED_TASKS={"OUTGOING_ALLOW": list(entries)}):
        allowed = load().OUTGOING_ALLOW
    assert allowed == entries


def test_empty_discover_modules_discovers_nothing() -> None:
    with override_settings(SCHEDULED_TASKS={"DISCOVER_MODULES": []}):
        assert load().DISCOVER_MODULES == ()


@pytest.mark.parametrize(
    "address",
    ["shop.example", "ftp://shop.example", "https://", "https://a b", "https://a/?x", "//a", "x\n"],
)
def test_links_cannot_begin_with_any_text(address: str) -> None:
    assert refusal({"BASE_URL": address}).endswith(f"'https://shop.example', not {address!r}.")


@pytest.mark.parametrize("address", ["", "https://shop.example", "http://[::1]:8000/app/"])
def test_links_begin_with_an_address(address: str) -> None:
    with override_settings(SCHEDULED_TASKS={"BASE_URL": address}):
        assert address == load().BASE_URL


@pytest.mark.parametrize("key", ["HEARTBEAT_URL", "NOTIFIERS", "EXECUTOR"])
def test_none_is_said_to_be_none(key: str) -> None:
    with (
        override_settings(SCHEDULED_TASKS={key: None}),
        pytest.raises(InvalidSettings, match=r"must be (text|a dictionary), not None\."),
    ):
        load()


def test_the_entry_of_alerts_is_named() -> None:
    place = "SCHEDULED_TASKS['ALERTS'][1] must be a dictionary, not 'ops'."
    assert refusal({"ALERTS": [{"to": "ops"}, "ops"]}) == place
    assert "must be a list of dictionaries, not 'ops'." in refusal({"ALERTS": "ops"})
