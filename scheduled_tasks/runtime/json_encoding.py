"""How values of Python are written as JSON: in payloads, results, checkpoints and changes."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

UTC_OFFSET = "+00:00"


class ExactJSONEncoder(DjangoJSONEncoder):
    """Django's encoder, but moments and times of day keep all six digits and their offset.

    Django cuts them to milliseconds. A run that goes on from a moment that was cut would do some
    rows twice, and one that compares it would find other rows.
    """

    def default(self, o: Any) -> Any:
        match o:
            case datetime():
                text = o.isoformat()
                return f"{text.removesuffix(UTC_OFFSET)}Z" if text.endswith(UTC_OFFSET) else text
            case time():
                return o.isoformat()
        return super().default(o)
