"""ServiceRequest: an order, and each of its exams."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.fhir import codings, ids, moved, places
from bfr_dicomweb.fhir.codings import Element, identifiers_of
from bfr_dicomweb.fhir.places import Entry, Place, comes_after, numbers
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource
from bfr_dicomweb.orders.events import Facts
from bfr_dicomweb.orders.identifiers import AliasKind
from bfr_dicomweb.orders.state import Status
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.order_history import order_history
from bfr_dicomweb.services.timeline import ExamRow, OrderRow, Page

STATUS: Final[dict[Status, str]] = {
    Status.UNKNOWN: "unknown",
    Status.RECEIVED: "active",
    Status.BOOKED: "active",
    Status.ARRIVED: "active",
    Status.STARTED: "active",
    Status.PERFORMED: "active",
    Status.PRELIMINARY: "active",
    Status.SIGNED: "completed",
    Status.ADDENDUM: "completed",
    Status.CORRECTED: "completed",
    Status.CANCELLED: "revoked",
    Status.MOVED: "revoked",
    Status.REFUSED: "active",
    Status.ERROR: "entered-in-error",
}


def of_order(row: OrderRow) -> Resource:
    order = row.order
    number = codings.identifier(order.key.identifier, order.key.kind)
    made: Resource = {
        "resourceType": "ServiceRequest",
        "id": f"{ids.ORDER}{row.id}",
        "meta": codings.meta(row.change, row.changed_us),
        "identifier": [number],
        "requisition": codings.identifier(order.key.identifier),
        "status": STATUS[order.status],
        "intent": "order",
        "category": [codings.IMAGING],
        "subject": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
    }
    if len(row.exam_ids) == 1 and order.facts.procedure is not None:
        made["code"] = codings.concept(order.facts.procedure)
    if order.authored:
        made["authoredOn"] = codings.time(order.authored)
    _add_facts(made, order.facts)
    return made


def of_exam(row: ExamRow, order: OrderRow | None) -> Resource:
    exam = row.exam
    made: Resource = {
        "resourceType": "ServiceRequest",
        "id": f"{ids.EXAM}{row.id}",
        "meta": codings.meta(row.change, row.changed_us),
        "identifier": [
            codings.identifier(alias.identifier, alias.kind)
            for alias in exam.aliases
            if alias.kind is not AliasKind.REPORT
        ],
        "basedOn": [{"reference": f"ServiceRequest/{ids.ORDER}{row.order_id}"}],
        "status": "on-hold" if codings.is_held(exam) else STATUS[exam.status],
        "intent": "filler-order",
        "category": [codings.IMAGING],
        "subject": {"reference": f"Patient/{ids.PATIENT}{row.patient_id}"},
    }
    if order is not None:
        made["requisition"] = codings.identifier(order.order.key.identifier)
        if order.order.authored:
            made["authoredOn"] = codings.time(order.order.authored)
    if exam.facts.procedure is not None:
        made["code"] = codings.concept(exam.facts.procedure)
    if occurrence := _occurrence(exam.facts):
        made |= occurrence
    if performer := performer_of(row):
        made["performer"] = [performer]
    _add_facts(made, exam.facts)
    return made


def performer_of(row: ExamRow) -> Element | None:
    """Who performs an exam: the unit that messages name, else the name we have for the sender."""
    if row.exam.facts.performing_unit is not None:
        return codings.party(row.exam.facts.performing_unit, "Organization")
    return codings.named(row.exam.performer) if row.exam.performer else None


def _occurrence(facts: Facts) -> Element:
    if facts.scheduled_start and facts.scheduled_end:
        start, end = codings.time(facts.scheduled_start), codings.time(facts.scheduled_end)
        return {"occurrencePeriod": {"start": start, "end": end}}
    if start := facts.scheduled_start or facts.exam_start:
        return {"occurrenceDateTime": codings.time(start)}
    return {}


def _add_facts(made: Resource, facts: Facts) -> None:
    if facts.priority:
        made["priority"] = facts.priority
    if requester := codings.requester(facts):
        made["requester"] = requester
    if facts.reason:
        made["reasonCode"] = [{"text": facts.reason}]
    if facts.clinical_information:
        made["note"] = [{"text": facts.clinical_information}]


# --- where they come from --------------------------------------------------------------------

# A key is the number of the order and the place of the exam in it, 0 for the order itself.
_PLACE_BITS: Final = 20


@dataclass(frozen=True, slots=True)
class ServiceRequests:
    """Orders and exams, by when the order was placed."""

    archive: Archive
    type: str = "ServiceRequest"
    moment: str = "authored"

    async def candidates(
        self,
        narrowing: Narrowing,
        *,
        newest_first: bool,
        after: Place | None,
        limit: int,
    ) -> Sequence[Candidate]:
        found = await self._named(narrowing)
        if found is None:
            found = await self._walked(narrowing, newest_first, after, limit)
        return places.page(found, newest_first=newest_first, after=after, limit=limit)

    async def read(self, id: str) -> Resource | None:
        if (number := ids.number_of(id, ids.ORDER)) is not None:
            orders = await timeline.orders(self.archive.index, [number])
            if not orders:
                await moved.refuse(self.archive, self.type, ids.ORDER, number)
            return of_order(orders[0]) if orders else None
        if (number := ids.number_of(id, ids.EXAM)) is None:
            return None
        exams = await timeline.exams(self.archive.index, [number])
        if not exams:
            await moved.refuse(self.archive, self.type, ids.EXAM, number)
        orders = await places.rows(
            timeline.orders, self.archive.index, {row.order_id for row in exams}
        )
        return of_exam(exams[0], orders[0] if orders else None) if exams else None

    async def history(self, id: str) -> Sequence[Resource]:
        index = self.archive.index
        if (number := ids.number_of(id, ids.ORDER)) is not None:
            versions = await order_history(index, number)
            return places.versions(of_order(version.order) for version in versions)
        if (number := ids.number_of(id, ids.EXAM)) is None:
            return []
        exams = await timeline.exams(index, [number])
        versions = await order_history(index, exams[0].order_id) if exams else []
        return places.versions(
            of_exam(exam, version.order)
            for version in versions
            for exam in version.exams
            if exam.id == number
        )

    async def vread(self, id: str, version: str) -> Resource | None:
        return places.version_in(await self.history(id), version)

    async def _named(self, narrowing: Narrowing) -> list[Entry] | None:
        """All that the most telling condition leaves; None when nothing names an order."""
        index = self.archive.index
        if narrowing.ids is not None:
            orders = await places.rows(timeline.orders, index, numbers(narrowing.ids, ids.ORDER))
            exams = await places.rows(timeline.exams, index, numbers(narrowing.ids, ids.EXAM))
        elif (based_on := narrowing.references.get("based-on")) is not None:
            orders = []
            named = places.named(based_on, self.type, ids.ORDER) or set()
            exams = await places.rows(timeline.exams_of_orders, index, named)
        elif narrowing.identifiers is not None:
            known = identifiers_of(narrowing.identifiers)
            orders = await timeline.orders_identified(index, known)
            exams = await timeline.exams_identified(index, known)
        elif (requisition := narrowing.tokens.get("requisition")) is not None:
            known = [(None, value) for value in requisition]
            orders = await timeline.orders_identified(index, known)
            exams = await places.rows(timeline.exams_of_orders, index, {row.id for row in orders})
        else:
            return None
        return await self._entries(orders, exams)

    async def _entries(self, orders: Sequence[OrderRow], exams: Sequence[ExamRow]) -> list[Entry]:
        of = {row.id: row for row in orders}
        missing = {row.order_id for row in exams} - of.keys()
        of |= {
            row.id: row for row in await places.rows(timeline.orders, self.archive.index, missing)
        }
        found = [_order_entry(row) for row in orders]
        return found + [_exam_entry(row, of[row.order_id]) for row in exams if row.order_id in of]

    async def _walked(
        self, narrowing: Narrowing, newest_first: bool, after: Place | None, limit: int
    ) -> list[Entry]:
        """Order by order, each with its exams, until there are enough or no more."""
        intents = narrowing.tokens.get("intent", frozenset({"order", "filler-order"}))
        found: list[Entry] = []
        at = None if after is None else _again(after, newest_first)
        while True:
            orders = await timeline.walk_orders(
                self.archive.index,
                Page(limit, newest_first, at),
                patients=narrowing.patients,
            )
            if "order" in intents:
                found += [_order_entry(row) for row in orders]
            if "filler-order" in intents:
                exams = await places.rows(
                    timeline.exams_of_orders, self.archive.index, {o.id for o in orders}
                )
                of = {row.id: row for row in orders}
                found += [_exam_entry(row, of[row.order_id]) for row in exams]
            shown = (comes_after(one.place, after, newest_first=newest_first) for one in found)
            if len(orders) < limit or sum(shown) >= limit:
                return found
            at = orders[-1].moment, orders[-1].id


def _again(after: Place, newest_first: bool) -> Place:
    """From where the order of a place is walked once more: some of its exams may be to come."""
    moment, key = after
    order = key >> _PLACE_BITS
    return moment, order + 1 if newest_first else order - 1


def _order_entry(row: OrderRow) -> Entry:
    return Entry(row.moment, row.id << _PLACE_BITS, partial(of_order, row))


def _exam_entry(row: ExamRow, order: OrderRow) -> Entry:
    place = order.exam_ids.index(row.id) + 1 if row.id in order.exam_ids else len(order.exam_ids)
    key = (order.id << _PLACE_BITS) + place
    return Entry(order.moment, key, partial(of_exam, row, order))
