"""What every `Source` must do. A connector inherits `SourceContract` and gives it worlds to read.

The words: a *world* is an outside system that the test writes to (`tests.one_stop_database.World` for
the one-stop system); a *capture* keeps log, memory and cursors as the capture service does.
"""

from __future__ import annotations

import pytest

from connectors.one_stop.simulator import schema
from connectors.one_stop.source import OneStopSource
from connectors.protocols import SourceError, SourceMisconfigured, SourceRestored, SourceUnavailable
from schemas.records import EventKind, Feed, Notice
from tests.one_stop_database import Capture, World, action_of, payload_of

SECRET = "the-wrong-password"


class SourceContract:
    """Subclasses give the fixtures `world`, and `wrong_password` and `unreachable`: worlds like it that
    refuse the account, and that do not answer."""

    # --- nothing lost, nothing twice ------------------------------------------------------------

    async def test_every_action_is_told_once_and_in_order(self, world: World) -> None:
        actions = _lives(world, dossiers=7, actions=5)
        capture = Capture()
        await capture.drain(world.source(), Feed.ACTIONS)
        assert _told_actions(capture.log) == actions

    async def test_the_other_feeds_tell_nothing_again(self, world: World) -> None:
        _lives(world, dossiers=7, actions=5)
        capture = Capture()
        source = world.source()
        await capture.drain(source, Feed.ACTIONS)
        assert await capture.drain(source, Feed.CHANGES, Feed.SWEEP, Feed.ACTIONS) == []

    async def test_a_restart_after_every_page_loses_and_doubles_nothing(self, world: World) -> None:
        actions = _lives(world, dossiers=7, actions=5)
        capture = Capture()
        for feed in (Feed.CHANGES, Feed.ACTIONS, Feed.SWEEP):
            for _ in range(100):
                if (await capture.read(world.source(), feed)).exhausted:
                    break
        assert _told_actions(capture.told()) == actions
        ids = [notice.notice_id for notice in capture.log]
        assert len(ids) == len(set(ids))

    async def test_a_crash_before_saving_gives_the_same_page_again(self, world: World) -> None:
        _lives(world, dossiers=3, actions=4)
        capture = Capture()
        first = await capture.read(world.source(), Feed.ACTIONS, save=False)
        again = await capture.read(world.source(), Feed.ACTIONS)
        assert first.notices
        assert [n.notice_id for n in first.notices] == [n.notice_id for n in again.notices]
        assert first.seen == again.seen

    async def test_a_state_that_moved_on_after_a_crash_is_told(self, world: World) -> None:
        dossier = world.dossier()
        capture = Capture()
        source = world.source()
        await capture.drain(source)
        world.act(dossier)
        await capture.read(source, Feed.ACTIONS, save=False)
        world.change(schema.dossier, dossier, dossierNote="đã nộp thêm")
        for _ in range(2):  # read again in the same process, then after a restart
            await capture.read(source, Feed.ACTIONS, save=False)
            source = world.source()
        await capture.drain(source)
        last = payload_of(capture.told()[-1])
        assert last["dossier"]["dossierNote"] == "đã nộp thêm"

    async def test_read_seq_and_cursor_are_carried(self, world: World) -> None:
        _lives(world, dossiers=9, actions=2)
        capture = Capture()
        source = world.source()
        page = await capture.read(source, Feed.ACTIONS)
        assert {n.read_seq for n in page.notices} == {1}
        second = await capture.read(source, Feed.ACTIONS)
        assert {n.read_seq for n in second.notices} == {2}
        # A notice's cursor is the one its page began with: reading from there gives it again.
        fresh = Capture()
        fresh.cursors[Feed.ACTIONS] = second.notices[0].cursor
        again = await fresh.read(world.source(), Feed.ACTIONS)
        assert second.notices[0].notice_id in {n.notice_id for n in again.notices}

    async def test_without_anything_a_page_is_empty_and_the_last(self, world: World) -> None:
        capture = Capture()
        source = world.source()
        for feed in source.feeds:
            page = await capture.read(source, feed)
            assert (page.notices, page.exhausted) == ((), True)

    # --- ids that commit late -------------------------------------------------------------------

    async def test_a_smaller_id_that_commits_later_is_found(self, world: World) -> None:
        one, two = world.dossier(), world.dossier()
        world.act(one, dossierActionId=101)
        world.act(two, dossierActionId=201)
        capture = Capture()
        source = world.source()
        await capture.drain(source, Feed.ACTIONS)
        world.act(one, dossierActionId=102)
        world.act(two, dossierActionId=202)
        world.act(one, dossierActionId=150)
        late = await capture.drain(world.source(), Feed.ACTIONS)
        assert sorted(filter(None, map(action_of, late))) == [102, 150, 202]

    async def test_ids_below_the_very_first_are_asked_for(self, world: World) -> None:
        dossier = world.dossier()
        world.act(dossier, dossierActionId=190)
        capture = Capture()
        source = world.source()
        await capture.drain(source)
        world.act(dossier, dossierActionId=111)
        assert [action_of(n) for n in await capture.drain(source, Feed.ACTIONS)] == [111]

    async def test_a_missing_id_ages_out_and_the_sweep_still_finds_it(self, world: World) -> None:
        dossier = world.dossier()
        world.act(dossier, dossierActionId=101)
        world.act(dossier, dossierActionId=201)
        capture = Capture()
        source = world.source(missing_id_hours=1e-9)
        await capture.drain(source)
        world.act(dossier, dossierActionId=150)
        assert await capture.drain(source, Feed.ACTIONS) == []
        assert [action_of(n) for n in await capture.drain(source, Feed.SWEEP)] == [150]

    # --- what can happen to a record ------------------------------------------------------------

    async def test_an_edited_action_is_a_correction(self, world: World) -> None:
        capture, source, _, action = await _captured(world)
        world.change(schema.dossieraction, action, actionNote="viết lại")
        (notice,) = await capture.drain(source, Feed.CHANGES)
        assert (notice.kind, action_of(notice)) == (EventKind.CORRECTION, action)

    async def test_the_same_edit_made_again_is_another_event(self, world: World) -> None:
        capture, source, _, action = await _captured(world)
        for note in ("một", "hai", "một", "hai"):
            world.change(schema.dossieraction, action, actionNote=note)
            (notice,) = await capture.drain(source, Feed.CHANGES)
            assert payload_of(notice)["action"]["actionNote"] == note
        assert len(capture.told()) == len(capture.log)

    async def test_a_rollback_is_told_once_and_without_a_new_action(self, world: World) -> None:
        capture, source, dossier, action = await _captured(world)
        world.change(schema.dossieraction, action, state_=2)
        world.change(schema.dossier, dossier, dossierStatus="new")
        (notice,) = await capture.drain(source)
        assert (notice.kind, action_of(notice)) == (EventKind.ROLLBACK, action)
        assert payload_of(notice)["dossier"]["dossierStatus"] == "new"

    async def test_an_action_first_seen_rolled_back_is_no_change(self, world: World) -> None:
        capture, source, dossier, _ = await _captured(world)
        action = world.act(dossier, state_=2)
        (notice,) = await capture.drain(source)
        assert (notice.kind, action_of(notice)) == (EventKind.ROLLBACK, action)

    async def test_the_usual_bookkeeping_of_a_next_action_is_no_edit(self, world: World) -> None:
        capture, source, dossier, action = await _captured(world)
        follower = world.act(dossier, previousActionId=action)
        world.change(schema.dossieraction, action, state_=1, nextActionId=follower, pending=False)
        assert [action_of(n) for n in await capture.drain(source)] == [follower]

    async def test_a_deleted_action_is_told_by_the_sweep(self, world: World) -> None:
        capture, source, dossier, _ = await _captured(world)
        second = world.act(dossier)
        await capture.drain(source)
        world.remove(schema.dossieraction, second)
        (notice,) = await capture.drain(source)
        assert notice.kind is EventKind.DELETION
        assert payload_of(notice)["deleted_action_id"] == str(second)
        assert await capture.drain(world.source()) == []

    @pytest.mark.parametrize("position", [0, 1, 2])
    async def test_a_deleted_dossier_is_told_by_the_sweep(
        self, world: World, position: int
    ) -> None:
        numbers = [world.dossier() for _ in range(3)]
        actions = [world.act(number) for number in numbers]
        capture = Capture()
        source = world.source()
        await capture.drain(source)
        world.remove(schema.dossieraction, actions[position])
        world.remove(schema.dossier, numbers[position])
        (notice,) = await capture.drain(source, Feed.SWEEP)
        assert notice.kind is EventKind.DELETION
        assert payload_of(notice)["dossier"] is None
        assert await capture.drain(world.source(), Feed.SWEEP) == []

    async def test_changes_without_an_action_are_states(self, world: World) -> None:
        capture, source, dossier, _ = await _captured(world)
        world.pay(dossier)
        (paid,) = await capture.drain(source)
        assert (paid.kind, action_of(paid)) == (EventKind.CHANGE, None)
        assert payload_of(paid)["payments"][0]["paymentAmount"] == 50_000
        world.change(schema.dossier, dossier, dueDate=world.tick())
        (due,) = await capture.drain(source)
        assert payload_of(due)["dossier"]["dueDate"] is not None
        world.change(schema.dossier, dossier)  # touched, and nothing changed
        assert await capture.drain(source) == []

    async def test_a_change_that_commits_late_is_found(self, world: World) -> None:
        dossier, begun = world.dossier(), world.tick()
        world.dossier()
        capture, source = Capture(), world.source()
        await capture.drain(source)
        world.change(schema.dossier, dossier, dossierNote="muộn", modifiedDate=begun)
        (notice,) = await capture.drain(source, Feed.CHANGES)
        assert payload_of(notice)["dossier"]["dossierNote"] == "muộn"

    async def test_a_second_change_within_the_same_second_is_found(self, world: World) -> None:
        capture, source, dossier, _ = await _captured(world)
        at = world.tick()
        for note in ("một", "hai"):
            world.change(schema.dossier, dossier, dossierNote=note, modifiedDate=at)
            (notice,) = await capture.drain(source, Feed.CHANGES)
            assert payload_of(notice)["dossier"]["dossierNote"] == note

    async def test_a_time_in_the_future_does_not_blind_the_feed_of_changes(
        self, world: World
    ) -> None:
        world.dossier(at=world.tick().replace(year=2190))
        dossier = world.dossier()
        capture, source = Capture(), world.source()
        await capture.drain(source)
        world.change(schema.dossier, dossier, dossierNote="sau")
        (notice,) = await capture.drain(source, Feed.CHANGES)
        assert payload_of(notice)["dossier"]["dossierNote"] == "sau"

    async def test_a_dossier_without_actions_or_number_is_told(self, world: World) -> None:
        world.dossier(dossierNo="")
        (notice,) = await Capture().drain(world.source())
        assert (notice.kind, action_of(notice)) == (EventKind.CHANGE, None)

    async def test_two_dossiers_with_one_number_are_two(self, world: World) -> None:
        for _ in range(2):
            world.act(world.dossier(dossierNo="H12.20-20261102-00001"))
        notices = await Capture().drain(world.source())
        assert len({notice.dossier_id for notice in notices}) == 2

    async def test_copies_are_skipped_and_counted_once(self, world: World) -> None:
        world.act(world.dossier(originDossierId=77))
        world.act(world.dossier(originDossierNo="H12.20-1"))
        mine = world.act(world.dossier())
        capture = Capture()
        await capture.drain(world.source())
        assert [action for notice in capture.log if (action := action_of(notice))] == [mine]
        assert capture.skipped == 2

    # --- order and snapshot ---------------------------------------------------------------------

    async def test_the_chain_orders_actions_of_one_second(self, world: World) -> None:
        dossier, at = world.dossier(), world.tick()
        world.act(dossier, dossierActionId=300, at=at)
        world.act(dossier, dossierActionId=150, at=at, previousActionId=300)
        world.act(dossier, dossierActionId=200, at=at, previousActionId=150)
        notices = await Capture().drain(world.source())
        assert [a for notice in notices if (a := action_of(notice))] == [300, 150, 200]

    async def test_a_page_is_one_moment(self, world: World) -> None:
        dossier = world.dossier()
        first = world.act(dossier, "110")
        capture = Capture()
        source = world.source()
        written: list[int] = []
        with world.during_read(source, lambda: written.append(world.act(dossier, "400"))):
            page = await capture.read(source, Feed.ACTIONS)
        assert [action_of(notice) for notice in page.notices if action_of(notice)] == [first]
        assert payload_of(page.notices[-1])["dossier"]["dossierStatus"] == "receiving"
        later = await capture.drain(source)
        assert [a for notice in later if (a := action_of(notice))] == written

    async def test_the_status_after_an_action_is_that_of_its_step(self, world: World) -> None:
        dossier = world.dossier()
        first = world.act(dossier, "110")
        second = world.act(dossier, "120", previousActionId=first)
        world.act(dossier, "400", previousActionId=second)
        notices = await Capture().drain(world.source(), Feed.ACTIONS)
        after = [payload_of(notice)["status_after"] for notice in notices if action_of(notice)]
        assert [status["status"] for status in after] == ["receiving", "receiving", "done"]
        assert [status["carried"] for status in after] == [False, True, False]

    # --- trouble --------------------------------------------------------------------------------

    async def test_an_action_id_with_another_identity_stops(self, world: World) -> None:
        capture, _, _, action = await _captured(world)
        world.change(schema.dossieraction, action, uuid_="another")
        for feed in (Feed.ACTIONS, Feed.CHANGES, Feed.SWEEP):
            with pytest.raises(SourceRestored, match=str(action)):
                await capture.read(world.source(), feed)

    async def test_a_dossier_id_with_another_identity_stops(self, world: World) -> None:
        capture, _, dossier, _ = await _captured(world)
        world.change(schema.dossier, dossier, uuid_="another")
        with pytest.raises(SourceRestored, match=str(dossier)):
            await capture.read(world.source(), Feed.CHANGES)

    async def test_a_log_that_went_backwards_stops(self, world: World) -> None:
        dossier = world.dossier()
        actions = [world.act(dossier) for _ in range(10)]
        capture = Capture()
        await capture.drain(world.source())
        for action in actions[1:]:
            world.remove(schema.dossieraction, action)
        with pytest.raises(SourceRestored, match="newest"):
            await capture.read(world.source(), Feed.ACTIONS)

    async def test_no_feed_tells_an_older_copy_as_deletions(self, world: World) -> None:
        """Whichever of them meets it first."""
        dossier = world.dossier()
        actions = [world.act(dossier) for _ in range(10)]
        capture, source = Capture(), world.source()
        await capture.drain(source, *source.feeds)
        for action in actions[1:]:
            world.remove(schema.dossieraction, action)
        for feed in (Feed.SWEEP, Feed.CHANGES, Feed.ACTIONS):
            with pytest.raises(SourceRestored, match="newest"):
                await capture.read(source, feed)

    async def test_a_refused_account_is_a_misconfiguration(self, wrong_password: World) -> None:
        source = wrong_password.source()
        with pytest.raises(SourceMisconfigured) as caught:
            await Capture().read(source, Feed.ACTIONS)
        assert SECRET not in str(caught.value)
        assert await source.check() == [str(caught.value)]

    async def test_a_system_that_does_not_answer_is_waited_for(self, unreachable: World) -> None:
        with pytest.raises(SourceUnavailable):
            await Capture().read(unreachable.source(), Feed.ACTIONS)

    async def test_a_missing_table_is_a_misconfiguration(self, world: World) -> None:
        with world.engine.begin() as connection:
            schema.paymentfile.drop(connection)
        source = world.source()
        with pytest.raises(SourceMisconfigured, match="opencps_paymentfile"):
            await Capture().read(source, Feed.CHANGES)
        assert any("opencps_paymentfile is missing" in p for p in await source.check())

    async def test_check_is_content_with_a_sound_system(self, world: World) -> None:
        _lives(world, dossiers=1, actions=1)
        problems = await world.source().check()
        assert [p for p in problems if not p.startswith("advice:")] == []

    async def test_check_notices_a_wrong_zone(self, world: World) -> None:
        world.dossier(at=world.tick().replace(year=2190))
        assert any("ZONE" in problem for problem in await world.source().check())

    async def test_what_it_holds_is_sealed_and_secrets_are_never_read(self, world: World) -> None:
        world.pay(dossier := world.dossier())
        world.act(dossier)
        (first, *_) = notices = await Capture().drain(world.source())
        assert "Hư Cấu".encode() not in first.sealed
        assert not any("never-to-be-read" in str(payload_of(notice)) for notice in notices)

    async def test_errors_are_source_errors(self, world: World, unreachable: World) -> None:
        source = unreachable.source()
        for feed in source.feeds:
            with pytest.raises(SourceError):
                await Capture().read(source, feed)


def _lives(world: World, *, dossiers: int, actions: int) -> dict[int, list[int]]:
    """Dossiers with interleaved chains of actions: dossierId -> action ids in order."""
    chains: dict[int, list[int]] = {world.dossier(): [] for _ in range(dossiers)}
    for _ in range(actions):
        for dossier, chain in chains.items():
            chain.append(world.act(dossier, previousActionId=chain[-1] if chain else 0))
    return chains


def _told_actions(notices: list[Notice]) -> dict[int, list[int]]:
    told: dict[int, list[int]] = {}
    for notice in notices:
        payload = payload_of(notice)
        if payload["action"] is not None:
            number = payload["dossier"]["dossierId"]
            told.setdefault(number, []).append(payload["action"]["dossierActionId"])
    return told


async def _captured(world: World) -> tuple[Capture, OneStopSource, int, int]:
    """A dossier with one action that has been captured by all feeds, and the source that did."""
    dossier = world.dossier()
    action = world.act(dossier)
    capture = Capture()
    source = world.source()
    await capture.drain(source)
    return capture, source, dossier, action
