"""Which functions can be handlers, and what is known of their parameters."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest
from django import forms

from scheduled_tasks.exceptions import InvalidHandler
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.runtime.context import TaskContext
from tests.handlers.payloads.handlers import (
    CleanupForm,
    ReportForm,
    anything,
    cleanup,
    everything,
    report,
)

if TYPE_CHECKING:
    from datetime import date


def positional(day: int, /) -> None: ...
def starred(*days: int) -> None: ...
def hidden(day: date) -> None: ...
def unhashable(day: [int]) -> None: ...  # type: ignore[valid-type]
def bytes_of(day: Literal[b"x"]) -> None: ...
def unsigned() -> None: ...
def twice(context: Any, again: TaskContext) -> None: ...
def yielding() -> Iterator[int]:
    yield 1


def by_annotation(run: TaskContext) -> None: ...
def by_optional(run: Optional[TaskContext] = None) -> None: ...  # noqa: UP045
def by_union(run: TaskContext | None = None) -> None: ...
def by_hidden_annotation(context: date) -> None: ...
def list_of_contexts(runs: list[TaskContext]) -> None: ...
def further_context(**context: Any) -> None: ...
def hidden_return(day: int) -> date: ...  # type: ignore[empty-body]
async def asynchronous(day: int) -> None: ...


unsigned.__signature__ = "nonsense"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (positional, "parameter 'day' of .*positional is positional-only"),
        (starred, "takes '\\*days'"),
        (hidden, "'date' of parameter 'day' .* not under TYPE_CHECKING"),
        (unhashable, "annotation '\\[int\\]' of parameter 'day'"),
        (unsigned, "the signature of .*unsigned is not known"),
        (bytes_of, "b'x' has no JSON form"),
        (list_of_contexts, "cannot be filled from JSON: its field"),
        (twice, "more than once, as 'context' and 'again'"),
        (yielding, "yields"),
        (print, "is not a function"),
        (functools.partial(cleanup), "is not a function"),
        (CleanupForm, "is not a function"),
        ("cleanup", "is not a function"),
    ],
)
def test_a_function_not_callable_by_name_is_refused(function: Any, sentence: str) -> None:
    with pytest.raises(InvalidHandler, match=sentence):
        PayloadSpec.from_function(function)


class WithContext(forms.Form):
    context = forms.CharField()
    day = forms.DateField()


@pytest.mark.parametrize(
    ("function", "form", "sentence"),
    [
        (cleanup, ReportForm, "ReportForm has fields that are not parameters .*: day, limit"),
        (report, CleanupForm, "not parameters"),
        (report, WithContext, "field 'context'"),
        (anything, CleanupForm, "requires arguments that CleanupForm has no field for: first"),
        (cleanup, dict, "must be a subclass of forms.Form"),
        (cleanup, CleanupForm(), "must be a subclass of forms.Form"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(
    function: Callable[..., Any], form: Any, sentence: str
) -> None:
    with pytest.raises(InvalidHandler, match=sentence):
        PayloadSpec.from_function(function, form=form)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (report, "context"),
        (by_annotation, "run"),
        (by_optional, "run"),
        (by_union, "run"),
        (by_hidden_annotation, "context"),
        (further_context, None),
        (cleanup, None),
    ],
)
def test_the_parameter_that_gets_the_context_is_found(
    function: Callable[..., Any], name: str | None
) -> None:
    spec = PayloadSpec.from_function(function)
    assert spec.context_parameter == name
    assert name not in {parameter.name for parameter in spec.parameters}


def test_the_return_annotation_need_not_resolve() -> None:
    assert PayloadSpec.from_function(hidden_return).clean({"day": 1}) == {"day": 1}


def test_coroutine_functions_and_wrapped_functions_are_read() -> None:
    @functools.wraps(report)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    assert [each.name for each in PayloadSpec.from_function(asynchronous).parameters] == ["day"]
    assert [each.name for each in PayloadSpec.from_function(wrapper).parameters] == ["day", "limit"]


def test_parameters_are_described_for_listings() -> None:
    spec = PayloadSpec.from_function(report)
    day, limit = spec.parameters
    assert (day.required, day.annotation, day.help_text) == (True, "date", "Date.")
    assert (limit.default, limit.annotation) == (100, "int | None")
    assert limit.help_text == "Whole number or none. Default: 100."
    assert PayloadSpec.from_function(cleanup).parameters[0].label == "Max age days"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("whole", "Whole number. Default: 0."),
        ("flag", "Yes or no. Default: no."),
        ("text", "Text. Default: empty."),
        ("day", "Date. Default: 2026-01-31."),
        ("moment", "Date and time or none. Default: none."),
        ("clock", "Time of day. Default: 09:30:00."),
        ("span", "Duration. Default: P1DT00H00M00S."),
        ("exact", "Decimal number. Default: 1.10."),
        ("size", "Choice. Default: s."),
        ("region", "Choice. Default: The north."),
        ("rate", "Choice. Default: SLOW."),
        ("numbers", "JSON list, each a whole number. Default: []."),
        ("pair", "JSON list of 2. Default: [1, 2]."),
        ("either", "JSON. Default: 0."),
    ],
)
def test_help_says_kind_and_default(name: str, text: str) -> None:
    parameters = {each.name: each for each in PayloadSpec.from_function(everything).parameters}
    assert parameters[name].help_text == text


def test_an_unreadable_default_is_left_out() -> None:
    def handler(  # type: ignore[no-untyped-def]
        limit: int = object(),  # type: ignore[assignment]
        names: set[str] = frozenset("ba"),  # type: ignore[assignment]
        things: list[Any] = [object()],  # noqa: B006, B008
        day: Literal["a", "b"] = "c",  # type: ignore[assignment]
        untyped=None,  # noqa: ANN001
    ) -> None: ...

    limit, names, things, day, untyped = PayloadSpec.from_function(handler).parameters
    assert things.help_text == "JSON list."
    assert day.help_text == "Choice. Default: c."
    assert untyped.help_text == "JSON or none. Default: none."
    assert limit.help_text == "Whole number."
    assert names.help_text == 'JSON list, each text. Default: ["a", "b"].'


def test_the_module_can_be_imported_before_settings_are() -> None:
    code = """
from scheduled_tasks.handlers.payloads import PayloadSpec
def f(day: int = 1): ...
assert PayloadSpec.from_function(f).clean({"day": 2}) == {"day": 2}
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={})
