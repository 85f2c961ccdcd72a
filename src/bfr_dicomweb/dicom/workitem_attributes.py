"""Attributes of a workitem: who has to give which, when, and which can be searched by.

The table is PS3.4 Table CC.2.5-3, a line for each attribute. Types of SCU and SCP are those of
PS3.5 section 7.4, on creation (N-CREATE) and update (N-SET); ``2E`` is type 2 and empty, ``-`` is
not for the SCU to give, ``NA`` is not allowed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom.attributes import tag_of

Path = tuple[str, ...]

NOT_ALLOWED: Final = "NA"
EMPTY: Final = "2E"

# attribute, SCU/SCP on creation, on update, final state, matching key, return key, macro
_TABLE: Final = """
    SpecificCharacterSet                                       1C/1C  1C/1C  RC  -  1C  -
    SOPClassUID                                                -/1    NA     R   O  1   -
    SOPInstanceUID                                             3/1    NA     R   U  1   -
    ScheduledProcedureStepPriority                             1/1    3/1    R   R  1   -
    ScheduledProcedureStepModificationDateTime                 -/1    -/1    R   O  3   -
    ProcedureStepLabel                                         1/1    3/1    O   R  1   -
    WorklistLabel                                              2/1    3/1    O   R  1   -
    ScheduledProcessingParametersSequence                      2/2    3/2    O   -  2   CONTENT
    ScheduledStationNameCodeSequence                           2/2    3/2    O   R  2   CODE
    ScheduledStationClassCodeSequence                          2/2    3/2    O   R  2   CODE
    ScheduledStationGeographicLocationCodeSequence             2/2    3/2    O   R  2   CODE
    ScheduledHumanPerformersSequence                           2C/2C  3/2    O   R  2   -
    >HumanPerformerCodeSequence                                1/1    1/1    O   R  1   CODE
    >HumanPerformerName                                        1/1    1/1    O   O  3   -
    >HumanPerformerOrganization                                1/1    1/1    O   O  3   -
    ScheduledProcedureStepStartDateTime                        1/1    3/1    R   R  1   -
    ExpectedCompletionDateTime                                 3/1    3/1    O   R  3   -
    ScheduledProcedureStepExpirationDateTime                   3/3    3/3    O   O  3   -
    ScheduledWorkitemCodeSequence                              2/2    3/1    O   R  2   CODE
    CommentsOnTheScheduledProcedureStep                        2/2    3/1    O   O  3   -
    InputReadinessState                                        1/1    3/1    R   R  1   -
    InputInformationSequence                                   2/2    3/2    O   O  2   REFERENCES
    StudyInstanceUID                                           1C/2   3/2    O   O  2   -
    OutputDestinationSequence                                  3/3    3/3    O   O  3   STORAGE
    PatientName                                                2/2    NA     O   R  2   -
    PatientID                                                  1C/2   NA     O   R  2   ISSUER
    OtherPatientIDsSequence                                    2/2    3/3    O   O  2   -
    >PatientID                                                 1/1    1/1    O   O  1   ISSUER
    >TypeOfPatientID                                           3/3    3/3    O   O  3   -
    PatientBirthDate                                           2/2    NA     O   R  2   -
    PatientSex                                                 2/2    NA     O   R  2   -
    ReferencedPatientPhotoSequence                             3/3    3/3    O   -  3   REFERENCES
    AdmissionID                                                2/2    NA     O   R  2   -
    IssuerOfAdmissionIDSequence                                2/2    NA     O   R  2   DESIGNATOR
    AdmittingDiagnosesDescription                              2/2    NA     O   O  2   -
    AdmittingDiagnosesCodeSequence                             2/2    NA     O   O  2   CODE
    ReferencedRequestSequence                                  2/2    NA     O   R  2   -
    >StudyInstanceUID                                          1/1    NA     O   O  1   -
    >AccessionNumber                                           2/2    NA     O   R  2   -
    >IssuerOfAccessionNumberSequence                           2/2    NA     O   R  2   DESIGNATOR
    >PlacerOrderNumberImagingServiceRequest                    3/1    NA     O   O  1C  -
    >OrderPlacerIdentifierSequence                             2/2    NA     O   O  2   DESIGNATOR
    >FillerOrderNumberImagingServiceRequest                    3/1    NA     O   O  1C  -
    >OrderFillerIdentifierSequence                             2/2    NA     O   O  2   DESIGNATOR
    >RequestedProcedureID                                      2/2    NA     O   R  2   -
    >RequestedProcedureDescription                             2/2    NA     O   O  2   -
    >RequestedProcedureCodeSequence                            2/2    NA     O   O  2   CODE
    >ReasonForTheRequestedProcedure                            3/3    3/3    O   O  3   -
    >ReasonForRequestedProcedureCodeSequence                   3/3    3/3    O   O  3   CODE
    >RequestedProcedureComments                                3/3    3/3    O   O  1C  -
    >ConfidentialityCode                                       3/3    3/3    O   O  3   -
    >NamesOfIntendedRecipientsOfResults                        3/3    3/3    O   O  3   -
    >ImagingServiceRequestComments                             3/3    3/3    O   O  3   -
    >RequestingPhysician                                       3/3    3/3    O   O  3   -
    >RequestingService                                         3/1    3/1    O   R  3   -
    >RequestingServiceCodeSequence                             3/3    3/3    O   O  3   CODE
    >IssueDateOfImagingServiceRequest                          3/3    3/3    O   O  3   -
    >IssueTimeOfImagingServiceRequest                          3/3    3/3    O   O  3   -
    >ReferringPhysicianName                                    3/3    3/3    O   O  3   -
    ReplacedProcedureStepSequence                              1C/1C  NA     O   R  3   INSTANCE
    MedicalAlerts                                              3/2    3/2    O   O  2C  -
    PregnancyStatus                                            3/2    3/2    O   O  2C  -
    SpecialNeeds                                               3/2    3/2    O   O  2C  -
    ProcedureStepState                                         1/1    NA     R   R  1   -
    ProcedureStepProgressInformationSequence                   2E/2   3/2    X   -  2   -
    >ProcedureStepProgress                                     NA     3/1    O   -  -   -
    >ProcedureStepProgressDescription                          NA     3/1    O   -  -   -
    >ProcedureStepProgressParametersSequence                   NA     3/3    O   -  -   CONTENT
    >>ContentItemModifierSequence                              NA     3/3    O   -  -   CONTENT
    >ProcedureStepCommunicationsURISequence                    NA     3/1    O   -  -   -
    >>ContactURI                                               NA     1/1    O   -  -   -
    >>ContactDisplayName                                       NA     3/1    O   -  -   -
    >ProcedureStepCancellationDateTime                         NA     3/1    X   -  -   -
    >ReasonForCancellation                                     NA     3/1    O   -  -   -
    >ProcedureStepDiscontinuationReasonCodeSequence            NA     3/1    X   -  -   CODE
    UnifiedProcedureStepPerformedProcedureSequence             2E/2   3/2    P   -  -   -
    >ActualHumanPerformersSequence                             NA     3/1    RC  O  1C  -
    >>HumanPerformerCodeSequence                               NA     3/1    RC  -  -   CODE
    >>HumanPerformerName                                       NA     3/1    RC  -  -   -
    >>HumanPerformerOrganization                               NA     3/1    O   -  -   -
    >PerformedStationNameCodeSequence                          NA     3/2    P   O  3   CODE
    >PerformedStationClassCodeSequence                         NA     3/2    O   -  -   CODE
    >PerformedStationGeographicLocationCodeSequence            NA     3/2    O   -  -   CODE
    >PerformedProcedureStepStartDateTime                       NA     3/1    P   -  -   -
    >PerformedProcedureStepDescription                         NA     3/1    O   -  -   -
    >CommentsOnThePerformedProcedureStep                       NA     3/1    O   -  -   -
    >PerformedWorkitemCodeSequence                             NA     3/1    P   -  -   CODE
    >PerformedProcessingParametersSequence                     NA     3/1    O   -  -   CONTENT
    >PerformedProcedureStepEndDateTime                         NA     3/1    P   O  1C  -
    >OutputInformationSequence                                 NA     2/2    P   -  -   REFERENCES
