"""People who hear sentences that nobody has to install anything for, and little networks of speech decoding."""

from pathlib import Path
from typing import Any

import numpy as np
import tiny

from brainfm.data.recording import Recording
from brainfm.data.windows.inside import Inside
from brainfm.model import BrainFM
from brainfm.recipe import FinetuneRecipe

READER = "{kind: simulated_speech, subjects: 2, sentences: 12, sensors: 18, voice: formants}"


def card(folder: Path) -> Path:
    """Two people who hear twelve sentences, MEG."""
    return tiny.card(folder, "listeners", READER, modality="meg", more="")


def small(card: Path, *more: str) -> FinetuneRecipe:
    """The recipe `speech` at a size for tests."""
    sets = [
        f"card={card}", "folds=2", "train.steps=4", "train.batch=16", "train.save_every=4",
        "network.signals.meg.tokenizer.channels=8", "network.signals.meg.tokenizer.waves=3",
        "network.encoder.width=8", "network.encoder.hidden=12", "network.encoder.depth=2",
    ]  # fmt: skip
    return FinetuneRecipe.load("speech", [*sets, *more])


def batch_of(net: BrainFM, people: list[Recording]) -> Any:
    """Four windows of what people heard."""
    prepared = net.prepare(people, "meg")
    windows = Inside(seconds=3.0, stride=0.5, offset=0.15)(prepared, "meg", [])
    return net.stream(prepared, windows, "meg").batch(np.arange(4))
