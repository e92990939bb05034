"""Two sites of a project's own, neither of them Django's: one with all models, one with one."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import path

from scheduled_tasks.admin import (
    ExecutionAdmin,
    PauseAdmin,
    TaskAdmin,
    TaskChangeAdmin,
    WorkerAdmin,
)
from scheduled_tasks.models import Execution, Pause, Task, TaskChange, Worker

whole = AdminSite(name="whole")
whole.register(Task, TaskAdmin)
whole.register(Execution, ExecutionAdmin)
whole.register(Worker, WorkerAdmin)
whole.register(TaskChange, TaskChangeAdmin)
whole.register(Pause, PauseAdmin)

tasks_only = AdminSite(name="tasks_only")
tasks_only.register(Task, TaskAdmin)

history_only = AdminSite(name="history_only")
history_only.register(Execution, ExecutionAdmin)

urlpatterns = [
    path("whole/", whole.urls),
    path("tasks/", tasks_only.urls),
    path("history/", history_only.urls),
]
