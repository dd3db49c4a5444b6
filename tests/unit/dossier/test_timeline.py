"""What is read from a timeline: reception, end, pauses, requests, extensions."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations

import pytest

from schemas.dossier.mappings import CodeList, Codes, MappingOrigin, MappingRow, Unmapped
from schemas.dossier.status import Status
from schemas.dossier.timeline import (
    Comparison,
    End,
    Entry,
    Extension,
    ExtensionFault,
    Timeline,
    end,
    entry,
    extension,
    extension_faults,
    pauses,
    received_at,
    supplement_requests,
    was_received,
)
from schemas.records import DossierTimes, SourceStatus, Step, Supplement
from tests.unit.dossier.lives import DUE, FRI, MON, THU, TUE, WED
from tests.unit.dossier.samples import TICK, at

S = Status


def story(*steps: tuple[Status, datetime], **times: datetime) -> Timeline:
    """A timeline of (status, time), each step with its place in the log."""
    entries = tuple(
        Entry(status=status, at=moment, place=n) for n, (status, moment) in enumerate(steps)
    )
    return Timeline(times=DossierTimes(**times), entries=entries)


def asked_for(
    asked: datetime, done: datetime | None, old: datetime | None = None, name: str = "1"
) -> Supplement:
    return Supplement(
        supplement_id=name, requested_at=asked, completed_at=done, old_due=old, new_due=None
    )


# --- comparison ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "by_stamp", "by_date"),
    [
        (DUE - TICK, False, False),
        (DUE, False, False),
        (DUE + TICK, True, False),
        (at("2026-03-06 23:59"), True, False),
        (at("2026-03-07 00:00") - TICK, True, False),
        (at("2026-03-07 00:00"), True, True),
        (at("2026-03-06 00:00"), False, False),
        (at("2026-03-05 23:59"), False, False),
    ],
)
def test_late_is_after_the_time_stamp_or_after_the_day(
    moment: datetime, by_stamp: bool, by_date: bool
) -> None:
    assert Comparison.TIMESTAMP.is_late(moment, DUE) is by_stamp
    assert Comparison.DATE.is_late(moment, DUE) is by_date


# --- reception -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeline", "when", "was"),
    [
        (story((S.SUBMITTED, MON)), None, False),
        (story((S.SUBMITTED, MON), (S.REFUSED, TUE), refused=TUE), None, False),
        (story((S.SUBMITTED, MON), (S.WITHDRAWN, TUE), withdrawn=TUE), None, False),
        (story((S.SUBMITTED, MON), (S.SUPPLEMENT_REQUESTED, TUE)), None, False),
        (story((S.SUBMITTED, MON), (S.PAYMENT_REQUESTED, TUE)), None, False),
        (story((S.SUBMITTED, MON), (S.RECEIVED, TUE), (S.RECEIVED, WED)), TUE, True),
        (story((S.RECEIVED, TUE), received=MON), MON, True),
        (story((S.PROCESSING, TUE)), None, True),
        (story((S.RETURNED, TUE)), None, True),
        (story(returned=TUE), None, True),
        (story(finished=TUE), None, True),
        (story(received=MON), MON, True),
        (story(), None, False),
    ],
)
def test_reception_is_the_field_or_the_first_time_in_the_status(
    timeline: Timeline, when: datetime | None, was: bool
) -> None:
    assert received_at(timeline) == when
    assert was_received(timeline) is was


# --- the end ---------------------------------------------------------------------------------------

ENDS = [
    pytest.param(story((S.RECEIVED, MON), (S.PROCESSING, TUE)), None, id="open"),
    pytest.param(
        story((S.RECEIVED, MON), (S.FINISHED, WED), (S.RETURNED, FRI)),
        End(WED, S.FINISHED),
        id="finished before returned",
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.RETURNED, WED), (S.FINISHED, FRI)),
        End(FRI, S.FINISHED),
        id="finished after returned still counts first",
    ),
    pytest.param(story((S.RECEIVED, MON), (S.RETURNED, FRI)), End(FRI, S.RETURNED), id="returned"),
    pytest.param(
        story((S.RECEIVED, MON), (S.STOPPED, TUE), (S.RETURNED, FRI)),
        End(FRI, S.RETURNED),
        id="returned before stopped",
    ),
    pytest.param(story((S.RECEIVED, MON), (S.STOPPED, TUE)), End(TUE, S.STOPPED), id="stopped"),
    pytest.param(story((S.RECEIVED, MON), (S.REFUSED, TUE)), End(TUE, S.REFUSED), id="refused"),
    pytest.param(
        story((S.RECEIVED, MON), (S.WITHDRAWN, TUE)), End(TUE, S.WITHDRAWN), id="withdrawn"
    ),
    pytest.param(story((S.SUBMITTED, MON), (S.REFUSED, TUE)), None, id="refused, never received"),
    pytest.param(
        story((S.SUBMITTED, MON), (S.WITHDRAWN, TUE)), None, id="withdrawn, never received"
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.FINISHED, TUE), (S.FINISHED, WED)),
        End(TUE, S.FINISHED),
        id="told twice: the first",
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.FINISHED, TUE), (S.PROCESSING, WED)), None, id="opened again"
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.FINISHED, TUE), (S.PROCESSING, WED), (S.FINISHED, FRI)),
        End(FRI, S.FINISHED),
        id="finished anew",
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.FINISHED, TUE), (S.PAYMENT_REQUESTED, WED), (S.RETURNED, FRI)),
        End(TUE, S.FINISHED),
        id="a fee at the hand-over opens nothing",
    ),
    pytest.param(
        story((S.SUBMITTED, MON), (S.REFUSED, TUE), (S.RECEIVED, WED)),
        None,
        id="received after all",
    ),
    pytest.param(
        story(received=MON, finished=WED, returned=FRI), End(WED, S.FINISHED), id="fields"
    ),
    pytest.param(story(received=MON, returned=FRI), End(FRI, S.RETURNED), id="field of the return"),
    pytest.param(
        story(received=MON, withdrawn=FRI), End(FRI, S.WITHDRAWN), id="field of withdrawal"
    ),
    pytest.param(story(refused=FRI), None, id="field of refusal, never received"),
    pytest.param(
        story((S.RECEIVED, MON), (S.FINISHED, TUE), finished=FRI),
        End(TUE, S.FINISHED),
        id="the entry before the field",
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.RETURNED, FRI), finished=WED),
        End(WED, S.FINISHED),
        id="a field of the first group before an entry of the second",
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.PROCESSING, WED), finished=TUE),
        None,
        id="a field from before it was opened again",
    ),
    pytest.param(
        story((S.RECEIVED, MON), (S.PROCESSING, WED), finished=WED),
        End(WED, S.FINISHED),
        id="a field of the same moment",
    ),
]


@pytest.mark.parametrize(("timeline", "expected"), ENDS)
def test_the_end_is_the_first_status_of_the_order_since_it_was_last_opened(
    timeline: Timeline, expected: End | None
) -> None:
    assert end(timeline) == expected


def test_a_pause_is_an_end_only_where_it_is_read_as_a_stop() -> None:
    paused = story((S.RECEIVED, MON), (S.PAUSED, TUE))
    assert end(paused) is None
    assert end(paused, pause_ends=True) == End(TUE, S.PAUSED)
    resumed = story((S.RECEIVED, MON), (S.PAUSED, TUE), (S.PROCESSING, WED))
    assert end(resumed, pause_ends=True) is None
    finished = story((S.RECEIVED, MON), (S.PAUSED, TUE), (S.FINISHED, WED))
    assert end(finished, pause_ends=True) == End(WED, S.FINISHED)
    reopened = story((S.RECEIVED, MON), (S.FINISHED, TUE), (S.PAUSED, WED))
    assert end(reopened) is None


# --- pauses ----------------------------------------------------------------------------------------


def spans(timeline: Timeline) -> list[tuple[Status, datetime, datetime | None]]:
    return [(p.by, p.begun, p.ended) for p in pauses(timeline)]


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        pytest.param(story((S.RECEIVED, MON), (S.PROCESSING, TUE)), [], id="none"),
        pytest.param(
            story((S.RECEIVED, MON), (S.SUPPLEMENT_REQUESTED, TUE)),
            [(S.SUPPLEMENT_REQUESTED, TUE, None)],
            id="lasting",
        ),
        pytest.param(
            story((S.RECEIVED, MON), (S.PAYMENT_REQUESTED, TUE), (S.PROCESSING, WED)),
            [(S.PAYMENT_REQUESTED, TUE, WED)],
            id="a fee",
        ),
        pytest.param(
            story((S.RECEIVED, MON), (S.PAUSED, TUE), (S.PAUSED, WED), (S.PROCESSING, THU)),
            [(S.PAUSED, TUE, THU)],
            id="told twice",
        ),
        pytest.param(
            story((S.RECEIVED, MON), (S.PAYMENT_REQUESTED, TUE), (S.SUPPLEMENT_REQUESTED, WED)),
            [(S.PAYMENT_REQUESTED, TUE, WED), (S.SUPPLEMENT_REQUESTED, WED, None)],
            id="one after the other",
        ),
        pytest.param(
            story((S.RECEIVED, MON), (S.SUPPLEMENT_REQUESTED, TUE), received=MON, finished=THU),
            [(S.SUPPLEMENT_REQUESTED, TUE, THU)],
            id="the end of the dossier ends it",
        ),
        pytest.param(
            story((S.RECEIVED, MON), (S.STOPPED, TUE)), [], id="a stop is an end and no pause"
        ),
    ],
)
def test_a_pause_lasts_until_another_status(
    timeline: Timeline, expected: list[tuple[Status, datetime, datetime | None]]
) -> None:
    assert spans(timeline) == expected


def test_the_state_s_supplements_are_believed_before_the_entries() -> None:
    entries = story((S.RECEIVED, MON), (S.SUPPLEMENT_REQUESTED, TUE), (S.PROCESSING, THU)).entries
    timeline = Timeline(
        times=DossierTimes(), entries=entries, supplements=(asked_for(TUE, WED, old=DUE),)
    )
    (pause,) = supplement_requests(timeline)
    assert (pause.begun, pause.ended, pause.due) == (TUE, WED, DUE)


def test_a_supplement_without_an_answer_ends_where_the_entries_say_so() -> None:
    entries = story((S.RECEIVED, MON), (S.SUPPLEMENT_REQUESTED, TUE), (S.PROCESSING, THU)).entries
    timeline = Timeline(times=DossierTimes(), entries=entries, supplements=(asked_for(TUE, None),))
    assert spans(timeline) == [(S.SUPPLEMENT_REQUESTED, TUE, THU)]
    waiting = Timeline(times=DossierTimes(), supplements=(asked_for(TUE, None),))
    assert spans(waiting) == [(S.SUPPLEMENT_REQUESTED, TUE, None)]


def test_a_status_told_again_is_one_request_and_one_that_was_left_is_another() -> None:
    carried = story((S.RECEIVED, MON), (S.SUPPLEMENT_REQUESTED, TUE), (S.SUPPLEMENT_REQUESTED, WED))
    assert len(supplement_requests(carried)) == 1
    again = story(
        (S.RECEIVED, MON),
        (S.SUPPLEMENT_REQUESTED, TUE),
        (S.PROCESSING, WED),
        (S.SUPPLEMENT_REQUESTED, THU),
    )
    assert len(supplement_requests(again)) == 2


def test_a_pause_holds_the_due_date_from_before_it() -> None:
    entries = (
        Entry(status=S.RECEIVED, at=MON, due=DUE),
        Entry(status=S.PROCESSING, at=TUE),
        Entry(status=S.PAYMENT_REQUESTED, at=WED, due=FRI),
    )
    (pause,) = pauses(Timeline(times=DossierTimes(), entries=entries))
    assert pause.due == DUE
    (alone,) = pauses(Timeline(times=DossierTimes(), entries=entries[2:]))
    assert alone.due == FRI
    (unknown,) = pauses(story((S.RECEIVED, MON), (S.PAYMENT_REQUESTED, WED)))
    assert unknown.due is None


def test_a_request_after_the_end_takes_no_time() -> None:
    timeline = Timeline(
        times=DossierTimes(received=MON, finished=TUE), supplements=(asked_for(WED, None),)
    )
    assert spans(timeline) == [(S.SUPPLEMENT_REQUESTED, WED, WED)]


def test_pauses_of_the_same_moment_stand_in_one_order() -> None:
    one, other = asked_for(TUE, WED, old=DUE, name="1"), asked_for(TUE, THU, old=FRI, name="2")
    turned = [Timeline(times=DossierTimes(), supplements=s) for s in ((one, other), (other, one))]
    assert pauses(turned[0]) == pauses(turned[1])


# --- order and time --------------------------------------------------------------------------------


def test_entries_stand_in_the_order_of_time_then_of_the_log_then_of_the_way() -> None:
    ordered = (
        Entry(status=S.FINISHED, at=MON),
        Entry(status=S.RECEIVED, at=TUE),
        Entry(status=S.PROCESSING, at=TUE),
        Entry(status=S.PROCESSING, at=TUE, due=DUE),
        Entry(status=S.RECEIVED, at=TUE, place=1),
    )
    for mixed in permutations(ordered):
        assert Timeline(times=DossierTimes(), entries=(*mixed, mixed[0])).entries == ordered


def test_what_happened_later_is_left_out_and_the_due_date_stays() -> None:
    timeline = Timeline(
        times=DossierTimes(received=MON, due=DUE, finished=THU, returned=FRI, submitted=MON),
        entries=(Entry(status=S.RECEIVED, at=MON), Entry(status=S.FINISHED, at=THU)),
        supplements=(asked_for(TUE, WED, name="1"), asked_for(FRI, None, name="2")),
    )
    assert timeline.until(FRI) == timeline
    past = timeline.until(THU - TICK)
    assert past.times == DossierTimes(received=MON, due=DUE, submitted=MON)
    assert [e.status for e in past.entries] == [S.RECEIVED]
    assert [s.supplement_id for s in past.supplements] == ["1"]
    assert timeline.until(WED).supplements[0].completed_at == WED
    assert timeline.until(WED - TICK).supplements[0].completed_at is None
    assert timeline.until(MON - TICK).times == DossierTimes(due=DUE)


# --- from the records ------------------------------------------------------------------------------


def step(status: str | None) -> Step:
    return Step(
        action_id="7",
        previous_action_id=None,
        action_code=None,
        step_code=None,
        status=SourceStatus(status=status, sub_status=None),
        status_carried=False,
        at=TUE,
        due=DUE,
    )


def test_a_step_is_an_entry_in_canonical_words_or_unmapped() -> None:
    row = MappingRow(
        codelist=CodeList.STATUS,
        system="one_stop",
        code="waiting",
        value="supplement_requested",
        origin=MappingOrigin.SOURCE_TABLE,
    )
    codes = Codes([row])
    made = entry(step("waiting"), codes, system="one_stop", place=4)
    assert made == Entry(status=S.SUPPLEMENT_REQUESTED, at=TUE, place=4, due=DUE)
    for status in ("paying", None):
        with pytest.raises(Unmapped):
            entry(step(status), codes, system="one_stop")


# --- extension -------------------------------------------------------------------------------------


def test_an_extension_is_what_the_state_holds_of_it() -> None:
    assert extension(DossierTimes(due=DUE)) is None
    assert extension(DossierTimes(due=FRI, extended=FRI)) == Extension(new_due=FRI)
    assert extension(DossierTimes(due=FRI, extended=FRI, previous_due=WED)) == Extension(
        new_due=FRI, old_due=WED
    )


GOOD = Extension(old_due=WED, new_due=FRI, decided_at=TUE, letter=True)


@pytest.mark.parametrize(
    ("extensions", "faults"),
    [
        pytest.param([], (), id="none"),
        pytest.param([GOOD], ((),), id="in order"),
        pytest.param([Extension(new_due=FRI)], ((),), id="nothing known is no fault"),
        pytest.param(
            [Extension(old_due=WED, new_due=FRI, decided_at=WED)], ((),), id="at the old due date"
        ),
        pytest.param(
            [Extension(old_due=WED, new_due=FRI, decided_at=WED + TICK)],
            ((ExtensionFault.AFTER_DUE,),),
            id="after it",
        ),
        pytest.param([Extension(old_due=WED, new_due=WED + TICK)], ((),), id="barely later"),
        pytest.param(
            [Extension(old_due=WED, new_due=WED)], ((ExtensionFault.NOT_LATER,),), id="no later"
        ),
        pytest.param(
            [Extension(old_due=WED, new_due=FRI, letter=False)],
            ((ExtensionFault.NO_LETTER,),),
            id="no letter",
        ),
        pytest.param(
            [GOOD, Extension(old_due=FRI, new_due=DUE, decided_at=THU, letter=True)],
            ((), (ExtensionFault.REPEATED,)),
            id="a second one",
        ),
        pytest.param(
            [GOOD, Extension(old_due=FRI, new_due=THU, decided_at=DUE, letter=False)],
            (
                (),
                (
                    ExtensionFault.NOT_LATER,
                    ExtensionFault.AFTER_DUE,
                    ExtensionFault.REPEATED,
                    ExtensionFault.NO_LETTER,
                ),
            ),
            id="everything at once",
        ),
    ],
)
def test_the_faults_of_an_extension(
    extensions: list[Extension], faults: tuple[tuple[ExtensionFault, ...], ...]
) -> None:
    assert extension_faults(extensions) == faults
