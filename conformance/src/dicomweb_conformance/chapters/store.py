"""STW: storing instances as files (STOW-RS, section 10.5), and what the server answers."""

from typing import Final

from dicomweb_conformance import dicom_json, native_xml
from dicomweb_conformance.cases import case
from dicomweb_conformance.kept_instances import KEEP, expect_kept, get_when_there
from dicomweb_conformance.media_types import DICOM, DICOM_XML
from dicomweb_conformance.store_responses import (
    FAILED_SOPS,
    OTHER_FAILURES,
    REFERENCED_SOPS,
    RETRIEVE_URL,
    STORE,
    expect_stored,
    response_module,
    uids_in,
)
from dicomweb_conformance.submissions import as_files, new_study, stored_files, submit
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, Violated, expect, need

_SOP_CLASS: Final = "00081150"


@case(
    "STW-01",
    section="10.5.3.1, I.1",
    level=Level.SHALL,
    requirement="Storing one instance is answered with 200 and a reference to it.",
    request="POST {b}/studies with one CT slice, Accept: application/dicom+json",
    expected="200; (0008,1199) has one item with class, instance and retrieve URL",
    needs=STORE,
)
async def stored_instance_is_referenced(target: Target) -> None:
    instance = new_study(target).first
    answer = await submit(target, as_files(*stored_files(instance)))
    module = expect_stored(target, answer, instance)
    (item,) = dicom_json.values_of(module, REFERENCED_SOPS)
    held = dicom_json.text(item, _SOP_CLASS) == instance.sop_class_uid
    expect(held, f"{answer.asked}: (0008,1150) is not the SOP class of the instance")
    is_there = isinstance(item, dict) and RETRIEVE_URL in item
    expect(is_there, f"{answer.asked}: the item of (0008,1199) has no (0008,1190)")


@case(
    "STW-02",
    section="I.1",
    level=Level.SHALL,
    requirement="The response has the Retrieve URL of the study, which may be empty; where it is"
    " not, the study can be retrieved there.",
    request="POST {b}/studies, then GET of the URL in (0008,1190)",
    expected="(0008,1190) with VR UR; 200 where it points",
    needs=KEEP,
)
async def retrieve_url_leads_to_the_study(target: Target) -> None:
    study = new_study(target)
    answer = await submit(target, as_files(*stored_files(*study)))
    module = expect_stored(target, answer, *study)
    element = module.get(RETRIEVE_URL)
    vr = element.get("vr") if isinstance(element, dict) else None
    expect(vr == "UR", f"{answer.asked}: (0008,1190) is not there with VR UR")
    url = dicom_json.text(module, RETRIEVE_URL)
    if not url:
        target.note("the Retrieve URL of the study is empty")
        return
    expect(url.rstrip("/").endswith(study.path), f"{answer.asked}: (0008,1190) is another study's")
    if not url.startswith(target.base_url):
        target.note("the Retrieve URL is not below the base URL; it was not followed")
        return
    found = {file.sop_instance_uid for file in (await get_when_there(target, url, DICOM)).files()}
    expect(study.first.sop_instance_uid in found, "the instance is not behind the Retrieve URL")


@case(
    "STW-03",
    section="10.5.3.2",
    level=Level.SHALL,
    requirement="A response that tells of a new resource has Location and Content-Location.",
    request="POST {b}/studies with a study that the server does not have",
    expected="Location and Content-Location",
    needs=STORE,
)
async def new_study_has_its_location(target: Target) -> None:
    study = new_study(target)
    answer = await submit(target, as_files(*stored_files(*study)))
    need(answer.status in (200, 202), f"it cannot be stored: {answer.status}")
    missing = [name for name in ("Location", "Content-Location") if name not in answer.headers]
    expect(not missing, f"{answer.asked}: no {' and no '.join(missing)}")


