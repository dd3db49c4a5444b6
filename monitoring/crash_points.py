"""Named places at which a test can let this process die or freeze. In normal runs there is none.

`HUB_TEST_CRASH_AT` holds `<point>[:<n>][=stop]`: at the n-th passage of the point (the first, if no number
is given) the process kills itself with SIGKILL, or freezes itself with SIGSTOP. The variable is read once,
when this module is imported; where it is not set `crash_point` is `do_nothing`. A worker refuses to start
with it outside of tests (`refusal`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from enum import StrEnum

VARIABLE = "HUB_TEST_CRASH_AT"
"""Without the prefix of the settings: it is none, and stands in no list of them."""

TEST_ENVIRONMENTS = frozenset({"test", "torture"})
"""Names of an installation (`THONGSUOT_ENVIRONMENT`) in which the variable is allowed."""

_UNTIL_WRITTEN_SECONDS = 0.005


class CrashPoint(StrEnum):
    """The places, in the order of the way of a dossier."""

    AFTER_PRODUCE = "after_produce"  # capture: the page is on Kafka, the cursor is not saved
    AFTER_INTAKE_PRODUCE = "after_intake_produce"  # intake: written, the position is not moved
    BEFORE_ENLIST = "before_enlist"  # ledger flow: before the transaction
    AFTER_ENLIST = "after_enlist"  # ledger flow: after it, nobody is told yet
    AFTER_INTENT = "after_intent"  # engine: the intent is committed, nothing is written
    AFTER_WRITE = "after_write"  # engine: the call is on the wire, no answer has come
    AFTER_ANSWER = "after_answer"  # engine: the answer is there, nothing is settled
    AFTER_SETTLE = "after_settle"  # engine: settled, the receipt is not published
    AFTER_RECEIPT_PRODUCE = "after_receipt_produce"  # outbox: published, not marked as such
    AFTER_REPORT_PRODUCE = "after_report_produce"  # reporting: packets on Kafka, not marked as such


class BadCrashPoint(ValueError):
    """The variable cannot be understood; the text names it and the remedy."""


def do_nothing(point: CrashPoint) -> None:
    """A passage in a normal run."""


def armed(text: str) -> Callable[[CrashPoint], None]:
    """The hook that does what the variable's text says. Raises `BadCrashPoint`."""
    place, _, action = text.partition("=")
    name, _, number = place.partition(":")
    if (
        name not in set(CrashPoint)
        or action not in {"", "stop"}
        or not (number or "1").isdigit()
        or int(number or "1") < 1
    ):
        raise BadCrashPoint(
            f"{VARIABLE}={text}: write <point>[:<n>][=stop] with one of {', '.join(CrashPoint)}"
        )
    wanted, left = CrashPoint(name), int(number or "1")
    end = signal.SIGSTOP if action else signal.SIGKILL

    def passed(point: CrashPoint) -> None:
        nonlocal left
        if point is not wanted:
            return
        left -= 1
        if left:
            return
        if point is CrashPoint.AFTER_WRITE:
            # The loop hands written bytes to the kernel at the end of its turn.
            asyncio.get_running_loop().call_later(_UNTIL_WRITTEN_SECONDS, os.kill, os.getpid(), end)
        else:
            os.kill(os.getpid(), end)

    return passed


def hook(environment: Mapping[str, str]) -> Callable[[CrashPoint], None]:
    """`do_nothing`, or what the variable says. Raises `BadCrashPoint`."""
    text = environment.get(VARIABLE, "")
    return armed(text) if text else do_nothing


crash_point = hook(os.environ)
"""Called at every place, with its name."""


def refusal(installation: str) -> str | None:
    """Why a process of this installation must not start, or None."""
    if crash_point is do_nothing or installation in TEST_ENVIRONMENTS:
        return None
    return (
        f"{VARIABLE} is set, which lets the process die on purpose, and the installation is called "
        f"{installation}: remove the variable; it is allowed only where THONGSUOT_ENVIRONMENT is "
        f"{' or '.join(sorted(TEST_ENVIRONMENTS))}"
    )
