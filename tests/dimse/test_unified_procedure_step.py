"""Workitems over DIMSE (PS3.4 Annex CC), by pynetdicom's SCU, beside what the services say."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when it is imported
    StudyRootQueryRetrieveInformationModelFind,
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
)

from bfr_dicomweb.dicom.matching import parse_asked
from bfr_dicomweb.dicom.workitem_attributes import SEARCHED
from bfr_dicomweb.dimse import delivery
from bfr_dicomweb.dimse.peers import ANY, Peer, Permission, Quirks
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.services import dispatching, worklist
from dimse_peers import delivering, until
from dimse_served import AE_TITLE, Served, served
from live import free_port
from workitems_said import (
    FILTERED_WORKLIST,
    WORKLIST,
    a_workitem,
    coded,
    new_uid,
    performed,
    progress,
    state,
    text,
)

READER, LATIN, QUERIER, SILENT = "READER", "LATIN", "QUERIER", "SILENT"
CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = 1, 2, 3, 4, 5
STATE_REPORT, CANCEL_REQUESTED, PROGRESS, STATUS_CHANGE, ASSIGNED = 1, 2, 3, 4, 5
SUCCESS, FINAL_STATE_NOT_MET, NO_SUCH_WORKITEM, UNKNOWN_AE = 0x0000, 0xC304, 0xC307, 0xC308
STATE, LABEL = Tag("ProcedureStepState"), Tag("ProcedureStepLabel")
CONTEXTS = (
    UnifiedProcedureStepPush,
    UnifiedProcedureStepWatch,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepQuery,
)

Json = dict[str, Any]


def dataset_of(attributes: Json) -> Dataset:
    with disable_value_validation():
        made = Dataset.from_json(json.dumps(attributes))
    made.SpecificCharacterSet = "ISO_IR 192"
    return made


def json_of(dataset: Dataset) -> Json:
    found: Json = dataset.to_json_dict()
    found.pop("00080005", None)
    return found


class Client:
    """An SCU with an association; each message gives its status."""

    def __init__(self, association: Association, context: str | None = None) -> None:
        self.association = association
        self._context = context

    def create(self, attributes: Json | None = None, workitem: str | None = None) -> Dataset:
        status, _ = self.association.send_n_create(
            dataset_of(attributes or a_workitem()),
            UnifiedProcedureStepPush,
            workitem,
            meta_uid=self._context,
        )
        return status

    def created(self, attributes: Json | None = None) -> str:
        workitem = new_uid()
        assert self.create(attributes, workitem).Status == SUCCESS
        return workitem

    def get(self, workitem: str, *tags: BaseTag) -> tuple[Dataset, Dataset | None]:
        return self.association.send_n_get(
            list(tags), UnifiedProcedureStepPush, workitem, meta_uid=self._context
        )

    def held(self, workitem: str) -> Dataset:
        status, found = self.get(workitem)
        assert status.Status == SUCCESS
        assert found is not None
        return found

    def update(self, workitem: str, changes: Json, transaction: str | None = None) -> Dataset:
        if transaction:
            changes = changes | {"00081195": text("UI", transaction)}
        status, _ = self.association.send_n_set(
            dataset_of(changes), UnifiedProcedureStepPush, workitem, meta_uid=self._context
        )
        return status

    def act(self, kind: int, workitem: str, information: Json | None = None) -> int:
        status, _ = self.association.send_n_action(
            None if information is None else dataset_of(information),
            kind,
            UnifiedProcedureStepPush,
            workitem,
            meta_uid=self._context,
        )
        return int(status.Status)

    def change(self, workitem: str, requested: str, transaction: str | None = None) -> int:
        return self.act(CHANGE_STATE, workitem, state(requested, transaction))

    def cancel(self, workitem: str, information: Json | None = None) -> int:
        return self.act(REQUEST_CANCEL, workitem, information)

    def claimed(self, attributes: Json | None = None) -> tuple[str, str]:
        workitem, transaction = self.created(attributes), new_uid()
        assert self.change(workitem, "IN PROGRESS", transaction) == SUCCESS
        return workitem, transaction

    def completed(self) -> tuple[str, str]:
        workitem, transaction = self.claimed()
        assert self.update(workitem, performed(), transaction).Status == SUCCESS
        assert self.change(workitem, "COMPLETED", transaction) == SUCCESS
        return workitem, transaction

    def canceled(self) -> tuple[str, str]:
        workitem, transaction = self.claimed()
        assert self.change(workitem, "CANCELED", transaction) == SUCCESS
        return workitem, transaction

    def find(self, keys: Json, model: str = UnifiedProcedureStepPull) -> list[Dataset]:
        return [answer for _, answer in self.answers(keys, model)]

    def answers(
        self, keys: Json, model: str = UnifiedProcedureStepPull
    ) -> list[tuple[int, Dataset]]:
        *found, last = self.association.send_c_find(dataset_of(keys), model)
        assert last[0].Status == SUCCESS, last[0]
        return [(status.Status, answer) for status, answer in found if answer is not None]

    def subscribe(self, workitem: str, aet: str = READER, **more: Any) -> int:
        return self.act(SUBSCRIBE, workitem, receiving(aet, **more))

    def unsubscribe(self, workitem: str, aet: str = READER) -> int:
        return self.act(UNSUBSCRIBE, workitem, receiving(aet))


def receiving(aet: str, lock: str | None = "FALSE", keys: Json | None = None) -> Json:
    information = {"00741234": text("AE", aet), **(keys or {})}
    if lock is not None:
        information["00741230"] = text("LO", lock)
    return information


class Subscriber:
    """An application entity that is told of events; statuses as it is bidden."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.port = free_port()
        self.reports: list[tuple[str, int | None, Dataset]] = []
        self.attempts: list[str] = []
        self.status: Callable[[evt.Event], int] = lambda event: SUCCESS
        self.syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        self._server: Any = None

    def peer(self, **more: Any) -> Peer:
        return Peer(self.title, host="127.0.0.1", port=self.port, **more)

    def start(self) -> None:
        entity = AE(self.title)
        entity.add_supported_context(
            UnifiedProcedureStepEvent, self.syntaxes, scu_role=True, scp_role=True
        )
        self._server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._hear)],
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _hear(self, event: evt.Event) -> tuple[int, None]:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        self.attempts.append(uid)
        status = self.status(event)
        if status == SUCCESS:
            assert request.AffectedSOPClassUID == UnifiedProcedureStepPush
            self.reports.append((uid, event.event_type, event.event_information))
        return status, None

    def of(self, workitem: str, count: int) -> list[tuple[int | None, str]]:
        """Type and state of what came of a workitem, once it is so much."""

        def found() -> list[tuple[int | None, str]]:
            return [
                (kind, told.get("ProcedureStepState", ""))
                for uid, kind, told in tuple(self.reports)
                if uid == workitem
            ]

        with suppress(TimeoutError):
            until(lambda: len(found()) >= count)
        return found()

    def told(self, workitem: str, kind: int) -> Dataset:
        """The first report of this type."""

        def found() -> list[Dataset]:
            return [told for uid, of, told in self.reports if (uid, of) == (workitem, kind)]

        first: Dataset = until(found)[0]
        return first


