"""Which instance stands for a study or a series, told from the thin rows alone."""

from collections.abc import Sequence
from typing import Any, Final

from bfr_dicomweb.index import instances
from bfr_dicomweb.index.instances import StoredInstance
from bfr_dicomweb.index.statements import Connection, row, rows
from bfr_dicomweb.refs import Level, Ref

# Modalities of series without images of their own, worse and worse; all others come first.
_DERIVED: Final = "RTDOSE SEG"
_DOCUMENTS: Final = "SR DOC ECG EPS HD RESP EEG EMG EOG AU M3D LEN AR KER VA SRF IOL SMR"
_OTHERS: Final = """
    PR KO REG FID RWV RTPLAN RTRECORD RTSTRUCT RTINTENT RTRAD RTSEGANN STAIN PLAN ANN ASMT HC
"""
GROUPS: Final = {
    modality: group
    for group, modalities in enumerate((_DERIVED, _DOCUMENTS, _OTHERS), start=1)
    for modality in modalities.split()
}
# Of a study, so many series are looked into for a picture.
MAX_SERIES: Final = 8

_SERIES: Final = """
    SELECT s.id, s.modality, s.number_of_instances, s.series_instance_uid
    FROM study t JOIN series s ON s.study_id = t.id WHERE t.study_instance_uid = ?1
"""
_IN_ORDER: Final = "ORDER BY i.report_place, i.instance_number, i.sop_instance_uid LIMIT 1"
# The place is counted in an index; only then is the row read.
_AT: Final = f"""
    SELECT sop_instance_uid, pixel_tag FROM instance WHERE id =
        (SELECT i.id FROM instance i WHERE i.series_id = ?1 {_IN_ORDER} OFFSET ?2)
"""  # noqa: S608 # our words
_WITH_PIXELS: Final = f"""
    SELECT i.sop_instance_uid, i.pixel_tag FROM instance i
    WHERE i.series_id = ?1 AND i.pixel_tag IS NOT NULL {_IN_ORDER}
"""  # noqa: S608 # our words
# Of the levels of a pyramid; those of one frame are labels and overviews.
_SLIDES: Final = "SM"
_COARSEST: Final = """
    SELECT i.sop_instance_uid FROM instance i
    WHERE i.series_id = ?1 AND i.pixel_tag IS NOT NULL AND i.number_of_frames > 1
    ORDER BY i.number_of_frames, i.sop_instance_uid LIMIT 1
"""


async def find(conn: Connection, ref: Ref) -> StoredInstance | None:
    """The instance itself; of a series that in its middle; of a study that of its largest series
    of images, or else of what comes next to images. None: nothing is there.
    """
    if ref.level is Level.INSTANCE:
        return await instances.locate(conn, ref)
    wanted = ref.series_instance_uid
    listed = [
        found
        for found in await rows(conn, _SERIES, (ref.study_instance_uid,))
        if wanted in (None, found[3])
    ]
    chosen = None
    for found in sorted(listed, key=_rank)[:MAX_SERIES]:
        uid, has_pixels = await _middle(conn, found)
        if uid is not None and (chosen is None or has_pixels):
            chosen = Ref(ref.study_instance_uid, found[3], uid)
        if has_pixels:
            break
    return None if chosen is None else await instances.locate(conn, chosen)


def _rank(found: Sequence[Any]) -> tuple[int, int, str]:
    _, modality, count, uid = found
    return GROUPS.get(modality, 0), -count, uid


async def _middle(conn: Connection, found: Sequence[Any]) -> tuple[str | None, bool]:
    """UID of the instance in the middle, or of the first with pixels, and whether it has them."""
    key, modality, count, _ = found
    if modality == _SLIDES:
        coarsest = await row(conn, _COARSEST, (key,))
        if coarsest is not None:
            return coarsest[0], True
    middle = await row(conn, _AT, (key, (count - 1) // 2))
    if middle is not None and middle[1] is not None:
        return middle[0], True
    first = await row(conn, _WITH_PIXELS, (key,))
    if first is not None:
        return first[0], True
    return (None if middle is None else middle[0]), False
