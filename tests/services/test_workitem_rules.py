import pytest

from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.services.workitem_rules import EXAMPLE, parse

WORKITEM = '[rules.workitem]\nlabel = "L"\nworklist = "W"\n'


def test_the_example_can_be_used() -> None:
    assert [rule.name for rule in parse(EXAMPLE)] == [
        "read-ct-of-evidia",
        "study-without-order",
        "check-mammography",
    ]


def test_no_rules_are_no_error() -> None:
    assert parse("") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "x: there is no such key"),
        ("[[rules]]", "rules[1].name: is missing"),
        ('[[rules]]\nname = "a"\non = "day"', "rules[a].on: has to be one of study, exam, finding"),
        ('[[rules]]\nname = "a"', "rules[a].workitem: is missing"),
        (
            '[[rules]]\nname = "a"\nstatus = ["done"]\n' + WORKITEM,
            "rules[a].status: there is no status done",
        ),
        (
            '[[rules]]\nname = "a"\n' + WORKITEM + 'code = ["1"]',
            "rules[a].workitem.code: has to be a code, its scheme and its meaning",
        ),
        (('[[rules]]\nname = "a"\n' + WORKITEM) * 2, "rules[a]: stands twice"),
        ("[[rules", "no TOML"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(text)
    assert said in str(caught.value)
