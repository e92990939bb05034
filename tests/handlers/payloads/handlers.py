"""Handlers, and forms of their own, of which these tests make payloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType, TypedDict
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import TextChoices

from scheduled_tasks.runtime.context import TaskContext

ShopId = NewType("ShopId", int)


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Rate(Enum):
    """Not all values are JSON scalars, so members are stored by name."""

    SLOW = (1, "minute")
    FAST = (9, "minute")


class Region(TextChoices):
    NORTH = "n", "The north"
    SOUTH = "s", "The south"


class Window(TypedDict):
    start: str


def cleanup(*, max_age_days: int = 30, dry_run: bool = True, note: str = "none given") -> None: ...


def report(context: TaskContext, day: date, *, limit: int | None = 100) -> None: ...


def anything(first: Any, second=None, **options: Any) -> None: ...  # noqa: ANN001


def everything(  # noqa: PLR0917
    whole: int = 0,
    number: float = 0.5,
    flag: bool = False,  # noqa: FBT001, FBT002
    text: str = "",
    day: date = date(2026, 1, 31),
    moment: datetime | None = None,
    clock: time = time(9, 30),
    span: timedelta = timedelta(days=1),
    exact: Decimal = Decimal("1.10"),
    uuid: UUID | None = None,
    literal: Literal["fast", "slow", 1] = "fast",
    size: Size = Size.SMALL,
    level: Level = Level.LOW,
    rate: Rate = Rate.SLOW,
    region: Region = Region.NORTH,
    numbers: list[int] = [],  # noqa: B006
    pair: tuple[int, int] = (1, 2),
    names: set[str] | None = None,
    sequence: Sequence[str] = (),
    mapping: Mapping[str, int] | None = None,
    window: Window | None = None,
    either: int | str = 0,
    annotated: Annotated[int, "of days"] = 1,
    shop: ShopId | None = None,
    untyped=None,  # noqa: ANN001
) -> None: ...


def required(whole: int, flag: bool, size: Size, text: str, maybe: date | None) -> None: ...  # noqa: FBT001


class CleanupForm(forms.Form):
    max_age_days = forms.IntegerField(min_value=1)
    dry_run = forms.BooleanField(required=False)
    note = forms.CharField(required=False)


class ReportForm(forms.Form):
    day = forms.DateField(input_formats=["%d.%m.%Y"])
    limit = forms.IntegerField(required=False)

    def clean_limit(self) -> int:
        return self.cleaned_data["limit"] * 2 if self.cleaned_data["limit"] else 0

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data["day"].year < 2000 and self.cleaned_data["limit"] == 100:
            raise ValidationError("Old days need a limit.")
        return self.cleaned_data


def window_of(
    start: date,
    *,
    end: date | None = None,
    kinds: list[str] | None = None,
    mode: str = "soft",
    extra: Any = None,
    at: datetime | None = None,
    upload: Any = None,
) -> None: ...


class WindowForm(forms.Form):
    start = forms.DateField()
    end = forms.DateField(required=False)
    kinds = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")], required=False)
    mode = forms.ChoiceField(choices=[("hard", "Hard"), ("soft", "Soft")])
    extra = forms.JSONField()
    at = forms.SplitDateTimeField()
    upload = forms.FileField()

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data["end"] and data["end"] < data["start"]:
            self.add_error("end", "The end comes before the start.")
        if data["mode"] == "hard":
            data["kinds"] = ["a", "b"]
        data["scratch"] = 1
        return data