@contextmanager
def associated(
    archive: Served,
    contexts: Sequence[str] = CONTEXTS,
    *,
    title: str = "SCU",
    syntaxes: Sequence[str] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
) -> Iterator[Association]:
    entity = AE(title)
    for context in contexts:
        entity.add_requested_context(context, list(syntaxes))
    association = entity.associate("127.0.0.1", archive.port, ae_title=AE_TITLE)
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


@pytest.fixture(scope="module")
def reader() -> Iterator[Subscriber]:
    subscriber = Subscriber(READER)
    subscriber.start()
    yield subscriber
    subscriber.stop()


@pytest.fixture(scope="module")
def latin() -> Iterator[Subscriber]:
    subscriber = Subscriber(LATIN)
    subscriber.syntaxes = [ImplicitVRLittleEndian]
    subscriber.start()
    yield subscriber
    subscriber.stop()


@pytest.fixture(scope="module")
def silent() -> Iterator[Subscriber]:
    """Listens when a test lets it."""
    subscriber = Subscriber(SILENT)
    yield subscriber
    subscriber.stop()


@pytest.fixture(scope="module")
def archive(
    reader: Subscriber,
    latin: Subscriber,
    silent: Subscriber,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    peers = (
        Peer(ANY),
        reader.peer(),
        latin.peer(quirks=Quirks(character_set="ISO_IR 100")),
        silent.peer(response_seconds=1),
        Peer(QUERIER, may=frozenset(Permission) - {Permission.WORKITEM}),
    )
    folder = tmp_path_factory.mktemp("workitems")
    with (
        pytest.MonkeyPatch.context() as patched,
        served(folder, peers=peers) as archive,
    ):
        # the pauses of the dispatcher between its attempts
        patched.setattr(dispatching, "FIRST_PAUSE_S", 0.05)
        patched.setattr(dispatching, "LONGEST_PAUSE_S", 0.2)
        with delivering(archive):
            yield archive


@pytest.fixture(scope="module")
def client(archive: Served) -> Iterator[Client]:
    with associated(archive) as association:
        yield Client(association)


@pytest.fixture
def label() -> str:
    """Of a worklist that no other test knows."""
    return new_uid()[-16:]


@pytest.fixture
def subscriber(client: Client, reader: Subscriber) -> Iterator[Subscriber]:
    yield reader
    client.unsubscribe(WORKLIST)


def retrieved(archive: Served, workitem: str) -> Json:
    found = archive.wait(worklist.retrieve(archive.archive.index, workitem))
    return dict(found.attributes)


# --- contexts and permission -----------------------------------------------------------------


@pytest.mark.parametrize("context", [*CONTEXTS, UnifiedProcedureStepEvent])
def test_each_context_is_accepted_alone(archive: Served, context: str) -> None:
    with associated(archive, [context]) as association:
        assert [each.abstract_syntax for each in association.accepted_contexts] == [context]


@pytest.mark.parametrize("context", CONTEXTS)
def test_messages_name_push_on_whatever_context_they_come(archive: Served, context: str) -> None:
    with associated(archive, [context]) as association:
        client = Client(association, context)
        workitem, _ = client.claimed()
        assert client.held(workitem).ProcedureStepState == "IN PROGRESS"


def test_who_is_not_permitted_gets_no_context(archive: Served) -> None:
    contexts = [StudyRootQueryRetrieveInformationModelFind, *CONTEXTS]
    with associated(archive, contexts, title=QUERIER) as association:
        accepted = [each.abstract_syntax for each in association.accepted_contexts]
        assert accepted == [StudyRootQueryRetrieveInformationModelFind]


def test_who_is_not_permitted_is_refused_on_another_context(archive: Served) -> None:
    contexts = [StudyRootQueryRetrieveInformationModelFind]
    with associated(archive, contexts, title=QUERIER) as association:
        client = Client(association, StudyRootQueryRetrieveInformationModelFind)
        assert client.create(workitem=new_uid()).Status == 0x0124
        assert client.get(new_uid())[0].Status == 0x0124


def test_events_are_not_told_to_the_archive(archive: Served) -> None:
    with associated(archive, [UnifiedProcedureStepEvent]) as association:
        status, _ = association.send_n_event_report(
            None, STATE_REPORT, UnifiedProcedureStepEvent, new_uid()
        )
        assert status.Status == 0x0211


# --- N-CREATE --------------------------------------------------------------------------------


def test_what_is_created_is_what_http_retrieves(archive: Served, client: Client) -> None:
    given = a_workitem(T00404025=coded("CT1", "Datortomograf Östra"))
    workitem = client.created(given)

    held = retrieved(archive, workitem)

    added = ("00080016", "00080018", "00404010")
    assert {tag: held[tag] for tag in held if tag not in added} == {
        tag: given[tag] for tag in given if tag != "00081195"
    }


def test_what_http_created_is_what_n_get_retrieves(archive: Served, client: Client) -> None:
    workitem = new_uid()
    given = a_workitem(T00404025=coded("CT1", "Datortomograf Östra"))
    archive.wait(worklist.create(archive.archive.index, given, uid=workitem))

    held = dataset_of(retrieved(archive, workitem))

    assert json_of(client.held(workitem)) == json_of(held)


def test_large_values_are_kept(archive: Served, client: Client) -> None:
    dataset = dataset_of(a_workitem())
    dataset.private_block(0x0019, "BFR TEST", create=True).add_new(1, "OB", b"ab" * 5000)
    workitem = new_uid()
    status, _ = client.association.send_n_create(dataset, UnifiedProcedureStepPush, workitem)
    assert status.Status == SUCCESS
    assert client.held(workitem)[0x0019, 0x1001].value == b"ab" * 5000


@pytest.mark.parametrize(("given", "status"), [("UNILABS", SUCCESS), ("", 0xB300)])
def test_a_workitem_without_a_uid_is_given_one(archive: Served, given: str, status: int) -> None:
    with associated(archive) as association, answered(association) as answers:
        client = Client(association)
        assert client.create(a_workitem(T00741202=text("LO", given))).Status == status
        made = answers[-1].AffectedSOPInstanceUID
        assert client.held(made).WorklistLabel == (given or "BFR")


@contextmanager
def answered(association: Association) -> Iterator[list[Dataset]]:
    """Command sets of what is answered, of which pynetdicom shows a part."""
    found: list[Dataset] = []

    def keep(event: evt.Event) -> None:
        found.append(event.message.command_set)

    association.bind(evt.EVT_DIMSE_RECV, keep)
    yield found
    association.unbind(evt.EVT_DIMSE_RECV, keep)


def test_the_uid_of_the_data_set_is_taken(client: Client) -> None:
    workitem = new_uid()
    client.create(a_workitem(T00080018=text("UI", workitem)))
    assert client.held(workitem).SOPInstanceUID == workitem


@pytest.mark.parametrize("left_out", ["00100030", "0040A370"])
def test_what_is_of_type_2_is_added(client: Client, left_out: str) -> None:
    workitem = new_uid()
    status = client.create(a_workitem(**{f"T{left_out}": None}), workitem)
    assert status.Status == 0xB300
    assert Tag(left_out) in client.held(workitem)


def test_a_uid_is_used_once(client: Client) -> None:
    assert client.create(workitem=client.created()).Status == 0x0111


@pytest.mark.parametrize(
    ("tag", "element", "status"),
    [
        ("00741200", None, 0x0120),
        ("00741204", None, 0x0120),
        ("00741000", None, 0x0120),
        ("00741200", text("CS"), 0x0121),
        ("00404005", text("DT"), 0x0121),
        ("00741200", text("CS", "URGENT"), 0x0106),
        ("00404041", text("CS", "YES"), 0x0106),
        ("00081195", text("UI", "2.25.1"), 0x0106),
        ("00741000", text("CS", "IN PROGRESS"), 0xC309),
        ("00741000", text("CS", "COMPLETED"), 0xC309),
    ],
)
def test_a_workitem_that_breaks_a_rule_is_not_created(
    client: Client, tag: str, element: Json | None, status: int
) -> None:
    workitem = new_uid()
    assert client.create(a_workitem(**{f"T{tag}": element}), workitem).Status == status
    assert client.get(workitem)[0].Status == NO_SUCH_WORKITEM


def test_an_item_that_lacks_something_is_named(client: Client) -> None:
    station = {"vr": "SQ", "Value": [{"00080100": text("SH", "CT1")}]}
    status = client.create(a_workitem(T00404025=station), new_uid())
    assert status.Status == 0x0120
    assert status.ErrorComment == "(0040,4025) > (0008,0102) is missing"


def test_what_is_wrong_is_said_without_what_it_is(client: Client) -> None:
    status = client.create(a_workitem(T00741200=text("CS", "SECRET")), new_uid())
    assert "(0074,1200)" in status.ErrorComment
    assert "SECRET" not in status.ErrorComment


@pytest.mark.parametrize("workitem", [WORKLIST, FILTERED_WORKLIST])
def test_the_worklist_is_no_workitem(client: Client, workitem: str) -> None:
    assert client.create(workitem=workitem).Status == 0x0106


# --- N-GET -----------------------------------------------------------------------------------


def test_an_unknown_workitem_is_not_retrieved(client: Client) -> None:
    assert client.get(new_uid())[0].Status == NO_SUCH_WORKITEM


@pytest.mark.parametrize("tags", [(STATE,), (STATE, LABEL)])
def test_what_is_named_is_retrieved(client: Client, tags: tuple[BaseTag, ...]) -> None:
    status, found = client.get(client.created(), *tags)
    assert found is not None
    assert status.Status == SUCCESS
    assert {element.tag for element in found} - {Tag("SpecificCharacterSet")} == set(tags)


def test_what_is_not_there_is_warned_of(client: Client) -> None:
    status, found = client.get(client.created(), STATE, Tag("ExpectedCompletionDateTime"))
    assert found is not None
    assert status.Status == 0x0001
    assert found.ProcedureStepState == "SCHEDULED"


@pytest.mark.parametrize("tags", [(), (Tag("TransactionUID"), STATE)])
def test_nobody_retrieves_the_transaction_uid(client: Client, tags: tuple[BaseTag, ...]) -> None:
    workitem, _ = client.claimed()
    _, found = client.get(workitem, *tags)
    assert found is not None
    assert "TransactionUID" not in found


@pytest.mark.parametrize(
    ("name", "declared"),
    [("Öberg^Åsa", "ISO_IR 100"), ("Ek^Bo", None), ("山田^太郎", "ISO_IR 192")],
)
def test_the_character_set_can_tell_the_text(
    archive: Served, client: Client, name: str, declared: str | None
) -> None:
    given = a_workitem(T00100010=text("PN", {"Alphabetic": name}), T00741204=text("LO", "CT"))
    _, found = client.get(client.created(given), Tag("PatientName"))
    assert found is not None
    assert (found.PatientName, found.get("SpecificCharacterSet")) == (name, declared)


# --- N-SET -----------------------------------------------------------------------------------


def test_what_is_set_is_what_http_retrieves(archive: Served, client: Client) -> None:
    workitem = client.created()
    assert client.update(workitem, {"00741204": text("LO", "Läs MR")}).Status == SUCCESS
    assert retrieved(archive, workitem)["00741204"] == text("LO", "Läs MR")


def test_the_claimant_sets(client: Client) -> None:
    workitem, transaction = client.claimed()
    assert client.update(workitem, progress(50), transaction).Status == SUCCESS
    (item,) = client.held(workitem).ProcedureStepProgressInformationSequence
    assert item.ProcedureStepProgress == 50


@pytest.mark.parametrize("shown", [None, "2.25.99"])
def test_nobody_else_sets(client: Client, shown: str | None) -> None:
    workitem, _ = client.claimed()
    before = client.held(workitem)
    assert client.update(workitem, progress(50), shown).Status == 0xC301
    assert client.held(workitem) == before


def test_what_nobody_claimed_is_set_without_a_transaction(client: Client) -> None:
    assert client.update(client.created(), progress(5), new_uid()).Status == 0xC301


@pytest.mark.parametrize("end", ["completed", "canceled"])
def test_what_is_over_is_not_set(client: Client, end: str) -> None:
    workitem, transaction = getattr(client, end)()
    assert client.update(workitem, progress(100), transaction).Status == 0xC300


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_value_that_is_none_of_its_vr_is_refused(archive: Served, is_nested: bool) -> None:
    broken, changes = Dataset(), Dataset()
    # in implicit VR the archive has to take it for the FD that the dictionary says
    broken.add_new("FrameAcquisitionDuration", "OB", b"sixsix")
    changes.ProcedureStepProgressInformationSequence = [broken]
    contexts = [UnifiedProcedureStepPush]
    with associated(archive, contexts, syntaxes=[ImplicitVRLittleEndian]) as association:
        workitem = Client(association).created()
        status, _ = association.send_n_set(
            changes if is_nested else broken, UnifiedProcedureStepPush, workitem
        )
    assert status.Status == 0x0106
    assert status.ErrorComment.endswith("(0018,9220) has no value of its VR")


def test_an_unknown_workitem_is_not_set(client: Client) -> None:
    assert client.update(new_uid(), progress(1)).Status == NO_SUCH_WORKITEM


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"00741000": text("CS", "COMPLETED")}, 0x0105),
        ({"00100020": text("LO", "X")}, 0x0105),
        ({"00741204": text("LO")}, 0x0121),
        ({"00741200": text("CS", "URGENT")}, 0x0106),
        ({"00741216": {"vr": "SQ", "Value": [{"00404033": {"vr": "SQ"}}]}}, SUCCESS),
        ({"00741216": {"vr": "SQ", "Value": [{"00404050": text("DT", "2024")}]}}, 0xB305),
    ],
)
def test_rules_of_updates_are_those_of_http(client: Client, changes: Json, status: int) -> None:
    assert client.update(client.created(), changes).Status == status


