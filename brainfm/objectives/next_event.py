"""Next event: from the spikes up to now, when is the next one and whose is it (as Neuroformer, Antoniades et al. 2024)?

Antoniades et al. 2024 (arXiv:2311.00136) tell the neuron and a step of 10 ms within windows of 50 ms, and let events attend to
a stimulus and to behaviour; the loss weighs the neuron .45 and the time .30 (code). Here the time is
the wait since the last spike.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.objectives import Loss, Objective, Sampled, Shapes, mean_parts
from brainfm.tokens import Tokens
from brainfm.view import Piece, View, mean_over_windows

SHORTEST = 1.5e-3
"""Seconds of the first bin: a spike one sample later at 1 kHz."""
NEVER = -1e4
"""The logit of a neuron that is padding; minus infinity times nothing would be no number."""
MOST = 8
"""Spikes of one moment whose number is counted; more are counted as so many."""


class NextEvent(Objective):
    """Cross-entropy over bins of the time to the next spike, and over the recording's neurons given that time.

    The two together are the likelihood of the next event. Times are told in bins that widen with the logarithm, not by a density:
    refractoriness and synapses give the waiting time several edges within ten milliseconds, of which bins make no assumption.
    A neuron's score is a dot product with its vector in the tokenizer's vocabulary, so that any number of neurons do. Spikes of
    one moment don't hear each other, and each of them counts as the next one's neuron. Streams that are no events have no part,
    but where they lie in the window as well (a stimulus, behaviour) events hear what of them was over before.
    """

    needs_causal = True
    kept = True

    bins: int = Field(
        default=24, ge=3, description="of time to the next spike, the last for all that is later"
    )
    longest: float = Field(default=0.25, gt=SHORTEST, description="seconds, where the last bin begins")
    when: float = Field(default=1.0, ge=0, description="weight of the time to the next spike")
    which: float = Field(default=1.0, ge=0, description="weight of its neuron")

    @model_validator(mode="after")
    def _asks_something(self) -> "NextEvent":
        if not self.when + self.which:
            raise ValueError("when and which both weigh nothing; give one a weight")
        return self

    def build(self, shapes: Shapes) -> "NextEventLoss":
        return NextEventLoss(self, shapes.width)


class NextEventLoss(nn.Module):
    """Parts in nats a spike: `when`, and `which`, which is told the right bin of the former.

    `late` and `at_once` are counted in the corpus (`fit`): with them the parts become a likelihood of spike trains
    (`event_model`), whose last bin has no end and whose moments may hold several spikes.
    """

    def __init__(self, part: NextEvent, width: int) -> None:
        super().__init__()
        self.part = part
        self.when = nn.Linear(width, part.bins)
        self.after = nn.Embedding(part.bins, width)
        self.asks = nn.Linear(width, width)
        self.answers = nn.Linear(width, width, bias=False)
        self.late = nn.Buffer(torch.tensor(part.longest))
        """Seconds that the next spike still takes where it is not there after `longest`, the mean."""
        self.at_once = nn.Buffer(torch.eye(MOST)[0])
        """The share of moments with 1, 2, … spikes among those with any."""

    @torch.no_grad()
    def fit(self, sampled: Sampled) -> None:
        """Count what the bins leave open.

        As if there had been one late wait more, of `longest` and that again, and a hundredth of a moment more of each number.
        """
        late, moments = torch.tensor([self.part.longest, 1.0]), torch.ones(MOST) * 1e-2
        for batch, tokenized in sampled:
            if tokenized.who is None:
                continue
            following, asked = successor(tokenized.tokens)
            wait = (following - tokenized.tokens.time)[asked]
            more = wait[self.bin_of(wait) == self.part.bins - 1] - self.part.longest
            late += torch.tensor([more.sum(), float(len(more))])
            number = batch.signal.sum(dim=1).flatten().long().clamp(max=MOST)
            moments += torch.bincount(number, minlength=MOST + 1)[1:]
        self.late.copy_(late[0] / late[1])
        self.at_once.copy_(moments / moments.sum())

    def forward(self, view: View) -> Loss:
        """Of each instrument whose tokens are events."""
        events = [number for number, piece in enumerate(view.pieces) if piece.tokenized.who is not None]
        if not events:
            return Loss({}, {})
        parts = mean_parts(self.told(view.pieces[number], view.past[number]) for number in events)
        return Loss(parts, {"when": self.part.when, "which": self.part.which})

    def told(self, piece: Piece, heard: Tokens) -> dict[str, Float[Tensor, ""]]:
        """What it costs to tell every spike's successor; the last spikes of a window have none and are not asked."""
        when, which, asked = self.costs(piece, heard)
        among = asked.unsqueeze(-1)
        return {
            "when": mean_over_windows(when.unsqueeze(-1), among),
            "which": mean_over_windows(which.unsqueeze(-1), among),
        }

    def costs(
        self, piece: Piece, heard: Tokens
    ) -> tuple[Float[Tensor, "batch token"], Float[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
        """In nats of every spike: its successor's time, its successor's neuron, and whether it has one.

        `heard` is what a causal encoder made of the spikes (`View.past`).
        """
        tokens, batch, who = piece.tokenized.tokens, piece.batch, piece.tokenized.who
        assert who is not None
        following, asked = successor(tokens)
        bin_ = self.bin_of(following - tokens.time)
        when = F.cross_entropy(self.waits(heard.embedding).transpose(1, 2), bin_, reduction="none")
        told = self.neurons(heard.embedding, bin_, who, batch.valid)
        which = -(fired(batch.signal, following, batch.sfreq) * told).sum(dim=-1)
        return when, which, asked

    def waits(self, heard: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token bin"]:
        """Logits of the bins of the time to the next spike."""
        found: Tensor = self.when(heard).float()
        return found

    def neurons(
        self,
        heard: Float[Tensor, "batch token width"],
        bin_: Int[Tensor, "batch token"],
        who: Float[Tensor, "batch sensor width"],
        valid: Bool[Tensor, "batch sensor"],
    ) -> Float[Tensor, "batch token sensor"]:
        """Log-probabilities of whose the next spike is, where it comes in that bin."""
        query = self.asks(heard) + self.after(bin_)
        score = (query @ self.answers(who).transpose(1, 2)).float()
        return score.masked_fill(~valid.unsqueeze(1), NEVER).log_softmax(dim=-1)

    def bin_of(self, wait: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """The bin of a time in seconds to the next spike."""
        edges = torch.logspace(0, 1, self.part.bins - 1, base=self.part.longest / SHORTEST) * SHORTEST
        return torch.bucketize(wait, edges.to(wait.device))


def successor(tokens: Tokens) -> tuple[Float[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
    """When the next spike after each is, its own time where there is none, and whether there is one.

    Spikes come in order of time; those at once have the same successor.
    """
    time = torch.where(tokens.valid, tokens.time, torch.inf)
    after = torch.searchsorted(time.contiguous(), time.contiguous(), right=True)
    there = after < time.shape[1]
    following = time.gather(1, after.clamp(max=time.shape[1] - 1))
    there = there & following.isfinite() & tokens.valid
    return torch.where(there, following, tokens.time), there


def fired(
    counts: Float[Tensor, "batch sensor time"], at: Float[Tensor, "batch token"], sfreq: float
) -> Float[Tensor, "batch token sensor"]:
    """The share of each neuron in the spikes at these times."""
    bin_ = (at * sfreq).floor().long()
    found = counts.transpose(1, 2).gather(1, bin_.unsqueeze(-1).expand(-1, -1, counts.shape[1]))
    return found / found.sum(dim=-1, keepdim=True).clamp(min=1)
