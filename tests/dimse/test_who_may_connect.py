"""Which requests for an association are accepted, and for what; DCMTK and pynetdicom call."""

import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from pydicom.uid import UID
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from associations import IMPLICIT, VERIFICATION, answer_of, rejection, request
from bfr_dicomweb.dimse import negotiation
from bfr_dicomweb.dimse.peers import Peer, Permission
from dimse_served import Served, served

PEERS = (
    Peer("KNOWN"),
    Peer("ELSEWHERE", addresses=(ip_network("192.0.2.0/24"),)),
    Peer("HERE", addresses=(ip_network("127.0.0.0/8"),)),
    Peer("SECURE", tls=True),
    Peer("OLDNAME", called=("PACS",)),
    Peer("ECHO_ONLY", may=frozenset()),
    Peer("READER", may=frozenset({Permission.QUERY, Permission.RETRIEVE})),
    Peer("SENDER", may=frozenset({Permission.STORE})),
)
CT = "1.2.840.10008.5.1.4.1.1.2"
PRINTING = "1.2.840.10008.5.1.1.9"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
JPEG_LS = "1.2.840.10008.1.2.4.80"
PRIVATE = "1.3.12.2.1107.5.9.1"
RETIRED = "1.2.840.10008.5.1.1.30"  # Hardcopy Color Image Storage


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("door"), peers=PEERS) as open_archive:
        yield open_archive


