"""The warts that a simulated day carries on purpose, and how many of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

FULL_DAY = 950
"""Dossiers of the day that the default counts are meant for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warts:
    """How often each wart is played. The field's name is the wart's name in the journal."""

    # A dossier of its own each.
    unmapped_status: int = (
        4  # a status without a row in the mapping: every second dossier ends in it
    )
    doubled_number: int = 2  # a number given out twice (two dossiers each)
    late_code: int = 8  # no number at reception, only three actions later
    copy: int = 5  # a copy of another dossier (originDossierId, or only originDossierNo)
    rollback: int = 10  # the release is rolled back and done again
    deleted_action: int = 3  # the last action's row is removed at the end of the day
    long_note: int = 1  # a note of 5,000 characters
    control_character: int = 1  # a control character in the applicant's name
    special_character: int = 3  # XML-special text in the applicant's name: must arrive unharmed
    never_received: int = 6  # begun at the counter and refused or left lying there
    released_not_finished: int = 6  # done and released, with no finishDate
    # On top of an ordinary dossier.
    local_code: int = 40  # a procedure under the province's own code
    closed_agency: int = 25  # an agency that the merger closed
    edited_action: int = 6  # the note of an action is rewritten two steps later
    payment_alone: int = 40  # changes without an action
    file_alone: int = 40
    due_date_alone: int = 20
    note_alone: int = 20
    same_second: int = 20  # two actions of a dossier in the same second
    late_commit: int = 25  # a transaction with a smaller id is seen after one with a larger id

    def __post_init__(self) -> None:
        for name, count in asdict(self).items():
            if count < 0:
                raise ValueError(f"wart {name}: {count} is negative; use 0 to leave it out")

    @classmethod
    def none(cls) -> Warts:
        """A day without any."""
        return cls(**dict.fromkeys((f.name for f in fields(cls)), 0))

    @classmethod
    def for_day(cls, dossiers: int, changes: Mapping[str, int] | None = None) -> Warts:
        """The default counts in proportion to the day, at least one of each; `changes` win.

        Raises ValueError for a name that is no wart.
        """
        names = [f.name for f in fields(cls)]
        for name in changes or {}:
            if name not in names:
                raise ValueError(f"no wart is called {name!r}; known: {', '.join(names)}")
        share = dossiers / FULL_DAY
        counts = {name: max(1, round(count * share)) for name, count in asdict(cls()).items()}
        return cls(**(counts | dict(changes or {})))

    @property
    def dossiers_needed(self) -> int:
        """Dossiers of their own that these warts take up."""
        return (
            self.unmapped_status
            + 2 * self.doubled_number
            + self.late_code
            + self.copy
            + self.rollback
            + self.deleted_action
            + self.long_note
            + self.control_character
            + self.special_character
            + self.never_received
            + self.released_not_finished
        )
