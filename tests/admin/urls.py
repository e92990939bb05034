"""Custom admin sites: one with all models, others with a single one."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import path

from scheduled_tasks.admin import (
    AlertAdmin,
    DeadLetterAdmin,
    ExecutionAdmin,
    MaintenanceWindowAdmin,
    PauseAdmin,
    TaskAdmin,
    TaskChangeAdmin,
    WorkerAdmin,
)
from scheduled_tasks.models import (
    Alert,
    DeadLetter,
    Execution,
    MaintenanceWindow,
    Pause,
    Task,
    TaskChange,
    Worker,
)

whole = AdminSite(name="whole")
whole.register(Task, TaskAdmin)
whole.register(Execution, ExecutionAdmin)
whole.register(Worker, WorkerAdmin)
whole.register(TaskChange, TaskChangeAdmin)
whole.register(Pause, PauseAdmin)
whole.register(DeadLetter, DeadLetterAdmin)
whole.register(Alert, AlertAdmin)
whole.register(MaintenanceWindow, MaintenanceWindowAdmin)

tasks_only = AdminSite(name="tasks_only")
tasks_only.register(Task, TaskAdmin)

history_only = AdminSite(name="history_only")
history_only.register(Execution, ExecutionAdmin)

letters_only = AdminSite(name="letters_only")
letters_only.register(DeadLetter, DeadLetterAdmin)

alerts_only = AdminSite(name="alerts_only")
alerts_only.register(Alert, AlertAdmin)
alerts_only.register(MaintenanceWindow, MaintenanceWindowAdmin)

urlpatterns = [
    path("whole/", whole.urls),
    path("tasks/", tasks_only.urls),
    path("history/", history_only.urls),
    path("letters/", letters_only.urls),
    path("alerts/", alerts_only.urls),
]
