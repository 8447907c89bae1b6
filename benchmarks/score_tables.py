"""Scores as JSON that is the same wherever it was made, and as tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from brainfm.scores import Scores, scores_json

PLACES = ("checkpoints", "exposure", "sessions", "title")
"""What of `scores_json` says where a run lay, or is long and in no table."""
SHOWN = ("frozen − untrained", "lora − scratch", "finetuned − scratch", "finetuned − frozen")
"""Paired differences that a card's table shows."""
Found = Mapping[str, Any]


def portable(scores: Scores) -> dict[str, Any]:
    """What the tables need, without a folder's name."""
    return {key: value for key, value in scores_json(scores).items() if key not in PLACES}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def decimals(value: float | None, form: str = ".3f") -> str:
    """Three decimals, or a dash where there is none."""
    return "–" if value is None else f"{value:{form}}"


def interval(row: Found, form: str = ".3f") -> str:
    """`0.425 to 0.619`."""
    return "–" if row["low"] is None else f"{row['low']:{form}} to {row['high']:{form}}"


def cell(row: Found | None, form: str = ".2f") -> str:
    """`0.54 [0.43, 0.62]`: a score with its interval, where a table holds many."""
    if row is None or row["score"] is None:
        return "–"
    bracket = "" if row["low"] is None else f" [{row['low']:{form}}, {row['high']:{form}}]"
    return f"{row['score']:{form}}{bracket}"


def named(found: Found, name: str) -> Found | None:
    """The row of that name."""
    return next((row for row in found["rows"] if row["name"] == name), None)


def gap(found: Found, name: str) -> Found | None:
    """The paired difference of that name."""
    return next((row for row in found["differences"] if row["name"] == name), None)


def best_classical(found: Found) -> Found | None:
    """The classical row with the highest score."""
    rows = [row for row in found["rows"] if row["name"].startswith("classical:") and row["score"] is not None]
    return max(rows, key=lambda row: row["score"], default=None)


def best_cell(found: Found) -> str:
    """The best classical decoder: its score, interval and name."""
    best = best_classical(found)
    return "–" if best is None else f"{cell(best)} ({best['name'].partition(':')[2]})"


def card_table(found: Found) -> list[str]:
    """A card's rows and paired differences under its name, with the split in words."""
    folds = len(found["held_out"]) if not isinstance(found["held_out"], str) else 1
    words = f"{found['split']}. {found['metric']}; intervals over {found['unit']}; {folds} folds."
    rows = [
        [row["name"], decimals(row["score"]), interval(row), str(row["n_test"]), str(row["seeds"])]
        for row in found["rows"]
    ]
    gaps = [
        [f"**{one['name']}**", decimals(one["score"], "+.3f"), interval(one, "+.3f"), str(one["n_test"]), str(one["seeds"])]
        for one in found["differences"]
        if one["name"] in SHOWN
    ]  # fmt: skip
    head = ["row", "score", "95 % interval", "windows", "seeds"]
    said = f"{words} Contamination: {found['contamination']}."
    return [f"### {found['card']}", said, "", *markdown(head, [*rows, *gaps]), ""]
