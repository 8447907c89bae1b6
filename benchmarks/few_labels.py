"""How many labelled windows does a decoder need? Learning curves on real people whom no pretraining saw.

    python benchmarks/few_labels.py --out runs/few_labels

Frozen features, the untrained network's and the card's own classical decoder, each trained on 1, 5, 10 and 50 windows of each
class (three draws of them, out of the training side of each fold) and tested on all windows of who is held out. EEG by a short
pretraining of `eeg_tiny` in the two folds of `real_eeg.py`, one seed, so that every person is judged by a network that never saw
them; MEG by `brainfm-tiny`, which saw none of it.
"""

from typing import Any

import real_eeg
import torch
from asked import Asked, command
from score_tables import Found, cell, markdown, named, portable

from brainfm.jobs.probe import Options, probe

COUNTS = (1, 5, 10, 50)
PACKAGE = "brainfm-tiny"
SETS = ("eeg_arithmetic", "eeg_ssvep_exo", "eeg_muse_p300", "meg_s1_detection")
DRAWS = 3
STEPS = 300
"""Of pretraining, on EEG."""


def main() -> None:
    """Pretrain what is not pretrained yet, print the table."""
    command(__doc__, "few_labels", measured, lines, "steps, sets and draws")


def measured(asked: Asked) -> dict[str, Any]:
    """The curve of every set."""
    torch.set_num_threads(1)
    options = Options(
        seeds=len(asked.few(range(DRAWS))), classical="card", windows_per_class=COUNTS, quiet=True
    )
    return {"sets": [portable(probe(judges(asked, card), card, options)) for card in asked.few(SETS)]}


def judges(asked: Asked, card: str) -> list[Any]:
    """The checkpoints that a set is scored by."""
    if card not in real_eeg.CARDS:
        return [PACKAGE]
    runs = asked.beside("few_labels_pretraining")
    return list(real_eeg.pretrained(runs, overrides=[f"train.steps={STEPS}"], seeds=real_eeg.SEEDS[:1]))


def lines(found: Found) -> list[str]:
    """A row for each set and decoder, a column for each number of windows."""
    rows = []
    for one in found["sets"]:
        names = list(dict.fromkeys(point["name"] for point in one["curve"]))
        for name in names:
            points = {point["windows_per_class"]: point for point in one["curve"] if point["name"] == name}
            few = [cell(points.get(count)) for count in COUNTS]
            rows.append([one["card"], one["metric"], name, *few, cell(named(one, name))])
    head = ["set", "metric", "decoder", *(f"{count} a class" for count in COUNTS), "all windows"]
    over = "; ".join(f"{one['card']} over {one['unit']}, chance {one['chance']:.2f}" for one in found["sets"])
    said = [(one["card"], note) for one in found["sets"] for note in one["notes"] if "per class" in note]
    left_out = "".join(f" {card}: {note}." for card, note in said)
    return [*markdown(head, rows), "", f"Intervals: {over}.{left_out}"]


if __name__ == "__main__":
    main()
