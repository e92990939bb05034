"""Run one task by hand."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.management.console import json_object, log_to_console, user_name
from scheduled_tasks.management.progress_bar import bar_on
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.records import execution_record
from scheduled_tasks.operations.tasks import prepare, run_task_now
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.worker.run_here import find_task, run_here

#: Of tasks and handlers; an argument can be longer, and need not even be text.
LONGEST_NAME = 200


class Command(BaseCommand):
    """Run a task now, in this process, and exit with 0 only if it succeeded."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("name", help="The name of a task, or of its handler.")
        parser.add_argument(
            "--payload",
            metavar="JSON",
            help="Keyword arguments of this run, as a JSON object, instead of the task's own.",
        )
        parser.add_argument(
            "--queue", action="store_true", help="Hand it to a worker instead, and do not wait."
        )
        parser.add_argument(
            "--test-mode",
            action="store_true",
            help="Only try it: the handler is told so, and how it ends does not count.",
        )
        parser.add_argument("--json", action="store_true", help="Print the execution as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the task here, or queue it."""
        log_to_console(options["verbosity"])
        payload = None if options["payload"] is None else json_object(options["payload"])
        asked = {
            "triggered_by": f"cli:{user_name()}",
            "trigger": Execution.Trigger.CLI,
            "test_mode": options["test_mode"],
        }
        try:
            task = find_task(sanitized_text(options["name"], limit=LONGEST_NAME))
            if options["queue"]:
                self.show(run_task_now(task, payload, **asked), as_json=options["json"])
                return
            prepared = prepare(task, payload, **asked)
            with bar_on(sys.stderr, shown=options["verbosity"] > 0) as hear:
                execution = run_here(prepared, on_message=hear)
        except ScheduledTasksError as error:
            raise CommandError(str(error)) from None
        self.show(execution, as_json=options["json"])
        if not execution.finished:
            raise CommandError("This process was taken for lost meanwhile; a worker runs it again.")
        if not execution.succeeded and execution.status != Execution.Status.SKIPPED:
            sys.exit(1)

    def show(self, execution: Execution, *, as_json: bool) -> None:
        """Print how the execution stands."""
        if as_json:
            self.stdout.write(json.dumps(execution_record(execution), indent=2))
            return
        seconds = f" in {execution.duration_ms / 1000:.1f} s" if execution.duration_ms else ""
        tried = " in test mode" if execution.test_mode else ""
        self.stdout.write(f"{execution}: {execution.get_status_display()}{seconds}{tried}")
        if execution.result is not None:
            self.stdout.write(json.dumps(execution.result, indent=2))
        if execution.error or execution.reason:
            self.stderr.write(execution.error or execution.reason)
