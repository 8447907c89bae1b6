"""Controls of a reconstruction: what is left of its score when the brain says nothing, and is it more than retrieval?

Pictures can look right for reasons that have nothing to do with a brain: the start was good already, the generator draws
likely pictures, a training picture is copied. Each control takes one thing away and scores what is left on the same pictures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.errors import DataError
from brainfm.images.backbones import Weights
from brainfm.images.correlation import of_all
from brainfm.images.rgb import resized
from brainfm.images.scores import ImageScore, Reconstructed
from brainfm.images.scores.two_way import TwoWay
from brainfm.images.suite import Scored, interval, score

Pictures = Float[Tensor, "_ 3 _ _"]
Responses = Float[Tensor, "_ ..."]
Reconstruct = Callable[[Any, torch.Generator], Tensor]
"""Responses and a generator of random numbers to pictures."""

SAME = 0.99
"""Correlation of pixels from which a picture is a copy of another."""
NARROW = 0.25
"""Share of the seen pictures' dimensions under which reconstructions have collapsed."""
SIDE = 32
"""Pixels of the pictures that copies are looked for and dimensions are counted in."""


@dataclass(frozen=True)
class Parts:
    """What else than the whole reconstruction can be asked for; a control whose part is missing is left out, and said to be."""

    start: Reconstruct | None = None
    """From responses to the picture that sampling starts from."""
    swap: Callable[[Any, Any, torch.Generator], Tensor] | None = None
    """From responses that the start is made of, and those that the condition is made of."""
    from_truth: Callable[[Pictures, torch.Generator], Tensor] | None = None
    """From seen pictures, by their true embedding, through the same generator: what it reaches with a perfect brain side."""
    training: Pictures | None = None
    training_responses: Responses | None = None


@dataclass(frozen=True)
class Control:
    """One thing taken away, what it scores, and the pictures that it gives (none where pictures are only paired anew)."""

    name: str
    what: str
    scored: Scored
    pictures: Tensor


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict. `ok` is False for what speaks against the reconstruction, None where it can't be told."""

    name: str
    ok: bool | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """All controls of one reconstruction, and what they say."""

    judge: str
    """The score that findings are about."""
    whole: Control
    controls: dict[str, Control]
    findings: list[Finding]
    facts: dict[str, float] = field(default_factory=dict)
    """Shares of copies, and dimensions."""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return all(one.ok is not False for one in self.findings)

    def __str__(self) -> str:
        head = "Controls behave" if self.ok else "Do not trust this reconstruction"
        return f"{head}. " + " ".join(one.sentence for one in self.findings)

    @property
    def json(self) -> dict[str, Any]:
        """`controls: {name: {metric: score}}`, `ceiling` and the verdict, as `brainfm reconstruct --json` prints them."""
        scores = {
            name: {metric: one.score for metric, one in control.scored.scores.items()}
            for name, control in self.controls.items()
        }
        return {
            "controls": scores,
            "ceiling": scores.get("ground truth"),
            "verdict": {
                "ok": self.ok,
                "judge": self.judge,
                "sentences": [one.sentence for one in self.findings],
            },
            **self.facts,
        }


