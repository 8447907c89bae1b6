"""Classes of length: little padding, and the same padding and masks whoever computes a window."""

import numpy as np
import torch

from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.modalities import modality
from brainfm.data.windows.sliding import Sliding
from brainfm.lengths import PADDING, size_class, span
from brainfm.masks.block import Block
from brainfm.tokenizers.spike_events import SpikeEvents


def test_a_class_holds_every_length_that_pads_little_and_no_other() -> None:
    lengths = np.arange(3000)
    classes = size_class(lengths)
    assert (np.diff(classes) >= 0).all() and classes[0] == classes[1]
    for length in lengths[1:]:
        shortest, longest = span(int(length))
        assert shortest <= length <= longest
        assert shortest >= (1 - PADDING) * longest
        assert shortest < (1 - PADDING) * (longest + 1)  # one more would be too long
        assert size_class(np.array([shortest, longest])).tolist() == [classes[length]] * 2
    assert span(0) == (1, 1)


def test_a_windows_events_are_hidden_alike_whatever_lies_beside_it() -> None:
    recording = modality("spikes").simulate(np.random.default_rng(2), seconds=120.0, sensors=12, sfreq=100.0)
    part = SpikeEvents(seconds=0.2, sfreq=100.0)
    windows = Sliding(seconds=2.0)([recording], "spikes", [])
    stream = Stream("spikes", [recording], windows, (), part)
    rows = max(stream.layouts, key=len)
    assert len(set(stream.lengths[rows].tolist())) > 1 and len(rows) >= 4
    tokenizer = part.build(8, 0)
    whole = tokenizer(stream.batch(rows)).tokens
    mask = Block()
    drawn = mask.draw(whole, Chance(0, 1)).mask()
    for place in range(len(rows)):
        alone = tokenizer(stream.batch(rows[place : place + 1])).tokens
        assert (alone.count, alone.padded) == (whole.count, whole.padded)
        assert torch.equal(mask.draw(alone, Chance(0, 1, first=place)).mask()[0], drawn[place])
