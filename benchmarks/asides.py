"""What a number is worth: who the features know, what nuisances reach alone, what worse recordings cost. One set, as an example.

    python benchmarks/asides.py --out runs/asides

`brainfm probe brainfm-tiny eeg_ssvep_exo --split CrossSession --worth`; adapting to a new session is `new_sessions.py`'s.
"""

from typing import Any

import torch
from asked import Asked, command
from score_tables import Found, decimals, interval, markdown, portable

from brainfm.jobs.probe import Options, probe

CHECKPOINT, CARD = "brainfm-tiny", "eeg_ssvep_exo"
ELSEWHERE = ("adaptation",)


def main() -> None:
    """Ask, print the table."""
    command(__doc__, "asides", measured, lines)


def measured(asked: Asked) -> dict[str, Any]:
    """The probe's main rows and the small tables beside them."""
    torch.set_num_threads(1)
    seeds = len(asked.few(range(3)))
    options = Options(split="CrossSession", seeds=seeds, classical="card", worth=True, quiet=True)
    return portable(probe([CHECKPOINT], CARD, options))


def lines(found: Found) -> list[str]:
    """One table, a part for each question."""
    parts = [(found["card"], found["metric"], found["chance"], found["rows"])]
    parts += [
        (one["title"], one["metric"], one["mark"], one["rows"])
        for name, one in found["asides"].items()
        if name not in ELSEWHERE
    ]
    rows = [
        [title if not place else "", row["name"], decimals(row["score"]), interval(row), decimals(mark, ".2f"), metric]
        for title, metric, mark, several in parts
        for place, row in enumerate(several)
    ]  # fmt: skip
    head = ["asked", "row", "score", "95 % interval", "chance", "metric"]
    words = f"{found['split']}; intervals over {found['unit']}. {found['contamination']}."
    return [*markdown(head, rows), "", words]


if __name__ == "__main__":
    main()
