"""Masked codes: the encoder sees some tokens, and the codes of the others are to be said (LaBraM, Jiang et al. 2024, §2.3)."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.layers.decoder import Decoder
from brainfm.objectives import Loss, Objective, Shapes, mean_parts
from brainfm.tokens import Tokens, join
from brainfm.view import Piece, View, counted, mean_over_windows, taken


class MaskedCodes(Objective):
    """Cross-entropy on the codes that a trained codec gives the hidden tokens, the mean over its codebooks.

    The recipe names a codec for each modality under `codecs`; one without has nothing to be told. With several codebooks (RVQ)
    each has a linear map of its own, which together are BrainOmni's one linear layer (Xiao et al. 2025, §3.3).
    """

    needs_codes = True

    decoder_depth: int = Field(default=2, ge=1)
    in_place: bool = Field(
        default=False,
        description="whether hidden tokens stay among those that the encoder sees, as a mask's vector, and are told by a linear "
        "map alone (BrainOmni, §3.3; BERT) instead of being asked for by a decoder",
    )
    random: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of those in place that another seen token stands for (BrainOmni: 0.2)",
    )
    symmetric: bool = Field(
        default=False, description="whether the hidden tokens tell the seen ones, too (LaBraM, §2.3)"
    )

    @model_validator(mode="after")
    def _of_one_way(self) -> "MaskedCodes":
        if self.in_place and self.symmetric:
            raise ValueError("symmetric needs a decoder; tokens that are hidden in_place tell no seen ones")
        if self.random and not self.in_place:
            raise ValueError(
                "random is of tokens that are hidden in_place; say in_place: true or leave it out"
            )
        return self

    def build(self, shapes: Shapes) -> "MaskedCodeLoss":
        return MaskedCodeLoss(self, shapes)


class MaskedCodeLoss(nn.Module):
    """The decoder and a linear map for each codebook.

    The part `codes` is in nats; a guess costs the logarithm of the codebook's size. Beside it stands, without weight, the share
    of wrong first guesses in each codebook.
    """

    def __init__(self, part: MaskedCodes, shapes: Shapes) -> None:
        super().__init__()
        self.part = part
        if part.in_place:
            self.mask = nn.Parameter(torch.randn(shapes.width) / math.sqrt(shapes.width))
        else:
            self.decoder = Decoder(shapes.width, part.decoder_depth, shapes.where, shapes.when)
        self.predict = nn.ModuleDict(
            {
                modality: nn.ModuleList(nn.Linear(shapes.width, size) for size in sizes)
                for modality, sizes in shapes.codes.items()
            }
        )

    def forward(self, view: View) -> Loss:
        """With `symmetric` the mean of both ways, so that the part means the same; LaBraM's sum is twice that."""
        if self.part.in_place:
            return self.in_place(view)
        hidden = [piece.hidden.hidden for piece in view.pieces]
        seen = [piece.hidden.seen for piece in view.pieces]
        ways = (
            [(view.seen, hidden), (view.complement, seen)] if self.part.symmetric else [(view.seen, hidden)]
        )
        found = []
        for known, wanted in ways:
            context = join(known)
            for piece, index in zip(view.pieces, wanted, strict=True):
                if index.shape[1] and piece.modality in self.predict and context.count:
                    found.append(self.told(piece.modality, context, piece.tokenized.tokens.take(index)))
        return as_loss(found)

    def in_place(self, view: View) -> Loss:
        """Every hidden token is told by what the encoder makes of its own place."""
        changed = [self.hide(piece, view) for piece in view.pieces]
        found = []
        for piece, encoded in zip(view.pieces, view.changed(changed), strict=True):
            index = piece.hidden.hidden
            if index.shape[1] and piece.modality in self.predict:
                vectors = taken(encoded.embedding, index)
                found.append(self.costs(piece.modality, vectors, piece.tokenized.tokens.take(index)))
        return as_loss(found)

    def hide(self, piece: Piece, view: View) -> Tokens:
        """The tokens with the mask's vector, or what another seen token of the window says, where they are hidden."""
        tokens, (seen, hidden) = piece.tokenized.tokens, (piece.hidden.seen, piece.hidden.hidden)
        known = torch.zeros_like(tokens.embedding) if tokens.who is None else tokens.who
        said = tokens.embedding - known  # who a token is of stays known
        shape = hidden.shape[1]
        new = self.mask.to(said.dtype).expand(len(hidden), shape, -1)
        if self.part.random and seen.shape[1]:
            draws = view.chance.uniform(len(hidden), 2, max(1, shape)).to(said.device)[..., :shape]
            other = seen.gather(1, (draws[:, 1] * seen.shape[1]).long().clamp(max=seen.shape[1] - 1))
            new = torch.where((draws[:, 0] < self.part.random).unsqueeze(-1), taken(said, other), new)
        index = hidden.unsqueeze(-1).expand(-1, -1, said.shape[-1])
        return tokens.with_embedding(said.scatter(1, index, new) + known)

    def told(self, modality: str, seen: Tokens, asked: Tokens) -> dict[str, Float[Tensor, ""]]:
        """How much it costs to say the codes of `asked` by a decoder that listens to `seen`."""
        return self.costs(modality, self.decoder(seen, asked), asked)

    def costs(
        self, modality: str, vectors: Float[Tensor, "batch token width"], asked: Tokens
    ) -> dict[str, Float[Tensor, ""]]:
        """How much it costs to say the codes of `asked`, and how often the first guess is wrong."""
        assert asked.code is not None  # the learner attaches what the recipe names
        there = counted(asked)
        heads = self.predict[modality]
        assert isinstance(heads, nn.ModuleList)
        errors: list[Tensor] = []
        wrong: dict[str, Tensor] = {}
        for number, (head, code) in enumerate(zip(heads, asked.code.unbind(-1), strict=True), start=1):
            logits = head(vectors).float()
            errors.append(F.cross_entropy(logits.transpose(1, 2), code, reduction="none"))
            missed = (logits.argmax(dim=-1) != code).float().unsqueeze(-1)
            wrong[f"codes_wrong_{number}"] = mean_over_windows(missed, there)
        return {"codes": mean_over_windows(mean(errors).unsqueeze(-1), there), **wrong}


def as_loss(found: Sequence[Mapping[str, Tensor]]) -> Loss:
    """The mean over instruments and ways; only what codes cost counts."""
    parts = mean_parts(found)
    return Loss(parts, {name: float(name == "codes") for name in parts})


def mean(values: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return torch.stack(tuple(values)).mean(dim=0)
