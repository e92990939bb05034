"""Every transaction that moves an execution, one module a verb."""

from __future__ import annotations

import scheduled_tasks.models  # noqa: F401 -- rows and their verbs know each other
