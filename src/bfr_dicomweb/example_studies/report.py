"""The measurement of the tumour in the CT of the abdomen, as a structured report (TID 1500)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from bfr_dicomweb.example_studies import computed_tomography as ct
from bfr_dicomweb.example_studies.anatomy import TUMOUR_CENTRE
from bfr_dicomweb.example_studies.identity import MANUFACTURER, Series, part10, uid

if TYPE_CHECKING:
    from highdicom.sr import MeasurementReport, PlanarROIMeasurementsAndQualitativeEvaluations

REPORT: Final = Series(
    study=ct.ABDOMEN.study,
    modality="SR",
    number=901,
    description="Mätning leverförändring",
    body_part="ABDOMEN",
    station="GRANSKNING1",
    model="Phantom workstation",
)
REPORTED_AT: Final = "20261012", "132200"
RADIOLOGIST: Final = "Sjöström^Göran^^Dr"


def report_files() -> Iterator[bytes]:
    # highdicom takes as long to import as all the other examples together
    from highdicom.sr import ComprehensiveSR

    trunk = ct.abdomen_trunk()
    index = round((TUMOUR_CENTRE[2] - ct.FIRST_MM) / ct.SLICE_MM)
    measured = ct.abdomen_slice(trunk, index)
    centre = trunk.pixel_of((*TUMOUR_CENTRE[:2], ct.slice_height_mm(index)))
    made = ComprehensiveSR(
        evidence=[measured],
        content=_content(measured, centre),
        series_instance_uid=REPORT.series_instance_uid,
        series_number=REPORT.number,
        sop_instance_uid=uid("sr abdomen"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=True,
        is_verified=True,
        institution_name="Exempelsjukhuset",
        verifying_observer_name=RADIOLOGIST,
        verifying_organization="Exempelsjukhuset",
    )
    _complete(made, measured)
    yield part10(made, ExplicitVRLittleEndian)


def _complete(made: Dataset, measured: Dataset) -> None:
    """Add what highdicom does not take, and replace its clock by the time of the example."""
    for keyword in ("StudyDescription", "NameOfPhysiciansReadingStudy", "ProcedureCodeSequence"):
        made[keyword] = measured[keyword]
    made["IssuerOfPatientIDQualifiersSequence"] = measured["IssuerOfPatientIDQualifiersSequence"]
    made.SeriesDescription = REPORT.description
    made.ManufacturerModelName = REPORT.model
    made.StationName = REPORT.station
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = REPORTED_AT[0]
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = REPORTED_AT[1]
    made.VerifyingObserverSequence[0].VerificationDateTime = "".join(REPORTED_AT)
    for item in made.ContributingEquipmentSequence:
        item.pop("ContributionDateTime", None)


def _content(measured: Dataset, centre: tuple[int, int]) -> "MeasurementReport":
    from highdicom.sr import (
        CodedConcept,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
        PersonObserverIdentifyingAttributes,
    )
    from pydicom.sr.codedict import codes

    observer = ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(name=RADIOLOGIST),
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_person_context=observer),
        procedure_reported=CodedConcept("169070004", "SCT", "Computed tomography of abdomen"),
        imaging_measurements=[_measurements(measured, centre)],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _measurements(
    measured: Dataset, centre: tuple[int, int]
) -> "PlanarROIMeasurementsAndQualitativeEvaluations":
    from highdicom.sr import (
        FindingSite,
        GraphicTypeValues,
        ImageRegion,
        Measurement,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes

    column, row = centre
    across = ct.TUMOUR_RADIUS_MM / ct.SPACING_MM
    down = across * 0.9
    region = ImageRegion(
        graphic_type=GraphicTypeValues.ELLIPSE,
        graphic_data=np.array(
            [
                [column - across, row],
                [column + across, row],
                [column, row - down],
                [column, row + down],
            ]
        ),
        source_image=SourceImageForRegion.from_source_image(measured),
    )
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=uid("sr tracking"), identifier="Leverförändring 1"
        ),
        referenced_region=region,
        finding_type=codes.SCT.Neoplasm,
        finding_sites=[FindingSite(anatomic_location=codes.SCT.Liver)],
        measurements=[
            Measurement(
                name=codes.SCT.LongAxis, value=2 * ct.TUMOUR_RADIUS_MM, unit=codes.UCUM.Millimeter
            ),
            Measurement(
                name=codes.SCT.ShortAxis,
                value=1.8 * ct.TUMOUR_RADIUS_MM,
                unit=codes.UCUM.Millimeter,
            ),
            Measurement(
                name=codes.DCM.AttenuationCoefficient,
                value=round(_mean_hounsfield(measured, centre, down * 0.6)),
                unit=codes.UCUM.HounsfieldUnit,
                derivation=codes.SCT.Mean,
            ),
        ],
    )


def _mean_hounsfield(measured: Dataset, centre: tuple[int, int], radius_px: float) -> float:
    stored = np.frombuffer(measured.PixelData, "<u2").reshape(measured.Rows, measured.Columns)
    rows, columns = np.ogrid[: measured.Rows, : measured.Columns]
    inside = np.hypot(columns - centre[0], rows - centre[1]) < radius_px
    return float(stored[inside].mean()) + ct.INTERCEPT
