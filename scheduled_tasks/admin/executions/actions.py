"""What people do to executions from their list: cancel, requeue, resolve."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.confirmation import CancelForm, Question, QuestionPage, ResolveForm
from scheduled_tasks.admin.executions.bulk_actions import Settling
from scheduled_tasks.admin.executions.selection import CHOSEN, as_text, chosen_ids
from scheduled_tasks.admin.permissions import RunPermission
from scheduled_tasks.models import Execution

#: So many of the chosen executions are named.
NAMED = 20


class ExecutionActions(RunPermission):
    """The actions of the list of executions."""

    actions = ("cancel", "requeue", "resolve")

    @admin.action(description=_("Cancel selected executions…"), permissions=["run"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse:
        """Ask why, then cancel what has not ended."""
        ids = chosen_ids(self, request, queryset)
        said = ngettext("Cancel %d execution", "Cancel %d executions", len(ids))
        return self.ask(
            request,
            ids,
            action="cancel",
            title=said % len(ids),
            verb=_g("Cancel executions"),
            form=CancelForm,
            answer=Settling(self, request, ids).cancel,
            remark=_g("What is queued ends at once; what runs is asked to stop, then killed."),
        )

    @admin.action(description=_("Requeue selected failures"), permissions=["run"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Execution]) -> None:
        """Run once more what failed for good, each with its own payload."""
        Settling(self, request, chosen_ids(self, request, queryset)).requeue()

    @admin.action(description=_("Resolve selected failures…"), permissions=["run"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Execution]) -> HttpResponse:
        """Ask how they were settled, then resolve what failed for good."""
        ids = chosen_ids(self, request, queryset)
        said = ngettext("Resolve %d failure", "Resolve %d failures", len(ids))
        return self.ask(
            request,
            ids,
            action="resolve",
            title=said % len(ids),
            verb=_g("Resolve"),
            form=ResolveForm,
            answer=Settling(self, request, ids).resolve,
        )

    def ask(
        self, request: HttpRequest, ids: list[int], *, action: str, **asked: Any
    ) -> HttpResponse:
        """Ask about the chosen executions, and do the action with the answer."""
        named = Execution.objects.filter(pk__in=ids[:NAMED]).only("task_name")
        question = Question(
            **asked,
            way_back=request.get_full_path(),
            concerned=[*map(str, named), *(["…"] if len(ids) > NAMED else [])],
            trail=[(request.get_full_path(), capfirst(self.opts.verbose_name_plural))],
            hidden={
                "action": action,
                ACTION_CHECKBOX_NAME: str(ids[0]) if ids else "0",
                CHOSEN: as_text(ids),
            },
        )
        return QuestionPage(self, request, question).respond()
