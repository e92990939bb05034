"""A mask in a form keeps the secret that it stands for, if it is certain which one that is."""

from __future__ import annotations

from typing import Any

import pytest

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads.hidden_secrets import MOVED, unmasked
from scheduled_tasks.runtime.redaction import MARK

A, B = "hunter2xyz", "other-hunter2xyz"
NAMED_A, NAMED_B = {"name": "A_TOKEN", "value": A}, {"name": "B_TOKEN", "value": B}
MASKED_A, MASKED_B = NAMED_A | {"value": MARK}, NAMED_B | {"value": MARK}
TWO_OPTIONS = ["--token", A, "--password", B]


@pytest.mark.parametrize(
    ("stored", "typed", "kept"),
    [
        ({"password": A, "x": 1}, {"password": MARK, "x": True}, {"password": A, "x": True}),
        (["--password", A], ["--password", MARK, "-v"], ["--password", A, "-v"]),
        (["--password", A], ["-v", "--password", MARK], ["-v", "--password", A]),
        (["-v", "--password", A], ["-q", "--password", MARK], ["-q", "--password", A]),
        (TWO_OPTIONS, ["--password", MARK], TWO_OPTIONS[2:]),
        (TWO_OPTIONS, ["--token", MARK, "--password", "new"], ["--token", A, "--password", "new"]),
        ([NAMED_A, NAMED_B], [MASKED_B], [NAMED_B]),
        ([NAMED_A], [MASKED_A, {"name": "x", "value": 1}], [NAMED_A, {"name": "x", "value": 1}]),
        (
            [{"pwd": A, "x": 1}, {"pwd": B}],
            [{"pwd": MARK}, {"pwd": MARK}],
            [{"pwd": A}, {"pwd": B}],
        ),
        ([[A, f"token={A}"], 5], [[A, f"token={MARK}"]], [[A, f"token={A}"]]),
        ({f"token={A}": 1, "x": 2}, {f"token={MARK}": 1, "x": 3}, {f"token={A}": 1, "x": 3}),
        ([f"token={A}"] * 2, [f"token={MARK}"], [f"token={A}"]),
        ([f"token={A}"], [f"token={MARK}"] * 2, [f"token={A}"] * 2),
        (f"it was {MARK}", f"it is {MARK}", f"it is {MARK}"),
    ],
)
def test_a_certain_secret_is_kept(stored: Any, typed: Any, kept: Any) -> None:
    assert unmasked({"value": typed}, {"value": stored}) == {"value": kept}


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        (f"postgres://u:{A}@old/x", f"postgres://u:{MARK}@new/x"),
        ("x", f"x password={MARK}"),
        (["--password", A], [MARK, "--password"]),
        (["--password", A], ["--password", "x", MARK]),
        (["--password", A], ["--shop", MARK]),
        ([NAMED_A, NAMED_B], [MASKED_B, MASKED_A]),
        ([f"token={A}", f"token={B}"], [f"token={MARK}"]),
        ([f"token={A}", f"token={B}"], [f"token={MARK}"] * 3),
        ({"password": {"a": A}}, {"password": {"a": MARK}}),
        ({"password": A}, {"token": MARK}),
        ({f"token={A}": 1}, {f"token={MARK}": 1, f"x token={MARK}": 1}),
        (f"{MARK} token={A}", f"{MARK}"),
        (7, MARK),
    ],
)
def test_an_uncertain_mask_is_refused(stored: Any, typed: Any) -> None:
    with pytest.raises(InvalidPayload) as refused:
        unmasked({"value": typed, "x": 1}, {"value": stored, "x": 2})
    assert refused.value.errors == {"value": [MOVED]}


def test_a_mask_is_refused_at_each_argument() -> None:
    with pytest.raises(InvalidPayload) as refused:
        unmasked({"a": f"x {MARK}", "b": 1, "c": MARK}, {"a": f"token={A}", "b": 1})
    assert refused.value.errors == {"a": [MOVED], "c": [MOVED]}
