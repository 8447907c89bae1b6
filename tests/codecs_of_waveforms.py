"""A small codec of planted waveforms for tests: trained for a second, and what it is tried on."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from brainfm.codebook import Health, Usage
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.readers.simulated_waveforms import SimulatedWaveforms
from brainfm.data.recording import Recording
from brainfm.data.splits import split
from brainfm.data.windows.trials import Trials
from brainfm.evaluation import Evaluation
from brainfm.gather import stream
from brainfm.recipe import TokenizeRecipe

PEOPLE = SimulatedWaveforms(subjects=6, seconds=90.0, seed=3)
LABELS = """task:
  labels: [spindle, spike_wave, alpha, nothing]
  window: {kind: trials, seconds: 4.0}
  split: CrossSubject
  folds: 2
  metric: balanced_accuracy
"""


@cache
def recordings() -> tuple[Recording, ...]:
    """The people."""
    return tuple(
        replace(PEOPLE.open(entry.path), subject=entry.subject, dataset="waves")
        for entry in PEOPLE.find(Path(), "")
    )


@cache
def codec_of_waveforms(*overrides: str) -> Codec:
    """The recipe `eegformer` with a few codes and steps."""
    small = [
        "codes.quantizer={kind: vq, codes: 24, decay: 0.9}",
        "codes.hidden=32",
        "codes.width=16",
        *overrides,
    ]
    recipe = TokenizeRecipe.load("eegformer", small)
    windows = stream(recordings(), recipe, "eeg")
    codec, generator = Codec.fresh(recipe, windows, 0), torch.Generator().manual_seed(0)
    codec.train()
    batch = windows.batch(windows.layouts[0][::2])
    codec.patches.fit(codec.rows(*codec.held(batch)), generator)
    optimiser = torch.optim.AdamW(codec.parameters(), 3e-3)
    for _ in range(25):
        loss = codec(batch, generator)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    codec.health = Health((Usage(24, 24, 24.0),), 100, 0.5, 0.5, 1.0, 0.8, "the windows of a test")
    return codec.eval()


def evaluation_of() -> Evaluation:
    """The labelled windows, in two folds of people."""
    windows = Trials(seconds=4.0)(list(recordings()), "eeg", ["spindle", "spike_wave", "alpha", "nothing"])
    folds = split("CrossSubject", windows, list(recordings()), 2)
    card = DataCard.load("simulated_waveforms")
    return Evaluation(card, list(recordings()), windows, "CrossSubject", folds, "balanced_accuracy")


def stream_of(codec: Codec) -> Stream:
    """The labelled windows, prepared."""
    prepared = codec.prepare(list(recordings()))
    return Stream("eeg", prepared, evaluation_of().windows, codec.recipe.prepare, codec.recipe.tokenizer)
