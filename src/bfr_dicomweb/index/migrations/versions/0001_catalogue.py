"""Studies, series, instances, their documents, and the changes."""

from typing import Final

from alembic import op

revision = "0001"
down_revision = None

# Text sorts by bytes on both databases, so that both give the same order and LIKE 'x%' can use
# an ordinary index.
_TYPES: Final = {
    "sqlite": {
        "TEXT": "TEXT",
        "BLOB": "BLOB",
        "KEY": "INTEGER PRIMARY KEY",
        "CLUSTERED": " WITHOUT ROWID",
    },
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "KEY": "BIGINT PRIMARY KEY"},
}


def _names(text: str) -> list[str]:
    return text.split()


_STUDY_TEXTS: Final = _names("""
    study_date study_time study_utc accession_number study_id study_description institution_name
    referring_physician_name referring_physician_name_words reading_physician_name
    reading_physician_name_words patient_name patient_name_words patient_id issuer_of_patient_id
    patient_birth_date patient_birth_time patient_sex other_patient_ids other_patient_names
    other_patient_names_words ethnic_group patient_comments modalities sop_classes
""")
_SERIES_TEXTS: Final = _names("""
    modality series_description series_date series_time performed_step_id
    performed_step_start_date performed_step_start_time performed_step_utc body_part_examined
    laterality protocol_name performing_physician_name performing_physician_name_words
    operators_name operators_name_words manufacturer manufacturer_model_name station_name
    institutional_department_name
""")
# What the trigram index covers.
_TRIGRAMS: Final = _names("""
    accession_number study_id study_description institution_name referring_physician_name
    referring_physician_name_words reading_physician_name reading_physician_name_words
    patient_name patient_name_words patient_id other_patient_ids other_patient_names
    other_patient_names_words
""")


def _texts(names: list[str]) -> str:
    return ", ".join(f"{name} {{TEXT}} NOT NULL DEFAULT ''" for name in names)


