"""What a published system is said to do, what was measured of it here, and what that says.

A system's benchmark is a script with `measured(asked) -> Found` and `lines(found)`, as `asked.py` has it; what it measured is a
list of claims, so that one page and one command (`systems.py`, `brainfm show --systems`) can tell of all systems alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from brainfm.evaluation import Evaluation
from brainfm.metrics import Interval, Probabilities
from brainfm.scores import Row


@dataclass(frozen=True)
class Claim:
    """One sentence that can be true or not.

    `difference` is (mean, low, high) of what must be above zero for the sentence to hold, with its 95 % interval. Where a
    sentence is about equality or a count there is no interval, and `holds` is said.
    """

    says: str
    on: str
    """The data and how much of it: "simulated_eeg, 8 people, 3 seeds"."""
    figure: str
    """What was measured, with what it stands beside: "0.68, without 0.60"."""
    difference: tuple[float, float, float] | None = None
    holds: bool | None = None

    def __post_init__(self) -> None:
        if (self.difference is None) == (self.holds is None):
            raise ValueError(f"{self.says!r} needs an interval, or a word whether it holds, and not both")

    @property
    def verdict(self) -> str:
        """`shown` where the whole interval is above zero, `against` where it is below, else `not shown`."""
        if self.difference is None:
            return "shown" if self.holds else "against"
        _, low, high = self.difference
        return "shown" if low > 0 else "against" if high < 0 else "not shown"

    @property
    def json(self) -> dict[str, Any]:
        """As it goes to a file."""
        return {**asdict(self), "verdict": self.verdict}


def compared(
    says: str,
    on: str,
    evaluation: Evaluation,
    ours: tuple[str, Sequence[Probabilities]],
    theirs: tuple[str, Sequence[Probabilities]],
) -> Claim:
    """One row of a card's task less another, each a name and what its draws say, on the same bootstrap draws."""
    gap = evaluation.difference(*ours, *theirs)
    rows = [evaluation.row(*one) for one in (ours, theirs)]
    figure = ", ".join(f"{row.name} {between(row)}" for row in rows)
    return Claim(says, on, f"{evaluation.metric}: {figure}", (gap.score, gap.low, gap.high))


def between(row: Row | Interval) -> str:
    """A score and its interval."""
    return f"{row.score:.3f} [{row.low:.3f}, {row.high:.3f}]"


def found(claims: Sequence[Claim], table: Sequence[str] = ()) -> dict[str, Any]:
    """What `measured` gives of a system; a `table` in Markdown stands under the claims."""
    more = {"table": list(table)} if table else {}
    return {"claims": [claim.json for claim in claims], **more}


def lines(found: Mapping[str, Any]) -> list[str]:
    """A Markdown table of what `found` gave."""
    head = ["| what is said | on | measured | difference | verdict |", "|---|---|---|---|---|"]
    rows = [f"| {' | '.join(_cells(claim))} |" for claim in found["claims"]]
    return [*head, *rows, *(["", *found["table"]] if found.get("table") else [])]


def _cells(claim: Mapping[str, Any]) -> list[str]:
    between = claim["difference"]
    difference = "" if between is None else f"{between[0]:+.3f} [{between[1]:+.3f}, {between[2]:+.3f}]"
    return [claim["says"], claim["on"], claim["figure"], difference, claim["verdict"]]
