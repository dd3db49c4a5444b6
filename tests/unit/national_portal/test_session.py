"""One login for all: at the start, before the end, after a loss."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import TransientError
from connectors.national_portal.session import Session
from schemas.reasons import Reason


class Desk:
    """Logs in when `open` is set; counts."""

    def __init__(self) -> None:
        self.now = 0.0
        self.logins = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.session = Session(self.log_in, lambda: self.now, lifetime=600.0, margin=60.0)

    async def log_in(self) -> str:
        self.logins += 1
        number = self.logins
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return f"session-{number}"


async def test_a_hundred_callers_share_one_login() -> None:
    desk = Desk()
    desk.open.clear()
    calls = [asyncio.create_task(desk.session.get()) for _ in range(100)]
    await asyncio.sleep(0)
    desk.open.set()
    assert set(await asyncio.gather(*calls)) == {"session-1"}
    assert desk.logins == 1


async def test_it_is_kept_until_the_margin() -> None:
    desk = Desk()
    await desk.session.get()
    desk.now = 539.9
    assert await desk.session.get() == "session-1"
    assert desk.logins == 1


async def test_within_the_margin_the_old_one_serves_while_the_new_one_comes() -> None:
    desk = Desk()
    await desk.session.get()
    desk.now = 545.0
    desk.open.clear()
    assert await desk.session.get() == "session-1"
    assert await desk.session.get() == "session-1"
    desk.open.set()
    await _until(desk, "session-2")
    assert desk.logins == 2


async def test_after_its_end_everybody_waits_for_the_new_one() -> None:
    desk = Desk()
    await desk.session.get()
    desk.now = 600.0
    assert await desk.session.get() == "session-2"


async def test_a_loss_told_by_many_is_one_renewal() -> None:
    desk = Desk()
    first = await desk.session.get()
    for _ in range(10):
        desk.session.lost(first)
    assert await desk.session.get() == "session-2"
    desk.session.lost(first)  # told late, about the one before
    assert await desk.session.get() == "session-2"
    assert desk.logins == 2


async def test_a_failed_login_is_told_to_all_and_tried_again() -> None:
    desk = Desk()
    desk.error = TransientError(Reason.CONNECTION_REFUSED)
    answers = await asyncio.gather(*(desk.session.get() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in answers] == [TransientError] * 3
    assert desk.logins == 1
    desk.error = None
    assert await desk.session.get() == "session-2"


async def test_a_failed_renewal_in_the_background_leaves_the_old_one_in_force() -> None:
    desk = Desk()
    await desk.session.get()
    desk.now = 545.0
    desk.error = TransientError(Reason.TIMEOUT)
    assert await desk.session.get() == "session-1"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await desk.session.get() == "session-1"


async def test_who_gives_up_waiting_does_not_take_the_login_away() -> None:
    desk = Desk()
    desk.open.clear()
    impatient = asyncio.create_task(desk.session.get())
    patient = asyncio.create_task(desk.session.get())
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    desk.open.set()
    assert await patient == "session-1"


async def test_closing_ends_a_login_under_way() -> None:
    desk = Desk()
    desk.open.clear()
    waiting = asyncio.create_task(desk.session.get())
    await asyncio.sleep(0)
    await desk.session.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _until(desk: Desk, value: str) -> None:
    async with asyncio.timeout(5):
        while await desk.session.get() != value:
            await asyncio.sleep(0.005)
