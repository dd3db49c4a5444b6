"""The tables and columns that are read: these and no others.

`password_`, `vnpostalProfile`, form data, payment payloads and the queues (whose rows carry tokens) are
not here, so no statement can name them.
"""

from __future__ import annotations

from dataclasses import dataclass

DOSSIER = "opencps_dossier"
ACTION = "opencps_dossieraction"
FILE = "opencps_dossierfile"
PAYMENT = "opencps_paymentfile"
STEP = "opencps_processstep"
PROCEDURE_MAPPING = "opencps_serviceinfomapping"
STATUS_MAPPING = "opencps_dossierstatusmapping"
DICT_ITEM = "opencps_dictitem"
DICT_COLLECTION = "opencps_dictcollection"


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table, its primary key and the columns we read; `times` and `flags` are named again."""

    name: str
    key: str
    columns: tuple[str, ...]
    times: frozenset[str]
    flags: frozenset[str] = frozenset()


def _spec(name: str, key: str, columns: str, times: str = "", flags: str = "") -> TableSpec:
    words = (*columns.split(), *times.split(), *flags.split())
    return TableSpec(name, key, (key, *words), frozenset(times.split()), frozenset(flags.split()))


SPECS: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        _spec(
            DOSSIER,
            "dossierId",
            "uuid_ groupId referenceUid serviceCode serviceName govAgencyCode govAgencyName "
            "applicantName applicantIdType applicantIdNo address wardName districtName cityName "
            "contactName contactTelNo contactEmail dossierNote dossierName dossierNo dossierStatus "
            "dossierSubStatus dossierActionId viaPostal originality originDossierId "
            "originDossierNo fromViaPostal",
            "createDate modifiedDate submitDate receiveDate dueDate extendDate releaseDate finishDate",
            "online_",
        ),
        _spec(
            ACTION,
            "dossierActionId",
            "uuid_ groupId dossierId serviceProcessId previousActionId fromStepCode stepCode "
            "actionCode actionUser actionName actionNote state_",
            "createDate modifiedDate dueDate",
        ),
        _spec(
            FILE,
            "dossierFileId",
            "uuid_ groupId dossierId referenceUid dossierPartNo dossierPartType displayName "
            "fileEntryId signCheck deliverableCode",
            "modifiedDate",
            "removed",
        ),
        _spec(
            PAYMENT,
            "paymentFileId",
            "uuid_ groupId dossierId paymentFee feeAmount paymentAmount paymentStatus paymentMethod",
            "modifiedDate confirmDatetime",
        ),
        _spec(
            STEP,
            "processStepId",
            "groupId serviceProcessId stepCode dossierStatus dossierSubStatus",
        ),
        _spec(
            PROCEDURE_MAPPING,
            "serviceInfoMappingId",
            "groupId serviceCode serviceCodeDVCQG serviceNameDVCQG",
        ),
        _spec(
            STATUS_MAPPING,
            "dossierStatusMappingId",
            "groupId statusCode statusCodeDVCQG subStatusCode",
        ),
        _spec(
            DICT_ITEM,
            "dictItemId",
            "groupId dictCollectionId itemCode itemName parentItemId metaData",
        ),
        _spec(DICT_COLLECTION, "dictCollectionId", "groupId collectionCode"),
    )
}

FEED_TABLES = (DOSSIER, ACTION, FILE, PAYMENT)
"""Tables whose `modifiedDate` the feed of changes follows."""
