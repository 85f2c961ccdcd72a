"""Categories of the Non-Patient Instance Service (PS3.18 chapter 12) and what they are searched by.

The SOP classes are those of PS3.4 section GG.3; matching and return keys those of PS3.4 Tables
X.6-1, U.6-1, BB.6-1 to BB.6-3, HH.6-1 and JJ.2-1. PS3.18 names no resource for protocol approvals;
theirs is named like the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom import matching, query_identifiers
from bfr_dicomweb.dicom.attributes import Attributes, first_text
from bfr_dicomweb.dicom.matching import Key, Path, Range, path_of

_LAST_TIME: Final = "235959.999999"


@dataclass(frozen=True, slots=True)
class Category:
    """
    Attributes:
        name: As resources name it.
        title: What one instance is called.
        sop_classes: UIDs and names.
        keys: What is matched.
        shown: Tags that results always have, where the instance has them.
    """

    name: str
    title: str
    sop_classes: Mapping[str, str]
    keys: tuple[Path, ...]
    shown: frozenset[str]


def _paths(words: str) -> tuple[Path, ...]:
    found = []
    for word in words.split():
        sequence, is_code, _ = word.partition("[code]")
        names = (
            [f"{sequence}.{part}" for part in ("CodeValue", "CodingSchemeDesignator")]
            if is_code
            else [word]
        )
        for name in names:
            path = path_of(name)
            if path is None:
                raise LookupError(f"{name} is no attribute")
            found.append(path)
    return tuple(found)


def _category(
    name: str, title: str, sop_classes: Mapping[str, str], keys: str, returned: str = ""
) -> Category:
    matched = _paths(f"SOPClassUID SOPInstanceUID {keys}")
    shown = frozenset(path[0] for path in (*matched, *_paths(returned)))
    uids = {f"1.2.840.10008.5.1.4.{suffix}": name for suffix, name in sop_classes.items()}
    return Category(name, title, uids, matched, shown)


CATEGORIES: Final = (
    _category(
        "color-palettes",
        "a color palette",
        {"39.1": "Color Palette Storage"},
        "ContentLabel",
        "ContentDescription ContentCreatorName",
    ),
    _category(
        "defined-procedure-protocols",
        "a defined procedure protocol",
        {
            "1.1.200.1": "CT Defined Procedure Protocol Storage",
            "1.1.200.7": "XA Defined Procedure Protocol Storage",
        },
        """
        CustodialOrganizationSequence.InstitutionName
        CustodialOrganizationSequence.InstitutionCodeSequence[code]
        ResponsibleGroupCodeSequence[code] ProtocolName
        PotentialScheduledProtocolCodeSequence[code] PotentialRequestedProcedureCodeSequence[code]
        PotentialReasonsForProcedureCodeSequence[code]
        PredecessorProtocolSequence.ReferencedSOPClassUID
        PredecessorProtocolSequence.ReferencedSOPInstanceUID
        ContentCreatorName InstanceCreationDate InstanceCreationTime ClinicalTrialSponsorName
        ClinicalTrialProtocolID EquipmentModality
        ModelSpecificationSequence.Manufacturer
        ModelSpecificationSequence.ManufacturerModelName
        ModelSpecificationSequence.ManufacturerRelatedModelGroup
        ModelSpecificationSequence.DeviceSerialNumber
        ModelSpecificationSequence.SoftwareVersions
        AnatomicRegionSequence[code] PrimaryAnatomicStructureSequence[code]
        """,
        "ProtocolDesignRationale ProtocolPlanningInformation",
    ),
    _category(
        "hanging-protocols",
        "a hanging protocol",
        {"38.1": "Hanging Protocol Storage"},
        """
        HangingProtocolName HangingProtocolLevel HangingProtocolDefinitionSequence.Modality
        HangingProtocolDefinitionSequence.AnatomicRegionSequence[code]
        HangingProtocolDefinitionSequence.Laterality
        HangingProtocolDefinitionSequence.ProcedureCodeSequence[code]
        HangingProtocolDefinitionSequence.ReasonForRequestedProcedureCodeSequence[code]
        NumberOfPriorsReferenced HangingProtocolUserIdentificationCodeSequence[code]
        HangingProtocolUserGroupName NumberOfScreens
        """,
        """
        HangingProtocolDescription HangingProtocolCreator HangingProtocolCreationDateTime
        NominalScreenDefinitionSequence
        """,
    ),
    _category(
        "implant-templates",
        "an implant template",
        {
            "43.1": "Generic Implant Template Storage",
            "44.1": "Implant Assembly Template Storage",
            "45.1": "Implant Template Group Storage",
        },
        """
        Manufacturer ImplantName ImplantSize ImplantPartNumber EffectiveDateTime
        ReplacedImplantTemplateSequence.ReferencedSOPInstanceUID
        DerivationImplantTemplateSequence.ReferencedSOPInstanceUID
        OriginalImplantTemplateSequence.ReferencedSOPInstanceUID
        ImplantTargetAnatomySequence.AnatomicRegionSequence[code]
        ImplantRegulatoryDisapprovalCodeSequence[code] MaterialsCodeSequence[code]
        CoatingMaterialsCodeSequence[code]
        ImplantAssemblyTemplateName ImplantAssemblyTemplateIssuer ImplantAssemblyTemplateVersion
        ImplantAssemblyTemplateType ReplacedImplantAssemblyTemplateSequence.ReferencedSOPInstanceUID
        OriginalImplantAssemblyTemplateSequence.ReferencedSOPInstanceUID
        DerivationImplantAssemblyTemplateSequence.ReferencedSOPInstanceUID
        ImplantAssemblyTemplateTargetAnatomySequence.AnatomicRegionSequence[code]
        ProcedureTypeCodeSequence[code] SurgicalTechnique
        ImplantTemplateGroupName ImplantTemplateGroupIssuer ImplantTemplateGroupVersion
        ReplacedImplantTemplateGroupSequence.ReferencedSOPInstanceUID
        ImplantTemplateGroupTargetAnatomySequence.AnatomicRegionSequence[code]
        """,
        "ImplantTemplateVersion ImplantTemplateGroupDescription",
    ),
    _category(
        "inventories",
        "an inventory",
        {"1.1.201.1": "Inventory Storage"},
        """
        TransactionUID ContentDate ContentTime InventoryPurpose InventoryInstanceDescription
        InventoryLevel InventoryCompletionStatus TotalNumberOfStudyRecords
        """,
        "ScopeOfInventorySequence",
    ),
    _category(
        "protocol-approvals",
        "a protocol approval",
        {"1.1.200.3": "Protocol Approval Storage"},
        """
        ApprovalSubjectSequence.ReferencedSOPClassUID
        ApprovalSubjectSequence.ReferencedSOPInstanceUID
        ApprovalSequence.AssertionCodeSequence[code]
        ApprovalSequence.AssertionDateTime ApprovalSequence.AssertionExpirationDateTime
        InstanceCreationDate InstanceCreationTime
        """,
    ),
)
BY_NAME: Final = {one.name: one for one in CATEGORIES}
BY_SOP_CLASS: Final = {uid: one for one in CATEGORIES for uid in one.sop_classes}

# One moment each (PS3.4 section C.2.2.2.5.2).
DATE_TIME_PAIRS: Final = tuple(
    _paths(pair)
    for pair in ("InstanceCreationDate InstanceCreationTime", "ContentDate ContentTime")
)


def summary(category: Category, attributes: Attributes) -> dict[str, object]:
    """What a search looks at and a result shows."""
    return {tag: attributes[tag] for tag in sorted(category.shown) if tag in attributes}


def matches(keys: Sequence[Key], attributes: Attributes) -> bool:
    """Whether attributes match all keys, a range of dates and one of times as one interval."""
    ranges = {key.path: key.match for key in keys if isinstance(key.match, Range)}
    joined: set[Path] = set()
    for date, time in DATE_TIME_PAIRS:
        if date in ranges and time in ranges:
            joined |= {date, time}
            if not _is_between(attributes, date, time, ranges[date], ranges[time]):
                return False
    return query_identifiers.matches([key for key in keys if key.path not in joined], attributes)


def _is_between(attributes: Attributes, date: Path, time: Path, dates: Range, times: Range) -> bool:
    day = matching.date_interval(first_text(attributes, date[0]))
    moment = matching.time_interval(first_text(attributes, time[0]))
    if day is None or moment is None:
        return False
    at = day[0] + moment[0]
    start = dates.start + (times.start or "") if dates.start else ""
    end = dates.end + (times.end or _LAST_TIME) if dates.end else None
    return start <= at and (end is None or at <= end)
