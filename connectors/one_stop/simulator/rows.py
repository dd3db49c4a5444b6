"""The rows that the simulator writes, and the mapping and dictionary rows it ships with. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import Table

from connectors.one_stop.simulator import schema
from connectors.one_stop.simulator.people import Person
from connectors.one_stop.simulator.process import ACTIONS, STATUS_MAPPING, STEPS
from connectors.one_stop.simulator.reference import AGENCY_COLLECTION, Agency, Procedure, Reference

GROUP_ID = 35301
COMPANY_ID = 20099
SERVICE_PROCESS_ID = 1
UNREADABLE = "khong-duoc-doc"
"""Every `password_` begins with this: it must never be seen outside the database."""

FEE_ASKED, FEE_PAID = 2, 5
"""paymentStatus as this simulator uses it: asked for, and fully paid."""

RESULT_PART = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a new dossier is about. `code` is the portal's number, or None until it is received here.

    `parks` names the reason for which the hub must park everything of it (a note or a name with a wart).
    """

    procedure: Procedure
    service_code: str
    agency: Agency
    applicant: Person
    portal_born: bool = False
    code: str | None = None
    via_post: bool = False
    components: tuple[str, ...] = ("Đơn đề nghị",)
    note: str | None = None
    applicant_name: str | None = None  # with a wart in it; else the applicant's
    origin_id: int = 0
    origin_no: str = ""
    parks: str | None = None
    warts: tuple[str, ...] = field(default=())

    @property
    def copy(self) -> bool:
        return bool(self.origin_id or self.origin_no)


def new_uuid(random: Random) -> str:
    """A repeatable UUID."""
    return str(UUID(int=random.getrandbits(128), version=4))


def base(random: Random, at: datetime) -> dict[str, Any]:
    """The columns that every row has."""
    return {
        "uuid_": new_uuid(random),
        "groupId": GROUP_ID,
        "companyId": COMPANY_ID,
        "userId": 20139,
        "userName": "onestop",
        "createDate": at,
        "modifiedDate": at,
    }


def dossier_row(draft: Draft, dossier_id: int, at: datetime, random: Random) -> dict[str, Any]:
    """The row of a dossier that nobody has received yet (status `new`)."""
    person = draft.applicant
    name = draft.applicant_name or person.name
    return base(random, at) | {
        "dossierId": dossier_id,
        "referenceUid": new_uuid(random),
        "serviceCode": draft.service_code,
        "serviceName": draft.procedure.name,
        "govAgencyCode": draft.agency.code,
        "govAgencyName": draft.agency.name,
        "applicantName": name,
        "applicantIdType": person.kind,
        "applicantIdNo": person.id_no,
        "address": person.address,
        "cityCode": "96",
        "cityName": "Tỉnh Cà Mau",
        "wardName": person.address.rsplit(", ", 1)[-1],
        "contactName": person.contact,
        "contactTelNo": person.phone,
        "contactEmail": person.email,
        "dossierTemplateNo": f"TP-{draft.procedure.code}",
        "dossierName": f"{draft.procedure.name} - {person.name}"[:1000],
        "dossierNote": draft.note,
        "dossierNo": draft.code or "",
        "submitDate": at if draft.portal_born else None,
        "dossierStatus": "new",
        "dossierStatusText": "Mới đăng ký",
        "dossierSubStatus": "",
        "dossierActionId": 0,
        "viaPostal": 2 if draft.via_post else 1,
        "postalAddress": person.address if draft.via_post else None,
        "postalTelNo": person.phone if draft.via_post else None,
        "password_": f"{UNREADABLE}-{random.randrange(10**8):08d}",
        "notification": True,
        "online_": draft.portal_born,
        "original": True,
        "lockState": "",
        "originality": 1 if draft.portal_born else 3,
        "originDossierId": draft.origin_id,
        "originDossierNo": draft.origin_no,
        "durationUnit": 1,
        "durationCount": float(draft.procedure.hours),
        "systemId": 0,
        "metaData": json.dumps({"simulated": True}),
    }


