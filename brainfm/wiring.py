"""Who drives whom: a network that tells the next spike is asked how the spikes of one neuron change what it says of another.

Two ways. `attention`: how much what tells a spike of neuron i attends to earlier spikes of neuron j, over how often it could have
(as Neuroformer, Antoniades et al. 2024, arXiv:2311.00136; its code sums over layers and takes the least of the heads). `effect`:
by how much the told rate of i rises when j is made to fire, which asks the network what it says and not how it is built.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.batch import Batch
from brainfm.chance import generator_of
from brainfm.corpus import Stream
from brainfm.errors import DataError
from brainfm.event_model import EventModel, Heard
from brainfm.layers.attention import Block, everyone, itself_and_earlier
from brainfm.objectives.next_event import fired, successor

AT_ONCE = 512
"""Windows that are encoded at once."""


def connectivity(
    model: EventModel,
    stream: Stream,
    rows: NDArray[np.int64],
    of: Literal["effect", "attention"] = "effect",
    within: float = 0.01,
    seed: int = 0,
) -> NDArray[np.float64]:
    """(neuron, neuron) how much the column's neuron drives the row's, by these windows of one recording; 0 on the diagonal.

    An effect is in nats: the change of the logarithm of the rate told for the next `within` seconds, from the mean over whoever
    may have fired. Raises `DataError` where the windows are of several recordings, which have other neurons.

    >>> import brainfm
    >>> model = brainfm.EventModel.load("runs/neuroformer")  # doctest: +SKIP
    >>> brainfm.connectivity(model, stream, rows)  # doctest: +SKIP
    """
    if len(np.unique(stream.windows.recording[rows])) != 1:
        raise DataError(
            "these windows are of several recordings, whose neurons are not the same; give those of one"
        )
    parts = [rows[np.isin(rows, layout)] for layout in stream.layouts]
    batches = [stream.batch(part) for part in parts if len(part)]
    found = attended(model, batches) if of == "attention" else driven(model, batches, within, seed)
    np.fill_diagonal(found, 0.0)
    return found


@torch.no_grad()
def driven(model: EventModel, batches: Sequence[Batch], within: float, seed: int) -> NDArray[np.float64]:
    """In every window a moment of its second half is drawn at which one neuron after the other is made to fire."""
    generator = generator_of(seed)
    neurons = batches[0].signal.shape[1]
    total, count = torch.zeros(neurons, neurons, dtype=torch.float64), 0
    for batch in batches:
        at_once = max(1, AT_ONCE // neurons)
        for first in range(0, len(batch), at_once):
            part = batch.windows(slice(first, first + at_once))
            rate = rates_after(model, stimulated(part, generator), within).unflatten(0, (len(part), neurons))
            total += (rate - rate.mean(dim=1, keepdim=True)).sum(dim=0).T
            count += len(part)
    return np.asarray((total / count).numpy())


def stimulated(batch: Batch, generator: torch.Generator) -> Batch:
    """Each window as often as there are neurons: what came before a random moment, and then a spike of each of them."""
    neurons, times = batch.signal.shape[1:]
    moment = times // 2 + torch.randint(times - times // 2, (len(batch),), generator=generator)
    window = torch.arange(len(batch)).repeat_interleave(neurons)
    each, moment = batch.windows(window), moment[window]
    counts = each.signal * (torch.arange(times) < moment[:, None, None])
    counts[torch.arange(len(counts)), torch.arange(neurons).repeat(len(batch)), moment] = 1
    return replace(each, signal=counts)


def rates_after(model: EventModel, batch: Batch, within: float) -> Float[Tensor, "window sensor"]:
    """The logarithm of the probability that each neuron fires next and within so many seconds of each window's last spike.

    To the end of the bin in which these seconds are over: a network tells waits by bins.
    """
    heard = model.heard([batch])
    last = torch.where(heard.tokens.valid, heard.tokens.time, -torch.inf).argmax(dim=1, keepdim=True)
    ends = replace(heard, tokens=heard.tokens.take(last))
    told, clock = model.waits(ends)[:, 0], model.clock(ends)
    soon = clock.bins[: round(within * batch.sfreq)].unique().tolist()
    each = [told[:, one, None] + model.neurons(ends, torch.full(last.shape, one))[:, 0] for one in soon]
    return torch.stack(each).logsumexp(dim=0).double()


@torch.no_grad()
def attended(model: EventModel, batches: Sequence[Batch]) -> NDArray[np.float64]:
    """Attention of what tells each spike to every spike before it, from neuron to neuron, over how many such pairs there are.

    The mean over heads, summed over blocks.
    """
    neurons = batches[0].signal.shape[1]
    paid, pairs = torch.zeros(neurons, neurons), torch.zeros(neurons, neurons)
    for batch in batches:
        with watched(model.model.encoder) as weights:
            heard = model.heard([batch])
        told, could, whose = told_by(heard)
        weight = torch.stack(weights).mean(dim=3).sum(dim=0)
        paid += torch.einsum("bqk,bqi,bkj->ij", weight * could, told, whose)
        pairs += torch.einsum("bqk,bqi,bkj->ij", could, told, whose)
    return np.asarray((paid / pairs.clamp(min=1)).double().numpy())


def told_by(heard: Heard) -> tuple[Tensor, Tensor, Tensor]:
    """(window, token, neuron) whose spikes follow each, (window, token, token) which it could attend to, and whose these are."""
    tokens = heard.tokens
    following, asked = successor(tokens)
    told = fired(heard.batch.signal, following, heard.batch.sfreq) * asked.unsqueeze(-1)
    could = itself_and_earlier(tokens.time, tokens.valid)
    whose = torch.nn.functional.one_hot(tokens.sensor, heard.batch.signal.shape[1]).float()
    return told, could.float(), whose * tokens.valid.unsqueeze(-1)


@contextmanager
def watched(encoder: torch.nn.Module) -> Iterator[list[Float[Tensor, "batch token head other"]]]:
    """The attention weights of every block of an encoder, in the order of its blocks, while it is called.

    Whoever mixes values by weights gives the weights themselves where the values are the rows of an identity.
    """
    weights: list[Tensor] = []

    def watch(block: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mix = kwargs.get("mix") or everyone(kwargs.get("context_valid"))

        def seen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            rows = torch.eye(k.shape[1], dtype=v.dtype)[None, :, None]
            weights.append(mix(q, k, rows.expand(k.shape[0], -1, k.shape[2], -1)))
            return mix(q, k, v)

        return args, {**kwargs, "mix": seen}

    blocks = [one for one in encoder.modules() if isinstance(one, Block)]
    hooks = [one.register_forward_pre_hook(watch, with_kwargs=True) for one in blocks]
    try:
        yield weights
    finally:
        for hook in hooks:
            hook.remove()