"""

# What the items of a sequence hold by the macro that it includes: type 1, and at least one of.
_MACROS: Final = {
    # PS3.4 Table CC.2.5-2a
    "CODE": (
        ("CodingSchemeDesignator", "CodeMeaning"),
        ("CodeValue", "LongCodeValue", "URNCodeValue"),
    ),
    # PS3.4 Table CC.2.5-2b
    "CONTENT": (("ValueType", "ConceptNameCodeSequence"), ()),
    # PS3.4 Table CC.2.5-2c
    "REFERENCES": (
        ("TypeOfInstances", "ReferencedSOPSequence"),
        (
            "DICOMRetrievalSequence",
            "DICOMMediaRetrievalSequence",
            "WADORetrievalSequence",
            "XDSRetrievalSequence",
            "WADORSRetrievalSequence",
        ),
    ),
    "INSTANCE": (("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"), ()),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What Table CC.2.5-3 says of one attribute.

    Attributes:
        path: Tags; all but the last are sequences.
        create: Type for the SCU on creation; `create_scp` for the SCP.
        final: R is required in a final state, P in COMPLETED, X in CANCELED, RC under a condition.
        matching: U unique, R required and O optional keys; "-" is none.
        macro: That its items include; "-" is none.
        returned: Type as a return key; "-" is none.
        required: In each item, by the macro that the sequence includes; tags.
        one_of: At least one of these in each item; tags.
    """

    path: Path
    create: str
    create_scp: str
    update: str
    update_scp: str
    final: str
    matching: str
    returned: str
    macro: str
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


