"""What a number is worth: who the features know, what nuisances reach alone, what worse recordings cost. One set, as an example.

    python benchmarks/asides.py --out runs/asides

`brainfm probe brainfm-tiny eeg_ssvep_exo --split CrossSession --worth`; adapting to a new session is `new_sessions.py`'s.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from asked import Asked
from score_tables import Found, decimals, interval, markdown, portable

from brainfm.jobs.probe import Options, probe

CHECKPOINT, CARD = "brainfm-tiny", "eeg_ssvep_exo"
ELSEWHERE = ("adaptation",)


def main() -> None:
    """Ask, print the table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/asides"))
    chosen = arguments.parse_args()
    found = measured(Asked(chosen.out))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output


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
