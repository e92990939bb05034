"""Run one task manually."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.executors.endings import INTERRUPTED
from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.management.console import json_object, log_to_console, user_name
from scheduled_tasks.management.progress_bar import progress_bar
from scheduled_tasks.management.stop_signals import stop_signals
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.records import execution_record
from scheduled_tasks.operations.tasks import find_task, prepare, run_task_now
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.runtime.wording import duration
from scheduled_tasks.worker.run_here import Interruption, run_here

#: The length of names of tasks and handlers. Arguments may be longer.
MAX_NAME_LENGTH = 200


class Command(OutputCommand):
    """Run a task now, in this process, and exit with 0 only if it succeeded or was skipped."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="Name of a task or of its handler.")
        parser.add_argument(
            "--payload",
            metavar="JSON",
            help="Keyword arguments for this run as a JSON object, instead of the task's payload.",
        )
        parser.add_argument(
            "--queue",
            action="store_true",
            help="Queue the run for a worker instead, and do not wait for it.",
        )
        parser.add_argument(
            "--test-mode",
            action="store_true",
            help="Dry run: context.test_mode is set and the outcome is not counted.",
        )
        parser.add_argument("--json", action="store_true", help="Print the execution as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        log_to_console(options["verbosity"])
        interruption = Interruption()

        def interrupt(number: signal.Signals) -> None:
            keyboard = number == signal.SIGINT
            interruption.request(INTERRUPTED if keyboard else f"Stopped by {number.name}.")

        with stop_signals(interrupt, last=self.ends_process):
            self.run_task(interruption, **options)

    def run_task(self, interruption: Interruption, **options: Any) -> None:
        payload = None if options["payload"] is None else json_object(options["payload"])
        run = {
            "by": f"cli:{user_name()}",
            "trigger": Execution.Trigger.CLI,
            "test_mode": options["test_mode"],
        }
        try:
            # An argument may hold bytes that are not text, which no database takes.
            task = find_task(sanitized_text(options["name"], limit=MAX_NAME_LENGTH))
            if options["queue"]:
                self.show(run_task_now(task, payload, **run), as_json=options["json"])
                return
            prepared = prepare(task, payload, **run)
            with progress_bar(sys.stderr, enabled=options["verbosity"] > 0) as show_progress:
                execution = run_here(prepared, on_message=show_progress, interruption=interruption)
        except ScheduledTasksError as error:
            raise CommandError(str(error)) from None
        self.show(execution, as_json=options["json"])
        if not execution.finished:
            raise CommandError("This process was considered lost. A worker runs the task again.")
        if not execution.succeeded and execution.status != Execution.Status.SKIPPED:
            sys.exit(1)

    def show(self, execution: Execution, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(execution_record(execution), indent=2))
            return
        took = f" in {duration(execution.duration_ms / 1000)}" if execution.duration_ms else ""
        mode = " in test mode" if execution.test_mode else ""
        self.stdout.write(f"{execution}: {execution.get_status_display()}{took}{mode}")
        if execution.result is not None:
            self.stdout.write(json.dumps(execution.result, indent=2))
        if execution.error or execution.reason:
            self.stderr.write(execution.error or execution.reason)
