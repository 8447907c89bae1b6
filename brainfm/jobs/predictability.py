"""Which statistics can be told at all? What the neurodynamics objective says of windows, against what is so."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.modalities import modality
from brainfm.learner import Learner
from brainfm.objectives.neurodynamics import Answer, Describe, NeurodynamicsLoss
from brainfm.report import Figures

LOOKED_AT = 256
"""Windows that are described, at most."""
AT_ONCE = 32
SENTENCE = (
    "Told from what a mask leaves of {windows} windows of the training corpus, so memory counts; nothing here is held out. "
    "R² and r over all that was asked; the last r over what varies from window to window of one recording in the same place, "
    "not from place to place or from person to person. Each is the mean over a block's statistics."
)


@dataclass(frozen=True)
class Told:
    """How well the statistics of a block were told, their mean: explained variance and Pearson's r.

    `within` is r once each recording's mean in each place is taken from both what was told and what is so; NaN where places are
    drawn anew.
    """

    level: str
    block: str
    explained: float
    r: float
    within: float


@dataclass(frozen=True)
class Collected:
    """All answers of one level: z-scored statistics as told and as they are, and the (recording, place) of each."""

    told: Float[torch.Tensor, "thing statistic"]
    wanted: Float[torch.Tensor, "thing statistic"]
    place: Int[torch.Tensor, " thing"]


@torch.inference_mode()
def predictable(learner: Learner, stream: Stream, seed: int) -> list[Figures]:
    """A table for the report of a run: none where its statistics were not asked for."""
    learner = learner.cpu().eval()
    for objective in learner.objectives.values():
        if isinstance(objective, NeurodynamicsLoss):
            told, windows = looked(learner, objective, stream, seed)
            return [figure(told, windows, stream.modality)]
    return []


def looked(
    learner: Learner, objective: NeurodynamicsLoss, stream: Stream, seed: int
) -> tuple[list[Told], int]:
    """How well each block is told, level by level, and of how many windows."""
    rng = np.random.default_rng([seed, 5])
    share = min(1.0, LOOKED_AT / len(stream.windows))
    answers: dict[str, list[tuple[Answer, NDArray[np.int64]]]] = {}
    windows = 0
    for layout in stream.layouts:
        rows = rng.choice(layout, size=max(1, round(share * len(layout))), replace=False)
        for part in np.array_split(rows, -(-len(rows) // AT_ONCE)):
            view = learner.view((stream.batch(part),), Chance(seed, 5, int(part[0])))
            for answer in objective.answers(view):
                for level, one in answer.items():
                    answers.setdefault(level, []).append((one, stream.windows.recording[part]))
            windows += len(part)
    describe = objective.describe[stream.modality]
    assert isinstance(describe, Describe)
    return [one for level, several in answers.items() for one in told_of(level, several, describe)], windows


def told_of(
    level: str, several: Sequence[tuple[Answer, NDArray[np.int64]]], describe: Describe
) -> list[Told]:
    """The blocks of one level."""
    found = collect(several)
    kept = describe.part.pair_rows
    anew = level == "pair" and several[0][0].counted.shape[1] == kept * (kept - 1) // 2
    inside = None if anew else without_means(found)
    told, first = [], 0
    for block, size in describe.sizes[level].items():
        part = slice(first, first + size)
        first += size
        within = float("nan") if inside is None else correlation(inside, part)
        told.append(Told(level, block, explained(found, part), correlation(found, part), within))
    return told


def collect(several: Sequence[tuple[Answer, NDArray[np.int64]]]) -> Collected:
    """What was counted, one thing after another."""
    things = max(answer.counted.shape[1] for answer, _ in several)
    place = [
        (torch.from_numpy(recording)[:, None] * things + torch.arange(answer.counted.shape[1]))[
            answer.counted
        ]
        for answer, recording in several
    ]
    told = [answer.told.float()[answer.counted] for answer, _ in several]
    wanted = [answer.wanted[answer.counted] for answer, _ in several]
    return Collected(torch.cat(told), torch.cat(wanted), torch.cat(place))


def without_means(found: Collected) -> Collected:
    """The same, the mean over each place taken off."""
    _, place = found.place.unique(return_inverse=True)
    count = place.bincount().unsqueeze(-1)

    def apart(values: torch.Tensor) -> torch.Tensor:
        total = values.new_zeros(len(count), values.shape[1]).index_add_(0, place, values)
        return values - (total / count)[place]

    return Collected(apart(found.told), apart(found.wanted), found.place)


def explained(found: Collected, part: slice) -> float:
    """1 − the squared error over the variance, the mean over the statistics that vary."""
    told, wanted = found.told[:, part], found.wanted[:, part]
    spread = wanted.var(dim=0, correction=0)
    values = 1 - (told - wanted).square().mean(dim=0) / spread
    return float(values[spread > 1e-6].mean())


def correlation(found: Collected, part: slice) -> float:
    """Pearson's r, the mean over the statistics that vary."""
    told, wanted = (one[:, part] - one[:, part].mean(dim=0) for one in (found.told, found.wanted))
    size = told.square().sum(dim=0).sqrt() * wanted.square().sum(dim=0).sqrt()
    return float(((told * wanted).sum(dim=0) / size)[size > 1e-6].mean())


def figure(told: Sequence[Told], windows: int, name: str) -> Figures:
    """The table, for a report."""

    def word(value: float) -> str:
        return f"{value:.2f}" if np.isfinite(value) else "–"

    table = [
        {
            "of a": one.level,
            "block": one.block.replace("_", " "),
            "R²": word(one.explained),
            "r": word(one.r),
            "r in one place": word(one.within),
        }
        for one in told
    ]
    numbers = {"modality": name, "windows": windows, "held_out": False, "rows": [vars(one) for one in told]}
    title = f"{modality(name).title}: which statistics can be told"
    return Figures(title, [], SENTENCE.format(windows=windows), table, numbers)
