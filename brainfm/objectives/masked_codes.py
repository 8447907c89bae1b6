"""Masked codes: the encoder sees some tokens, a light decoder says the codes of the others (LaBraM, Jiang et al. 2024, §2.3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.layers.decoder import Decoder
from brainfm.objectives import Loss, Objective, Shapes, mean_parts
from brainfm.tokens import Tokens, join
from brainfm.view import View, counted, mean_over_windows


class MaskedCodes(Objective):
    """Cross-entropy on the codes that a trained codec gives the hidden tokens, the mean over its codebooks.

    The recipe names a codec for each modality under `codecs`; one without has nothing to be told. With several codebooks (RVQ)
    each has a linear map of its own, as in BrainOmni (Xiao et al. 2025, §3.3).
    """

    needs_codes = True

    decoder_depth: int = Field(default=2, ge=1)
    symmetric: bool = Field(
        default=False, description="whether the hidden tokens tell the seen ones, too (LaBraM, §2.3)"
    )

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
        self.decoder = Decoder(shapes.width, part.decoder_depth, shapes.where, shapes.when)
        self.predict = nn.ModuleDict(
            {
                modality: nn.ModuleList(nn.Linear(shapes.width, size) for size in sizes)
                for modality, sizes in shapes.codes.items()
            }
        )

    def forward(self, view: View) -> Loss:
        """With `symmetric` the mean of both ways, so that the part means the same; LaBraM's sum is twice that."""
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
        parts = mean_parts(found)
        return Loss(parts, {name: float(name == "codes") for name in parts})

    def told(self, modality: str, seen: Tokens, asked: Tokens) -> dict[str, Float[Tensor, ""]]:
        """How much it costs to say the codes of `asked`, and how often the first guess is wrong."""
        assert asked.code is not None  # the learner attaches what the recipe names
        vectors, there = self.decoder(seen, asked), counted(asked)
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


def mean(values: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return torch.stack(tuple(values)).mean(dim=0)
