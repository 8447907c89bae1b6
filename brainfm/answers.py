"""What a decoder's numbers mean, how they are learnt, and what is said of a window in the end."""

from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from brainfm.data.targets import Targets
from brainfm.part import Settings

IGNORED = -1
"""The label of what has none."""
OF_LABELS = ("classes", "sequences")
"""What a head tells of by logits of labels."""
SAME = 1e-4
"""Of the longest vector's length: segments that are no farther apart are one, which two people heard."""


class Matching(Settings):
    """How vectors learn to lie nearest to their own segment among those of a batch, or by `squared_error` just to equal it.

    Défossez et al. 2023 (arXiv:2208.12266, equation 2, and code): `norm: candidates, temperature: 1.0`. Vectors of length 1 and
    the temperature at which Radford et al. 2021 (CLIP) start are the default.
    """

    loss: Literal["contrastive", "squared_error"] = "contrastive"
    norm: Literal["both", "candidates"] = "both"
    temperature: float = Field(default=0.07, gt=0)
    symmetric: bool = Field(default=False, description="whether each segment is to find its window, too")


class Answer(Settings):
    """Classes, real numbers in the target's unit, or expected counts.

    What a head puts out is logits, numbers of mean 0 and variance 1, or logarithms of counts over their mean: `mean` and `scale`
    are those of the training windows, one for each output.
    """

    of: Literal["classes", "values", "rates", "segments", "sequences"] = "classes"
    mean: list[float] = []
    scale: list[float] = []
    unit: str = ""
    matching: Matching = Matching()
    """Of segments."""

    @classmethod
    def to(cls, targets: Targets, matching: Matching | None = None) -> Self:
        """The answer to the targets of training windows."""
        if targets.of in OF_LABELS:
            return cls(of=targets.of)
        flat = targets.value.reshape(-1, targets.value.shape[-1]).astype(np.float64)
        spread = flat.std(axis=0)
        return cls(
            of=targets.of,
            mean=np.maximum(flat.mean(axis=0), 1e-6 if targets.of == "rates" else -np.inf).tolist(),
            scale=np.where(spread > 0, spread, 1.0).tolist(),
            unit=targets.unit,
            matching=matching or Matching(),
        )

    def loss(
        self, output: Float[Tensor, "batch ..."], true: Tensor, weight: Float[Tensor, " class"] | None = None
    ) -> tuple[str, Float[Tensor, ""]]:
        """The name of a loss, and its mean over windows; `true` is (window[, part]) labels, (window, place) of sequences, or
        (window, part, output) numbers."""
        if self.of == "classes":
            # the mean over a batch of what carries a label; one without any gives 0, not NaN
            known = (true != IGNORED).any()
            found = F.cross_entropy(output.flatten(0, -2), true.flatten(), weight, ignore_index=IGNORED)
            return "cross_entropy", found if known else output.sum() * 0.0
        if self.of == "sequences":
            return "ctc", spelled(output, true)
        told = output.reshape(true.shape)
        mean, scale = (torch.tensor(one, device=told.device) for one in (self.mean, self.scale))
        if self.of == "values" or (self.of == "segments" and self.matching.loss == "squared_error"):
            return "squared_error", F.mse_loss(told, (true.float() - mean) / scale)
        if self.of == "segments":
            return "contrastive", matched(
                told.flatten(1), ((true.float() - mean) / scale).flatten(1), self.matching
            )
        return "poisson", F.poisson_nll_loss(told + mean.log(), true.float(), log_input=True)

    def told(self, output: Float[Tensor, "batch ... output"]) -> Float[Tensor, "batch ... output"]:
        """Probabilities, values in the target's unit, or expected counts."""
        output = output.double()
        if self.of in OF_LABELS:
            return output.softmax(dim=-1)
        mean, scale = (torch.tensor(one, device=output.device).double() for one in (self.mean, self.scale))
        return (output + mean.log()).exp() if self.of == "rates" else output * scale + mean


def spelled(output: Float[Tensor, "batch time label"], true: Int[Tensor, "batch place"]) -> Float[Tensor, ""]:
    """How surprising a sequence is that was said at unknown moments, by symbol: CTC (Graves et al. 2006, equation 8), mean over
    windows. The last label is the blank; `true` is −1 behind a window's last symbol."""
    length = (true != IGNORED).sum(dim=1)
    moments = torch.full_like(length, output.shape[1])
    logs = output.float().log_softmax(dim=-1).transpose(0, 1)
    found: Tensor = F.ctc_loss(
        logs, true.clamp(min=0), moments, length, blank=output.shape[-1] - 1, reduction="mean"
    )
    return found


def matched(
    told: Float[Tensor, "batch feature"], true: Float[Tensor, "batch feature"], matching: Matching
) -> Float[Tensor, ""]:
    """Whether each vector that is told is nearer to its own than to the others of the batch (Défossez et al. 2023, equation 2).

    A segment that occurs twice in a batch is right both times.
    """
    asking = F.normalize(told, dim=1) if matching.norm == "both" else told
    near = asking @ F.normalize(true, dim=1).T / matching.temperature
    apart = torch.cdist(true, true, compute_mode="donot_use_mm_for_euclid_dist")
    same = apart <= SAME * true.norm(dim=1).max()
    ways = [near, near.T] if matching.symmetric else [near]
    return torch.stack([found(way, same) for way in ways]).mean()


def found(near: Float[Tensor, "batch batch"], same: Bool[Tensor, "batch batch"]) -> Float[Tensor, ""]:
    """How surprising it is that each row's own columns are the ones it means."""
    return -near.log_softmax(dim=1).masked_fill(~same, -torch.inf).logsumexp(dim=1).mean()


def balance(label: NDArray[np.int64], classes: int) -> Float[Tensor, " class"]:
    """Weights that make every class count the same, as balanced accuracy does."""
    known = label[label != IGNORED]
    counts = np.bincount(known, minlength=classes)
    return torch.from_numpy((len(known) / (classes * np.maximum(counts, 1))).astype(np.float32))
