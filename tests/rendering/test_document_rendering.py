"""Which documents and waveforms are rendered as what, and in which character set."""

import hashlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import highdicom.sr as hd
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.document_rendering import (
    encapsulated_document,
    media_types_of,
    render_document,
)
from content_items import a_report, code, container, opened, text
from objects import a_dataset, written
from pdf_text import pdf_text
from rendering_safety import assert_safe
from shared_data import dicom_files, require_shared_data
from waveforms import read

DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
PDF, CDA, STL, OBJ, MTL = (f"{DOCUMENTS}{number}" for number in range(1, 6))
TEXTS = ("text/html", "text/plain", "text/xml", "application/pdf")
FINDINGS = code("59776-5", "LN", "Findings")
SAMPLES = dicom_files(
    "by_modality/SR_*/*.dcm",
    "by_modality/SEG_SR_RWVM_tid1500/sr.dcm",
    "by_modality/DOC_*/*.dcm",
    "by_modality/M3D_SYNTHETIC/*.dcm",
    "by_modality/ECG_12lead/*",
    "by_modality/WAVEFORM_SYNTHETIC/*",
)


def a_document(content: bytes, sop_class_uid: str, **values: Any) -> Dataset:
    return a_dataset(
        SOPClassUID=sop_class_uid,
        Modality="DOC",
        PixelData=None,
        EncapsulatedDocument=content + b"\0" * (len(content) % 2),
        **values,
    )


def rendered(dataset: Dataset, media_type: str, **options: Any) -> bytes:
    return render_document(read(dataset), media_type, **options)


def a_swedish_report(said: str = "Ödem på höger sida.") -> StoredObject:
    return opened(a_report(container(FINDINGS, text(None, said))))


def types_of(stored: StoredObject) -> tuple[str, ...]:
    return media_types_of(stored.attributes, stored.sop_class_uid)


# --- what is rendered as what ----------------------------------------------------------------


def test_a_report_is_text_and_html_first() -> None:
    assert types_of(a_swedish_report()) == TEXTS


def test_a_content_tree_of_another_class_is_a_report_too() -> None:
    macular_grid = "1.2.840.10008.5.1.4.1.1.79.1"

    assert media_types_of(a_report(text(None, "a"), sop_class=macular_grid), macular_grid) == TEXTS


@pytest.mark.parametrize(
    ("sop_class_uid", "media_types"),
    [
        (PDF, ("application/pdf",)),
        (CDA, TEXTS),
        (STL, ("model/stl",)),
        (OBJ, ("model/obj",)),
        (MTL, ("model/mtl",)),
    ],
)
def test_encapsulated_documents_are_what_they_hold(
    sop_class_uid: str, media_types: tuple[str, ...]
) -> None:
    assert types_of(read(a_document(b"x", sop_class_uid))) == media_types


def test_images_are_no_documents() -> None:
    assert types_of(read(a_dataset())) == ()


def test_key_object_selections_are_shown_as_their_images() -> None:
    selection = "1.2.840.10008.5.1.4.1.1.88.59"

    assert media_types_of(a_report(sop_class=selection), selection) == ()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_rendered_in_every_form_they_have(path: Path) -> None:
    require_shared_data()
    stored = StoredObject.read(path)

    media_types = types_of(stored)
    assert media_types
    for media_type in media_types:
        content = render_document(stored, media_type)
        assert content
        if media_type == "text/html":
            assert_safe(content.decode())
        if media_type == "text/xml":
            ElementTree.fromstring(content)


@pytest.mark.parametrize("media_type", ["image/jpeg", "text/rtf", "", "text/HTML"])
def test_a_form_that_it_does_not_have_is_not_acceptable(media_type: str) -> None:
    with pytest.raises(NotAcceptable):
        render_document(a_swedish_report(), media_type)


def test_an_image_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        rendered(a_dataset(), "text/html")


def test_a_report_of_highdicom_is_read_in_every_form() -> None:
    image = dcmread_like_ct()
    context = hd.ObservationContext(
        observer_person_context=hd.ObserverContext(
            codes.DCM.Person, hd.PersonObserverIdentifyingAttributes(name="Ek^Åsa")
        )
    )
    size = hd.Measurement(codes.SCT.Diameter, 12.5, codes.UCUM.Millimeter)
    group = hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(identifier="Nodulus 1"),
        finding_type=codes.SCT.Nodule,
        measurements=[size],
    )
    content = hd.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    report = hd.ComprehensiveSR(
        evidence=[image],
        content=content,
        series_number=1,
        series_instance_uid="2.25.5",
        sop_instance_uid="2.25.6",
        instance_number=1,
        manufacturer="M",
        is_complete=True,
        is_verified=False,
    )

    assert "Diameter: 12.5 mm" in rendered(report, "text/plain").decode()
    assert "Person Observer Name Åsa Ek" in pdf_text(rendered(report, "application/pdf"))
    assert "Nodulus 1" in rendered(report, "text/html").decode()


