"""A page stays short whatever is stored, says what it leaves out, and links to all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.lifecycle.changes import record_change
from scheduled_tasks.models import Execution, Task
from tests.admin.pages import change, messages, page, say, task_data, text, tried

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]

#: Bytes of a page, and CPU seconds for it: many times what it takes.
MAX_PAGE, MAX_SECONDS = 200_000, 5.0
#: Characters of most values. As HTML a quotation mark is six.
LENGTH = 100_000
LONG: dict[str, Any] = {
    "text": "x" * 5_000_000,
    "quotes": '"' * LENGTH,
    "list": list(range(LENGTH // 8)),
    "keys": {f"key{number}": {"a": [1, "<"]} for number in range(LENGTH // 25)},
    "lines": "password: hunter2xyz\n" * (LENGTH // 21),
}


def get(client: Client, url: str) -> str:
    begun = time.process_time()
    answer = client.get(url)
    assert time.process_time() - begun < MAX_SECONDS
    assert answer.status_code == 200
    assert len(answer.content) < MAX_PAGE, url
    assert "hunter2xyz" not in text(answer)
    return text(answer)


@pytest.mark.parametrize("kind", LONG)
def test_an_execution_page_is_short(
    admin_client: Client, make_task: Make, make_execution: Make, kind: str
) -> None:
    value = LONG[kind]
    row = make_execution(make_task("a", "shop.plain"), status="failed")
    change(row, payload={"a": value}, result=value, checkpoint=value, error_category="logic")
    said = get(admin_client, page("execution_change", row.pk))
    assert said.count("Only a part is shown: it has") == 3
    for part in ("payload", "result", "checkpoint"):
        url = page("execution_download", row.pk, part)
        assert f'href="{url}"' in said
    whole = admin_client.get(url).getvalue().decode()  # type: ignore[attr-defined]
    assert len(whole) > LENGTH // 3
    assert "hunter2xyz" not in whole
    get(admin_client, page("execution_changelist"))


def test_long_texts_logs_and_attempts_make_short_pages(
    admin_client: Client, staff: Callable[..., Client], make_task: Make, make_execution: Make
) -> None:
    row = make_execution(make_task("a", "shop.plain"), status="failed", error_category="logic")
    quotes = '"' * 100_000
    texts = {"error": f"E{quotes}", "traceback": f"{quotes}The end.", "reason": "x" * 100_000}
    change(row, resolution="x" * 100_000, resolved_at=row.created_at, **texts)
    say(row, *(f"{number} " + "x" * 10_000 for number in range(250)))
    say(row, LONG["text"])
    for number in range(2, 60):
        tried(row, number, error="x" * 100_000, traceback="x" * 100_000)
    said = get(admin_client, page("execution_change", row.pk))
    assert "Only the last lines are shown." in said
    assert "The end." in said
    for part in ("error", "traceback"):
        url = page("execution_download", row.pk, part)
        assert f'href="{url}"' in said
        assert admin_client.get(url).getvalue().decode() == texts[part]  # type: ignore[attr-defined]
    for other in ("reason", "worker", "pk", "__class__", "payload%00"):
        gone = page("execution_download", row.pk, "error").replace("error.txt", f"{other}.txt")
        assert admin_client.get(gone).status_code == 404
    get(admin_client, page("execution_changelist"))
    assert staff("view_task").get(url).status_code == 403


def test_long_fields_of_tasks_are_only_shown(
    admin_client: Client, staff: Callable[..., Client], make_task: Make
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    long = {
        "payload": {"days": LONG["quotes"]},
        "metadata": {"a": LONG["keys"]},
        "description": LONG["quotes"],
    }
    Task.objects.update(**long)
    record_change(
        task,
        "changed",
        task.created_at,
        fields={name: (value, value) for name, value in long.items()},
        using="default",
    )
    said = get(admin_client, page("task_change", task.pk))
    assert said.count("Only a part is shown: it has") == 3
    assert '<textarea name="payload"' not in said
    url = page("task_download", task.pk, "metadata")
    whole = admin_client.get(url).getvalue()  # type: ignore[attr-defined]
    assert json.loads(whole) == long["metadata"]
    assert admin_client.get(page("task_download", task.pk, "payload")).status_code == 200
    gone = page("task_download", task.pk, "x")
    assert admin_client.get(gone).status_code == 404
    for view in ("taskchange_changelist", "task_changelist"):
        get(admin_client, page(view))
    get(admin_client, page("taskchange_change", task.changes.first().pk))
    answer = admin_client.get(page("task_run", task.pk))
    assert "too long to be edited here" in messages(answer)[-1]
    # What the form does not hold is not lost when it is saved.
    Task.objects.update(payload={"days": 7})
    posted = task_data(category="mail")
    answer = admin_client.post(page("task_change", task.pk), posted)
    assert answer.status_code == 302
    task.refresh_from_db()
    assert (task.category, task.metadata) == ("mail", long["metadata"])
    viewer = staff("view_task")
    get(viewer, page("task_change", task.pk))
    assert viewer.get(page("task_download", task.pk, "metadata")).status_code == 200


def test_a_long_payload_is_requeued_as_it_is(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    row = make_execution(make_task("a", "shop.plain"), status="failed")
    change(row, payload={"a": LONG["text"]})
    answer = admin_client.get(page("execution_requeue_payload", row.pk))
    assert answer.url == page("execution_change", row.pk)
    assert "too long to be edited here" in messages(answer)[-1]
    assert Execution.objects.count() == 1