@case(
    "STW-04",
    section="10.5.1.1.1",
    level=Level.SHALL,
    requirement="Instances can be stored into the study that their Study Instance UID names.",
    request="POST {b}/studies/{study} with a CT slice of that study",
    expected="200, and the slice can be retrieved",
    needs=KEEP,
)
async def instance_is_stored_into_its_study(target: Target) -> None:
    study = new_study(target)
    answer = await submit(target, as_files(*stored_files(*study)), study=study.uid)
    expect_stored(target, answer, *study)
    await expect_kept(target, *study)


@case(
    "STW-06",
    section="10.5.1.1.1, 10.5.3.1",
    level=Level.SHALL,
    requirement="One request may store instances of several studies.",
    request="POST {b}/studies with CT slices of two studies",
    expected="200, both are referenced and can be retrieved",
    needs=KEEP,
)
async def two_studies_in_one_request_are_stored(target: Target) -> None:
    both = (new_study(target).first, new_study(target).first)
    answer = await submit(target, as_files(*stored_files(*both)))
    expect_stored(target, answer, *both)
    await expect_kept(target, *both)


@case(
    "STW-14",
    section="10.5.4",
    level=Level.SHALL,
    requirement="The response can be had in the Native DICOM Model.",
    request="POST {b}/studies, Accept: application/dicom+xml; if that is not answered with XML, the"
    " same as multipart/related",
    expected="200, application/dicom+xml (alone or as the one part of a multipart)",
    needs=STORE,
)
async def response_can_be_xml(target: Target) -> None:
    instance = new_study(target).first
    sent = as_files(*stored_files(instance))
    answer = await submit(target, sent, accept="application/dicom+xml")
    if "dicom+xml" not in answer.headers.get("content-type", ""):
        target.note("XML is asked for as multipart/related")
        answer = await submit(target, sent, accept=DICOM_XML)
    answer.expect_status(200, 202)
    answer.expect_media_type("application/dicom+xml", "multipart/related")
    if answer.media_type.name == "multipart/related":
        document = answer.xml_documents()[0]
    else:
        try:
            document = native_xml.read(answer.content)
        except native_xml.NotReadable as error:
            raise Violated(f"{answer.asked}: {error}") from None
    held = uids_in(native_xml.to_json(document), REFERENCED_SOPS) == [instance.sop_instance_uid]
    expect(held, f"{answer.asked}: the instance is not in (0008,1199)")


@case(
    "STW-15",
    section="10.5.4, 10.5.3.3, I.1",
    level=Level.SHALL,
    requirement="The response module is a data set in DICOM JSON.",
    request="POST {b}/studies with one CT slice, Accept: application/dicom+json",
    expected="application/dicom+json: one object (in an array is tolerated) with (0008,1199)",
    needs=STORE,
)
async def response_is_a_dataset_in_json(target: Target) -> None:
    instance = new_study(target).first
    answer = await submit(target, as_files(*stored_files(instance)))
    need(answer.status in (200, 202), f"it cannot be stored: {answer.status}")
    module = response_module(target, answer)
    expect(REFERENCED_SOPS in module, f"{answer.asked}: there is no (0008,1199)")


@case(
    "STW-41",
    section="I.1",
    level=Level.SHALL,
    requirement="Sequences of the response module are there only with items: of what failed, and of"
    " what was stored.",
    request="POST {b}/studies with one CT slice",
    expected="neither (0008,1198) nor (0008,119A), which are of type 1C (PS3.5 section 7.4.2)",
    needs=STORE,
)
async def sequences_of_failures_are_only_there_with_failures(target: Target) -> None:
    answer = await submit(target, as_files(*stored_files(*new_study(target))))
    need(answer.status == 200, f"it is not stored with 200: {answer.status}")
    module = response_module(target, answer)
    need(bool(uids_in(module, REFERENCED_SOPS)), "the module names nothing that was stored")
    for tag, name in ((FAILED_SOPS, "(0008,1198)"), (OTHER_FAILURES, "(0008,119A)")):
        expect(tag not in module, f"{answer.asked}: {name} is there without a failure")
