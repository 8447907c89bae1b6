"""Next event: from the spikes up to now, when is the next one and whose is it (as Neuroformer, Antoniades et al. 2024)?"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from brainfm.objectives import Loss, Objective, Shapes, mean_parts
from brainfm.tokens import Tokens
from brainfm.view import Piece, View, mean_over_windows

SHORTEST = 1.5e-3
"""Seconds of the first bin: a spike one sample later at 1 kHz."""
NEVER = -1e4
"""The logit of a neuron that is padding; minus infinity times nothing would be no number."""


class NextEvent(Objective):
    """Cross-entropy over bins of the time to the next spike, and over the recording's neurons given that time.

    The two together are the likelihood of the next event. Times are told in bins that widen with the logarithm, not by a density:
    refractoriness and synapses give the waiting time several edges within ten milliseconds, of which bins make no assumption.
    A neuron's score is a dot product with its vector in the tokenizer's vocabulary, so that any number of neurons do. Spikes of
    one moment don't hear each other, and each of them counts as the next one's neuron. Streams that are no events have no part.
    """

    needs_causal = True

    bins: int = Field(
        default=24, ge=3, description="of time to the next spike, the last for all that is later"
    )
    longest: float = Field(default=0.25, gt=SHORTEST, description="seconds, where the last bin begins")

    def build(self, shapes: Shapes) -> "NextEventLoss":
        return NextEventLoss(self, shapes)


class NextEventLoss(nn.Module):
    """Parts in nats a spike: `when`, and `which`, which is told the right bin of the former."""

    def __init__(self, part: NextEvent, shapes: Shapes) -> None:
        super().__init__()
        self.part = part
        self.when = nn.Linear(shapes.width, part.bins)
        self.after = nn.Embedding(part.bins, shapes.width)
        self.asks = nn.Linear(shapes.width, shapes.width)
        self.answers = nn.Linear(shapes.width, shapes.width, bias=False)

    def forward(self, view: View) -> Loss:
        """Each instrument's events by themselves: a patch of another signal reaches into the future of its centre."""
        events = [piece for piece in view.pieces if piece.tokenized.who is not None]
        parts = mean_parts(self.told(piece, view.encoder) for piece in events)
        return Loss(parts, dict.fromkeys(parts, 1.0))

    def told(self, piece: Piece, encoder: nn.Module) -> dict[str, Float[Tensor, ""]]:
        """What it costs to tell every spike's successor; the last spikes of a window have none and are not asked."""
        when, which, asked = self.costs(piece, encoder)
        among = asked.unsqueeze(-1)
        return {
            "when": mean_over_windows(when.unsqueeze(-1), among),
            "which": mean_over_windows(which.unsqueeze(-1), among),
        }

    def costs(
        self, piece: Piece, encoder: nn.Module
    ) -> tuple[Float[Tensor, "batch token"], Float[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
        """In nats of every spike: its successor's time, its successor's neuron, and whether it has one."""
        tokens, batch, who = piece.tokenized.tokens, piece.batch, piece.tokenized.who
        assert who is not None
        following, asked = successor(tokens)
        bin_ = self.bin_of(following - tokens.time)
        heard = encoder(replace(tokens, causal=True)).embedding
        when = F.cross_entropy(self.when(heard).float().transpose(1, 2), bin_, reduction="none")
        query = self.asks(heard) + self.after(bin_)
        score = (query @ self.answers(who).transpose(1, 2)).float()
        score = score.masked_fill(~batch.valid.unsqueeze(1), NEVER)
        which = -(fired(batch.signal, following, batch.sfreq) * score.log_softmax(dim=-1)).sum(dim=-1)
        return when, which, asked

    def bin_of(self, wait: Float[Tensor, "batch token"]) -> Int[Tensor, "batch token"]:
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