_TABLES: Final = (
    # One row. To update it is the right to write: the numbers are given in the order of commits,
    # because a writer holds the row until it has committed.
    """CREATE TABLE counter (
        id SMALLINT PRIMARY KEY CHECK (id = 1),
        study BIGINT NOT NULL, series BIGINT NOT NULL, instance BIGINT NOT NULL,
        change BIGINT NOT NULL)""",
    "INSERT INTO counter (id, study, series, instance, change) VALUES (1, 0, 0, 0, 0)",
    f"""CREATE TABLE study (
        id {{KEY}}, study_instance_uid {{TEXT}} NOT NULL UNIQUE, {_texts(_STUDY_TEXTS)},
        number_of_series INTEGER NOT NULL, number_of_instances INTEGER NOT NULL,
        change BIGINT NOT NULL)""",
    "CREATE INDEX study_newest ON study (study_date, study_time, study_instance_uid)",
    """CREATE TABLE study_attributes (
        study_id {KEY}, attributes {BLOB} NOT NULL,
        FOREIGN KEY (study_id) REFERENCES study (id) ON DELETE CASCADE)""",
    """CREATE TABLE study_term (
        kind SMALLINT NOT NULL, value {TEXT} NOT NULL, study_date {TEXT} NOT NULL,
        study_time {TEXT} NOT NULL, study_instance_uid {TEXT} NOT NULL, study_id BIGINT NOT NULL,
        PRIMARY KEY (kind, value, study_date, study_time, study_instance_uid, study_id)
        ){CLUSTERED}""",
    """CREATE TABLE study_other_id (
        study_id BIGINT NOT NULL, match_key {TEXT} NOT NULL, patient_id {TEXT} NOT NULL,
        issuer_of_patient_id {TEXT} NOT NULL,
        FOREIGN KEY (study_id) REFERENCES study (id) ON DELETE CASCADE)""",
    "CREATE INDEX study_other_id_of ON study_other_id (study_id)",
    """CREATE TABLE study_procedure (
        study_id BIGINT NOT NULL, code_value {TEXT} NOT NULL,
        coding_scheme_designator {TEXT} NOT NULL, code_meaning {TEXT} NOT NULL,
        FOREIGN KEY (study_id) REFERENCES study (id) ON DELETE CASCADE)""",
    "CREATE INDEX study_procedure_of ON study_procedure (study_id)",
    f"""CREATE TABLE series (
        id {{KEY}}, study_id BIGINT NOT NULL, series_instance_uid {{TEXT}} NOT NULL,
        series_number BIGINT NOT NULL, {_texts(_SERIES_TEXTS)},
        number_of_instances INTEGER NOT NULL, change BIGINT NOT NULL,
        FOREIGN KEY (study_id) REFERENCES study (id) ON DELETE CASCADE)""",
    "CREATE UNIQUE INDEX series_uid ON series (series_instance_uid, study_id)",
    """CREATE UNIQUE INDEX series_in_order
        ON series (study_id, series_number, series_instance_uid)""",
    """CREATE TABLE series_attributes (
        series_id {KEY}, study_id BIGINT NOT NULL, attributes {BLOB} NOT NULL,
        FOREIGN KEY (series_id) REFERENCES series (id) ON DELETE CASCADE)""",
    """CREATE TABLE series_request (
        series_id BIGINT NOT NULL, study_id BIGINT NOT NULL,
        scheduled_step_id {TEXT} NOT NULL, requested_procedure_id {TEXT} NOT NULL,
        accession_number {TEXT} NOT NULL,
        FOREIGN KEY (series_id) REFERENCES series (id) ON DELETE CASCADE)""",
    "CREATE INDEX series_request_of ON series_request (series_id)",
    "CREATE INDEX series_request_step ON series_request (scheduled_step_id, series_id)",
    "CREATE INDEX series_request_procedure ON series_request (requested_procedure_id, series_id)",
    "CREATE INDEX series_request_accession ON series_request (accession_number, series_id)",
    """CREATE TABLE instance (
        id {KEY}, study_id BIGINT NOT NULL, series_id BIGINT NOT NULL,
        study_instance_uid {TEXT} NOT NULL, series_instance_uid {TEXT} NOT NULL,
        sop_instance_uid {TEXT} NOT NULL, sop_class_uid {TEXT} NOT NULL,
        transfer_syntax_uid {TEXT} NOT NULL, change BIGINT NOT NULL,
        blob_key {TEXT} NOT NULL, size_bytes BIGINT NOT NULL, digest {BLOB} NOT NULL,
        dataset_offset BIGINT NOT NULL, big_endian SMALLINT NOT NULL, deflated SMALLINT NOT NULL,
        pixel_tag {TEXT}, number_of_frames BIGINT NOT NULL, frame_offset BIGINT NOT NULL,
        frame_bits BIGINT NOT NULL, first_span {BLOB} NOT NULL,
        timezone_offset {TEXT} NOT NULL, instance_number BIGINT NOT NULL,
        content_date {TEXT} NOT NULL, content_time {TEXT} NOT NULL,
        acquisition_date {TEXT} NOT NULL, acquisition_time {TEXT} NOT NULL,
        acquisition_datetime {TEXT} NOT NULL,
        frames_stated BIGINT, image_rows BIGINT, image_columns BIGINT, bits_allocated BIGINT,
        FOREIGN KEY (series_id) REFERENCES series (id) ON DELETE CASCADE)""",
    "CREATE UNIQUE INDEX instance_uid ON instance (sop_instance_uid)",
    """CREATE UNIQUE INDEX instance_in_order
        ON instance (series_id, instance_number, sop_instance_uid)""",
    "CREATE INDEX instance_blob ON instance (blob_key)",
    """CREATE TABLE instance_document (
        instance_id {KEY}, study_id BIGINT NOT NULL, document {BLOB} NOT NULL,
        bulk {BLOB} NOT NULL,
        FOREIGN KEY (instance_id) REFERENCES instance (id) ON DELETE CASCADE)""",
    # The frame table of an instance in pieces, because a database reads a value whole.
    """CREATE TABLE instance_spans (
        instance_id BIGINT NOT NULL, first_frame BIGINT NOT NULL, study_id BIGINT NOT NULL,
        spans {BLOB} NOT NULL,
        PRIMARY KEY (instance_id, first_frame),
        FOREIGN KEY (instance_id) REFERENCES instance (id) ON DELETE CASCADE)""",
    """CREATE TABLE change (
        number {KEY}, at_us BIGINT NOT NULL, what {TEXT} NOT NULL, study_id BIGINT,
        study_instance_uid {TEXT} NOT NULL, series_instance_uid {TEXT}, sop_instance_uid {TEXT})""",
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    types = {"CLUSTERED": ""} | _TYPES[dialect]
    for statement in _TABLES:
        _run(statement.format(**types))
    for statement in _sqlite_trigrams() if dialect == "sqlite" else _postgresql_trigrams():
        _run(statement)


def _run(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)


def _sqlite_trigrams() -> tuple[str, ...]:
    names = ", ".join(_TRIGRAMS)
    old = ", ".join(f"old.{name}" for name in _TRIGRAMS)
    new = ", ".join(f"new.{name}" for name in _TRIGRAMS)
    forget = f"INSERT INTO study_text (study_text, rowid, {names}) VALUES ('delete', old.id, {old})"  # noqa: S608 # our words
    remember = f"INSERT INTO study_text (rowid, {names}) VALUES (new.id, {new})"  # noqa: S608 # our words
    return (
        f"""CREATE VIRTUAL TABLE study_text
            USING fts5({names}, content='', tokenize='trigram', detail=column)""",
        f"CREATE TRIGGER study_text_insert AFTER INSERT ON study BEGIN {remember}; END",
        f"""CREATE TRIGGER study_text_update AFTER UPDATE OF {names} ON study
            BEGIN {forget}; {remember}; END""",
        f"CREATE TRIGGER study_text_delete AFTER DELETE ON study BEGIN {forget}; END",
    )


def _postgresql_trigrams() -> tuple[str, ...]:
    columns = ", ".join(f"{name} gin_trgm_ops" for name in _TRIGRAMS)
    return (
        "CREATE EXTENSION IF NOT EXISTS pg_trgm",
        f"CREATE INDEX study_text ON study USING gin ({columns})",
    )
