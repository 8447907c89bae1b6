"""Spike events: one token for every spike, which says which neuron fired and when (Azabou et al. 2023, §2.1; Neuroformer)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.lengths import span
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Table, Target, Tokenized, Tokens


class SpikeEvents(Tokenizer):
    """Spikes at a resolution of `1 / sfreq`. What a token stands for is how its neuron fires within `seconds` around it.

    Windows hold different numbers of spikes: batches are made of windows of nearly equal length, and padded. A neuron that was
    never met is an average one; a new recording adds neurons and leaves the old ones as they were.
    """

    ragged = True
    reads = ("spikes",)

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return ()

    def build(self, width: int, modality: int) -> "SpikeEventsTokenizer":
        return SpikeEventsTokenizer(self, width, modality)


class SpikeEventsTokenizer(Knowing):
    """`Batch -> Tokenized`, spikes in order of time."""

    def __init__(self, part: SpikeEvents, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.fired = nn.Parameter(torch.randn(width) / width**0.5)
        self.vocabulary = Vocabulary(width)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        if abs(batch.sfreq - self.part.sfreq) > 1e-6 * self.part.sfreq:
            raise DataError(
                f"this tokenizer wants spikes at {self.part.sfreq:g} Hz, the signal has {batch.sfreq:g} Hz: bin it so"
            )
        row, time, valid = spikes_of(batch.signal * batch.valid.unsqueeze(-1))
        neuron = self.vocabulary(batch.identity)
        who = along(neuron, row)
        tokens = Tokens(
            embedding=who + self.fired,
            time=(time + 0.5) / self.part.sfreq,
            position=along(batch.position, row),
            located=along(batch.located, row),
            modality=torch.full_like(row, self.modality),
            sensor=row,
            region=along(batch.region, row),
            valid=valid,
            padded=len(set(span(row.shape[1]))) > 1,  # the same in every piece of a step, whether this one is
            rows=batch.signal.shape[1],
            table=Table(
                batch.position, batch.located & batch.valid, torch.full_like(batch.kind, self.modality)
            ),
            who=who,
        )
        around = self.around(batch.signal, row, time)
        return Tokenized(tokens, {batch.modality: Target(around, batch.sfreq)}, who=neuron)

    def around(
        self,
        counts: Float[Tensor, "batch sensor time"],
        row: Int[Tensor, "batch token"],
        time: Int[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token around"]:
        """How the spike's own neuron fires in the `times` bins around it, itself left out."""
        half = self.part.times // 2
        lag = torch.arange(-half, self.part.times - half, device=counts.device)
        wide = torch.nn.functional.pad(counts, (half, self.part.times))
        at = time.unsqueeze(-1) + lag + half
        flat = wide.flatten(1)
        found = flat.gather(1, (row.unsqueeze(-1) * wide.shape[-1] + at).flatten(1)).unflatten(
            1, at.shape[1:]
        )
        return found - (lag == 0).to(found.dtype)


def spikes_of(
    counts: Float[Tensor, "batch sensor time"],
) -> tuple[Int[Tensor, "batch token"], Int[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
    """Sensor and bin of every spike, in order of time and then of sensor; a bin that holds two gives two.

    Padded at the end, as long as the longest window that may share a batch with these.
    """
    window, bin_, sensor = counts.transpose(1, 2).nonzero(as_tuple=True)
    often = counts[window, sensor, bin_].long()
    window, bin_, sensor = (index.repeat_interleave(often) for index in (window, bin_, sensor))
    length = torch.bincount(window, minlength=len(counts))
    most = span(int(length.max()))[1]
    place = torch.arange(len(window), device=counts.device) - (length.cumsum(0) - length)[window]
    row = torch.zeros(len(counts), most, dtype=torch.int64, device=counts.device)
    time = torch.zeros_like(row)
    row[window, place], time[window, place] = sensor, bin_
    return row, time, torch.arange(most, device=counts.device) < length.unsqueeze(1)


def along(values: Tensor, row: Int[Tensor, "batch token"]) -> Tensor:
    """What each token's sensor has, (batch, sensor, ...) → (batch, token, ...)."""
    wide = row.reshape(row.shape + (1,) * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, wide)
