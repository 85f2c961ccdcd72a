"""Attributes that an administrator has had indexed, so that searches find what is stored by them.

Which these are is data, one TOML text (`EXAMPLE`). The catalogue keeps them, so that every process
that stores goes by the same; what was stored before is indexed in the background, page by page.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

import orjson
import structlog
import zstandard
from pydicom.datadict import private_dictionary_VR
from pydicom.valuerep import VR

from bfr_dicomweb.dicom import matching
from bfr_dicomweb.dicom.attributes import tag_of, vr_of
from bfr_dicomweb.dicom.indexed_attributes import IndexedAttribute, is_private
from bfr_dicomweb.errors import ArchiveError, InvalidRequest
from bfr_dicomweb.index import indexed_values
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.indexed_values import Attribute as Attribute
from bfr_dicomweb.index.indexed_values import Page, Value
from bfr_dicomweb.refs import Level
from bfr_dicomweb.toml_tables import Table, parsed

EXAMPLE: Final = (files("bfr_dicomweb.services") / "indexed_attributes.example.toml").read_text(
    "utf-8"
)
# Instances whose documents are read for one transaction.
PAGE: Final = 200
# Between two of these, so that stores and searches have their turn.
PAUSE_S: Final = 0.01
_MOST: Final = 64
# What has no value to compare, and sequences.
_NOT_INDEXED: Final = frozenset({"SQ", "UN", "OB", "OW", "OD", "OF", "OL", "OV"})
_VRS: Final = frozenset(str(vr) for vr in VR if len(vr) == 2) - _NOT_INDEXED

log = structlog.get_logger("indexing")


def parse(text: str) -> tuple[IndexedAttribute, ...]:
    """
    Raises:
        InvalidRequest: It cannot be used; says where and why.
    """
    table = parsed(text)
    found = tuple(_attribute(one) for one in table.tables("attributes", called="path"))
    table.refuse_others()
    if len(found) > _MOST:
        raise InvalidRequest(f"attributes: these are more than {_MOST}")
    paths = [one.path for one in found]
    if twice := next((one for one in found if paths.count(one.path) > 1), None):
        raise InvalidRequest(f"attributes[{twice.name}]: stands twice")
    return found


def _attribute(table: Table) -> IndexedAttribute:
    name, creator = table.required("path"), table.text("creator")
    path = _path(table, name, creator)
    level = table.member("level", Level, Level.INSTANCE)
    vr = table.text("vr") or _vr(path[-1], creator)
    if vr not in _VRS:
        raise table.refuse("vr", f"has to be one of {', '.join(sorted(_VRS))}")
    if vr_of(path[-1]) not in (None, vr):
        raise table.refuse("vr", f"is {vr_of(path[-1])} in PS3.6")
    if path in matching.LEVEL_OF_KEY or path in matching.ORDER_KEYS:
        raise table.refuse("path", "is searched by already")
    table.refuse_others()
    return IndexedAttribute(path, level, vr, creator)


def _path(table: Table, name: str, creator: str) -> matching.Path:
    path = tuple(tag_of(part) or "" for part in name.split("."))
    if not all(path):
        raise table.refuse("path", "has to be keywords or tags, with dots between them")
    private = [tag for tag in path if is_private(tag)]
    if any(tag[4:6] != "10" for tag in private):
        raise table.refuse("path", "a private tag has to be written as gggg10ee")
    if bool(private) is not bool(creator):
        raise table.refuse("creator", "belongs to private attributes, and these need it")
    if any(vr_of(tag) is None for tag in path if tag not in private):
        raise table.refuse("path", "names an attribute that is not in PS3.6")
    if any(vr_of(tag) != "SQ" for tag in path[:-1] if tag not in private):
        raise table.refuse("path", "all but the last have to be sequences")
    return path


def _vr(tag: str, creator: str) -> str:
    if not is_private(tag):
        return vr_of(tag) or ""
    try:
        return str(private_dictionary_VR(int(tag, 16), creator))[:2]
    except KeyError:
        return ""


class File:
    """The attributes of a file, read again when it has changed.

    Args:
        file: None names no attributes.

    Raises:
        ArchiveError: the file cannot be used; says why.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._text = ""
        self.attributes: tuple[IndexedAttribute, ...] = ()
        self.read()

    def read(self) -> None:
        if self._file is None:
            return
        try:
            text = self._file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InvalidRequest(f"{self._file}: {reason}") from None
        if text != self._text:
            try:
                self.attributes = parse(text)
            except InvalidRequest as error:
                raise InvalidRequest(f"{self._file}: {error}") from None
            self._text = text


class Indexing:
    """Lets the catalogue have the attributes of a file, and indexes what was stored before.

    May run in any number of processes; of one page only one of them writes the values.
    """

    def __init__(self, index: Index, file: File) -> None:
        self._index = index
        self._file = file

    async def look_again(self) -> None:
        """The chore: take over a file that has changed, then index until nothing is left."""
        try:
            await asyncio.to_thread(self._file.read)
        except ArchiveError as error:
            log.warning("indexed attributes stay as they are", reason=str(error))
        await self.configure()
        is_left = await step(self._index)
        while is_left:
            await asyncio.sleep(PAUSE_S)
            is_left = await step(self._index)

    async def configure(self) -> None:
        await configure(self._index, self._file.attributes)


async def configure(index: Index, wanted: Sequence[IndexedAttribute]) -> None:
    present = await index.ask(indexed_values.configured)
    if {one.attribute for one in present} == set(wanted):
        return
    if await index.transact(partial(indexed_values.configure, wanted=wanted)):
        log.info("indexed attributes changed", attributes=[one.name for one in wanted])


async def configured(index: Index) -> list[Attribute]:
    """With how far each has come."""
    return await index.ask(indexed_values.configured)


async def finish(index: Index, progress: Callable[[int], None]) -> None:
    """Index until nothing is left.

    Args:
        progress: Called with the number of instances that are left.
    """
    while await step(index):
        left = (one.left for one in await configured(index))
        progress(max(left, default=0))


async def step(index: Index, *, limit: int = PAGE) -> bool:
    """Index the next instances, or remove values nobody wants any more; whether there were any."""
    page = await index.ask(partial(indexed_values.next_page, limit=limit))
    if page is None:
        return await index.transact(
            partial(indexed_values.remove_dropped, limit=limit), durable=False
        )
    found = await asyncio.to_thread(_values, page)
    await index.transact(partial(indexed_values.fill, page=page, found=found), durable=False)
    return True


def _values(page: Page) -> dict[int, set[Value]]:
    unpack = zstandard.ZstdDecompressor().decompressobj
    return {
        owners.instance: indexed_values.values(
            page.attributes, [(owners, orjson.loads(unpack().decompress(document)))]
        )
        for owners, document in page.documents
    }


@dataclass(frozen=True, slots=True)
class Uncovered:
    """An attribute that a search names, and how many instances its index does not cover yet."""

    name: str
    instances: int


def uncovered(wanted: matching.Search) -> list[Uncovered]:
    return [
        Uncovered(key.custom.name, key.custom.left)
        for key in wanted.keys
        if key.custom is not None and key.custom.place
    ]
