"""Everything that this package raises on purpose.

ScheduledTasksError
├── InvalidSchedule      (ValueError)    a schedule or zone that cannot be understood
├── InvalidPayload       (ValueError)    arguments that the handler does not take
├── InvalidTask          (ValueError)    a definition that cannot be saved, reasons by field
├── InvalidHandler       (TypeError)     a function that cannot be a handler
├── InvalidSettings      (ImproperlyConfigured)
├── PermanentError       raised by a handler: trying again cannot mend it
├── RetryLater           raised by a handler: run me again after this time
├── Skip                 raised by a handler: there is nothing to do
├── LockTimeout          (TimeoutError)  a lock was not to be had in time
├── LockLost             (RuntimeError)  a lock that was held is somebody else's by now
├── WrongTransaction     (RuntimeError)  a checkpoint, and no transaction that it can be part of
├── AlreadyRunning       (RuntimeError)  a task that may not overlap runs already
├── TooLate              (RuntimeError)  an execution that somebody or something settled before
├── UnknownHandler       (LookupError)   no handler is registered under that name
├── UnknownTask          (LookupError)   no task of that name is in the database
└── UnknownExecution     (LookupError)   no execution of that number is in the database

RunInterrupted           (BaseException) raised inside a handler that has to stop
├── TimeLimitExceeded                    its timeout is over
├── LeaseLost                            the execution is no longer this worker's
├── RunCancelled                         a person, or a newer slot, wants it no more
└── WorkerStopping                       its worker is being stopped and can wait no longer
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured


class ScheduledTasksError(Exception):
    """Base of all errors of this package; never raised itself."""


class InvalidSchedule(ValueError, ScheduledTasksError):
    """A schedule or time zone that cannot be understood, or would never fire."""


class InvalidHandler(TypeError, ScheduledTasksError):
    """A function that cannot serve as a handler, or two that claim one key."""


class InvalidSettings(ImproperlyConfigured, ScheduledTasksError):
    """The SCHEDULED_TASKS setting holds an unknown key or a value of the wrong kind."""


class PermanentError(ScheduledTasksError):
    """Raise it in a handler for a failure that trying again cannot mend: it is not retried."""


class RetryLater(ScheduledTasksError):
    """Raise it in a handler to be run again after ``delay``, in seconds or a timedelta.

    No failure is counted. ``reason`` is kept with the attempt. Raise ValueError for a delay that
    is negative, or longer than a year.
    """

    MAX_DELAY = timedelta(days=366)
    #: Of a subclass that does not call ``__init__``.
    delay = timedelta()

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if not 0 <= seconds <= self.MAX_DELAY.total_seconds():
            raise ValueError(
                f"RetryLater takes a delay of 0 to {self.MAX_DELAY.days} days, not {delay}."
            )
        self.delay = timedelta(seconds=seconds)
        super().__init__(reason or f"It asked to be run again after {self.delay}.")


class Skip(ScheduledTasksError):
    """Raise it in a handler that has nothing to do: its execution is skipped, for this reason."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "Its handler had nothing to do.")


class LockTimeout(TimeoutError, ScheduledTasksError):
    """A lock was held by somebody else for as long as the caller could wait."""


class LockLost(RuntimeError, ScheduledTasksError):
    """A lock was not renewed in time, or somebody else has it: what is done now is not alone."""


class WrongTransaction(RuntimeError, ScheduledTasksError):
    """A checkpoint is written outside the transaction that it needs, or waits for its end."""


class AlreadyRunning(RuntimeError, ScheduledTasksError):
    """An execution of a task that may not overlap was to begin while another one runs."""


class TooLate(RuntimeError, ScheduledTasksError):
    """An execution was to be cancelled, requeued or resolved that can be so no more."""


class UnknownHandler(LookupError, ScheduledTasksError):
    """No handler is registered under the given name, or several share it."""


class UnknownTask(LookupError, ScheduledTasksError):
    """No task of the given name is in the database."""


class UnknownExecution(LookupError, ScheduledTasksError):
    """No execution of the given number is in the database."""


class ErrorsByField(ValueError, ScheduledTasksError):
    """Base of errors that say what is wrong field by field.

    ``errors`` maps the name of a field to its sentences.
    """

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = {field: list(sentences) for field, sentences in errors.items()}
        super().__init__(
            "; ".join(f"{field}: {' '.join(said)}" for field, said in self.errors.items())
        )


class InvalidPayload(ErrorsByField):
    """A payload that the handler's form refuses; ``errors`` by argument."""


class InvalidTask(ErrorsByField):
    """A task definition that cannot be saved; ``errors`` by field."""


class RunInterrupted(BaseException):
    """Base of what is raised inside a handler that has to stop, wherever it is just then.

    No Exception, so that a loop that catches every error of its items does not swallow it;
    ``finally`` and ``with`` clean up as ever. A handler that catches it has to end soon.
    """


class TimeLimitExceeded(RunInterrupted):
    """The run has reached its timeout."""


class LeaseLost(RunInterrupted):
    """The execution is no longer this worker's: somebody else answers for it, or it is gone."""


class RunCancelled(RunInterrupted):
    """The run was cancelled: by a person, or because a newer slot took its place."""


class WorkerStopping(RunInterrupted):
    """The worker is being stopped; the execution goes back to the queue."""
