"""A new session without labels: what does adapting to it gain, and where does it harm? On real people or sessions held out.

    python benchmarks/new_sessions.py --out runs/new_sessions

Methods of `brainfm.new_session`: a session's own statistics, entropy minimisation (Tent), Euclidean alignment, and recentred
covariances; each sees the signal of the tested session and none of its labels. Every gain is paired with what the method starts
from.
Judged by the same checkpoints as `few_labels.py`.
"""

from typing import Any

import torch
from asked import Asked, command
from few_labels import judges
from score_tables import Found, cell, markdown

from brainfm.data.cards import DataCard
from brainfm.data.leaks import Split
from brainfm.evaluation import Evaluation
from brainfm.new_session import STARTS, gain, methods
from brainfm.opening import opened
from brainfm.panel import Panel, default_pool
from brainfm.scores import plain

SETS: dict[str, Split | None] = {
    "eeg_arithmetic": None,
    "eeg_ssvep_exo": "CrossSession",
    "eeg_muse_p300": None,
    "meg_s1_detection": None,
}
"""By card, the split if it is not the card's own."""


def main() -> None:
    """Pretrain what is not pretrained yet, print the table."""
    command(__doc__, "new_sessions", measured, lines, "steps and sets")


def measured(asked: Asked) -> dict[str, Any]:
    """Every method on every set."""
    torch.set_num_threads(1)
    return {"sets": [adapted(asked, card) for card in asked.few(list(SETS))]}


def adapted(asked: Asked, card: str) -> dict[str, Any]:
    """Each method beside what it starts from, with the paired difference and the sessions where it harms."""
    models = opened(judges(asked, card))[0]
    panel = Panel.of(models, Evaluation.of(DataCard.load(card), SETS[card]))
    evaluation = panel.evaluation
    found = methods(panel, "ridge", default_pool(evaluation, models[0]))
    rows = []
    for name, start in STARTS.items():
        if name in found:
            gap = evaluation.difference(name, [found[name]], start, [found[start]])
            rows.append(
                {
                    "from": vars(evaluation.row(start, [found[start]])),
                    "to": vars(evaluation.row(name, [found[name]])),
                    "gap": vars(gap),
                    "words": gain(evaluation, name, found[start], found[name]),
                }
            )
    about = {"card": card, "metric": evaluation.metric, "chance": evaluation.chance().score}
    made: dict[str, Any] = plain(
        {**about, "split": evaluation.words, "unit": evaluation.unit, "rows": rows}
        | {"contamination": panel.contamination}
    )
    return made


def lines(found: Found) -> list[str]:
    """A row for each set and method."""
    rows = [
        [one["card"], row["from"]["name"], row["to"]["name"], *cells(row), row["words"].partition(": ")[2].rstrip(".")]
        for one in found["sets"]
        for row in one["rows"]
    ]  # fmt: skip
    head = ["set", "from", "adapted", "score before", "score after", "gain", "sessions"]
    over = [
        f"- {one['card']} ({one['metric']}, chance {one['chance']:.2f}), over {one['unit']}: {one['split']}. "
        f"{one['contamination']}."
        for one in found["sets"]
    ]
    return [*markdown(head, rows), "", *over]


def cells(row: Found) -> list[str]:
    """Before, after, and the paired gain."""
    return [cell(row["from"]), cell(row["to"]), cell(row["gap"], "+.2f")]


if __name__ == "__main__":
    main()
