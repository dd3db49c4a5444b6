"""Broken rules: patches of the engine's own source, each of which the simulation must catch."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from importlib.resources import files
from types import ModuleType

_MODULES = (
    "actions",
    "verify",
    "decide",
    "evolve",
    "group_commit",
    "circuit",
    "plans",
    "dispatch",
    "refused",
    "errand",
    "shell",
)


@dataclass(frozen=True)
class Mutant:
    """One broken rule: in `module`, `old` (which stands there once) becomes `new`."""

    name: str
    module: str
    old: str
    new: str

    def load(self) -> ModuleType:
        """The shell of an engine with this rule broken, beside the sound one."""
        package = f"mutant_{self.name}"
        sys.modules[package] = ModuleType(package)
        for name in _MODULES:
            source = (files("streams.engine") / f"{name}.py").read_text(encoding="utf-8")
            if name == self.module:
                if source.count(self.old) != 1:
                    raise AssertionError(f"{self.name}: the patched text must stand there once")
                source = source.replace(self.old, self.new)
            source = source.replace("from streams.engine.", f"from {package}.")
            spec = importlib.util.spec_from_loader(f"{package}.{name}", loader=None)
            assert spec is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[f"{package}.{name}"] = module
            exec(compile(source, f"{package}/{name}.py", "exec"), module.__dict__)
        return sys.modules[f"{package}.shell"]


MUTANTS = (
    Mutant(
        "no_intent",
        "errand",
        "            applied = await self._commit(change)\n        except LedgerUnavailable",
        "            applied = __import__('schemas.ledger.model').ledger.model.Applied(verdict=Verdict.DONE, at=dispatch.database_now())\n"
        "        except LedgerUnavailable",
    ),
    Mutant(
        "no_send_by",
        "errand",
        "noticed_at=noticed_at, send_by=self._options.send_by",
        "noticed_at=noticed_at, send_by=1e9",
    ),
    Mutant(
        "absent_believed_too_early",
        "decide",
        "    believed = over + abilities.lookup_lag\n",
        "    believed = attempt.started_at\n",
    ),
    Mutant(
        "no_epoch_check",
        "dispatch",
        "        if applied.verdict is Verdict.STALE:\n            raise LetGo\n",
        "",
    ),
    Mutant(
        "unknown_taken_for_failed",
        "errand",
        "    OutcomeUnknown: Outcome.UNKNOWN,\n",
        "    OutcomeUnknown: Outcome.FAILED,\n",
    ),
    Mutant(
        "unknown_taken_for_delivered",
        "errand",
        "    OutcomeUnknown: Outcome.UNKNOWN,\n",
        "    OutcomeUnknown: Outcome.DELIVERED,\n",
    ),
    Mutant(
        "hash_not_cleared",
        "decide",
        "        return _again(work, attempt, patch=DossierPatch(clear_hash=True))\n",
        "        return _again(work, attempt)\n",
    ),
    Mutant(
        "step_before_its_state",
        "decide",
        "row.state is not DeliveryState.PENDING or row.version > dossier.delivered_version",
        "row.state is not DeliveryState.PENDING",
    ),
    Mutant(
        "claim_skipped",
        "errand",
        "            applied = await self._commit(change)\n        except LedgerUnavailable",
        "            unclaimed = __import__('dataclasses').replace(change, claim=None)\n"
        "            applied = await self._commit(unclaimed)\n        except LedgerUnavailable",
    ),
    Mutant(
        "late_update_forgotten",
        "decide",
        "        if now < over:\n            return Idle(wake_at=over)\n        return _again",
        "        return _again",
    ),
    Mutant(
        "open_attempt_ignored",
        "decide",
        "    if work.attempts:\n        return _resolve(",
        "    if work.attempts and work.attempts[0].outcome is not None:\n        return _resolve(",
    ),
    Mutant(
        "earlier_steps_counted_again",
        "decide",
        "        listed.subtract(earlier(work))  # what earlier attempts brought there\n",
        "",
    ),
    Mutant(
        "supplement_request_guessed",
        "decide",
        "(resend and not plans[delivery_id].supplement_request)",
        "resend",
    ),
    Mutant(
        "newer_state_superseded",
        "decide",
        "if row.operation is Operation.STATE and row.version <= version",
        "if row.operation is Operation.STATE",
    ),
    Mutant(
        "late_word_unheard",
        "errand",
        "            unless_said=outcome is None and self._is_silent(settle.close),\n",
        "",
    ),
    Mutant(
        "claim_lost_and_sent",
        "errand",
        "if applied.verdict is Verdict.CODE_TAKEN:",
        "if False:",
    ),
    Mutant(
        "verification_not_scheduled",
        "verify",
        "    if abilities.lookup not in (needed, Lookup.STEPS):\n",
        "    if needed:\n",
    ),
    Mutant(
        "found_and_not_mended",
        "verify",
        "        stage = Verification.MEND if first else Verification.LAST_MEND\n",
        "        stage = None\n",
    ),
    Mutant(
        "verified_too_early",
        "verify",
        "    if answer is None or answer.asked_at < due:\n",
        "    if answer is None:\n",
    ),
    Mutant(
        "verified_within_the_lag",
        "verify",
        "stage=dossier.verification, due=dossier.verify_at, rest=abilities.lookup_lag",
        "stage=dossier.verification, due=dossier.verify_at",
    ),
    Mutant(
        "step_too_many_unreported",
        "verify",
        "        for _ in range(max(excess[step.key], 0)):\n",
        "        for _ in ():\n",
    ),
    Mutant(
        "step_too_many_reported_again",
        "verify",
        "delivery_id=step.delivery_id, step_key=step.key)",
        "delivery_id=step.delivery_id)",
    ),
)
