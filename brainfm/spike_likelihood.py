"""How likely are the spikes that came? Of an event model, in nats, so that it stands beside models that tell counts in bins.

A model of events tells how long it is to the next moment and whose its spikes are; a Poisson regression tells a rate in every
bin. Both give a probability of how often each neuron fires in each sample from one moment to another, of what came before, so the
logarithms can be compared where samples are as long. Per spike and over that of constant rates it is the field's bits per spike
(Pillow et al. 2008, Nature 454, 995, supplement).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Tensor

from brainfm.batch import Batch
from brainfm.event_model import Clock, EventModel
from brainfm.objectives.next_event import MOST, successor


@torch.no_grad()
def log_likelihood(
    model: EventModel, batches: Sequence[Batch], begin: float, end: float, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(window,) nats of the spikes from `begin` to `end` seconds of each window, told what came before `begin` in it.

    The first batch holds the events, others what lies beside them. `rates` (neuron,) in hertz are what is said until a window's
    first spike. Windows whose `end` is the next one's `begin` add up to a recording.
    """
    heard = model.heard(batches)
    clock, sample, there = model.clock(heard), heard.sample, heard.tokens.valid
    told = model.waits(heard).double()
    following, _ = successor(heard.tokens)
    wait = ((following - heard.tokens.time) * heard.batch.sfreq).round().long().clamp(min=1)
    which = model.neurons(heard, clock.bin_of(wait)).double()
    first, last = (round(edge * heard.batch.sfreq) for edge in (begin, end))
    counts = heard.batch.signal.long()
    return np.array(
        [
            one_window(
                clock,
                sample[row][there[row]],
                told[row][there[row]],
                which[row][there[row]],
                counts[row],
                (first, last),
                torch.from_numpy(rates) / heard.batch.sfreq,
            )
            for row in range(len(heard.batch))
        ]
    )


def one_window(
    clock: Clock,
    sample: Int[Tensor, " token"],
    told: Float[Tensor, "token bin"],
    which: Float[Tensor, "token sensor"],
    counts: Int[Tensor, "sensor time"],
    among: tuple[int, int],
    rates: Float[Tensor, " sensor"],
) -> float:
    """Nats of the samples `among` of one window; `rates` are per sample."""
    first, last = among
    moments = [one for one in sample.unique().tolist() if one < last]
    before = [one for one in moments if one < first]
    total, begin, after = 0.0, first, moments[len(before) :]
    if not before:  # nothing was heard yet
        begin = after[0] + 1 if after else last
        total = float(poisson(counts[:, first:begin], rates.unsqueeze(1)))
        if not after:
            return total
        before, after = after[:1], after[1:]
    now = before[-1]
    for following in after:
        rows = sample == now
        fired = counts[:, following]
        parts = clock.at(told[rows], torch.tensor(following - now).expand(int(rows.sum())))
        parts = parts + (which[rows] * fired).sum(dim=-1)
        total += mixed(parts) + at_once(clock, fired) - survived(clock, sample, told, now, begin)
        now, begin = following, following + 1
    return total + survived(clock, sample, told, now, last) - survived(clock, sample, told, now, begin)


def survived(
    clock: Clock, sample: Int[Tensor, " token"], told: Float[Tensor, "token bin"], now: int, until: int
) -> float:
    """The log-probability that after the spikes at `now` nothing fires before `until`."""
    rows = sample == now
    if until <= now + 1:
        return 0.0
    return mixed(clock.beyond(told[rows], torch.tensor(until - now).expand(int(rows.sum()))))


def mixed(parts: Float[Tensor, " token"]) -> float:
    """What several spikes of one moment say together: each is as likely to be right."""
    return float(parts.logsumexp(dim=0)) - float(np.log(len(parts)))


def at_once(clock: Clock, fired: Int[Tensor, " sensor"]) -> float:
    """The log-probability that so many spikes come in one moment, and of the orders in which they may be told."""
    number = int(fired.sum())
    orders = gammaln(number + 1) - gammaln(fired.double().numpy() + 1).sum()
    return float(clock.head.at_once[min(number, MOST) - 1].log()) + float(orders)


def poisson(counts: Tensor, expected: Tensor) -> Float[Tensor, ""]:
    """The log-probability of counts whose expectations are known, summed."""
    expected = expected.double().clamp(min=1e-12)
    lasting = expected.expand(counts.shape).sum()
    return (counts * expected.log()).sum() - lasting - torch.lgamma(counts.double() + 1).sum()


def bits_per_spike(told: float, constant: float, spikes: float) -> float:
    """By how many bits a spike a model's nats are above those of constant rates."""
    return (told - constant) / (spikes * float(np.log(2)))
