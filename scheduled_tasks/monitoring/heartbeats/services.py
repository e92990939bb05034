"""Which dialect the service at an address speaks."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from scheduled_tasks.monitoring.heartbeats.cronitor import Cronitor
from scheduled_tasks.monitoring.heartbeats.dialects import Dialect
from scheduled_tasks.monitoring.heartbeats.healthchecks import Healthchecks
from scheduled_tasks.monitoring.heartbeats.plain import Plain

#: By what may stand before the scheme of an address, as in ``healthchecks+https://…``.
DIALECTS: Mapping[str, Dialect] = {"healthchecks": Healthchecks(), "cronitor": Cronitor()}
#: By host: what is recognized without that.
HOSTS = {"hc-ping.com": "healthchecks", "hchk.io": "healthchecks", "cronitor.link": "cronitor"}
PLAIN = Plain()


def addressed(target: str) -> tuple[Dialect, str]:
    """Return the dialect of a heartbeat URL, and the URL without what names the dialect."""
    prefix, plus, url = target.partition("+")
    if plus and prefix in DIALECTS:
        return DIALECTS[prefix], url
    return DIALECTS.get(HOSTS.get(host_of(target), ""), PLAIN), target


def host_of(url: str) -> str:
    """Return the host in lower case, "" where a bulk update has written something else."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_told(target: str, event: str) -> bool:
    """Whether the service at an address is told of such an event; without an address, it is not."""
    return bool(target) and event in addressed(target)[0].events
