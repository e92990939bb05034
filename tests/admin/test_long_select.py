"""The select with hundreds of options: the same to a browser as Django's own."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.test import SimpleTestCase

from scheduled_tasks.admin.long_select import LongSelect

pytestmark = pytest.mark.without_database

CHOICES = [("", "---------"), ("UTC", "UTC"), ("<b>", "A & B")]


@pytest.mark.parametrize("value", ["", None, "UTC", "<b>", "unknown"])
@pytest.mark.parametrize("attrs", [{}, {"id": "id_zone", "required": True, "disabled": False}])
def test_it_is_djangos_select(value: Any, attrs: dict[str, Any]) -> None:
    ours, djangos = (
        kind(choices=CHOICES).render("zone", value, attrs) for kind in (LongSelect, forms.Select)
    )
    SimpleTestCase().assertHTMLEqual(ours, djangos)
