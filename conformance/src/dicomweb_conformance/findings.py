"""What is wrong with a payload, by the rule that it breaks."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    where: str  # tags and positions, as "[2].00081140[0].00081150"
    what: str  # never a value


@dataclass(slots=True)
class Inspection:
    findings: list[Finding] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)  # what each rule had to judge

    def judge(self, rule: str, held: bool, where: str, otherwise: str) -> bool:
        """Counts what the rule applies to, and notes where it does not hold."""
        self.seen[rule] += 1
        if not held:
            self.findings.append(Finding(rule, where, otherwise))
        return held

    def of(self, rule: str) -> list[Finding]:
        return [each for each in self.findings if each.rule == rule]

    def add(self, other: "Inspection") -> None:
        self.findings += other.findings
        self.seen += other.seen