def file_row(
    file_id: int, dossier_id: int, name: str, result: bool, at: datetime, random: Random
) -> dict[str, Any]:
    """A submitted paper, or a result."""
    number = file_id % 90 + 1
    return base(random, at) | {
        "dossierFileId": file_id,
        "dossierId": dossier_id,
        "referenceUid": new_uuid(random),
        "dossierPartNo": f"KQ{number:02d}" if result else f"TP{number:02d}",
        "dossierPartType": RESULT_PART if result else 1,
        "fileTemplateNo": f"FT-{number:02d}",
        "displayName": name,
        "fileEntryId": 900_000 + file_id,
        "original": True,
        "eForm": False,
        "isNew": False,
        "removed": False,
        "signCheck": 1 if result else 0,
        "deliverableCode": f"KQ-{file_id:06d}" if result else "",
    }


def payment_row(
    payment_id: int, dossier_id: int, agency: Agency, amount: int, at: datetime, random: Random
) -> dict[str, Any]:
    """A fee that was asked for. VND."""
    return base(random, at) | {
        "paymentFileId": payment_id,
        "dossierId": dossier_id,
        "referenceUid": new_uuid(random),
        "govAgencyCode": agency.code,
        "govAgencyName": agency.name,
        "paymentFee": "Phí, lệ phí giải quyết thủ tục hành chính",
        "advanceAmount": 0,
        "feeAmount": amount,
        "serviceAmount": 0,
        "shipAmount": 0,
        "paymentAmount": amount,
        "paymentStatus": FEE_ASKED,
    }


def shipped(reference: Reference, at: datetime) -> Iterator[tuple[Table, dict[str, Any]]]:
    """Everything the database holds before the day begins: process, mappings, agencies."""
    random = Random("shipped")
    process = {"serviceProcessId": SERVICE_PROCESS_ID}
    for n, step in enumerate(STEPS, start=1):
        yield (
            schema.processstep,
            base(random, at)
            | process
            | {
                "processStepId": n,
                "stepCode": step.code,
                "stepName": step.name,
                "sequenceNo": f"{n:02d}",
                "dossierStatus": step.status or "",
                "dossierSubStatus": step.sub_status or "",
            },
        )
    for n, (act, definition) in enumerate(ACTIONS.items(), start=1):
        yield (
            schema.processaction,
            base(random, at)
            | process
            | {
                "processActionId": n,
                "actionCode": act.value,
                "actionName": definition.name,
                "preStepCode": "",
                "postStepCode": definition.to.code if definition.to else "",
                "rollbackable": True,
            },
        )
    for n, (status, sub_status, national) in enumerate(STATUS_MAPPING, start=1):
        yield (
            schema.dossierstatusmapping,
            _plain(at)
            | {
                "dossierStatusMappingId": n,
                "statusCode": status,
                "subStatusCode": sub_status or "",
                "statusCodeDVCQG": national,
            },
        )
    services = [(p.code, p) for p in reference.procedures]
    services += [(local.code, local.national) for local in reference.local]
    for n, (code, procedure) in enumerate(services, start=1):
        yield (
            schema.serviceinfomapping,
            _plain(at)
            | {
                "serviceInfoMappingId": n,
                "serviceCode": code,
                "serviceCodeDVCQG": procedure.code,
                "serviceNameDVCQG": procedure.name,
                "synced": 1,
            },
        )
    yield (
        schema.dictcollection,
        base(random, at)
        | {
            "dictCollectionId": 1,
            "collectionCode": AGENCY_COLLECTION,
            "collectionName": "Cơ quan quản lý",
            "status": 1,
        },
    )
    for n, agency in enumerate(reference.agencies.values(), start=1):
        dates = {
            "validFrom": agency.valid_from,
            "validTo": agency.valid_to,
            "successor": agency.successor,
        }
        yield (
            schema.dictitem,
            base(random, at)
            | {
                "dictItemId": n,
                "dictCollectionId": 1,
                "itemCode": agency.code,
                "itemName": agency.name,
                "parentItemId": 0,
                "level": agency.code.count(".") + 1,
                "sibling": str(n),
                "metaData": json.dumps({k: v for k, v in dates.items() if v}),
            },
        )


def _plain(at: datetime) -> dict[str, Any]:
    return {
        "groupId": GROUP_ID,
        "companyId": COMPANY_ID,
        "userId": 20139,
        "userName": "onestop",
        "createDate": at,
        "modifiedDate": at,
    }