def echoed(archive: Served, calling: str, called: str = "BFR") -> str:
    """What DCMTK says of it; nothing when all is well."""
    done = subprocess.run(
        ["echoscu", "-aet", calling, "-aec", called, "127.0.0.1", str(archive.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stderr + done.stdout


@pytest.mark.parametrize("calling", ["KNOWN", "HERE", "ECHO_ONLY"])
def test_a_known_peer_is_accepted(archive: Served, calling: str) -> None:
    assert echoed(archive, calling) == ""


def test_an_unknown_calling_title_is_rejected_as_not_recognized(archive: Served) -> None:
    said = echoed(archive, "STRANGER")

    assert "Rejected Permanent, Source: Service User" in said
    assert "Calling AE Title Not Recognized" in said


def test_the_case_of_a_title_counts(archive: Served) -> None:
    assert "Calling AE Title Not Recognized" in echoed(archive, "known")


def test_another_called_title_is_rejected_as_not_recognized(archive: Served) -> None:
    said = echoed(archive, "KNOWN", called="PACS")

    assert "Rejected Permanent, Source: Service User" in said
    assert "Called AE Title Not Recognized" in said


def test_a_peer_may_call_under_the_title_that_it_has_for_this_archive(archive: Served) -> None:
    assert echoed(archive, "OLDNAME", called="PACS") == ""


def test_a_peer_that_calls_from_another_address_is_rejected(archive: Served) -> None:
    assert "Calling AE Title Not Recognized" in echoed(archive, "ELSEWHERE")


def test_a_peer_that_has_to_use_tls_is_rejected_without(archive: Served) -> None:
    said = echoed(archive, "SECURE")

    assert "Rejected Permanent, Source: Service User" in said
    assert "No Reason" in said


def test_titles_that_are_padded_with_zeros_are_taken(archive: Served) -> None:
    assert answer_of(archive.port, request(calling="KNOWN\0\0", called="BFR\0"))[0] == 2


def test_another_application_context_is_rejected(archive: Served) -> None:
    answer = answer_of(archive.port, request(calling="KNOWN", application_context="1.2.3"))

    assert rejection(answer) == (1, 1, 2)


def test_a_pdu_length_that_holds_nothing_is_rejected(archive: Served) -> None:
    assert rejection(answer_of(archive.port, request(calling="KNOWN", max_pdu_bytes=6))) == (
        1,
        1,
        1,
    )


# --- presentation contexts -----------------------------------------------------------------------


def associated(
    archive: Served,
    calling: str,
    *contexts: tuple[str, list[str]],
    items: tuple[Any, ...] = (),
) -> Association:
    """Released again; what was agreed on stays in it."""
    entity = AE(calling)
    for sop_class, transfer_syntaxes in contexts:
        entity.add_requested_context(sop_class, transfer_syntaxes)
    found = entity.associate("127.0.0.1", archive.port, ae_title="BFR", ext_neg=list(items))
    if found.is_established:
        found.release()
    return found


def results(association: Association) -> dict[str, int]:
    contexts = (*association.accepted_contexts, *association.rejected_contexts)
    return {str(cx.abstract_syntax): int(cx.result or 0) for cx in contexts}


@pytest.mark.parametrize("sop_class", [CT, PRIVATE, RETIRED])
def test_every_storage_sop_class_is_accepted(archive: Served, sop_class: str) -> None:
    association = associated(archive, "SENDER", (sop_class, [IMPLICIT]))

    assert results(association) == {sop_class: 0}


@pytest.mark.parametrize("sop_class", [PRINTING, "1.2.840.10008.1.20.9"])
def test_other_sop_classes_are_not_supported(archive: Served, sop_class: str) -> None:
    asked = ((sop_class, [IMPLICIT]), (VERIFICATION, [IMPLICIT]))

    assert results(associated(archive, "KNOWN", *asked)) == {sop_class: 3, VERIFICATION: 0}


def test_a_sop_class_is_storage_when_its_user_says_so(archive: Served) -> None:
    unknown = "1.2.840.10008.5.1.4.99.1"
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid, item.service_class_uid = UID(unknown), UID("1.2.840.10008.4.2")

    association = associated(archive, "SENDER", (unknown, [IMPLICIT]), items=(item,))

    assert results(association) == {unknown: 0}


def test_the_transfer_syntax_that_a_sender_likes_best_is_taken(archive: Served) -> None:
    context = (CT, [JPEG_LS, IMPLICIT])

    (accepted,) = associated(archive, "SENDER", context).accepted_contexts

    assert accepted.transfer_syntax == [JPEG_LS]


def test_a_private_transfer_syntax_is_taken_when_there_is_no_other(archive: Served) -> None:
    private = "1.2.840.113619.5.2.99"
    both = associated(archive, "SENDER", (CT, [private, IMPLICIT]))
    alone = associated(archive, "SENDER", (CT, [private]))

    assert both.accepted_contexts[0].transfer_syntax == [IMPLICIT]
    assert alone.accepted_contexts[0].transfer_syntax == [private]


def test_a_service_in_no_common_transfer_syntax_is_rejected_for_that(archive: Served) -> None:
    asked = ((VERIFICATION, [JPEG_LS]), (CT, [JPEG_LS]))

    assert results(associated(archive, "KNOWN", *asked)) == {VERIFICATION: 4, CT: 0}


def test_what_a_peer_may_not_is_a_user_rejection(archive: Served) -> None:
    asked = ((CT, [IMPLICIT]), (VERIFICATION, [IMPLICIT]))

    assert results(associated(archive, "READER", *asked)) == {CT: 1, VERIFICATION: 0}


def test_who_may_retrieve_is_sent_objects_on_its_association(archive: Served) -> None:
    role = build_role(CT, scu_role=True, scp_role=True)
    asked = (
        (CT, [IMPLICIT]),
        (STUDY_ROOT_GET, [IMPLICIT]),
    )

    association = associated(archive, "READER", *asked, items=(role,))

    given = association.acceptor.role_selection[UID(CT)]
    assert (given.scu_role, given.scp_role) == (False, True)


def test_who_may_store_only_is_sent_nothing(archive: Served) -> None:
    role = build_role(CT, scu_role=True, scp_role=True)

    association = associated(archive, "SENDER", (CT, [IMPLICIT]), items=(role,))

    given = association.acceptor.role_selection[UID(CT)]
    assert (given.scu_role, given.scp_role) == (True, False)


def test_of_a_context_that_is_refused_no_roles_are_told(archive: Served) -> None:
    role = build_role(CT, scu_role=True, scp_role=True)
    asked = ((CT, [IMPLICIT]), (VERIFICATION, [IMPLICIT]))

    association = associated(archive, "ECHO_ONLY", *asked, items=(role,))

    assert results(association) == {CT: 1, VERIFICATION: 0}
    assert association.acceptor.role_selection == {}


# --- extended negotiation ------------------------------------------------------------------------


def extension(sop_class: str, information: bytes) -> SOPClassExtendedNegotiation:
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = UID(sop_class)
    item.service_class_application_information = information
    return item


@pytest.mark.parametrize(
    ("proposed", "agreed"),
    [
        (b"\x01", b"\x01"),
        (b"\x01\x01\x01", b"\x01\x01\x01"),
        (b"\x00\x01\x00\x00", b"\x00\x01\x00\x00"),
        (b"\x01\x01\x01\x01\x01", b"\x01\x01\x01\x01\x00"),
    ],
)
def test_what_is_supported_of_a_proposed_extension_is_agreed(
    archive: Served, proposed: bytes, agreed: bytes
) -> None:
    model = STUDY_ROOT_FIND
    context = (model, [IMPLICIT])

    association = associated(archive, "READER", context, items=(extension(model, proposed),))

    assert association.acceptor.sop_class_extended == {model: agreed}
    assert negotiation.extended(association, model) == negotiation.Extended(
        *(byte == 1 for byte in agreed)
    )


def test_nothing_is_agreed_that_was_not_proposed(archive: Served) -> None:
    model = STUDY_ROOT_FIND

    association = associated(archive, "READER", (model, [IMPLICIT]))

    assert association.acceptor.sop_class_extended == {}
    assert negotiation.extended(association, model) == negotiation.Extended()


def test_storage_is_of_level_2_and_keeps_signatures(archive: Served) -> None:
    asked = extension(CT, b"\x02\x00\x03\x00\x02\x00")

    association = associated(archive, "SENDER", (CT, [IMPLICIT]), items=(asked,))

    assert association.acceptor.sop_class_extended == {CT: b"\x02\x00\x03\x00\x00\x00"}


def test_operations_come_one_at_a_time(archive: Served) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 8
    window.maximum_number_operations_performed = 8

    association = associated(archive, "KNOWN", (VERIFICATION, [IMPLICIT]), items=(window,))

    assert association.acceptor.asynchronous_operations == (1, 1)


def test_a_user_identity_is_taken_and_not_confirmed(archive: Served) -> None:
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 2
    identity.primary_field, identity.secondary_field = b"user", b"secret"
    identity.positive_response_requested = True

    association = associated(archive, "KNOWN", (VERIFICATION, [IMPLICIT]), items=(identity,))

    assert results(association) == {VERIFICATION: 0}
    assert association.acceptor.user_identity is None
