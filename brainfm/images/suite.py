"""The scores of a set of reconstructions, each with its interval, its version and what it was made with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.images.backbones import NotAtHand, Weights
from brainfm.images.scores import ImageScore, Reconstructed, Told
from brainfm.images.scores.distance import Distance
from brainfm.images.scores.pix_corr import PixCorr
from brainfm.images.scores.retrieval import Retrieval
from brainfm.images.scores.ssim import Ssim
from brainfm.images.scores.two_way import TwoWay
from brainfm.metrics import Metric, bootstrap

PUBLISHED: dict[str, ImageScore] = {
    "PixCorr": PixCorr(),
    "SSIM": Ssim(),
    "AlexNet(2)": TwoWay(features="alexnet_2"),
    "AlexNet(5)": TwoWay(features="alexnet_5"),
    "Inception": TwoWay(features="inception"),
    "CLIP": TwoWay(features="clip"),
    "EffNet": Distance(features="efficientnet"),
    "SwAV": Distance(features="swav"),
    "image retrieval": Retrieval(of="image"),
    "brain retrieval": Retrieval(of="brain"),
}
"""What papers print, by their names. Low-level scores (PixCorr, SSIM) favour blur, high-level ones its contrary: print both."""
WITHOUT_WEIGHTS: dict[str, ImageScore] = {"two-way of pixels": TwoWay(features="pixels")}
"""What can always be had beside them; nobody's published number."""


@dataclass(frozen=True)
class ScoreOfPictures:
    """One score. `score` is None where it can't be had here, and `reason` says why."""

    name: str
    score: float | None
    low: float | None
    high: float | None
    n_test: int
    higher_is_better: bool
    version: str
    chance: float | None = None
    resize: str = ""
    backbone: str = ""
    note: str = ""
    reason: str = ""

    @property
    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class Scored:
    """Scores by name, and the number of each picture behind them, which controls compare by."""

    scores: dict[str, ScoreOfPictures]
    values: dict[str, NDArray[np.float64]]

    @property
    def json(self) -> dict[str, Any]:
        """Name → everything of the score."""
        return {name: one.json for name, one in self.scores.items()}


def score(
    found: Reconstructed,
    rng: np.random.Generator,
    scores: Mapping[str, ImageScore] | None = None,
    weights: Weights | None = None,
) -> Scored:
    """All `scores` (the published ones and two-way of pixels) of these reconstructions, with 95 % intervals over pictures."""
    chosen = {**PUBLISHED, **WITHOUT_WEIGHTS} if scores is None else scores
    weights = Weights() if weights is None else weights
    made: dict[str, ScoreOfPictures] = {}
    values: dict[str, NDArray[np.float64]] = {}
    for name, part in chosen.items():
        try:
            told = part(found, weights, rng)
        except NotAtHand as missing:
            facts: dict[str, Any] = {"n_test": len(found), "version": part.version}
            made[name] = ScoreOfPictures(
                name, None, None, None, higher_is_better=part.higher_is_better, reason=str(missing), **facts
            )
            continue
        made[name] = _with_interval(name, part, told, rng)
        values[name] = told.values
    return Scored(made, values)


def _with_interval(name: str, part: ImageScore, told: Told, rng: np.random.Generator) -> ScoreOfPictures:
    known = told.values[np.isfinite(told.values)]  # a picture that no draw of retrieval took has no number
    mean, low, high = interval(known, rng)
    return ScoreOfPictures(
        name,
        mean,
        low,
        high,
        len(told.values),
        part.higher_is_better,
        part.version,
        told.chance,
        told.resize,
        told.backbone,
        told.note,
    )


MEAN = Metric(
    lambda values, labels, weight: weight @ values[:, 0] / weight.sum(axis=1),
    lambda n, labels: 0.0,
    lambda values, labels: None,
    classes=False,
)
"""The mean over pictures as a metric, so that its interval is made as all others are."""


def interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float, float]:
    """(mean, low, high): pictures are drawn with replacement. It says how other pictures would score, not other brains."""
    nobody = np.zeros(len(values), np.int64)
    found = bootstrap(MEAN, [values[:, None]], nobody, nobody, rng)
    return found.score, found.low, found.high
