"""Links for mails and chats, which need whole URLs: to pages of the admin."""

from __future__ import annotations

import logging

from django.urls import NoReverseMatch, reverse

from scheduled_tasks.conf import app_settings

logger = logging.getLogger(__name__)


def admin_url(*, execution_id: int | None = None, task_id: int | None = None) -> str | None:
    """Return the URL of the page of an execution, or else of a task.

    None without BASE_URL, and where the project's URLs have no such page.
    """
    if not app_settings.BASE_URL:
        return None
    if execution_id is not None:
        return page("execution_change", execution_id)
    return None if task_id is None else page("task_change", task_id)


def page(view: str, pk: int) -> str | None:
    try:
        path = reverse(f"admin:scheduled_tasks_{view}", args=[pk])
    except NoReverseMatch:
        return None
    except Exception as error:  # noqa: BLE001 -- importing the project's URLs may raise anything
        logger.warning("alerts have no links: the URLs of the project cannot be loaded: %r", error)
        return None
    return app_settings.BASE_URL.rstrip("/") + path