# --- N-ACTION: state -------------------------------------------------------------------------


# PS3.4 Table CC.1.1-2: before, requested, whose Transaction UID, status.
STATE_TABLE = (
    ("created", "IN PROGRESS", "own", SUCCESS),
    ("created", "COMPLETED", "own", 0xC310),
    ("created", "CANCELED", "own", 0xC310),
    ("claimed", "IN PROGRESS", "own", 0xC302),
    ("claimed", "COMPLETED", "own", FINAL_STATE_NOT_MET),
    ("claimed", "CANCELED", "own", SUCCESS),
    ("completed", "IN PROGRESS", "own", 0xC300),
    ("completed", "COMPLETED", "own", 0xB306),
    ("completed", "CANCELED", "own", 0xC300),
    ("canceled", "IN PROGRESS", "own", 0xC300),
    ("canceled", "COMPLETED", "own", 0xC300),
    ("canceled", "CANCELED", "own", 0xB304),
    *(
        (before, requested, "no", 0xC301)
        for before in ("created", "claimed", "completed", "canceled")
        for requested in ("IN PROGRESS", "COMPLETED", "CANCELED")
    ),
    *(
        (before, requested, "other", 0xC301)
        for before in ("claimed", "completed", "canceled")
        for requested in ("IN PROGRESS", "COMPLETED", "CANCELED")
    ),
    *(
        (before, "SCHEDULED", "own", 0xC303)
        for before in ("created", "claimed", "completed", "canceled")
    ),
)


