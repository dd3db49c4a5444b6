"""The tables of a one-stop database as OpenCPS v2 lays them out: names, types and indexes.

Facts taken from the published tables of OpenCPS (no code of it). Every column is nullable except the
primary key. Times are local times without a zone (Asia/Ho_Chi_Minh), as OpenCPS keeps them. The names
are in mixed case and are therefore quoted on every database.

Each table is written as `column:type` words; a number is the length of a VARCHAR. An index line that
begins with `!` is unique.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlalchemy.types import TypeEngine

metadata = MetaData()

INDEXED_PREFIX = 75
"""MySQL and MariaDB index at most 3072 bytes: long columns are indexed by a prefix, as Liferay does."""

_LONG_TEXT = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_TYPES: dict[str, TypeEngine[Any]] = {
    "long": BigInteger(),
    "int": Integer(),
    "double": Double(),
    "bool": Boolean(),
    "date": DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb"),
    "text": _LONG_TEXT,
}


def _type(word: str) -> TypeEngine[Any]:
    return String(int(word)) if word.isdigit() else _TYPES[word]


def _table(name: str, key: str, columns: str, indexes: str) -> Table:
    pairs = [word.split(":") for word in columns.split()]
    lengths = {column: int(kind) for column, kind in pairs if kind.isdigit()}
    table = Table(
        name,
        metadata,
        *(
            Column(column, _type(kind), primary_key=column == key, autoincrement=False, quote=True)
            for column, kind in pairs
        ),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    for number, line in enumerate(indexes.split(), start=1):
        members = line.removeprefix("!").split(",")
        prefix = {c: INDEXED_PREFIX for c in members if lengths.get(c, 0) > INDEXED_PREFIX}
        Index(
            f"IX_{name}_{number}",
            *(table.c[c] for c in members),
            unique=line.startswith("!"),
            mysql_length=prefix,
            mariadb_length=prefix,
        )
    return table


def create(engine: Engine) -> None:
    """Create every table that is not there yet."""
    metadata.create_all(engine)


dossier = _table(
    "opencps_dossier",
    "dossierId",
    """
    uuid_:75 dossierId:long groupId:long companyId:long userId:long userName:255
    createDate:date modifiedDate:date referenceUid:255 counter:long registerBookCode:100
    registerBookName:1024 dossierRegister:255 processNo:128 serviceCode:128 serviceName:text
    govAgencyCode:128 govAgencyName:512 applicantName:500 applicantIdType:128
    applicantIdNo:128 applicantIdDate:date address:text cityCode:128 cityName:255
    districtCode:128 districtName:512 wardCode:128 wardName:512 contactName:text
    contactTelNo:128 contactEmail:255 delegateType:int delegateName:512 delegateIdNo:128
    delegateTelNo:128 delegateEmail:255 delegateAddress:text delegateCityCode:128
    delegateCityName:512 delegateDistrictCode:128 delegateDistrictName:512
    delegateWardCode:128 delegateWardName:512 documentNo:255 documentDate:date
    dossierTemplateNo:128 dossierTemplateName:text dossierNote:text submissionNote:text
    applicantNote:text briefNote:text dossierNo:255 submitting:bool processDate:date
    submitDate:date receiveDate:date dueDate:date extendDate:date releaseDate:date
    finishDate:date cancellingDate:date correcttingDate:date dossierStatus:255
    dossierStatusText:text dossierSubStatus:128 dossierSubStatusText:text folderId:long
    dossierActionId:long viaPostal:int postalServiceCode:255 postalServiceName:1024
    postalAddress:text postalCityCode:255 postalCityName:512 postalDistrictCode:255
    postalDistrictName:512 postalWardCode:255 postalWardName:512 postalTelNo:128
    password_:75 notification:bool online_:bool original:bool serverNo:255
    endorsementDate:date lockState:200 originality:int originDossierId:long sampleCount:long
    durationUnit:int durationCount:double dossierName:1000 originDossierNo:255
    groupDossierId:75 metaData:text systemId:int dossierCounter:128 vnpostalStatus:int
    vnpostalProfile:text fromViaPostal:int multipleCheck:75
    """,
    """
    dossierCounter
    dossierNo,applicantIdNo
    dossierStatus,modifiedDate
    groupId,applicantIdNo,dossierStatus
    groupId,applicantIdNo,serviceCode,govAgencyCode,dossierTemplateNo,originDossierId
    groupId,companyId,govAgencyCode,serviceCode,dossierTemplateNo,dossierStatus
    groupId,dossierId
    groupId,dossierNo
    groupId,dossierStatus,originality,dossierTemplateNo
    groupId,dossierStatus,originality,processNo
    groupId,dossierStatus,originality,serviceCode
    groupId,dossierTemplateNo
    groupId,govAgencyCode,serviceCode,dossierId
    groupId,govAgencyCode,serviceCode,dossierTemplateNo,dossierStatus,applicantIdType,originality
    groupId,groupDossierId
    groupId,originDossierId
    groupId,originDossierNo
    groupId,originality,dossierStatus,serviceCode,govAgencyCode
    groupId,processNo
    groupId,referenceUid
    groupId,serviceCode
    groupId,userId,dossierStatus
    groupId,vnpostalStatus
    originDossierNo
    originality,dossierStatus
    userId,groupId,govAgencyCode,serviceCode,dossierActionId,originality
    userId,groupId,govAgencyCode,serviceCode,dossierTemplateNo,dossierStatus,originality
    uuid_,companyId
    !uuid_,groupId
    viaPostal
    """,
)

dossieraction = _table(
    "opencps_dossieraction",
    "dossierActionId",
    """
    uuid_:75 dossierActionId:long companyId:long groupId:long userId:long userName:255
    createDate:date modifiedDate:date dossierId:long serviceProcessId:long
    previousActionId:long fromStepCode:255 fromStepName:512 fromSequenceNo:255
    actionCode:100 actionUser:255 actionName:512 actionNote:text actionOverdue:int
    syncActionCode:100 pending:bool rollbackable:bool stepCode:255 stepName:512
    sequenceNo:255 dueDate:date nextActionId:long payload:text stepInstruction:500
    state_:int eventStatus:int
    """,
    """
    dossierId,actionCode
    dossierId,fromSequenceNo
    dossierId,fromStepCode,dossierActionId
    dossierId,nextActionId
    dossierId,pending
    dossierId,stepCode,dossierActionId
    dossierId,userId,fromStepCode
    dossierId,userId,stepCode
    dueDate,nextActionId
    groupId,dossierId,fromSequenceNo
    groupId,dossierId,sequenceNo
    groupId,pending
    uuid_,companyId
    !uuid_,groupId
    """,
)

dossierfile = _table(
    "opencps_dossierfile",
    "dossierFileId",
    """
    uuid_:75 dossierFileId:long groupId:long companyId:long userId:long userName:255
    createDate:date modifiedDate:date dossierId:long referenceUid:75 dossierTemplateNo:255
    dossierPartNo:255 dossierPartType:int fileTemplateNo:255 displayName:500 formData:text
    fileEntryId:long original:bool eForm:bool isNew:bool removed:bool signCheck:int
    signInfo:text formScript:text formReport:text formSchema:text deliverableCode:255
    """,
    """
    deliverableCode
    dossierId,dossierPartNo,removed
    dossierId,dossierPartType,removed
    dossierId,fileTemplateNo,dossierPartType,fileEntryId,removed
    dossierId,fileTemplateNo,dossierPartType,removed
    dossierId,fileTemplateNo,dossierTemplateNo
    dossierId,fileTemplateNo,removed
    dossierId,isNew,removed
    dossierId,referenceUid,removed
    dossierId,removed
    fileEntryId
    groupId,dossierId,dossierPartNo,eForm,removed
    groupId,dossierId,dossierTemplateNo,dossierPartNo,eForm,removed
    groupId,dossierId,fileTemplateNo,removed,original
    groupId,dossierId,removed,original
    groupId,referenceUid
    referenceUid
    uuid_,companyId
    !uuid_,groupId
    """,
)

paymentfile = _table(
    "opencps_paymentfile",
    "paymentFileId",
    """
    uuid_:75 paymentFileId:long groupId:long companyId:long userId:long userName:255
    createDate:date modifiedDate:date dossierId:long referenceUid:75 govAgencyCode:128
    govAgencyName:500 paymentFee:500 advanceAmount:long feeAmount:long serviceAmount:long
    shipAmount:long paymentAmount:long paymentNote:500 epaymentProfile:text bankInfo:text
    paymentStatus:int paymentMethod:255 confirmDatetime:date confirmPayload:text
    confirmFileEntryId:long confirmNote:75 approveDatetime:date accountUserName:500
    govAgencyTaxNo:500 invoiceTemplateNo:500 invoiceIssueNo:500 invoiceNo:500
    invoicePayload:text einvoice:text invoiceFileEntryId:long
    """,
    """
    dossierId,referenceUid
    groupId,dossierId
    groupId,paymentStatus
    paymentStatus
    uuid_,companyId
    !uuid_,groupId
    """,
)

serviceinfomapping = _table(
    "opencps_serviceinfomapping",
    "serviceInfoMappingId",
    """
    serviceInfoMappingId:long groupId:long companyId:long userId:long userName:255
    createDate:date modifiedDate:date serviceCode:128 serviceCodeDVCQG:128
    serviceNameDVCQG:text synced:int
    """,
    """
    groupId,serviceCode
    groupId,serviceCodeDVCQG
    """,
)

dossierstatusmapping = _table(
    "opencps_dossierstatusmapping",
    "dossierStatusMappingId",
    """
    dossierStatusMappingId:long groupId:long companyId:long userId:long userName:255
    createDate:date modifiedDate:date statusCode:255 statusCodeDVCQG:128 subStatusCode:128
    """,
    """
    groupId,statusCode
    groupId,statusCodeDVCQG
    groupId,subStatusCode
    """,
)

processstep = _table(
    "opencps_processstep",
    "processStepId",
    """
    uuid_:75 processStepId:long companyId:long groupId:long userId:long userName:255
    createDate:date modifiedDate:date stepCode:255 serviceProcessId:long stepName:500
    sequenceNo:255 dossierStatus:255 dossierSubStatus:255 durationCount:double
    customProcessUrl:255 stepInstruction:text briefNote:text editable:bool
    restrictDossier:255 lockState:255 groupName:255 roleAsStep:255 checkInput:int
    """,
    """
    dossierStatus,dossierSubStatus,groupId
    groupId,serviceProcessId,dossierStatus,dossierSubStatus
    groupId,serviceProcessId,sequenceNo
    groupId,serviceProcessId,stepCode
    serviceProcessId
    stepCode,groupId,serviceProcessId
    stepCode,serviceProcessId
    uuid_,companyId
    !uuid_,groupId
    """,
)

processaction = _table(
    "opencps_processaction",
    "processActionId",
    """
    uuid_:75 processActionId:long companyId:long groupId:long userId:long userName:255
    createDate:date modifiedDate:date serviceProcessId:long preStepCode:255 postStepCode:255
    autoEvent:255 preCondition:text actionCode:255 actionName:255 allowAssignUser:int
    assignUserId:long requestPayment:int paymentFee:500 createDossierFiles:text
    returnDossierFiles:text makeBriefNote:500 syncActionCode:128 rollbackable:bool
    createDossierNo:bool eSignature:bool configNote:text dossierTemplateNo:255
    signatureType:255 createDossiers:255 checkInput:int postAction:128
    """,
    """
    autoEvent
    groupId,actionCode,serviceProcessId
    groupId,autoEvent
    groupId,serviceProcessId,actionCode,preStepCode,postStepCode
    groupId,serviceProcessId,preStepCode,createDossiers
    postStepCode,groupId
    preStepCode,groupId
    serviceProcessId,actionCode,actionName
    serviceProcessId,preStepCode,autoEvent
    uuid_,companyId
    !uuid_,groupId
    """,
)

dictcollection = _table(
    "opencps_dictcollection",
    "dictCollectionId",
    """
    uuid_:75 dictCollectionId:long companyId:long groupId:long userId:long userName:255
    createDate:date modifiedDate:date collectionCode:100 collectionName:text
    collectionNameEN:text description:text dataForm:text status:int
    """,
    """
    collectionCode,groupId
    groupId
    modifiedDate,groupId
    uuid_,companyId
    !uuid_,groupId
    """,
)

dictitem = _table(
    "opencps_dictitem",
    "dictItemId",
    """
    uuid_:75 dictItemId:long companyId:long groupId:long userId:long userName:255
    createDate:date modifiedDate:date dictCollectionId:long itemCode:100 itemName:text
    itemNameEN:text itemDescription:text parentItemId:long level:int sibling:255
    treeIndex:255 metaData:text idLGSP:long
    """,
    """
    dictCollectionId,groupId
    dictCollectionId,parentItemId,treeIndex
    groupId,dictCollectionId,parentItemId,level
    idLGSP,dictCollectionId
    itemCode,dictCollectionId,groupId
    itemCode,groupId
    modifiedDate,groupId
    parentItemId
    uuid_,companyId
    !uuid_,groupId
    """,
)
