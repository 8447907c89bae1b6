"""What the checkpoint of the package scores on who was kept out of its pretraining.

    python benchmarks/shipped.py --out runs/shipped

A ridge probe of frozen features, one untrained twin, the classical decoders. Some minutes, nothing is trained.
"""

from typing import Any

import torch
from asked import Asked, command
from score_tables import Found, best_cell, cell, decimals, gap, markdown, named, portable

from brainfm.jobs.probe import Options, probe

CHECKPOINT = "brainfm-tiny"
CARDS = (
    "simulated_eeg",
    "simulated_meg",
    "simulated_seeg",
    "simulated_fmri",
    "simulated_spikes",
    "eeg_arithmetic",
    "eeg_ssvep_exo",
    "eeg_muse_p300",
    "eeg_muse_ssvep",
    "spk_nelpy_ca1",
)


def main() -> None:
    """Probe every card, print the table."""
    command(__doc__, "shipped", measured, lines)


def measured(asked: Asked) -> dict[str, Any]:
    """The scores on every card."""
    torch.set_num_threads(1)
    options = Options(seeds=1, quiet=True)
    return {"scores": [portable(probe([CHECKPOINT], card, options)) for card in asked.few(CARDS)]}


def lines(found: Found) -> list[str]:
    """A row for each card."""
    rows = [
        [
            one["card"],
            f"{one['metric']} ({decimals(one['chance'], '.2f')})",
            one["unit"],
            cell(named(one, "frozen")),
            cell(named(one, "untrained")),
            cell(gap(one, "frozen − untrained"), "+.2f"),
            best_cell(one),
        ]
        for one in found["scores"]
    ]
    head = ["card", "metric (chance)", "intervals over", "frozen", "untrained", "frozen − untrained"]
    return markdown([*head, "best classical"], rows)


if __name__ == "__main__":
    main()