@pytest.mark.parametrize(("before", "requested", "whose", "status"), STATE_TABLE)
def test_states_change_as_the_table_says(
    client: Client, before: str, requested: str, whose: str, status: int
) -> None:
    made = getattr(client, before)()
    workitem, transaction = made if isinstance(made, tuple) else (made, new_uid())
    shown = {"own": transaction, "other": new_uid(), "no": None}[whose]
    was = client.held(workitem).ProcedureStepState

    assert client.change(workitem, requested, shown) == status

    became = requested if status == SUCCESS else was
    assert client.held(workitem).ProcedureStepState == became


@pytest.mark.parametrize("requested", ["IN PROGRESS", "COMPLETED", "CANCELED", "SCHEDULED"])
def test_an_unknown_workitem_has_no_state(client: Client, requested: str) -> None:
    assert client.change(new_uid(), requested, new_uid()) == NO_SUCH_WORKITEM


@pytest.mark.parametrize("requested", ["DONE", ""])
def test_what_is_no_state_is_no_argument(client: Client, requested: str) -> None:
    assert client.change(client.created(), requested, new_uid()) == 0x0115


def test_what_is_performed_is_completed(archive: Served, client: Client) -> None:
    workitem, _ = client.completed()
    assert retrieved(archive, workitem)["00741000"]["Value"] == ["COMPLETED"]


