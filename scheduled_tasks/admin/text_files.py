"""Text files for what a page shows a part of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.http import StreamingHttpResponse

from scheduled_tasks.runtime.redaction import mask_secrets_in_json


def text_file(parts: Iterable[str], name: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        parts,
        content_type="text/plain; charset=utf-8",
        headers={
            "Content-Disposition": f'inline; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def whole_json(value: Any) -> str:
    """Return a JSON value in full, without secrets."""
    return json.dumps(mask_secrets_in_json(value), ensure_ascii=False, indent=2)
