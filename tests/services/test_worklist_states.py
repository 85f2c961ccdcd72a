"""The worklist service against a model of PS3.4 Table CC.1.1-2, whatever is asked in any order."""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from bfr_dicomweb.errors import (
    ArchiveError,
    Conflict,
    InvalidDataset,
    NotTheClaimant,
    WorkitemEnded,
    WorkitemStateConflict,
)
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import worklist
from workitems_said import a_workitem, new_uid, performed, progress, text

T = TypeVar("T")
TRANSACTIONS = ("2.25.1", "2.25.2", "")


@dataclass
class Model:
    """What a workitem has to be."""

    state: str = "SCHEDULED"
    transaction: str = ""
    performed: bool = False
    label: str = "Läs CT"


def expected(model: Model, requested: str, transaction: str) -> type[ArchiveError] | None:
    """The table, row by row; None is success."""
    if requested == "SCHEDULED":
        return InvalidDataset
    if not transaction or (model.state != "SCHEDULED" and transaction != model.transaction):
        return NotTheClaimant
    if requested == "IN PROGRESS":
        return None if model.state == "SCHEDULED" else WorkitemStateConflict
    if model.state == requested:
        return None
    if model.state == "IN PROGRESS" and (requested == "CANCELED" or model.performed):
        return None
    return WorkitemStateConflict


class Worklist(RuleBasedStateMachine):
    made: Bundle[str] = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.models: dict[str, Model] = {}
        self.index = self.wait(self.open())

    async def open(self) -> Index:
        index = await Index.open(f"sqlite:///{Path(self.folder.name) / 'catalogue.sqlite'}")
        await index.migrate()
        return index

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.wait(self.index.close())
        self.runner.close()
        self.folder.cleanup()

    def does(self, work: Coroutine[Any, Any, T], refusal: type[ArchiveError] | None) -> T | None:
        if refusal is None:
            return self.wait(work)
        with pytest.raises(refusal):
            self.wait(work)
        return None

    @rule(target=made)
    def create(self) -> str:
        uid = new_uid()
        self.wait(worklist.create(self.index, a_workitem(), uid=uid))
        self.models[uid] = Model()
        return uid

    @rule(uid=made)
    def create_again(self, uid: str) -> None:
        self.does(worklist.create(self.index, a_workitem(), uid=uid), Conflict)

    @rule(
        uid=made,
        requested=st.sampled_from(["SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"]),
        transaction=st.sampled_from(TRANSACTIONS),
    )
    def change_state(self, uid: str, requested: str, transaction: str) -> None:
        model = self.models[uid]
        refusal = expected(model, requested, transaction)
        change = worklist.change_state(self.index, uid, requested, transaction_uid=transaction)
        self.does(change, refusal)
        if refusal is None:
            model.transaction = transaction
            model.state = requested

    @rule(
        uid=made,
        what=st.sampled_from(["performed", "progress", "label"]),
        transaction=st.sampled_from(TRANSACTIONS),
    )
    def update(self, uid: str, what: str, transaction: str) -> None:
        model = self.models[uid]
        changes = {
            "performed": performed(),
            "progress": progress(50),
            "label": {"00741204": text("LO", f"label {transaction}")},
        }[what]
        refusal: type[ArchiveError] | None = None
        if model.state in ("COMPLETED", "CANCELED"):
            refusal = WorkitemEnded
        elif transaction != model.transaction:
            refusal = NotTheClaimant
        self.does(worklist.update(self.index, uid, changes, transaction_uid=transaction), refusal)
        if refusal is None:
            model.performed = model.performed or what == "performed"
            model.label = f"label {transaction}" if what == "label" else model.label

    @rule(uid=made)
    def request_cancellation(self, uid: str) -> None:
        model = self.models[uid]
        refusal = WorkitemStateConflict if model.state == "COMPLETED" else None
        self.does(
            worklist.request_cancellation(self.index, uid, {}, requesting_ae="MODEL"), refusal
        )
        if model.state == "SCHEDULED":
            model.state = "CANCELED"

    @invariant()
    def all_are_as_the_model_says(self) -> None:
        for uid, model in self.models.items():
            attributes = self.wait(worklist.retrieve(self.index, uid)).attributes
            assert attributes["00741000"]["Value"] == [model.state]
            assert attributes["00741204"]["Value"] == [model.label]
            assert "00081195" not in attributes


Worklist.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_every_sequence_of_requests_follows_the_table = Worklist.TestCase
