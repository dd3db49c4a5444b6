"""When a flow counts as standing still, and when it is only behind."""

from __future__ import annotations

from streams.log_ends import Place
from streams.standstill import Standstill

ONE: Place = ("dossier-events", 1)
TWO: Place = ("dossier-events", 2)


Moment = tuple[float, dict[Place, int | None], dict[Place, int], int, bool]


def looks(
    standstill: Standstill,
    *moments: Moment,
) -> list[bool]:
    return [
        standstill.found(at, next_offsets=offsets, ends=ends, done=done, busy=busy)
        for at, offsets, ends, done, busy in moments
    ]


def still(
    times: tuple[float, ...],
    offsets: dict[Place, int | None],
    ends: dict[Place, int],
    done: int,
    busy: bool,
) -> list[Moment]:
    """The same sight at several times."""
    return [(at, offsets, ends, done, busy) for at in times]


def test_nothing_waits() -> None:
    assert (
        looks(Standstill(), *still((0.0, 10.0, 20.0, 100.0), {ONE: 5}, {ONE: 5}, 5, False))
        == [False] * 4
    )


def test_nothing_is_taken_and_nothing_in_hand() -> None:
    assert looks(Standstill(), *still((0.0, 10.0, 16.0), {ONE: 5}, {ONE: 9}, 5, False)) == [
        False,
        False,
        True,
    ]


def test_a_batch_in_hand_is_not_standing_still() -> None:
    assert (
        looks(Standstill(), *still((0.0, 10.0, 60.0), {ONE: 5}, {ONE: 9}, 5, True)) == [False] * 3
    )


def test_one_partition_lies_while_another_moves() -> None:
    """The last record of a quiet partition was left out: no hole will ever show it."""
    assert looks(
        Standstill(),
        (0.0, {ONE: 5, TWO: 10}, {ONE: 6, TWO: 12}, 0, True),
        (10.0, {ONE: 5, TWO: 14}, {ONE: 6, TWO: 15}, 4, True),
        (20.0, {ONE: 5, TWO: 18}, {ONE: 6, TWO: 19}, 8, True),
    ) == [False, False, True]


def test_a_long_backlog_may_keep_a_partition_waiting() -> None:
    assert looks(
        Standstill(),
        (0.0, {ONE: 5, TWO: 0}, {ONE: 6, TWO: 1000}, 0, True),
        (60.0, {ONE: 5, TWO: 900}, {ONE: 6, TWO: 1000}, 900, True),
    ) == [False, False]


def test_movement_begins_the_count_anew() -> None:
    assert looks(
        Standstill(),
        (0.0, {ONE: 5}, {ONE: 9}, 5, False),
        (14.0, {ONE: 6}, {ONE: 9}, 6, False),
        (20.0, {ONE: 6}, {ONE: 9}, 6, False),
        (30.0, {ONE: 6}, {ONE: 9}, 6, False),
    ) == [False, False, False, True]


def test_an_assigned_partition_that_is_not_owned() -> None:
    assert looks(Standstill(), *still((0.0, 10.0, 16.0), {ONE: None}, {}, 5, False)) == [
        False,
        False,
        True,
    ]


def test_each_finding_in_a_row_waits_twice_as_long() -> None:
    standstill = Standstill()
    assert looks(standstill, *still((0.0, 16.0), {ONE: 5}, {ONE: 9}, 5, False))[1]
    standstill.restarted()
    assert looks(standstill, *still((20.0, 40.0, 51.0), {ONE: 5}, {ONE: 9}, 5, False)) == [
        False,
        False,
        True,
    ]
    standstill.restarted()
    standstill.moved()
    assert looks(standstill, *still((60.0, 76.0), {ONE: 5}, {ONE: 9}, 5, False))[1]


def test_a_rebalance_begins_the_count_anew() -> None:
    standstill = Standstill()
    assert looks(standstill, (0.0, {ONE: 5}, {ONE: 9}, 5, False)) == [False]
    standstill.restarted()
    assert looks(standstill, (16.0, {ONE: 5}, {ONE: 9}, 5, False)) == [False]