def _rules() -> Iterator[Rule]:
    above: Path = ()
    for line in _TABLE.strip().splitlines():
        name, create, update, final, matching, returned, macro = line.split()
        keyword = name.lstrip(">")
        above = (*above[: len(name) - len(keyword)], _tag(keyword))
        required, one_of = _MACROS.get(macro, ((), ()))
        yield Rule(
            above,
            *_both(create),
            *_both(update),
            final,
            matching,
            returned,
            macro,
            tuple(_tag(each) for each in required),
            tuple(_tag(each) for each in one_of),
        )


def _both(types: str) -> tuple[str, str]:
    scu, _, scp = types.partition("/")
    return scu, scp or scu


def _tag(keyword: str) -> str:
    tag = tag_of(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is not in PS3.6")
    return tag


RULES: Final = tuple(_rules())
RULE_OF: Final = {rule.path: rule for rule in RULES}


def below(path: Path) -> tuple[Rule, ...]:
    """The rules for what stands directly in items of this sequence, or in the data set for ()."""
    return _BELOW.get(path, ())


_BELOW: Final = {
    above: tuple(rule for rule in RULES if rule.path[:-1] == above)
    for above in {rule.path[:-1] for rule in RULES}
}

MATCHING_KEYS: Final = tuple(rule.path for rule in RULES if rule.matching in "URO")
# What items are searched by, by the macro that their sequence includes. Meanings are no keys.
_KEYS_OF_MACRO: Final = {
    "CODE": ("CodeValue", "CodingSchemeDesignator", "LongCodeValue", "URNCodeValue"),
    "REFERENCES": (
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "ReferencedSOPSequence.ReferencedSOPInstanceUID",
    ),
    "DESIGNATOR": ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType"),
    "INSTANCE": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
}


def _searched() -> Iterator[Path]:
    for rule in RULES:
        if rule.matching not in "URO":
            continue
        yield rule.path
        for key in _KEYS_OF_MACRO.get(rule.macro, ()):
            yield (*rule.path, *(_tag(part) for part in key.split(".")))
        if rule.macro == "ISSUER":
            yield (*rule.path[:-1], _tag("IssuerOfPatientID"))


SEARCHED: Final = frozenset(_searched())
# Always in the answer of a search: return key types 1 and 2, outermost tags.
RETURNED: Final = tuple(
    dict.fromkeys(rule.path[0] for rule in RULES if rule.returned in ("1", "2", "1C", "2C"))
)