def test_http_and_dimse_claim_the_same_workitem(archive: Served, client: Client) -> None:
    workitem, transaction = client.claimed()
    claim = worklist.change_state(
        archive.archive.index, workitem, "CANCELED", transaction_uid=transaction
    )
    archive.wait(claim)
    assert client.held(workitem).ProcedureStepState == "CANCELED"


def test_an_unknown_action_is_refused(client: Client) -> None:
    assert client.act(6, client.created(), {}) == 0x0123


# --- N-ACTION: cancellation ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "status", "after"),
    [
        ("created", SUCCESS, "CANCELED"),
        ("claimed", SUCCESS, "IN PROGRESS"),
        ("completed", 0xC311, "COMPLETED"),
        ("canceled", 0xB304, "CANCELED"),
    ],
)
def test_cancellation_is_as_the_table_says(
    client: Client, before: str, status: int, after: str
) -> None:
    made = getattr(client, before)()
    workitem = made[0] if isinstance(made, tuple) else made
    assert client.cancel(workitem) == status
    assert client.held(workitem).ProcedureStepState == after


def test_an_unknown_workitem_is_not_canceled(client: Client) -> None:
    assert client.cancel(new_uid()) == NO_SUCH_WORKITEM


def test_the_reason_of_a_cancellation_is_kept(client: Client) -> None:
    workitem = client.created()
    client.cancel(workitem, {"00741238": text("LT", "beställd två gånger")})
    (item,) = client.held(workitem).ProcedureStepProgressInformationSequence
    assert item.ReasonForCancellation == "beställd två gånger"


# --- C-FIND ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(client: Client) -> str:
    """The label of a worklist of different workitems."""
    label = new_uid()[-16:]
    request = {
        "00080050": text("SH", "REM1001-1"),
        "0020000D": text("UI", "1.2.3"),
        "00080051": {"vr": "SQ"},
        "00400026": {"vr": "SQ"},
        "00400027": {"vr": "SQ"},
        "00401001": text("SH", "RP1"),
        "00321060": text("LO"),
        "00321064": {"vr": "SQ"},
    }
    stations = {
        "vr": "SQ",
        "Value": [*coded("A", scheme="S1")["Value"], *coded("B", scheme="S2")["Value"]],
    }
    for more in (
        {"T00741200": text("CS", "HIGH"), "T00404025": coded("CT1")},
        {"T00741204": text("LO", "Läs MR"), "T0040A370": {"vr": "SQ", "Value": [request]}},
        {"T00100010": text("PN", {"Alphabetic": "Ek^Bo"}), "T00100020": text("LO", "X1")},
        {"T00404005": text("DT", "20240203101500"), "T00404025": stations},
        {"T00404041": text("CS", "INCOMPLETE"), "T00404018": coded("X4")},
        {"T0020000D": text("UI", "1.2.3"), "T00380010": text("LO", "ADM7")},
    ):
        client.created(a_workitem(T00741202=text("LO", label), **more))
    client.claimed(a_workitem(T00741202=text("LO", label)))
    return label


def sequence(tag: str, **keys: Json) -> Json:
    return {tag: {"vr": "SQ", "Value": [{name.removeprefix("T"): keys[name] for name in keys}]}}


