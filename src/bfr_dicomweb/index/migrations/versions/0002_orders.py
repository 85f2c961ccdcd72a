"""Messages, patients, orders, exams, reports, findings, FHIR resources and the outbox.

Ids of all these rows are change numbers: they come from the one counter.
"""

from typing import Final

from alembic import op

revision = "0002"
down_revision = "0001"

_TYPES: Final = {
    "sqlite": {
        "TEXT": "TEXT",
        "BLOB": "BLOB",
        "KEY": "INTEGER PRIMARY KEY",
        "CLUSTERED": " WITHOUT ROWID",
    },
    "postgresql": {
        "TEXT": 'TEXT COLLATE "C"',
        "BLOB": "BYTEA",
        "KEY": "BIGINT PRIMARY KEY",
        "CLUSTERED": "",
    },
}

_TABLES: Final = (
    # What a change is about when it is not a study: "exam/12".
    "ALTER TABLE change ADD COLUMN subject {TEXT}",
    # Received messages, whole, whatever became of them. state: kept, applied, failed, refused.
    """CREATE TABLE message (
        number {KEY}, received_us BIGINT NOT NULL, door {TEXT} NOT NULL, sender {TEXT} NOT NULL,
        control_id {TEXT} NOT NULL, type {TEXT} NOT NULL, version {TEXT} NOT NULL,
        charset {TEXT} NOT NULL, state {TEXT} NOT NULL, ack {TEXT} NOT NULL, error {TEXT} NOT NULL,
        profile BIGINT NOT NULL, digest {BLOB} NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX message_control ON message (sender, control_id)",
    "CREATE INDEX message_state ON message (state, number)",
    # The configuration of senders and receivers, whole, in every version that ever was in force.
    """CREATE TABLE exchange (
        version {KEY}, at_us BIGINT NOT NULL, digest {BLOB} NOT NULL, body {TEXT} NOT NULL)""",
    """CREATE TABLE attachment (
        digest {TEXT} PRIMARY KEY, content_type {TEXT} NOT NULL, size_bytes BIGINT NOT NULL,
        body {BLOB} NOT NULL)""",
    # root_id: who this record is part of after all merges; itself when it is of no other.
    """CREATE TABLE patient (
        id {KEY}, root_id BIGINT NOT NULL, family {TEXT} NOT NULL, given {TEXT} NOT NULL,
        birth_date {TEXT} NOT NULL, gender {TEXT} NOT NULL, change BIGINT NOT NULL,
        modified_us BIGINT NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX patient_root ON patient (root_id)",
    "CREATE INDEX patient_family ON patient (family, given, id)",
    "CREATE INDEX patient_given ON patient (given, family, id)",
    "CREATE INDEX patient_birth_date ON patient (birth_date, id)",
    "CREATE INDEX patient_change ON patient (change)",
    """CREATE TABLE patient_identifier (
        value {TEXT} NOT NULL, system {TEXT} NOT NULL, patient_id BIGINT NOT NULL,
        PRIMARY KEY (value, system)){CLUSTERED}""",
    "CREATE INDEX patient_identifier_of ON patient_identifier (patient_id)",
    # The last word on whether `loser` is a record of the same person as `survivor`.
    """CREATE TABLE patient_link (
        loser BIGINT NOT NULL, survivor BIGINT NOT NULL, time {TEXT} NOT NULL,
        merged SMALLINT NOT NULL, PRIMARY KEY (loser, survivor)){CLUSTERED}""",
    "CREATE INDEX patient_link_survivor ON patient_link (survivor)",
    """CREATE TABLE imaging_order (
        id {KEY}, patient_id BIGINT NOT NULL, order_key {TEXT} NOT NULL, status {TEXT} NOT NULL,
        authored {TEXT} NOT NULL, modified {TEXT} NOT NULL, change BIGINT NOT NULL,
        changed_us BIGINT NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX imaging_order_of ON imaging_order (patient_id, authored, id)",
    "CREATE INDEX imaging_order_authored ON imaging_order (authored, id)",
    "CREATE INDEX imaging_order_change ON imaging_order (change)",
    # place: of the exam within the body of its order. expected: when images should have come.
    """CREATE TABLE exam (
        id {KEY}, order_id BIGINT NOT NULL, place INTEGER NOT NULL, patient_id BIGINT NOT NULL,
        status {TEXT} NOT NULL, coarse {TEXT} NOT NULL, performer {TEXT} NOT NULL,
        modality {TEXT} NOT NULL, modified {TEXT} NOT NULL, authored {TEXT} NOT NULL,
        expected {TEXT} NOT NULL, studies INTEGER NOT NULL, change BIGINT NOT NULL,
        changed_us BIGINT NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX exam_of ON exam (order_id, place)",
    "CREATE INDEX exam_patient ON exam (patient_id, modified, id)",
    "CREATE INDEX exam_modified ON exam (modified, id)",
    "CREATE INDEX exam_status ON exam (status, modified, id)",
    "CREATE INDEX exam_performer ON exam (performer, status, modified, id)",
    "CREATE INDEX exam_modality ON exam (modality, modified, id)",
    "CREATE INDEX exam_change ON exam (change)",
    "CREATE INDEX exam_expected ON exam (expected, id) WHERE expected <> '' AND studies = 0",
    # exam_id is 0 for what names the order only.
    """CREATE TABLE order_alias (
        value {TEXT} NOT NULL, kind {TEXT} NOT NULL, system {TEXT} NOT NULL,
        patient_id BIGINT NOT NULL, order_id BIGINT NOT NULL, exam_id BIGINT NOT NULL,
        PRIMARY KEY (value, kind, system, patient_id, order_id, exam_id)){CLUSTERED}""",
    "CREATE INDEX order_alias_of ON order_alias (order_id)",
    "CREATE INDEX order_alias_patient ON order_alias (patient_id, value)",
    # superseded: number of the change by which a message was read anew; 0 for what counts.
    """CREATE TABLE order_event (
        number {KEY}, recorded_us BIGINT NOT NULL, message BIGINT NOT NULL, digest {TEXT} NOT NULL,
        time {TEXT} NOT NULL, kind {TEXT} NOT NULL, source {TEXT} NOT NULL,
        own_patient_id BIGINT NOT NULL, patient_id BIGINT NOT NULL, order_id BIGINT NOT NULL,
        exam_id BIGINT NOT NULL, superseded BIGINT NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX order_event_order ON order_event (order_id, number)",
    "CREATE INDEX order_event_exam ON order_event (exam_id, time, number)",
    "CREATE INDEX order_event_patient ON order_event (patient_id, time, number)",
    """CREATE INDEX order_event_report ON order_event (exam_id, digest, number)
        WHERE kind = 'reported' AND superseded = 0""",
    "CREATE INDEX order_event_time ON order_event (time, number)",
    "CREATE INDEX order_event_message ON order_event (message)",
    "CREATE INDEX order_event_source ON order_event (source, kind, number)",
    """CREATE TABLE report (
        id {KEY}, patient_id BIGINT NOT NULL, report_key {TEXT} NOT NULL,
        identifier {TEXT} NOT NULL, performer {TEXT} NOT NULL,
        status {TEXT} NOT NULL, issued {TEXT} NOT NULL, change BIGINT NOT NULL,
        changed_us BIGINT NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX report_patient ON report (patient_id, issued, id)",
    "CREATE INDEX report_issued ON report (issued, id)",
    "CREATE INDEX report_status ON report (status, issued, id)",
    "CREATE INDEX report_identifier ON report (identifier)",
    "CREATE INDEX report_change ON report (change)",
    """CREATE TABLE report_exam (
        exam_id BIGINT NOT NULL, report_id BIGINT NOT NULL, order_id BIGINT NOT NULL,
        PRIMARY KEY (exam_id, report_id)){CLUSTERED}""",
    "CREATE INDEX report_exam_report ON report_exam (report_id)",
    "CREATE INDEX report_exam_order ON report_exam (order_id)",
    # rung: of the ladder by which they were linked; 1 is the most certain.
    """CREATE TABLE study_exam (
        study_instance_uid {TEXT} NOT NULL, exam_id BIGINT NOT NULL, rung SMALLINT NOT NULL,
        study_id BIGINT NOT NULL, patient_id BIGINT NOT NULL, change BIGINT NOT NULL,
        PRIMARY KEY (study_instance_uid, exam_id)){CLUSTERED}""",
    "CREATE INDEX study_exam_of ON study_exam (exam_id, rung, study_instance_uid, study_id)",
    # What a row has become: a reference to it is answered with the one that took its place.
    """CREATE TABLE moved (
        id {KEY}, kind {TEXT} NOT NULL, successor BIGINT NOT NULL, change BIGINT NOT NULL)""",
    """CREATE TABLE finding (
        id {KEY}, finding_key {TEXT} NOT NULL UNIQUE, code {TEXT} NOT NULL,
        severity {TEXT} NOT NULL, subject {TEXT} NOT NULL, detail {TEXT} NOT NULL,
        performer {TEXT} NOT NULL, patient_id BIGINT NOT NULL, order_id BIGINT NOT NULL,
        exam_id BIGINT NOT NULL, study_instance_uid {TEXT} NOT NULL, message BIGINT NOT NULL,
        raised {TEXT} NOT NULL, resolved {TEXT} NOT NULL, change BIGINT NOT NULL,
        changed_us BIGINT NOT NULL)""",
    "CREATE INDEX finding_patient ON finding (patient_id, raised, id)",
    "CREATE INDEX finding_order ON finding (order_id)",
    "CREATE INDEX finding_exam ON finding (exam_id)",
    "CREATE INDEX finding_code ON finding (code, raised, id)",
    "CREATE INDEX finding_raised ON finding (raised, id)",
    # Who messages tell of. kind: unit, person, role (of person_id in unit_id). folded: the name of
    # a unit or family name of a person. time: the hour when it was told last with this name.
    """CREATE TABLE party (
        kind {TEXT} NOT NULL, id {TEXT} NOT NULL, system {TEXT} NOT NULL, value {TEXT} NOT NULL,
        name {TEXT} NOT NULL, family {TEXT} NOT NULL, given {TEXT} NOT NULL,
        folded {TEXT} NOT NULL, person_id {TEXT} NOT NULL, unit_id {TEXT} NOT NULL,
        time {TEXT} NOT NULL, change BIGINT NOT NULL, changed_us BIGINT NOT NULL,
        PRIMARY KEY (kind, id)){CLUSTERED}""",
    "CREATE INDEX party_change ON party (kind, change)",
    "CREATE INDEX party_folded ON party (kind, folded, change)",
    "CREATE INDEX party_identifier ON party (value, kind)",
    "CREATE INDEX party_person ON party (person_id) WHERE kind = 'role'",
    "CREATE INDEX party_unit ON party (unit_id) WHERE kind = 'role'",
    # Resources that clients write. One row for each version.
    """CREATE TABLE resource (
        type {TEXT} NOT NULL, id {TEXT} NOT NULL, version BIGINT NOT NULL,
        current SMALLINT NOT NULL, deleted SMALLINT NOT NULL, change BIGINT NOT NULL,
        changed_us BIGINT NOT NULL, body {BLOB} NOT NULL,
        PRIMARY KEY (type, id, version)){CLUSTERED}""",
    "CREATE INDEX resource_current ON resource (type, change) WHERE current = 1",
    """CREATE TABLE resource_identifier (
        value {TEXT} NOT NULL, system {TEXT} NOT NULL, type {TEXT} NOT NULL, id {TEXT} NOT NULL,
        PRIMARY KEY (value, system, type, id)){CLUSTERED}""",
    "CREATE INDEX resource_identifier_of ON resource_identifier (type, id)",
    # What has to be told to others. Per receiver in the order of `number`; state: waiting, failed.
    """CREATE TABLE outbox (
        number {KEY}, receiver {TEXT} NOT NULL, kind {TEXT} NOT NULL, payload {BLOB} NOT NULL,
        state {TEXT} NOT NULL, due_us BIGINT NOT NULL, lease_until_us BIGINT NOT NULL,
        owner {TEXT} NOT NULL, attempts INTEGER NOT NULL, last_error {TEXT} NOT NULL)""",
    "CREATE INDEX outbox_receiver ON outbox (receiver, number)",
    # How far each follower of the changes has come.
    """CREATE TABLE follower (
        name {TEXT} PRIMARY KEY, change BIGINT NOT NULL, owner {TEXT} NOT NULL,
        lease_until_us BIGINT NOT NULL)""",
    # What the processes of this archive share and nobody else may know.
    "CREATE TABLE secret (name {TEXT} PRIMARY KEY, value {BLOB} NOT NULL)",
    """CREATE TABLE sender_seen (
        sender {TEXT} PRIMARY KEY, last_us BIGINT NOT NULL, messages BIGINT NOT NULL)""",
)


def upgrade() -> None:
    types = _TYPES[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