def dcmread_like_ct() -> Dataset:
    """With what highdicom wants of evidence."""
    return a_dataset(StudyDescription="CT", ReferringPhysicianName="", FrameOfReferenceUID="2.25.9")


# --- character sets --------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["text/html", "text/plain", "text/xml"])
@pytest.mark.parametrize("charset", ["utf-8", "ISO-8859-1", "windows-1252", "ISO-8859-15"])
def test_texts_are_in_the_character_set_that_is_asked_for(media_type: str, charset: str) -> None:
    content = render_document(a_swedish_report(), media_type, charset=charset)

    assert "Ödem på höger sida." in content.decode(charset)


@pytest.mark.parametrize("media_type", ["text/html", "text/plain", "text/xml"])
def test_a_character_set_without_the_letters_is_not_acceptable(media_type: str) -> None:
    with pytest.raises(NotAcceptable, match="us-ascii"):
        render_document(a_swedish_report(), media_type, charset="us-ascii")


def test_html_declares_its_character_set() -> None:
    content = render_document(a_swedish_report(), "text/html", charset="ISO-8859-1")

    assert b'<meta charset="iso-8859-1">' in content


def test_xml_declares_its_character_set() -> None:
    content = render_document(a_swedish_report(), "text/xml", charset="ISO-8859-1")

    assert content.startswith(b'<?xml version="1.0" encoding="iso-8859-1"?>')
    assert "Ödem" in "".join(ElementTree.fromstring(content).itertext())


def test_the_xml_of_a_report_is_its_native_dicom_model() -> None:
    root = ElementTree.fromstring(render_document(a_swedish_report(), "text/xml"))

    assert root.tag == "{http://dicom.nema.org/PS3.19/models/NativeDICOM}NativeDicomModel"


def test_bulk_data_in_the_xml_lies_below_the_instance() -> None:
    report = a_report(text(None, "a"))
    report["00091001"] = {"vr": "OB", "BulkDataURI": "\0/bulkdata/00091001"}

    content = render_document(opened(report), "text/xml", instance_url="https://a.example/i/1")
    assert b'uri="https://a.example/i/1/bulkdata/00091001"' in content


# --- encapsulated documents ------------------------------------------------------------------


@pytest.mark.parametrize("length", [999, 1000, 5, 4, 70_001])
def test_an_encapsulated_pdf_is_the_bytes_that_were_put_in(length: int) -> None:
    content = (b"%PDF-1.4\n" + bytes(range(1, 256)) * 300)[:length]
    dataset = a_document(content, PDF, EncapsulatedDocumentLength=length)

    assert rendered(dataset, "application/pdf") == content


def test_padding_is_taken_away_where_no_length_is_told() -> None:
    assert rendered(a_document(b"%PDF-1.4\n", PDF), "application/pdf") == b"%PDF-1.4\n"


def test_the_bytes_of_a_sample_are_pydicoms() -> None:
    require_shared_data()
    for path in dicom_files("by_modality/DOC_encapsulated_pdf/*", "by_modality/M3D_SYNTHETIC/*"):
        stored, dataset = StoredObject.read(path), dcmread(path)
        size = dataset.get("EncapsulatedDocumentLength", len(dataset.EncapsulatedDocument))
        expected = dataset.EncapsulatedDocument[:size]
        found = encapsulated_document(stored)
        assert hashlib.sha256(found).digest() == hashlib.sha256(expected).digest()


def test_an_empty_document_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        rendered(a_document(b"", PDF), "application/pdf")


def test_a_pdf_is_not_shown_as_html() -> None:
    with pytest.raises(NotAcceptable, match="application/pdf"):
        rendered(a_document(b"%PDF-1.4\n", PDF), "text/html")


CLINICAL = (
    '<?xml version="1.0" encoding="ISO-8859-1"?><ClinicalDocument xmlns="urn:hl7-org:v3">'
    "<title>Röntgensvar</title><component><structuredBody><component><section><text>Ödem.</text>"
    "</section></component></structuredBody></component></ClinicalDocument>"
).encode("latin-1")


def test_the_xml_of_a_clinical_document_is_the_document_itself() -> None:
    assert rendered(a_document(CLINICAL, CDA), "text/xml") == CLINICAL


@pytest.mark.parametrize("media_type", ["text/html", "text/plain"])
def test_a_clinical_document_is_shown_in_the_character_set_that_is_asked_for(
    media_type: str,
) -> None:
    found = rendered(a_document(CLINICAL, CDA), media_type, charset="utf-8").decode()

    assert "Röntgensvar" in found
    assert "Ödem." in found


def test_a_clinical_document_is_set_as_pdf() -> None:
    said = pdf_text(rendered(a_document(CLINICAL, CDA), "application/pdf"))

    assert "Röntgensvar" in said
    assert "Ödem." in said


def test_the_same_file_is_rendered_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "document.dcm"
    path.write_bytes(written(a_document(CLINICAL, CDA)))

    assert render_document(StoredObject.read(path), "text/xml") == CLINICAL