@pytest.mark.parametrize(
    ("keys", "query"),
    [
        ({}, ""),
        ({"00741200": text("CS", "HIGH")}, "ScheduledProcedureStepPriority=HIGH"),
        ({"00741204": text("LO", "Läs MR")}, "ProcedureStepLabel=Läs MR"),
        ({"00741204": text("LO", "*mr")}, "ProcedureStepLabel=*mr"),
        ({"00741204": text("LO", "L?s*")}, "ProcedureStepLabel=L?s*"),
        ({"00741000": text("CS", "SCHEDULED")}, "ProcedureStepState=SCHEDULED"),
        ({"00404041": text("CS", "INCOMPLETE")}, "InputReadinessState=INCOMPLETE"),
        ({"00100010": text("PN", {"Alphabetic": "ek*"})}, "PatientName=ek*"),
        ({"00100010": text("PN", {"Alphabetic": "oberg^*"})}, "PatientName=oberg^*"),
        ({"00100020": text("LO", "191212121212")}, "PatientID=191212121212"),
        ({"00100030": text("DA", "19121212")}, "PatientBirthDate=19121212"),
        ({"00380010": text("LO", "ADM7")}, "AdmissionID=ADM7"),
        ({"0020000D": text("UI", "1.2.3")}, "StudyInstanceUID=1.2.3"),
        (
            {"00404005": text("DT", "20240203-20240204")},
            "ScheduledProcedureStepStartDateTime=20240203-20240204",
        ),
        ({"00404005": text("DT", "20249999")}, None),
        (
            sequence("0040A370", T00080050=text("SH", "REM1001-1")),
            "ReferencedRequestSequence.AccessionNumber=REM1001-1",
        ),
        (
            sequence("00404025", T00080100=text("SH", "CT1")),
            "ScheduledStationNameCodeSequence.CodeValue=CT1",
        ),
        (
            sequence("00404025", T00080100=text("SH", "A"), T00080102=text("SH", "S2")),
            "00404025.00080100=A&00404025.00080102=S2",
        ),
        (
            sequence("00404018", T00080100=text("SH", "X4"), T00080102=text("SH", "")),
            "ScheduledWorkitemCodeSequence.CodeValue=X4",
        ),
        (
            sequence("00404025", T00080104=text("LO", "other")),
            "ScheduledStationNameCodeSequence.CodeMeaning=other",
        ),
    ],
)
@pytest.mark.parametrize("model", [UnifiedProcedureStepPull], ids=["pull"])
def test_a_query_finds_what_a_search_finds(
    archive: Served, client: Client, several: str, model: str, keys: Json, query: str | None
) -> None:
    wanted = {"00080018": text("UI"), "00741202": text("LO", several), **keys}
    if query is None:
        *_, (status, _) = client.association.send_c_find(dataset_of(wanted), model)
        assert status.Status == 0xA900
        return
    pairs = parse_qsl(f"WorklistLabel={several}&{query}")
    asked = parse_asked(pairs, matched=SEARCHED, max_results=100)
    found = archive.wait(worklist.search(archive.archive.index, asked)).workitems

    answers = client.find(wanted, model)

    assert [str(answer.SOPInstanceUID) for answer in answers] == [
        one["00080018"]["Value"][0] for one in found
    ]


@pytest.mark.parametrize(
    "model", [UnifiedProcedureStepPull, UnifiedProcedureStepWatch, UnifiedProcedureStepQuery]
)
def test_each_information_model_finds_the_same(client: Client, several: str, model: str) -> None:
    assert len(client.find({"00741202": text("LO", several)}, model)) == 7


def test_answers_hold_what_the_workitems_hold(
    archive: Served, client: Client, several: str
) -> None:
    keys = {tag: {"vr": element["vr"]} for tag, element in a_workitem().items()}
    keys |= {"00741202": text("LO", several), "00080018": text("UI")}
    del keys["00081195"]
    for answer in client.find(keys):
        held = retrieved(archive, str(answer.SOPInstanceUID))
        expected = dataset_of({tag: held[tag] for tag in keys})
        assert json_of(answer) == json_of(expected)


def test_nobody_finds_the_transaction_uid(client: Client, several: str) -> None:
    keys = {"00741202": text("LO", several), "00081195": text("UI")}
    answers = client.answers(keys)
    assert {status for status, _ in answers} == {0xFF01}
    assert not any("TransactionUID" in answer for _, answer in answers)


@pytest.mark.parametrize(
    ("keys", "pending"),
    [
        ({"00404011": text("DT")}, 0xFF00),
        ({"00080060": text("CS")}, 0xFF01),
        ({"00400400": text("LT", "x")}, 0xFF00),
        (sequence("00404025", T00080104=text("LO", "other")), 0xFF01),
    ],
)
def test_keys_that_are_not_supported_are_told_of(
    client: Client, label: str, keys: Json, pending: int
) -> None:
    client.created(a_workitem(T00741202=text("LO", label), T00400400=text("LT", "x")))
    answers = client.answers({"00741202": text("LO", label)} | keys)
    assert [status for status, _ in answers] == [pending]


def test_no_match_is_success_alone(client: Client) -> None:
    assert client.find({"00741202": text("LO", "NOBODY")}) == []


# --- subscriptions ---------------------------------------------------------------------------