def examine(
    reconstruct: Reconstruct,
    responses: Responses,
    seen: Pictures,
    seed: int,
    parts: Parts | None = None,
    scores: Mapping[str, ImageScore] | None = None,
    judge: str = "two-way of pixels",
    weights: Weights | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verdict:
    """Reconstruct the test pictures, then once more under each control, and say what that means.

    `responses` has a row for each picture of `seen`. All runs draw the same noise, of `seed`, so that what differs is the
    control's. `progress` is told which control has begun. Raises `DataError` where rows don't fit, or where `judge`, the score
    that the findings are about, can't be had here.
    """
    if len(responses) != len(seen) or len(seen) < 4:
        raise DataError(
            f"controls need a response to each of four pictures or more, not {len(responses)} to {len(seen)}"
        )
    parts = Parts() if parts is None else parts
    chosen = {**(scores or {}), **({} if judge in (scores or {}) else {judge: TwoWay(features="pixels")})}
    weights = Weights() if weights is None else weights

    def run(name: str, what: str, make: Callable[[torch.Generator], Tensor]) -> Control:
        if progress is not None:
            progress(name)
        pictures = make(torch.Generator().manual_seed(seed))
        found = Reconstructed(seen, pictures)
        return Control(name, what, score(found, np.random.default_rng(seed), chosen, weights), pictures)

    whole = run("whole", "each picture from its own response", lambda draw: reconstruct(responses, draw))
    if judge not in whole.scored.values:
        raise DataError(f"{judge} {whole.scored.scores[judge].reason}; judge by another score")
    asked = _runs(reconstruct, responses, seen, parts, whole.pictures, np.random.default_rng(seed))
    controls = {name: run(name, what, make) for name, (what, make) in asked.items()}
    facts = _facts(whole.pictures, seen, parts.training)
    return Verdict(judge, whole, controls, _findings(judge, whole, controls, facts, seed), facts)


def _runs(
    reconstruct: Reconstruct,
    responses: Any,
    seen: Pictures,
    parts: Parts,
    whole: Tensor,
    rng: np.random.Generator,
) -> dict[str, tuple[str, Callable[[torch.Generator], Tensor]]]:
    """Name → (what it is, how its pictures are made)."""
    other = torch.from_numpy(derangement(len(seen), rng))
    known = responses if parts.training_responses is None else parts.training_responses
    mean = known.mean(dim=0, keepdim=True).expand(len(seen), *known.shape[1:])
    nobody = apart(known, len(seen), rng)
    runs: dict[str, tuple[str, Callable[[torch.Generator], Tensor]]] = {
        "shuffled trials": (
            "each picture from the response to another",
            lambda draw: reconstruct(responses[other], draw),
        ),
        "mean response": ("every picture from the mean response", lambda draw: reconstruct(mean, draw)),
        "random subject": (
            "from responses of nobody: each voxel's from another trial",
            lambda draw: reconstruct(nobody, draw),
        ),
    }
    if (start := parts.start) is not None:
        runs["start alone"] = ("the picture that sampling starts from", lambda draw: start(responses, draw))
    if (swap := parts.swap) is not None:
        runs["swapped condition"] = (
            "the start of its own response, the condition of another's",
            lambda draw: swap(responses, responses[other], draw),
        )
    if (from_truth := parts.from_truth) is not None:
        runs["ground truth"] = ("from the true embedding: the ceiling", lambda draw: from_truth(seen, draw))
    if (training := parts.training) is not None:
        runs["nearest training picture"] = (
            "the training picture that the reconstruction resembles most",
            lambda draw: training[_nearest(whole, training)[1]],
        )
    return runs


def derangement(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """An order in which nothing keeps its place: one cycle through all in random order."""
    order = rng.permutation(count)
    made = np.empty(count, np.int64)
    made[order] = np.roll(order, 1)
    return made


def apart(responses: Responses, count: int, rng: np.random.Generator) -> Responses:
    """`count` responses whose every voxel comes from a trial of its own: each voxel's distribution, and no pattern."""
    flat = responses.flatten(1)
    rows = torch.from_numpy(rng.integers(len(flat), size=(count, flat.shape[1])))
    return flat.gather(0, rows.to(flat.device)).unflatten(1, responses.shape[1:])


def _pixels(images: Tensor) -> NDArray[np.float32]:
    return np.asarray(resized(images.float(), SIDE).flatten(1).cpu().numpy())


def _nearest(pictures: Tensor, training: Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(correlation of pixels, row) of the most alike training picture of each."""
    r = of_all(_pixels(pictures), _pixels(training))
    return r.max(axis=1), r.argmax(axis=1)


def dimensions(images: Pictures) -> float:
    """Participation ratio (Σλ)²/Σλ² of the pictures' covariance: in how many directions they vary; 0 where they don't."""
    values = _pixels(images).astype(np.float64)
    centred = values - values.mean(axis=0)
    gram = centred @ centred.T  # its eigenvalues are those of the covariance, but for a factor
    total = float(np.trace(gram))
    return 0.0 if total <= 1e-9 * values.size else total**2 / float((gram**2).sum())


def _facts(pictures: Tensor, seen: Tensor, training: Tensor | None) -> dict[str, float]:
    own = dimensions(pictures)
    facts = {"dimensions": own, "dimensions_seen": dimensions(seen)}
    if training is not None:
        facts["copies"] = float((_nearest(pictures, training)[0] >= SAME).mean())
        facts["copies_seen"] = float((_nearest(seen, training)[0] >= SAME).mean())
    return facts


def _findings(
    judge: str, whole: Control, controls: dict[str, Control], facts: dict[str, float], seed: int
) -> list[Finding]:
    better = 1.0 if whole.scored.scores[judge].higher_is_better else -1.0
    own = whole.scored.values[judge]

    def gain(name: str) -> tuple[float, float, float]:
        """(mean, low, high) of how much better the whole is, over the same pictures."""
        difference = better * (own - controls[name].scored.values[judge])
        return interval(difference, np.random.default_rng(seed))

    def compared(name: str, good: str, bad: str, against: bool = True) -> Finding:
        mean, low, high = gain(name)
        scored = f"{own.mean():.2f} against {controls[name].scored.values[judge].mean():.2f}"
        said = f"{judge} {scored} ({name}; gain {mean:.2f}, {low:.2f} to {high:.2f})"
        ok = low > 0 or (False if against else None)
        return Finding(name, ok, f"{good if low > 0 else bad}: {said}.")

    found = [
        compared(
            "shuffled trials",
            "The pictures follow the brain",
            "The generator ignores the brain: the response to another picture does as well",
        ),
        compared(
            "random subject",
            "Responses of nobody do worse",
            "Responses of nobody do as well",
        ),
        compared(
            "mean response",
            "It is better than one picture for all",
            "One picture for all, from the mean response, does as well",
        ),
    ]
    if "swapped condition" in controls:
        found.append(
            compared(
                "swapped condition",
                "The condition counts beside the start",
                "The condition adds nothing to its start: another picture's does as well",
            )
        )
    if "start alone" in controls:
        found.append(
            compared(
                "start alone",
                "It improves on its start",
                "It does not improve on the picture that it starts from",
                against=False,  # a start is made of the same response; the condition is asked by the swap
            )
        )
    if "nearest training picture" in controls:
        found += [_copying(facts), _retrieving(*gain("nearest training picture"))]
    if "ground truth" in controls:
        ceiling = controls["ground truth"].scored.values[judge].mean()
        found.append(
            Finding(
                "ground truth", None, f"With true embeddings its generator reaches {judge} {ceiling:.2f}."
            )
        )
    return [*found, _collapsed(facts)]


def _copying(facts: dict[str, float]) -> Finding:
    copies, natural = facts["copies"], facts["copies_seen"]
    if copies > 0.5 and copies > 2 * natural:
        said = (
            f"It copies training pictures: {copies:.0%} of the reconstructions are one of them (r ≥ {SAME})"
        )
        return Finding("copies", False, f"{said}, of the seen pictures {natural:.0%} are.")
    return Finding("copies", True, f"{copies:.0%} of the reconstructions are training pictures.")


def _retrieving(mean: float, low: float, high: float) -> Finding:
    if low > 0:
        return Finding("retrieval", True, "It is better than the training picture that it resembles most.")
    said = f"gain {mean:.2f}, {low:.2f} to {high:.2f}"
    return Finding("retrieval", None, f"The training picture that it resembles most does as well ({said}).")


def _collapsed(facts: dict[str, float]) -> Finding:
    own, seen = facts["dimensions"], facts["dimensions_seen"]
    said = f"reconstructions vary in {own:.1f} dimensions, seen pictures in {seen:.1f}"
    if own < NARROW * seen:
        return Finding("collapse", False, f"Its outputs have collapsed: {said}.")
    return Finding("collapse", True, f"Its outputs are varied: {said}.")
