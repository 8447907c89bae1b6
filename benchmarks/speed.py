"""How fast is a pretraining step beside the peers', and what grows with what?

Every row of a piece is measured in one process, models taking turns, on the same random windows: 10 s at 200 Hz, batch 8. Pieces
already in `--folder` are not measured again, so a run that was stopped goes on. Peers come from braindecode (`pip install
braindecode`; brainfm itself doesn't need it); without it, only our own rows are measured.

    python benchmarks/speed.py --json                         every piece
    python benchmarks/speed.py --pieces peers-19-float32      one of them

"training" is forward and backward without an optimiser, ours with its decoder, its loss and its statistics. CBraMod and LUNA
have their own reconstruction head in braindecode, with half of the patches masked; LaBraM and BIOT have none there, so they are
charged for a mean square of their output alone, which favours them. Ours cuts the same patches and hides 55 % of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.jobs.pretrain import Learner
from brainfm.model import BrainFM, BrainFMConfig
from brainfm.objectives.masked_patches import waves
from brainfm.recipe import PretrainRecipe

BATCH, SECONDS, SFREQ = 8, 10.0, 200.0
TIMES = round(SECONDS * SFREQ)
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
ROUNDS = {"forward": 5, "training": 5}


@dataclass
class Model:
    """Something to be timed: `loss` is the whole of a step before the backward pass."""

    name: str
    module: nn.Module
    loss: Callable[[], Tensor]

    @property
    def parameters(self) -> int:
        """That are trained."""
        return sum(one.numel() for one in self.module.parameters() if one.requires_grad)


# Ours


def batch_of(sensors: int, seed: int = 0) -> Batch:
    """Random windows of sensors spread over a head."""
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(sensors, 3))
    place = 0.09 * place / np.linalg.norm(place, axis=1, keepdims=True)
    place[:, 2] = np.abs(place[:, 2])
    table = Sensors.of([f"E{row}" for row in range(sensors)], "eeg", "1", place, "approximate")
    signal = rng.normal(size=(BATCH, sensors, TIMES)).astype(np.float32)
    return Batch.of("eeg", signal, SFREQ, [table] * BATCH)


def ours(name: str, sensors: int, patch: float, encoder: Mapping[str, Any], decoder_depth: int = 2) -> Model:
    """A whole learner: tokenizer, block mask, encoder, decoder and statistics."""
    tokenizer = {"kind": "patch", "seconds": patch, "sfreq": SFREQ}
    recipe = PretrainRecipe.resolve(
        {
            "data": {"cards": ["simulated_eeg"]},
            "signals": {"eeg": {"prepare": [], "seconds": SECONDS, "tokenizer": tokenizer}},
            "encoder": dict(encoder),
            "mask": {"kind": "block", "radius": 0.09, "length": 2, "share": 0.55},
            "objective": {"kind": "masked_patches", "decoder_depth": decoder_depth},
            "train": {"steps": 1},
        }
    )
    model, batch = BrainFM.fresh(BrainFMConfig.of(recipe), 0), batch_of(sensors)
    objective = recipe.objective.build(model.width, {"eeg": recipe.signals["eeg"].tokenizer.times})
    with torch.no_grad():
        objective.fit([(batch, waves(batch, model.tokenize(batch)))])
    learner = Learner(model, recipe.mask, objective)
    drawn = torch.Generator().manual_seed(0)
    return Model(name, learner, lambda: learner(batch, drawn).total)
