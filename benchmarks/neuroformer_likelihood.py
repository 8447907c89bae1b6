"""How likely are spikes that no pretraining saw: by the network of events, by a regression on their past, by constant rates?

All three give a probability of how often each neuron fires in every millisecond of three stretches of the rat's recording, in
segments of 2 s, so their nats can be subtracted, and are divided by the spikes. The network tells each moment with spikes, once a
moment came, from the spikes and the behaviour of the 2 to 4 s before it in its window; the regression tells a rate in every
millisecond from the last half second. Neither sees more than the past. Intervals are over blocks of 20 s, drawn with replacement.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked
from claims import Claim
from numpy.typing import NDArray

from brainfm.data.cards import DataCard
from brainfm.data.windows import Windows
from brainfm.event_model import EventModel
from brainfm.recipe_corpus import span
from brainfm.spike_glm import FittedGLM, SpikeGLM, chosen
from brainfm.spike_likelihood import log_likelihood, poisson

Array = NDArray[np.float64]
HELD_OUT = ("@196-297", "@491-592", "@786-887")
CONTEXT, SCORED = 2.0, 2.0
"""Seconds of a window that are heard only, and that are scored."""
TOGETHER = 10
"""Segments that are drawn together."""
RATE = 1000
KNOWN = 985
DRAWS = 2000


def likelihoods(asked: Asked, runs: Mapping[str, Path]) -> list[Claim]:
    """What is said of them."""
    counts = DataCard.load("spk_nelpy_ca1").recordings()[0].signal("spikes").load()
    counts = counts[:, : KNOWN * RATE].astype(np.uint8)
    begins = segments()
    train = training(counts.shape[1])
    rates = np.maximum(counts[:, train].mean(axis=1), 0.5 / len(train)) * RATE
    nats = {"constant rates": constant(counts, rates, begins)}
    nats["regression"] = regressed(regression(asked, counts, train), counts, begins)
    for arm, run in runs.items():
        nats[arm] = told(EventModel.load(run), begins, rates)
    spikes = np.array([counts[:, samples(one)].sum() for one in begins], float)
    bits = {name: (one - nats["constant rates"]) / np.log(2) for name, one in nats.items()}
    on = f"spk_nelpy_ca1, {len(begins) * SCORED:.0f} s held out, {spikes.sum():.0f} spikes, 31 neurons"
    pairs = (
        ("spikes alone are told better than by constant rates", "spikes-alone", "constant rates"),
        (
            "spikes alone are told better than by a Poisson regression on the past",
            "spikes-alone",
            "regression",
        ),
        ("with behaviour in the window spikes are told better than by the regression", "whole", "regression"),
        ("the behaviour stream helps to tell spikes", "without-contrastive", "spikes-alone"),
        ("the contrastive term helps to tell spikes", "whole", "without-contrastive"),
    )
    return [claim(says, on, bits, ours, other, spikes) for says, ours, other in pairs]


def claim(says: str, on: str, bits: Mapping[str, Array], ours: str, other: str, spikes: Array) -> Claim:
    """By how many bits a spike ours is above the other, over blocks of time."""
    figure = ", ".join(f"{name} {bits[name].sum() / spikes.sum():+.3f} bits/spike" for name in (ours, other))
    return Claim(says, on, figure, over_blocks(bits[ours] - bits[other], spikes))


def over_blocks(gap: Array, spikes: Array) -> tuple[float, float, float]:
    """Σ gap / Σ spikes, and 95 % of its values where blocks of segments are drawn with replacement."""
    block = np.arange(len(gap)) // TOGETHER
    sums = np.stack([np.bincount(block, one) for one in (gap, spikes)])
    drawn = np.random.default_rng(0).integers(sums.shape[1], size=(DRAWS, sums.shape[1]))
    several = sums[0][drawn].sum(axis=1) / sums[1][drawn].sum(axis=1)
    low, high = np.percentile(several, [2.5, 97.5])
    return float(gap.sum() / spikes.sum()), float(low), float(high)


def segments() -> Array:
    """(segment,) when each begins that is scored, in seconds: half a second inside what was held out, after its context."""
    found = []
    for first, last in (between for one in HELD_OUT if (between := span(one)) is not None):
        begin = first + 0.5 + CONTEXT
        found.append(begin + SCORED * np.arange(int((last - 0.5 - begin) // SCORED)))
    return np.concatenate(found)


def samples(begin: float) -> NDArray[np.int64]:
    """The milliseconds of a segment."""
    return round(begin * RATE) + np.arange(round(SCORED * RATE))


def training(many: int) -> NDArray[np.int64]:
    """The milliseconds that pretraining saw."""
    kept = np.ones(many, bool)
    for first, last in (between for one in HELD_OUT if (between := span(one)) is not None):
        kept[int(first * RATE) : int(last * RATE)] = False
    return np.flatnonzero(kept)


def constant(counts: NDArray[Any], rates: Array, begins: Array) -> Array:
    """(segment,) nats under constant rates."""
    each = torch.from_numpy(rates)[:, None] / RATE
    return np.array(
        [float(poisson(torch.from_numpy(counts[:, samples(one)]).long(), each)) for one in begins]
    )


def regression(asked: Asked, counts: NDArray[Any], train: NDArray[np.int64]) -> FittedGLM:
    """Each neuron's own penalty chosen; for a check two filters and the default penalty."""
    if asked.limit is not None:
        return SpikeGLM(RATE, filters=2).fit(counts, train)
    return chosen(counts, train, RATE)


def regressed(fitted: FittedGLM, counts: NDArray[Any], begins: Array) -> Array:
    """(segment,) nats under a regression."""
    every = np.concatenate([samples(one) for one in begins])
    found = fitted.log_likelihood(counts, every).sum(axis=1)
    return np.asarray(found.reshape(len(begins), -1).sum(axis=1))


def told(model: EventModel, begins: Array, rates: Array) -> Array:
    """(segment,) nats by a network of events, and of what lies beside them where it was trained with that."""
    raw = DataCard.load("spk_nelpy_ca1").recordings()
    number = np.zeros(len(begins), np.int64)
    windows = Windows(number, begins - CONTEXT, CONTEXT + SCORED, number - 1)
    names = ["spikes", *(name for name in model.model.modalities if name != "spikes")]
    streams = [model.model.stream(model.model.prepare(raw, name), windows, name) for name in names]
    found = []
    for part in np.array_split(np.arange(len(begins)), 10):
        batches = [one.batch(part) for one in streams]
        found.append(log_likelihood(model, batches, CONTEXT, CONTEXT + SCORED, rates))
    return np.concatenate(found)