def test_who_subscribes_is_told_how_it_is(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    assert client.subscribe(workitem) == SUCCESS
    assert subscriber.of(workitem, 1) == [(STATE_REPORT, "SCHEDULED")]


def test_events_come_in_order(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    client.subscribe(workitem)
    transaction = new_uid()
    client.change(workitem, "IN PROGRESS", transaction)
    client.update(workitem, progress(50), transaction)
    client.update(workitem, {"00404025": coded("CT2")}, transaction)
    client.cancel(workitem)
    client.update(workitem, performed(), transaction)
    client.change(workitem, "COMPLETED", transaction)
    assert subscriber.of(workitem, 6) == [
        (STATE_REPORT, "SCHEDULED"),
        (STATE_REPORT, "IN PROGRESS"),
        (PROGRESS, ""),
        (ASSIGNED, ""),
        (CANCEL_REQUESTED, ""),
        (STATE_REPORT, "COMPLETED"),
    ]


def test_what_nobody_claimed_is_reported_canceled(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    client.subscribe(workitem)
    client.cancel(workitem)
    states = [told for _, told in subscriber.of(workitem, 3)]
    assert states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]


def test_a_cancellation_is_asked_for_by_name(client: Client, subscriber: Subscriber) -> None:
    workitem, _ = client.claimed()
    client.subscribe(workitem)
    client.cancel(
        workitem, {"00741238": text("LT", "fel patient – 山"), "0074100A": text("UR", "x:y")}
    )
    told = subscriber.told(workitem, CANCEL_REQUESTED)
    assert (told.RequestingAE, told.ReasonForCancellation, told.ContactURI) == (
        "SCU",
        "fel patient – 山",
        "x:y",
    )


def test_events_are_written_as_the_subscriber_reads(client: Client, latin: Subscriber) -> None:
    workitem, _ = client.claimed()
    client.subscribe(workitem, LATIN)
    client.cancel(workitem, {"00741238": text("LT", "fel sträcka")})
    told = latin.told(workitem, CANCEL_REQUESTED)
    assert told.SpecificCharacterSet == "ISO_IR 100"
    assert told.ReasonForCancellation == "fel sträcka"


def test_what_http_does_is_told_over_dimse(
    archive: Served, client: Client, subscriber: Subscriber
) -> None:
    workitem = client.created()
    client.subscribe(workitem)
    archive.wait(
        worklist.change_state(
            archive.archive.index, workitem, "IN PROGRESS", transaction_uid=new_uid()
        )
    )
    assert subscriber.of(workitem, 2)[1:] == [(STATE_REPORT, "IN PROGRESS")]


def test_the_whole_worklist_covers_what_comes(client: Client, subscriber: Subscriber) -> None:
    assert client.subscribe(WORKLIST) == SUCCESS
    workitem = client.created(a_workitem(T00404025=coded("CT1")))
    assert subscriber.of(workitem, 2) == [(STATE_REPORT, "SCHEDULED"), (ASSIGNED, "")]


def test_the_whole_worklist_covers_what_is_here(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    client.subscribe(WORKLIST)
    client.change(workitem, "IN PROGRESS", new_uid())
    assert subscriber.of(workitem, 1) == [(STATE_REPORT, "IN PROGRESS")]


def test_with_a_lock_all_are_told_of(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    client.subscribe(WORKLIST, lock="TRUE")
    assert subscriber.of(workitem, 1) == [(STATE_REPORT, "SCHEDULED")]


def test_a_filter_lets_through_what_it_names(
    client: Client, subscriber: Subscriber, label: str
) -> None:
    keys = {
        "00741202": text("LO", f"{label[:8]}*"),
        **sequence("00404025", T00080100=text("SH", "å&1")),
    }
    assert client.subscribe(FILTERED_WORKLIST, keys=keys) == SUCCESS
    stations = [coded("å&1"), coded("CT2")]
    mine, other = (
        client.created(a_workitem(T00741202=text("LO", label), T00404025=station))
        for station in stations
    )
    client.change(other, "IN PROGRESS", new_uid())
    client.change(mine, "IN PROGRESS", new_uid())
    assert [told for _, told in subscriber.of(mine, 3)] == ["SCHEDULED", "", "IN PROGRESS"]
    assert subscriber.of(other, 0) == []


@pytest.mark.parametrize(
    "keys",
    [{}, {"00080060": text("CS", "CT")}, {"00404005": text("DT", "20249999")}],
)
def test_a_filter_that_filters_nothing_is_refused(client: Client, keys: Json) -> None:
    assert client.subscribe(FILTERED_WORKLIST, keys=keys) == 0x0115


def test_suspended_is_what_comes(client: Client, subscriber: Subscriber) -> None:
    before = client.created()
    client.subscribe(WORKLIST)
    assert client.act(SUSPEND, WORKLIST, receiving(READER)) == SUCCESS
    after = client.created()
    client.change(after, "IN PROGRESS", new_uid())
    client.change(before, "IN PROGRESS", new_uid())
    assert subscriber.of(before, 1) == [(STATE_REPORT, "IN PROGRESS")]
    assert subscriber.of(after, 0) == []


def test_only_the_worklist_is_suspended(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    client.subscribe(workitem)
    assert client.act(SUSPEND, workitem, receiving(READER)) == 0xC314


def test_who_has_unsubscribed_is_not_told(client: Client, subscriber: Subscriber) -> None:
    left, kept = client.created(), client.created()
    client.subscribe(left)
    client.subscribe(kept)
    assert client.unsubscribe(left) == SUCCESS
    client.change(left, "IN PROGRESS", new_uid())
    client.change(kept, "IN PROGRESS", new_uid())
    assert len(subscriber.of(kept, 2)) == 2
    assert subscriber.of(left, 1) == [(STATE_REPORT, "SCHEDULED")]


def test_a_subscription_ends_once(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    client.subscribe(workitem)
    assert [client.unsubscribe(workitem), client.unsubscribe(workitem)] == [SUCCESS, UNKNOWN_AE]


def test_the_whole_worklist_is_left_once(client: Client, subscriber: Subscriber) -> None:
    client.subscribe(client.created())
    assert [client.unsubscribe(WORKLIST), client.unsubscribe(WORKLIST)] == [SUCCESS, UNKNOWN_AE]


def test_after_the_last_workitem_there_is_no_subscription_to_leave(
    client: Client, subscriber: Subscriber
) -> None:
    workitem = client.created()
    client.subscribe(workitem)
    client.unsubscribe(workitem)
    assert client.unsubscribe(WORKLIST) == UNKNOWN_AE


@pytest.mark.parametrize("kind", [SUBSCRIBE, UNSUBSCRIBE, SUSPEND])
@pytest.mark.parametrize("aet", ["STRANGER", QUERIER])
def test_who_cannot_be_called_is_not_told(client: Client, kind: int, aet: str) -> None:
    assert client.act(kind, WORKLIST, receiving(aet)) == UNKNOWN_AE


@pytest.mark.parametrize("kind", [SUBSCRIBE, UNSUBSCRIBE, SUSPEND])
def test_an_unknown_workitem_has_no_subscribers(client: Client, kind: int) -> None:
    assert client.act(kind, new_uid(), receiving(READER)) == NO_SUCH_WORKITEM


@pytest.mark.parametrize(
    "information", [{}, {"00741234": text("AE")}, receiving(READER, lock="MAYBE")]
)
def test_a_subscription_says_who_and_how(client: Client, information: Json) -> None:
    assert client.act(SUBSCRIBE, client.created(), information) == 0x0115


def test_the_service_tells_of_itself(
    archive: Served, client: Client, subscriber: Subscriber
) -> None:
    client.subscribe(client.created())
    archive.wait(worklist.announce(archive.archive.index, "RESTARTED"))
    told = subscriber.told(WORKLIST, STATUS_CHANGE)
    assert (told.SCPStatus, told.SubscriptionListStatus) == ("RESTARTED", "WARM START")


def test_who_has_no_subscription_is_not_told_of_the_service(
    archive: Served, client: Client, latin: Subscriber
) -> None:
    client.unsubscribe(WORKLIST, LATIN)
    archive.wait(worklist.announce(archive.archive.index, "GOING DOWN"))
    workitem = client.created()
    client.subscribe(workitem, LATIN)
    latin.of(workitem, 1)
    client.unsubscribe(WORKLIST, LATIN)
    assert "GOING DOWN" not in {told.get("SCPStatus") for _, _, told in latin.reports}


# --- receivers in trouble --------------------------------------------------------------------


def test_who_was_away_is_told_when_it_is_back(client: Client, silent: Subscriber) -> None:
    workitem, transaction = client.created(), new_uid()
    client.subscribe(workitem, SILENT)
    client.change(workitem, "IN PROGRESS", transaction)
    client.change(workitem, "CANCELED", transaction)
    silent.start()
    try:
        states = [told for _, told in silent.of(workitem, 3)]
    finally:
        silent.stop()
        client.unsubscribe(WORKLIST, SILENT)
    assert states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]


def test_what_is_refused_is_not_told_again(client: Client, subscriber: Subscriber) -> None:
    workitem = client.created()
    subscriber.status = lambda event: SUCCESS if event.event_type == PROGRESS else 0x0110
    try:
        client.subscribe(workitem)
        client.update(workitem, progress(10))
        subscriber.told(workitem, PROGRESS)
    finally:
        subscriber.status = lambda event: SUCCESS
    assert subscriber.attempts.count(workitem) == 2
    assert subscriber.of(workitem, 1) == [(PROGRESS, "")]


def test_what_is_never_answered_does_not_hold_up_the_rest(
    client: Client, subscriber: Subscriber
) -> None:
    workitem = client.created()

    def aborted(event: evt.Event) -> int:
        if event.event_type == PROGRESS:
            event.assoc.abort()
        return SUCCESS if event.event_type != PROGRESS else 0x0110

    subscriber.status = aborted
    try:
        client.subscribe(workitem)
        client.update(workitem, progress(10))
        client.change(workitem, "IN PROGRESS", new_uid())
        found = subscriber.of(workitem, 2)
    finally:
        subscriber.status = lambda event: SUCCESS
    assert [told for _, told in found] == ["SCHEDULED", "IN PROGRESS"]
    assert subscriber.attempts.count(workitem) == 2 + delivery.EVENT_ATTEMPTS


# --- deletion --------------------------------------------------------------------------------


def delete_ended(archive: Served) -> None:
    archive.wait(asyncio.sleep(0.001))
    archive.wait(worklist.delete_ended(archive.archive.index, after_days=0))


@pytest.mark.parametrize("subject", ["the workitem", "the worklist"])
def test_a_lock_keeps_what_is_over(
    archive: Served, client: Client, subscriber: Subscriber, subject: str
) -> None:
    workitem, transaction = client.claimed()
    client.subscribe(workitem if subject == "the workitem" else WORKLIST, lock="TRUE")
    client.change(workitem, "CANCELED", transaction)

    delete_ended(archive)
    assert client.held(workitem).ProcedureStepState == "CANCELED"

    client.unsubscribe(workitem)
    delete_ended(archive)
    assert client.get(workitem)[0].Status == NO_SUCH_WORKITEM


def test_what_is_deleted_is_gone_for_all(archive: Served, client: Client) -> None:
    workitem, _ = client.canceled()
    delete_ended(archive)
    statuses = (
        client.update(workitem, progress(1)).Status,
        client.change(workitem, "IN PROGRESS", new_uid()),
        client.cancel(workitem),
        client.subscribe(workitem),
        client.unsubscribe(workitem),
    )
    assert statuses == (NO_SUCH_WORKITEM,) * 5
    assert client.create(workitem=workitem).Status == 0x0111
    with pytest.raises(NotFound):
        retrieved(archive, workitem)
