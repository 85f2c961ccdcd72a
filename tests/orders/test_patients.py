"""Demographics and merged records."""

from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.orders import patients, records
from bfr_dicomweb.orders.events import Demographics, PatientFacts
from bfr_dicomweb.orders.identifiers import HSA_ID, PERSONNUMMER, SAMORDNINGSNUMMER, Identifier
from bfr_dicomweb.orders.patients import Register, merge, roots
from orders_said import utc

OLD, NEW = utc("2024-01-08T08:00"), utc("2024-01-09T08:00")


def facts(time: str = OLD, **said: str) -> PatientFacts:
    return PatientFacts((), time, Demographics(**said))


def known(*told: PatientFacts) -> Demographics:
    register = Register()
    for one in told:
        register = merge(register, one)
    return register.demographics


def test_the_later_of_two_names_counts() -> None:
    assert known(facts(NEW, family="Ny"), facts(OLD, family="Gammal")).family == "Ny"


def test_what_a_later_message_does_not_say_stays() -> None:
    assert known(facts(OLD, gender="male"), facts(NEW, family="Ny")).gender == "male"


def test_family_and_given_name_are_of_one_message() -> None:
    said = known(facts(OLD, family="Gammal", given="Rut"), facts(NEW, family="Ny"))

    assert (said.family, said.given) == ("Ny", "")


def test_nothing_is_known_of_nobody() -> None:
    assert known() == Demographics()


def test_a_register_is_read_back_equal() -> None:
    register = merge(Register(), facts(family="Tolvansson", given="Tolvan", gender="male"))

    assert records.loads(Register, records.dumps(register)) == register


def test_two_national_numbers_are_two_persons() -> None:
    numbers = (Identifier(PERSONNUMMER, "1"), Identifier(SAMORDNINGSNUMMER, "2"))

    assert patients.is_of_two_persons(numbers)


def test_a_national_and_a_local_number_are_one_person() -> None:
    assert not patients.is_of_two_persons((Identifier(PERSONNUMMER, "1"), Identifier(HSA_ID, "2")))


_WORDS = st.sampled_from(("", "A", "B"))
_FACTS = st.builds(
    facts, st.sampled_from((OLD, NEW)), family=_WORDS, given=_WORDS, gender=_WORDS, deceased=_WORDS
)
_REGISTERS = st.lists(_FACTS, max_size=3).map(
    lambda told: patients.joined(Register(), _merged(told))
)


def _merged(told: list[PatientFacts]) -> Register:
    register = Register()
    for one in told:
        register = merge(register, one)
    return register


@given(told=st.lists(_FACTS), data=st.data())
def test_neither_arrival_nor_repetition_matters(
    told: list[PatientFacts], data: st.DataObject
) -> None:
    assert known(*data.draw(st.permutations(told)), *told) == known(*told)


@given(one=_REGISTERS, other=_REGISTERS)
def test_registers_join_either_way(one: Register, other: Register) -> None:
    assert patients.joined(one, other) == patients.joined(other, one)


@given(one=_REGISTERS, two=_REGISTERS, three=_REGISTERS)
def test_registers_join_in_any_grouping(one: Register, two: Register, three: Register) -> None:
    left = patients.joined(patients.joined(one, two), three)

    assert left == patients.joined(one, patients.joined(two, three))


# Merged records


def test_a_merged_record_is_of_its_survivor() -> None:
    assert roots({(2, 1): (OLD, True)}) == {1: 1, 2: 1}


def test_survivors_are_followed() -> None:
    assert roots({(3, 2): (OLD, True), (2, 1): (OLD, True)}) == {1: 1, 2: 1, 3: 1}


def test_separated_records_stand_for_themselves() -> None:
    assert roots({(2, 1): (NEW, False)}) == {1: 1, 2: 2}


def test_of_two_words_on_a_pair_the_last_counts_whichever_was_the_survivor() -> None:
    assert roots({(2, 1): (OLD, True), (1, 2): (NEW, False)}) == {1: 1, 2: 2}


def test_the_last_survivor_counts() -> None:
    assert roots({(2, 1): (OLD, True), (1, 2): (NEW, True)}) == {1: 2, 2: 2}


def test_a_record_is_of_what_it_was_merged_into_last() -> None:
    assert roots({(3, 1): (OLD, True), (3, 2): (NEW, True)}) == {1: 1, 2: 2, 3: 2}


def test_a_circle_has_the_last_survivor_as_its_root() -> None:
    links = {(1, 2): (OLD, True), (2, 3): (OLD, True), (3, 1): (NEW, True)}

    assert roots(links) == {1: 1, 2: 1, 3: 1}


_IDS = st.integers(1, 5)
_LINKS = st.dictionaries(
    st.tuples(_IDS, _IDS), st.tuples(st.sampled_from((OLD, NEW)), st.booleans()), max_size=8
)


@given(links=_LINKS)
def test_a_root_is_its_own_root(links: dict[tuple[int, int], tuple[str, bool]]) -> None:
    found = roots(links)

    assert all(found[root] == root for root in found.values())


@given(links=_LINKS, data=st.data())
def test_the_order_of_links_does_not_matter(
    links: dict[tuple[int, int], tuple[str, bool]], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(links.items()))))

    assert roots(shuffled) == roots(links)
