"""Run the scheduler."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from ipaddress import ip_address
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from scheduled_tasks.conf import host_name
from scheduled_tasks.executors.base import ExecutorBrokenError
from scheduled_tasks.management.base import OutputCommand, explaining_database_errors
from scheduled_tasks.management.console import log_to_console, not_negative, positive
from scheduled_tasks.management.reloading import Reloader, works_here
from scheduled_tasks.management.stop_signals import AT_ONCE, stop_signals
from scheduled_tasks.models import Worker
from scheduled_tasks.models.storable import MAX_TEXT_LENGTH, flaw_of_text
from scheduled_tasks.worker.engine import WorkerLostError
from scheduled_tasks.worker.liveness_file import LivenessFileError
from scheduled_tasks.worker.scheduler import Scheduler

MAX_PORT = 65_535
LOOPBACK = "127.0.0.1"
MAX_LABEL_LENGTH = Worker._meta.get_field("label").max_length or 0  # noqa: SLF001


class Command(OutputCommand):
    """Queue executions when tasks are due, and run them, until SIGTERM or Ctrl-C."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=positive(int),
            help="Maximum number of executions to run at the same time.",
        )
        parser.add_argument(
            "--queues",
            type=queue_names,
            default=[],
            help="Queues to serve, separated by commas. Default: all.",
        )
        parser.add_argument(
            "--poll-interval", type=positive(float), help="Seconds between checks for work."
        )
        parser.add_argument(
            "--shutdown-timeout",
            type=not_negative(float),
            help="Seconds to wait for running executions when stopped, before ending them.",
        )
        parser.add_argument(
            "--worker-name",
            type=worker_label,
            default="",
            help="Name of this worker. Default: host:pid.",
        )
        parser.add_argument(
            "--once",
            action="store_true",
            help="Queue what is due, run everything that is queued, and exit.",
        )
        parser.add_argument(
            "--no-sync", action="store_true", help="Do not write declared tasks to the database."
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="For development: start the worker again whenever code changes.",
        )
        parser.add_argument(
            "--max-executions",
            type=positive(int),
            metavar="N",
            help="Exit when N executions have been claimed and have ended, to be started again.",
        )
        parser.add_argument(
            "--max-age",
            type=positive(float),
            metavar="SECONDS",
            help="Claim nothing more after this time, and exit when all runs have ended.",
        )
        parser.add_argument(
            "--liveness-file",
            type=path,
            metavar="PATH",
            help="Keep this file fresh, for python -m scheduled_tasks.probe PATH.",
        )
        parser.add_argument(
            "--metrics-port",
            type=address,
            metavar="[ADDRESS:]PORT",
            help=f"Serve metrics for Prometheus at this port. Default address: {LOOPBACK}.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_recycling_while_reloading(options)
        log_to_console(options["verbosity"])
        if options["reload"] and not works_here():
            sys.exit(Reloader().run(last=self.ends_process))
        scheduler = Scheduler(
            concurrency=options["concurrency"],
            queues=options["queues"],
            poll_interval=options["poll_interval"],
            shutdown_timeout=options["shutdown_timeout"],
            worker_name=options["worker_name"],
            syncs=not options["no_sync"],
            max_executions=options["max_executions"],
            max_age=options["max_age"],
            liveness_file=options["liveness_file"],
        )

        def stop(number: signal.Signals) -> None:
            scheduler.stop(at_once=number in AT_ONCE)

        with (
            serving_metrics(options["metrics_port"]),
            stop_signals(stop, last=self.ends_process),
        ):
            self.work(scheduler, once=options["once"])

    def work(self, scheduler: Scheduler, *, once: bool) -> None:
        try:
            with explaining_database_errors():
                (scheduler.run_once if once else scheduler.run)()
        except (WorkerLostError, ExecutorBrokenError, LivenessFileError, CommandError) as error:
            exit_despite_threads(scheduler, f"CommandError: {error}\n")
            raise CommandError(str(error)) from error
        exit_despite_threads(scheduler)
        if scheduler.unfinished:
            sys.exit(1)


def refuse_recycling_while_reloading(options: Mapping[str, Any]) -> None:
    """Raise CommandError: a worker that has done its share would only come back with a change."""
    limits = {"--max-executions": "max_executions", "--max-age": "max_age"}
    given = [option for option, name in limits.items() if options[name] is not None]
    if options["reload"] and given:
        raise CommandError(
            f"--reload cannot be combined with {given[0]}: the worker would end and not start "
            "again until code changes. Leave one of them out."
        )


def exit_despite_threads(scheduler: Scheduler, message: str = "") -> None:
    """Exit if threads of runs are still alive, since the interpreter would wait for them."""
    if scheduler.engine.executor.leaves_code_running:
        logging.shutdown()
        with suppress(OSError):  # its reader may be gone
            sys.stderr.write(message)
            sys.stderr.flush()
        # sys.exit() would join the threads of the executor, which may never end.
        os._exit(1)


@contextmanager
def serving_metrics(address: tuple[str, int] | None) -> Iterator[None]:
    """Serve metrics meanwhile. Raise CommandError if that is not possible."""
    if address is None:
        yield
        return
    host, port = address
    try:
        # Only here: it needs a package that not every project has.
        server = import_module("scheduled_tasks.monitoring.metrics.server").MetricsServer(*address)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"The metrics cannot be served at {host}:{port}: {error.strerror or error}."
        ) from error
    server.start()
    try:
        yield
    finally:
        server.stop()


def address(text: str) -> tuple[str, int]:
    """Return host and port. Raise ArgumentTypeError for what is neither a port nor both."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or LOOPBACK
    is_port = port.isascii() and port.isdecimal() and 1 <= int(port) <= MAX_PORT
    if not (is_port and is_host(host)):
        raise argparse.ArgumentTypeError(
            f"must be a port from 1 to {MAX_PORT}, or an address and a port such as 0.0.0.0:9464, "
            f"not {text!r}"
        )
    return host, int(port)


def is_host(text: str) -> bool:
    """Whether it is an address, or the name of a host."""
    try:
        ip_address(text)
    except ValueError:
        pass
    else:
        return True
    try:
        host_name(text)
    except ValueError:
        return False
    return True


def path(text: str) -> str:
    """Return the path of a file. Raise ArgumentTypeError for none."""
    if not text:
        raise argparse.ArgumentTypeError("must be the path of a file")
    return text


def queue_names(text: str) -> list[str]:
    names = [name.strip() for name in storable(text).split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("must name at least one queue, or be left out for all")
    return names


def worker_label(text: str) -> str:
    return storable(text, MAX_LABEL_LENGTH)


def storable(text: str, limit: int = MAX_TEXT_LENGTH) -> str:
    """Return a text that every database can hold. Raise ArgumentTypeError for another."""
    if said := flaw_of_text(text, limit):
        raise argparse.ArgumentTypeError(said)
    return text
