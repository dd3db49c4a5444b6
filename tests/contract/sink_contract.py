"""What every sink does, in tests. Inherit `SinkContract` and give the fixture `world`; where a target knows
several kinds of look-up, inherit `LookUpContract` for each of the others. A target that takes states and no
steps inherits `StateSinkContract`.

The far side is a simulator that can be told to misbehave and that keeps its own truth: what happened there
is read from that truth, never from what the sink says. Trouble names are the simulators' common words.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pytest

from connectors.errors import (
    DeliveryError,
    MisconfiguredError,
    OutcomeUnknown,
    RejectedError,
    TransientError,
)
from connectors.protocols import Intent, Lookup, LookupAnswer, Sink, StateRequest, StepRequest
from schemas.dossier.mappings import Codes
from schemas.reasons import Reason
from schemas.records import DossierEvent


class FarSide(Protocol):
    """A simulated target: its troubles and its truth."""

    async def trouble(self, name: str, **rule: Any) -> None:
        """Put a trouble in force for the next matching call."""
        ...

    async def clear(self) -> None: ...

    async def end_sessions(self) -> None: ...

    async def statuses(self, code: str) -> list[str]:
        """What marks each of the record's states, oldest first; empty: not there."""
        ...

    async def step_texts(self, code: str) -> list[str]: ...

    async def message_ids(self) -> list[str]:
        """The message id of every call that arrived, in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class World:
    """One sink and its far side. `make_sink` gives another sink with a changed setting."""

    sink: Sink[Any]
    far: FarSide
    codes: Codes
    event: Any  # a dossier in process (4), with a step; or the first revision of a report
    changed: Any  # the same, finished (9); or the second revision
    another: Callable[[int], Any]  # the n-th record beside it, in the state of `event`
    marks: tuple[str, str] = ("4", "9")  # what marks the states of `event` and `changed`
    in_request: bytes | None = (
        None  # what stands in the bytes of a create; the code where not given
    )
    steps: tuple[DossierEvent, ...] = ()  # at least three, of the same dossier, in order
    step_texts: tuple[str, ...] = ()  # the texts of `steps`
    intent: Callable[..., Intent]  # intent(send_by=…, age=…)
    secrets: Sequence[str]  # what no error, repr or traceback may show
    wrong: dict[str, str]  # the setting that lets nobody in
    make_sink: Callable[
        ..., Awaitable[Sink[Any]]
    ]  # make_sink(password=…) etc.; opened, closed by the fixture

    @property
    def code(self) -> str:
        return self.state().code

    def state(self, event: Any = None) -> StateRequest:
        return self.sink.state_request(event or self.event, self.codes)

    def step_requests(self) -> list[StepRequest]:
        return [self.sink.step_request(each, self.codes) for each in self.steps]

    async def created(self) -> StateRequest:
        request = self.state()
        await self.sink.create(request, self.intent())
        return request


async def _write(world: World, operation: str, **intent: float) -> None:
    granted = world.intent(**intent)
    match operation:
        case "create":
            await world.sink.create(world.state(), granted)
        case "update":
            await world.sink.update(world.state(world.changed), granted)
        case _:
            await world.sink.append_steps(world.code, world.step_requests()[:1], granted)


async def _ready(world: World, operation: str) -> None:
    """What has to be there before `operation`; a session in every case."""
    if operation == "create":
        await world.sink.look_up(world.code)
    else:
        await world.created()


class LookUpContract:
    """What a look-up tells, under each kind of abilities."""

    async def test_a_look_up_tells_absent_from_present(self, world: World) -> None:
        assert await world.sink.look_up(world.code) == LookupAnswer(present=False)
        await world.created()
        assert (await world.sink.look_up(world.code)).present

    async def test_a_look_up_tells_what_the_abilities_promise(self, world: World) -> None:
        await world.created()
        if world.steps:
            await world.sink.append_steps(world.code, world.step_requests(), world.intent())
        answer = await world.sink.look_up(world.code)
        lookup = world.sink.abilities.lookup
        assert (answer.state is not None) == (lookup is not Lookup.EXISTENCE)
        assert (answer.steps is not None) == (lookup is Lookup.STEPS)
        if answer.state is not None:
            assert world.marks[0] in answer.state.values()
        if answer.steps is not None:
            assert list(answer.steps) == [step.key for step in world.step_requests()]

    async def test_what_a_look_up_shows_of_a_state_is_foretold(self, world: World) -> None:
        """The engine compares the two: an old state that came late must differ, and nothing else."""
        old, new = world.state(), world.state(world.changed)
        await world.created()
        shown_of_old = (await world.sink.look_up(world.code)).state
        await world.sink.update(new, world.intent())
        shown_of_new = (await world.sink.look_up(world.code)).state
        assert world.sink.shown(old) != world.sink.shown(new)
        if shown_of_old is not None and shown_of_new is not None:
            assert world.sink.shown(old).items() <= shown_of_old.items()
            assert world.sink.shown(new).items() <= shown_of_new.items()


class StateSinkContract(LookUpContract):
    """The contract for states. Every test has a far side of its own; one with `write` runs for each of `writes`."""

    writes: tuple[str, ...] = ("create", "update")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "write" in metafunc.fixturenames:
            metafunc.parametrize("write", self.writes)

    # --- what works ------------------------------------------------------------------------------

    async def test_a_created_dossier_is_there_with_its_status(self, world: World) -> None:
        receipt = await world.sink.create(world.state(), world.intent())
        assert await world.far.statuses(world.code) == [world.marks[0]]
        assert receipt.exchange is not None
        assert (world.in_request or world.code.encode()) in (receipt.exchange.request or b"")
        assert receipt.exchange.answer

    async def test_the_message_id_is_the_attempt(self, world: World) -> None:
        granted = world.intent()
        await world.sink.create(world.state(), granted)
        assert (await world.far.message_ids())[-1] == granted.attempt_id

    async def test_an_update_changes_the_truth(self, world: World) -> None:
        await world.created()
        await world.sink.update(world.state(world.changed), world.intent())
        assert await world.far.statuses(world.code) == list(world.marks)

    async def test_a_probe_has_no_effect(self, world: World) -> None:
        await world.sink.probe()
        assert await world.far.statuses(world.code) == []

    async def test_equal_states_hash_alike_and_changed_ones_differ(self, world: World) -> None:
        assert world.state().content_hash == world.state().content_hash
        assert world.state().content_hash != world.state(world.changed).content_hash

    async def test_many_calls_at_once_keep_apart(self, world: World) -> None:
        requests = [world.state(world.another(n)) for n in range(40)]
        await asyncio.gather(
            *(world.sink.create(each, world.intent(send_by=60.0)) for each in requests)
        )
        assert len({each.code for each in requests}) == 40
        for each in requests:
            assert await world.far.statuses(each.code) == [world.marks[0]]

    # --- refusals --------------------------------------------------------------------------------

    async def test_creating_twice_is_already_exists(self, world: World) -> None:
        request = await world.created()
        with pytest.raises(RejectedError) as refused:
            await world.sink.create(request, world.intent())
        assert refused.value.reason is Reason.ALREADY_EXISTS
        assert await world.far.statuses(world.code) == [world.marks[0]]

    async def test_updating_what_is_not_there_is_not_found(self, world: World) -> None:
        with pytest.raises(RejectedError) as refused:
            await _write(world, "update")
        assert refused.value.reason is Reason.NOT_FOUND
        assert await world.far.statuses(world.code) == []

    async def test_an_unlisted_refusal_is_rejected(self, world: World) -> None:
        await world.sink.look_up(world.code)
        await world.far.trouble("business_error", operation="create")
        with pytest.raises(RejectedError) as refused:
            await _write(world, "create")
        assert refused.value.reason is Reason.REJECTED_BY_TARGET
        assert refused.value.exchange is not None
        assert refused.value.exchange.answer

    async def test_a_wrong_password_stops_the_flow(self, world: World) -> None:
        stranger = await world.make_sink(**world.wrong)
        with pytest.raises(MisconfiguredError) as stopped:
            await stranger.probe()
        assert stopped.value.reason is Reason.WRONG_CREDENTIALS
        _assert_silent(stopped.value, [*world.wrong.values(), *world.secrets])

    # --- surely nothing happened -----------------------------------------------------------------

    async def test_a_refused_connection_is_transient(self, world: World, write: str) -> None:
        # Without a kept connection: losing one of those is another trouble.
        world = replace(world, sink=await world.make_sink(idle_connection_seconds=0.001))
        await _ready(world, write)
        await world.far.trouble("refuse", seconds=60.0)
        with pytest.raises(TransientError) as transient:
            await _write(world, write)
        assert transient.value.reason is Reason.CONNECTION_REFUSED

    async def test_nothing_is_sent_after_its_intent_is_too_old(
        self, world: World, write: str
    ) -> None:
        await _ready(world, write)
        before = await world.far.message_ids()
        with pytest.raises(TransientError) as transient:
            await _write(world, write, send_by=2.0, age=2.0)
        assert transient.value.reason is Reason.NOT_SENT
        assert await world.far.message_ids() == before
        await _write(world, write)  # and the sink goes on

    async def test_a_rate_limit_names_the_wait(self, world: World) -> None:
        await world.sink.look_up(world.code)
        await world.far.trouble("rate_limited", operation="create", retry_after=7)
        with pytest.raises(TransientError) as transient:
            await _write(world, "create")
        assert transient.value.reason is Reason.RATE_LIMITED
        assert transient.value.retry_after == 7
        assert await world.far.statuses(world.code) == []

    async def test_an_ended_session_is_transient_and_renewed(
        self, world: World, write: str
    ) -> None:
        await _ready(world, write)
        await world.far.trouble("expired_session", operation=write)
        with pytest.raises(TransientError) as transient:
            await _write(world, write)
        assert transient.value.reason is Reason.SESSION_EXPIRED
        await _write(world, write)

    async def test_many_calls_share_one_renewal(self, world: World) -> None:
        await world.created()
        logins = len(await world.far.message_ids())
        await world.far.end_sessions()
        calls = [world.sink.look_up(world.code) for _ in range(8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        lost = [each for each in answers if isinstance(each, TransientError)]
        assert {each.reason for each in lost} == {Reason.SESSION_EXPIRED}
        assert (await world.sink.look_up(world.code)).present
        # eight look-ups (fewer if the renewal overtook some), one login, one look-up
        assert len(await world.far.message_ids()) == logins + 8 + 1 + 1

    # --- it may have happened --------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("trouble", "reason"),
        [
            ("no_answer", Reason.TIMEOUT),
            ("drop", Reason.CONNECTION_LOST),
            ("truncated_xml", Reason.UNPARSEABLE_ANSWER),
            ("foreign_answer", Reason.FOREIGN_ANSWER),
            ("html_502", Reason.GATEWAY_ERROR),
            ("fault_500", Reason.SERVER_FAULT),
            ("fault_200", Reason.SERVER_FAULT),
        ],
    )
    async def test_trouble_with_the_answer_is_unknown_for_a_write(
        self, world: World, write: str, trouble: str, reason: Reason
    ) -> None:
        await _ready(world, write)
        await world.far.trouble(trouble, operation=write, stage="after")
        with pytest.raises(OutcomeUnknown) as unknown:
            await _write(world, write)
        assert unknown.value.reason is reason
        # It had happened: that is why unknown must not be taken for failed.
        statuses = await world.far.statuses(world.code)
        texts = await world.far.step_texts(world.code)
        assert {
            "create": statuses == [world.marks[0]],
            "update": statuses == list(world.marks),
            "steps": len(texts) == 1,
        }[write]

    async def test_an_answer_that_names_another_dossier_is_foreign(self, world: World) -> None:
        await world.created()
        await world.far.trouble("foreign_answer", operation="update", foreign="dossier")
        with pytest.raises(OutcomeUnknown) as unknown:
            await _write(world, "update")
        assert unknown.value.reason is Reason.FOREIGN_ANSWER

    @pytest.mark.parametrize(
        ("trouble", "reason"),
        [
            ("no_answer", Reason.TIMEOUT),
            ("drop", Reason.CONNECTION_LOST),
            ("truncated_xml", Reason.UNPARSEABLE_ANSWER),
            ("foreign_answer", Reason.FOREIGN_ANSWER),
            ("html_502", Reason.GATEWAY_ERROR),
            ("fault_500", Reason.SERVER_FAULT),
            ("business_error", Reason.REJECTED_BY_TARGET),
        ],
    )
    async def test_trouble_with_a_look_up_is_transient(
        self, world: World, trouble: str, reason: Reason
    ) -> None:
        await world.created()
        await world.far.trouble(trouble, operation="look_up")
        with pytest.raises(TransientError) as transient:
            await world.sink.look_up(world.code)
        assert transient.value.reason is reason

    async def test_a_look_up_about_another_dossier_is_foreign(self, world: World) -> None:
        await world.created()
        await world.far.trouble("foreign_answer", operation="look_up", foreign="dossier")
        with pytest.raises(TransientError) as transient:
            await world.sink.look_up(world.code)
        assert transient.value.reason is Reason.FOREIGN_ANSWER

    @pytest.mark.parametrize("trouble", ["drop", "truncated_xml", "html_502", "no_answer"])
    async def test_trouble_with_a_login_is_transient(self, world: World, trouble: str) -> None:
        await world.far.trouble(trouble, operation="login")
        with pytest.raises(TransientError):
            await world.sink.probe()
        await world.sink.probe()

    # --- silence ---------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "trouble",
        [
            "drop",
            "truncated_xml",
            "foreign_answer",
            "html_502",
            "fault_500",
            "business_error",
            "expired_session",
            "already_exists",
        ],
    )
    async def test_no_error_tells_a_secret_or_a_person(self, world: World, trouble: str) -> None:
        await world.sink.look_up(world.code)
        await world.far.trouble(trouble, operation="create")
        with pytest.raises(DeliveryError) as failed:
            await _write(world, "create")
        _assert_silent(failed.value, world.secrets)

    async def test_no_log_tells_a_secret_or_a_person(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        await world.created()
        await world.far.trouble("truncated_xml", operation="update")
        with pytest.raises(OutcomeUnknown):
            await _write(world, "update")
        _assert_none_in(caplog.text, world.secrets)

    async def test_no_request_or_receipt_shows_its_content(self, world: World) -> None:
        request = world.state()
        receipt = await world.sink.create(request, world.intent())
        for shown in (repr(request), repr(receipt), repr(world.sink)):
            _assert_none_in(shown, world.secrets)


class SinkContract(StateSinkContract):
    """The contract for states and steps."""

    writes = ("create", "update", "steps")

    async def test_steps_are_appended_in_order(self, world: World) -> None:
        await world.created()
        requests = world.step_requests()
        await world.sink.append_steps(world.code, requests[:1], world.intent())
        await world.sink.append_steps(world.code, requests[1:], world.intent())
        assert await world.far.step_texts(world.code) == list(world.step_texts)

    async def test_a_step_goes_out_under_the_code_it_is_sent_with(self, world: World) -> None:
        await world.created()
        early = replace(world.steps[0], dossier_code=None)
        request = world.sink.step_request(early, world.codes)
        await world.sink.append_steps(world.code, [request], world.intent())
        assert await world.far.step_texts(world.code) == [world.step_texts[0]]

    async def test_a_refused_chunk_may_be_applied_in_part(self, world: World) -> None:
        await world.created()
        await world.far.trouble("partial_chunk", operation="steps", k=1)
        with pytest.raises(OutcomeUnknown) as unknown:
            await world.sink.append_steps(world.code, world.step_requests(), world.intent())
        assert unknown.value.reason is Reason.PARTLY_APPLIED
        assert len(await world.far.step_texts(world.code)) == 1

    async def test_a_refused_single_step_is_rejected(self, world: World) -> None:
        await world.created()
        await world.far.trouble("business_error", operation="steps")
        with pytest.raises(RejectedError) as refused:
            await _write(world, "steps")
        assert refused.value.reason is Reason.REJECTED_BY_TARGET

    async def test_a_step_for_an_unknown_dossier_is_not_found(self, world: World) -> None:
        with pytest.raises(RejectedError) as refused:
            await _write(world, "steps")
        assert refused.value.reason is Reason.NOT_FOUND
        assert await world.far.step_texts(world.code) == []

    async def test_no_step_shows_its_content(self, world: World) -> None:
        _assert_none_in(repr(world.step_requests()[0]), world.secrets)


def _assert_silent(error: BaseException, secrets: Sequence[str]) -> None:
    """Text, repr, arguments and traceback with everything chained to it."""
    shown = "".join(traceback.format_exception(error))
    chained: BaseException | None = error
    while chained is not None:
        shown += repr(chained) + str(chained) + repr(chained.args)
        chained = chained.__cause__ or chained.__context__
    _assert_none_in(shown, secrets)


def _assert_none_in(shown: str, secrets: Sequence[str]) -> None:
    found = [index for index, secret in enumerate(secrets) if secret in shown]
    assert not found, f"secrets number {found} are told"
