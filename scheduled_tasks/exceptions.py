"""The exceptions of this package.

ScheduledTasksError
├── InvalidSchedule      (ValueError)    an invalid schedule or time zone
├── InvalidPayload       (ValueError)    a payload that the handler does not accept
├── InvalidTask          (ValueError)    an invalid task, with errors by field
├── UnknownOption        (TypeError)     an option that a function does not take
├── InvalidName          (ValueError)    the name of a lock or a key that cannot be stored
├── InvalidHandler       (TypeError)     an invalid handler, or a key that is taken
├── InvalidSettings      (ImproperlyConfigured) an invalid SCHEDULED_TASKS setting
├── PermanentError       raised by a handler or a notifier: do not retry
├── RetryLater           raised by a handler: run again after a delay
├── Skip                 raised by a handler: nothing to do
├── LockTimeout          (TimeoutError)  a lock was not acquired in time
├── LockLost             (RuntimeError)  a lock was lost while it was held
├── WrongTransaction     (RuntimeError)  a checkpoint outside the transaction that it needs
├── ArchiveFailed        (RuntimeError)  executions could not be archived, and so are not pruned
├── AlreadyRunning       (RuntimeError)  a task that must not overlap is running
├── TooLate              (RuntimeError)  an execution has ended, or was handled before
├── OutgoingError        an outgoing request that got no answer
│   └── AddressRefused   the host may not be reached
├── NotSent              a notification that did not arrive
│   └── PartlySent       it did not arrive at all receivers
├── UnknownNotifier      (LookupError)   no notifier has that name
├── UnknownHandler       (LookupError)   no handler has that name
├── UnknownTask          (LookupError)   no task has that name
└── UnknownExecution     (LookupError)   no execution has that id

RunInterrupted           (BaseException) raised in a handler that must stop
├── TimeLimitExceeded                    it has reached its timeout
├── LeaseLost                            its worker no longer holds the execution
├── RunCancelled                         it was cancelled by a person or by a newer slot
└── WorkerStopping                       its worker stops and cannot wait any longer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured

#: Integers with more bits are not quoted.
MAX_SHOWN_BITS = 64


class ScheduledTasksError(Exception):
    """Base class of the errors of this package."""


class InvalidSchedule(ValueError, ScheduledTasksError):
    """The schedule or time zone is invalid, or would never fire."""


class UnknownOption(TypeError, ScheduledTasksError):
    """The function takes no option of that name."""


class InvalidName(ValueError, ScheduledTasksError):
    """No database can store that name of a lock, or that key."""


class InvalidHandler(TypeError, ScheduledTasksError):
    """The function cannot be a handler, or another handler has its key."""


class InvalidSettings(ImproperlyConfigured, ScheduledTasksError):
    """The SCHEDULED_TASKS setting has unknown keys or invalid values.

    ``mistakes`` are the sentences that say so, one for each.
    """

    def __init__(self, *mistakes: object) -> None:
        # Never none: what collects mistakes would take the setting for valid.
        self.mistakes = tuple(map(str, mistakes)) or ("it is invalid.",)
        super().__init__(" ".join(self.mistakes))


class PermanentError(ScheduledTasksError):
    """Raise it in a handler, or in a notifier, for a failure that must not be retried."""


class RetryLater(ScheduledTasksError):
    """Raise it in a handler to run again after ``delay``, in seconds or as a timedelta.

    It does not count as a failure. ``reason`` is stored with the attempt. ValueError is raised for
    a delay that is negative or longer than MAX_DELAY.
    """

    MAX_DELAY = timedelta(days=366)
    #: For subclasses that do not call ``__init__``.
    delay = timedelta()

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if not isinstance(seconds, int | float):
            raise ValueError(  # noqa: TRY004 -- what is wrong with a delay is one kind of error
                f"RetryLater takes seconds or a timedelta, not {type(delay).__name__}."
            )
        if not 0 <= seconds <= self.MAX_DELAY.total_seconds():
            # Python refuses to write integers with more than 4300 digits.
            is_huge = isinstance(delay, int) and delay.bit_length() > MAX_SHOWN_BITS
            raise ValueError(
                f"RetryLater takes a delay of 0 to {self.MAX_DELAY.days} days, "
                f"not {'a huge number' if is_huge else delay}."
            )
        self.delay = timedelta(seconds=seconds)
        super().__init__(reason or f"The handler asked to run again after {self.delay}.")


class Skip(ScheduledTasksError):
    """Raise it in a handler that has nothing to do: the execution is skipped, with this reason."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "The handler had nothing to do.")


