"""Spikes that a model makes up: from those of a prefix on, one moment after the other, each told by all before it.

As Neuroformer generates (Antoniades et al. 2024, arXiv:2311.00136, code): neuron and time in turn, top-p, temperature.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from brainfm.batch import Batch
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError
from brainfm.event_model import Clock, EventModel


def generate(
    model: EventModel,
    prefix: Batch,
    seconds: float,
    generator: torch.Generator,
    beside: Sequence[Batch] = (),
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> list[SpikeTimes]:
    """What follows each window of `prefix` for so many seconds, in seconds from the prefix's end, neurons by their rows.

    `beside` holds the same windows of other instruments, which must last to the end of what is asked for. A `temperature` below 1
    and a `top_p` below 1 (the likeliest that together have this probability) make likely events likelier, and rates higher or
    lower than they were. All that is random is drawn from `generator`. A pass of the network for every moment with spikes, over
    all that came before: ask for seconds. Raises `DataError` where a prefix holds no spike.

    >>> import brainfm
    >>> model = brainfm.EventModel.load("runs/neuroformer")  # doctest: +SKIP
    >>> brainfm.generate(model, prefix, 2.0, torch.Generator().manual_seed(0), top_p=0.95)  # doctest: +SKIP
    """
    if not 0 < top_p <= 1 or not temperature > 0:
        raise DataError(f"top_p={top_p:g} must be above 0 and at most 1, temperature={temperature:g} above 0")
    draw = Draw(generator, temperature, top_p)
    return [
        continued(
            model,
            prefix.windows(slice(row, row + 1)),
            [one.windows(slice(row, row + 1)) for one in beside],
            seconds,
            draw,
        )
        for row in range(len(prefix))
    ]


@torch.no_grad()
def continued(
    model: EventModel, prefix: Batch, beside: Sequence[Batch], seconds: float, draw: "Draw"
) -> SpikeTimes:
    """What follows one window."""
    there = prefix.signal.shape[-1]
    longer = round(seconds * prefix.sfreq)
    counts = torch.nn.functional.pad(prefix.signal, (0, longer))
    spiking = counts[0].any(dim=0).nonzero()
    if not len(spiking):
        raise DataError(
            "nothing fires in a prefix, and what comes next is told by what came before; lengthen it"
        )
    for one in beside:
        if one.signal.shape[-1] / one.sfreq < (there + longer) / prefix.sfreq - 1e-6:
            whole = (there + longer) / prefix.sfreq
            raise DataError(
                f"{one.modality} ends before what is to be generated; give it for all of the {whole:g} s"
            )
    now, begin = int(spiking[-1]), there
    while True:
        batch = replace(prefix, signal=counts[..., : now + 1])
        heard = model.heard([batch, *beside])
        said = (heard.sample[0] == now) & heard.tokens.valid[0]
        token = draw.one_of(said.nonzero()[:, 0])
        clock = model.clock(heard)
        wait = draw.wait(clock, model.waits(heard)[0, token], begin - now)
        now, begin = now + wait, now + wait + 1
        if now >= there + longer:
            break
        bin_ = clock.bin_of(torch.full(heard.tokens.time.shape, wait))
        told = model.neurons(heard, bin_)[0, token]
        for _ in range(1 + draw.index(model.head.at_once)):
            counts[0, draw.of(told), now] += 1
    rows, samples = counts[0, :, there:].nonzero(as_tuple=True)
    often = counts[0, :, there:][rows, samples].long()
    who, when = rows.repeat_interleave(often).numpy(), samples.repeat_interleave(often).numpy()
    trains = [(when[who == row] + 0.5) / prefix.sfreq for row in range(counts.shape[1])]
    return SpikeTimes.of([np.asarray(train, np.float64) for train in trains], seconds, prefix.sfreq)


class Draw:
    """All that is random, from one generator."""

    def __init__(self, generator: torch.Generator, temperature: float, top_p: float) -> None:
        self.generator, self.temperature, self.top_p = generator, temperature, top_p

    def uniform(self) -> float:
        """From 0 to 1."""
        return float(torch.rand((), generator=self.generator))

    def one_of(self, several: Tensor) -> int:
        """Any of these, each as likely."""
        return int(several[int(torch.randint(len(several), (), generator=self.generator))])

    def index(self, probability: Float[Tensor, " any"]) -> int:
        """The number of what has this probability."""
        return int(torch.multinomial(probability, 1, generator=self.generator))

    def of(self, told: Float[Tensor, " any"]) -> int:
        """The number of what has this log-probability, warmer or colder, unlikely ones left out."""
        probability = (told / self.temperature).softmax(dim=-1)
        ordered, order = probability.sort(descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        kept = torch.zeros_like(probability).scatter(0, order, ordered * (before < self.top_p))
        return self.index(kept)

    def wait(self, clock: Clock, told: Float[Tensor, " bin"], least: int) -> int:
        """A wait in samples, of `least` or more."""
        if least >= clock.first_late:  # what is so late forgets how late it is
            return least + self.late(clock)
        told = told.clone()
        told[: int(clock.bin_of(torch.tensor(max(1, least))))] = -torch.inf
        while True:
            bin_ = self.of(told)
            if bin_ == len(told) - 1:
                return clock.first_late + self.late(clock)
            wait = self.one_of((clock.bins == bin_).nonzero()[:, 0]) + 1
            if wait >= least:
                return wait

    def late(self, clock: Clock) -> int:
        """Samples by which a wait in the last bin is longer than the shortest there."""
        return int(np.log(max(1e-12, self.uniform())) / np.log(clock.stay))
