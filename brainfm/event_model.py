"""A model of what comes next: an encoder, and what `next_event` learnt beside it, as a distribution over the next spikes.

Time is counted in samples of the recording. After a spike, the wait is told in bins; inside a bin every sample is as likely, and
in the last, which has no end, the waits fall off exponentially (`NextEventLoss.late`). A moment holds m spikes with a probability
that does not depend on anything (`at_once`), each of a neuron by itself. So every pattern of spikes has a probability, and these
sum to one at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file
from torch import Tensor

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.checkpoint import resolve
from brainfm.errors import CheckpointError, DataError
from brainfm.learner import Learner, kept_file
from brainfm.model import BrainFM
from brainfm.objectives.next_event import NextEvent, NextEventLoss
from brainfm.recipe import PretrainRecipe
from brainfm.tokens import Hidden, Tokens
from brainfm.view import Piece, View


@dataclass(frozen=True)
class Heard:
    """Windows of one instrument's events, and what a causal pass made of each event."""

    batch: Batch
    tokens: Tokens
    who: Float[Tensor, "batch sensor width"]

    @property
    def sample(self) -> Int[Tensor, "batch token"]:
        """The sample in which each spike lies."""
        return (self.tokens.time * self.batch.sfreq).floor().long()


@dataclass(frozen=True)
class EventModel:
    """What tells the next event, read from a pretraining run whose objectives name `next_event`.

    >>> import brainfm
    >>> model = brainfm.EventModel.load("runs/neuroformer")  # doctest: +SKIP
    """

    model: BrainFM
    head: NextEventLoss

    @classmethod
    def load(cls, where: str | Path) -> "EventModel":
        """Of a run's folder or a checkpoint. Raises `CheckpointError` where it did not learn to tell the next event."""
        folder = resolve(where)
        model = BrainFM.from_pretrained(folder)
        asked = PretrainRecipe.resolve(model.recipe, where=folder).objectives
        found = [(name, part) for name, part in asked.items() if isinstance(part, NextEvent)]
        if not found or not (folder / kept_file(found[0][0])).exists():
            raise CheckpointError(
                f"{folder} does not say what it learnt of the next event; pretrain with objectives: {{next_event: {{}}}}"
            )
        name, part = found[0]
        head = NextEventLoss(part, model.width)
        head.load_state_dict(load_file(folder / kept_file(name)))
        return cls(model, head.eval())

    @classmethod
    def of(cls, learner: Learner) -> "EventModel":
        """Of what is being trained. Raises `DataError` where it does not learn to tell the next event."""
        heads = [one for one in learner.objectives.values() if isinstance(one, NextEventLoss)]
        if not heads:
            raise DataError(
                "this learner is not trained to tell the next event; add the objective next_event"
            )
        return cls(learner.model, heads[0])

    @torch.no_grad()
    def heard(self, batches: Sequence[Batch]) -> Heard:
        """What the first batch's events heard before they came, of each other and of the instruments beside them.

        Raises `DataError` where the first batch holds no events.
        """
        pieces = tuple(Piece(batch, self.model.tokenize(batch), nothing_hidden()) for batch in batches)
        who = pieces[0].tokenized.who
        if who is None:
            raise DataError(
                f"{pieces[0].modality} does not become events here; take the tokenizer spike_events"
            )
        view = View(pieces, self.model.encoder, Chance(0))
        return Heard(batches[0], view.past[0], who)

    @torch.no_grad()
    def waits(self, heard: Heard) -> Float[Tensor, "batch token bin"]:
        """Log-probabilities of the bins of the time to the next moment with spikes; none of a bin narrower than a sample."""
        told = self.head.waits(heard.tokens.embedding)
        return told.masked_fill(self.clock(heard).empty, -torch.inf).log_softmax(dim=-1)

    def clock(self, heard: Heard) -> "Clock":
        """How waits are counted in these windows."""
        return Clock(self.head, heard.batch.sfreq)

    @torch.no_grad()
    def neurons(self, heard: Heard, bin_: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token sensor"]:
        """Log-probabilities of whose a spike is that comes in that bin."""
        return self.head.neurons(heard.tokens.embedding, bin_, heard.who, heard.batch.valid)


@dataclass(frozen=True)
class Clock:
    """Waits in samples: the bin of each, and how the probability of a bin is shared among its samples."""

    head: NextEventLoss
    sfreq: float

    @cached_property
    def bins(self) -> Int[Tensor, " sample"]:
        """(sample,) the bin of a wait of 1, 2, … samples, up to the first of the last bin."""
        most = int(self.head.part.longest * self.sfreq) + 2
        found = self.head.bin_of(torch.arange(1, most + 1) / self.sfreq)
        return found[: int((found < self.head.part.bins - 1).sum()) + 1]

    @property
    def empty(self) -> Bool[Tensor, " bin"]:
        """Which bins hold no sample."""
        return torch.bincount(self.bins, minlength=self.head.part.bins) == 0

    @cached_property
    def many(self) -> Int[Tensor, " bin"]:
        """(bin,) how many samples each bin has; the last, which has no end, is counted as one."""
        return torch.bincount(self.bins, minlength=self.head.part.bins).clamp(min=1)

    @cached_property
    def stay(self) -> float:
        """The probability that a wait in the last bin is longer by a sample yet."""
        return float(torch.exp(-1 / (self.head.late * self.sfreq)))

    @property
    def first_late(self) -> int:
        """The shortest wait of the last bin, in samples."""
        return len(self.bins)

    def bin_of(self, wait: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """The bin of waits in samples."""
        return self.bins[(wait - 1).clamp(0, len(self.bins) - 1)]

    def at(self, told: Float[Tensor, "*any bin"], wait: Int[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The log-probability that the wait is just so many samples, where `told` says the bins'."""
        bin_ = self.bin_of(wait)
        late = (wait - self.first_late).clamp(min=0)
        share = torch.log(torch.tensor(1 - self.stay)) + late * torch.log(torch.tensor(self.stay))
        inside = torch.where(bin_ == self.head.part.bins - 1, share, -self.many[bin_].log())
        return told.gather(-1, bin_.unsqueeze(-1)).squeeze(-1) + inside

    def beyond(self, told: Float[Tensor, "*any bin"], wait: Int[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The log-probability that the wait is so many samples or more."""
        each = told.exp() / self.many
        samples = each[..., self.bins[:-1]]
        before = torch.nn.functional.pad(samples.cumsum(dim=-1), (1, 0))  # of 0, 1, 2, … samples
        taken = before.gather(-1, (wait - 1).clamp(0, len(self.bins) - 1).unsqueeze(-1)).squeeze(-1)
        total = before[..., -1] + told[..., -1].exp()
        late = (wait - self.first_late).clamp(min=0)
        left = torch.where(late > 0, told[..., -1].exp() * self.stay**late, (total - taken).clamp(min=1e-12))
        return left.clamp(min=1e-12).log()


def nothing_hidden() -> Hidden:
    """For a look that hides nothing."""
    none = torch.zeros(0, 0, dtype=torch.int64)
    return Hidden(none, none)