class LockTimeout(TimeoutError, ScheduledTasksError):
    """The lock was held by another process until the timeout."""


class LockLost(RuntimeError, ScheduledTasksError):
    """The lock was not renewed in time, so another process may hold it."""


class WrongTransaction(RuntimeError, ScheduledTasksError):
    """A checkpoint is outside the transaction that it needs, or would wait for its end."""


class ArchiveFailed(RuntimeError, ScheduledTasksError):
    """What was about to be pruned could not be written to the archive, or not read back."""


class AlreadyRunning(RuntimeError, ScheduledTasksError):
    """The task must not overlap, and one of its executions is running."""


class TooLate(RuntimeError, ScheduledTasksError):
    """The execution can no longer be cancelled, requeued or resolved."""


class NotSent(ScheduledTasksError):
    """A notification did not arrive."""


class PartlySent(NotSent):
    """A notification arrived, but not at all of its receivers.

    ``left`` are the receivers that it has to be sent to again. ``refused`` says who will never get
    it, and why.
    """

    #: For subclasses that do not call ``__init__``.
    left: Sequence[str] = ()
    refused = ""

    def __init__(self, message: str, *, left: Sequence[str] = (), refused: str = "") -> None:
        self.left = left
        self.refused = refused
        super().__init__(message)


class UnknownNotifier(LookupError, ScheduledTasksError):
    """No notifier has the given name."""


class OutgoingError(ScheduledTasksError):
    """An outgoing request got no answer. If ``permanent``, trying again cannot help.

    The message names the host only: the rest of a URL may hold secrets.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        self.permanent = permanent
        super().__init__(message)


class AddressRefused(OutgoingError):
    """The host of an outgoing request is not public, and OUTGOING_ALLOW does not name it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class UnknownHandler(LookupError, ScheduledTasksError):
    """No handler has the given name, or several do."""


class UnknownTask(LookupError, ScheduledTasksError):
    """No task has the given name."""


class UnknownExecution(LookupError, ScheduledTasksError):
    """No execution has the given id."""


class ErrorsByField(ValueError, ScheduledTasksError):
    """Base class of errors by field: ``errors`` maps names of fields to lists of sentences."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = {field: list(sentences) for field, sentences in errors.items()}
        super().__init__(
            "; ".join(f"{field}: {' '.join(texts)}" for field, texts in self.errors.items())
        )


class InvalidPayload(ErrorsByField):
    """The handler does not accept the payload; ``errors`` are by argument."""


class InvalidTask(ErrorsByField):
    """The task, or what is recorded with an operation, cannot be saved; ``errors`` are by field."""


class RunInterrupted(BaseException):
    """Base class of what is raised in a handler that must stop, at any line.

    It is not an Exception, so ``except Exception`` in a loop over items does not catch it.
    ``finally`` and ``with`` clean up as usual. A handler that catches it must end soon.
    """


class TimeLimitExceeded(RunInterrupted):
    """The run has reached its timeout."""


class LeaseLost(RunInterrupted):
    """The worker no longer holds the execution: another worker may run it, or it was deleted."""


class RunCancelled(RunInterrupted):
    """The run was cancelled by a person, or because a newer slot replaced it."""


class WorkerStopping(RunInterrupted):
    """The worker stops; the execution is queued again."""
