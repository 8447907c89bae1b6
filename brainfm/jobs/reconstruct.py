"""Reconstruct: pictures of what was seen, beside what was seen, with their scores, their ceiling and their controls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainfm.data.noise_ceiling import noise_ceiling, noise_signal_ratio
from brainfm.data.seen import Seen
from brainfm.data.viewers import Viewer
from brainfm.errors import BrainfmError, DataError
from brainfm.files import write_json
from brainfm.images.backbones import Weights
from brainfm.images.controls import Parts, Verdict, examine
from brainfm.images.grid import grid, save_grid
from brainfm.images.rgb import rgb
from brainfm.images.scores import Reconstructed
from brainfm.images.suite import Scored, score
from brainfm.jobs.fit_reconstruction import FITTED, people
from brainfm.jobs.reporting import texts, write
from brainfm.progress import bar
from brainfm.recipe_reconstruct import ReconstructRecipe
from brainfm.reconstructor import Reconstructor
from brainfm.report import Figures, Section

SHOWN = ("shuffled trials", "mean response", "nearest training picture", "ground truth")
"""Controls that are drawn; all are in the table."""


@dataclass(frozen=True)
class Seeing:
    """What was reconstructed of one person's test pictures."""

    subject: str
    new: bool
    scored: Scored
    verdict: Verdict
    pictures: Tensor
    seen: Tensor
    ceiling: float | None
    """Median over voxels, percent of the variance of the tested responses that is signal; None without repeats."""

    @property
    def json(self) -> dict[str, Any]:
        """As `brainfm reconstruct --json` prints one person."""
        metrics = {
            name: {"score": one.score, "low": one.low, "high": one.high}
            for name, one in self.scored.scores.items()
        }
        return {
            "subject": self.subject,
            "new": self.new,
            "n_test": len(self.seen),
            "metrics": metrics,
            "details": self.scored.json,
            "noise_ceiling": self.ceiling,
            **self.verdict.json,
        }


@dataclass(frozen=True)
class Reconstruction:
    """Everybody's reconstructions, and where the page is."""

    people: list[Seeing]
    report: Path

    @property
    def json(self) -> dict[str, Any]:
        """The first person's numbers under the usual keys, and everybody's under `people`."""
        first = self.people[0].json
        return {
            "out": str(self.report.parent),
            "report": str(self.report),
            **{name: first[name] for name in ("metrics", "controls", "ceiling", "verdict")},
            "people": [one.json for one in self.people],
        }

    @property
    def text(self) -> str:
        """The tables for a terminal."""
        return "\n\n".join(table(one) for one in self.people)


def reconstruct(
    checkpoint: str | Path,
    card: str | None = None,
    out: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    subjects: Sequence[str] = (),
    weights: Path | None = None,
    quiet: bool = False,
) -> Reconstruction:
    """Reconstruct the test pictures of a card's people by a reconstructor, score them, and write a page into `out`.

    `card` is that of the recipe by default; another one must have people whom it knows. `limit` bounds the pictures a person,
    `weights` is a folder with networks of published scores. Raises `BrainfmError` where a test picture was trained on.
    """
    model = Reconstructor.load(folder_of(Path(checkpoint)))
    recipe = model.recipe if card is None else model.recipe.model_copy(update={"card": card})
    out = out or Path(checkpoint) / "reconstructed"
    known, new = people(recipe)
    later = {one.name for one in new}
    chosen = [(one, one.name in later) for one in (*known, *new) if not subjects or one.name in subjects]
    if not chosen:
        raise DataError(
            f"{recipe.card} has no subject {subjects[0]!r}; it has {', '.join(one.name for one in known + new)}"
        )
    refuse_trained(model, [one for one, _ in chosen])
    found = []
    with bar("reconstructing", len(chosen) * CONTROLS, quiet=quiet) as tick:
        for viewer, joined in chosen:
            found.append(
                seeing(
                    model, viewer, joined, seed, limit, Weights((weights,)) if weights else Weights(), tick
                )
            )
    return Reconstruction(found, report(found, recipe, out))


CONTROLS = 9
"""Runs of each person: the whole and at most eight controls."""


def folder_of(checkpoint: Path) -> Path:
    """A run's folder, or the reconstructor's own. Raises `BrainfmError` where there is none."""
    for folder in (checkpoint / FITTED, checkpoint):
        if (folder / "reconstructor.json").exists():
            return folder
    raise BrainfmError(
        f"{checkpoint} holds no reconstructor; fit one by `brainfm finetune RECIPE --out {checkpoint}`, a recipe with a generator"
    )


def refuse_trained(model: Reconstructor, viewers: Sequence[Viewer]) -> None:
    """Raise `DataError` where a picture that tests was among those that trained."""
    trained = set(model.trained_on)
    for one in viewers:
        if both := trained & set(one.testing().shown):
            raise DataError(
                f"{one.seen.who}: {len(both)} of the test pictures were trained on, for example {sorted(both)[0]}; "
                "such a score would be memory"
            )


def seeing(
    model: Reconstructor,
    viewer: Viewer,
    later: bool,
    seed: int,
    limit: int | None,
    weights: Weights,
    tick: Callable[[str], None],
) -> Seeing:
    """One person: reconstruct, score, and take away one thing after the other."""
    test = viewer.testing()
    test = test if limit is None else test.rows(np.arange(min(limit, len(test))))
    seen = rgb(test.images())
    responses = torch.from_numpy(test.response)
    verdict = examine(
        lambda given, draw: model.reconstruct(holding(test, given), np.arange(len(given)), draw),
        responses,
        seen,
        seed,
        parts_of(model, viewer, test),
        weights=weights,
        progress=tick,
    )
    name = next(iter(model.recipe.features))
    told = model.told(test, np.arange(len(test)))[name]
    found = Reconstructed(
        seen, verdict.whole.pictures, told, model.features(seen, [name])[name], model.features.ids[name]
    )
    scored = score(found, np.random.default_rng(seed), weights=weights)
    return Seeing(viewer.name, later, scored, verdict, verdict.whole.pictures, seen, ceiling_of(viewer))


def holding(seen: Seen, responses: Tensor) -> Seen:
    """The same person with other responses, a row each; which pictures they belong to is not looked at."""
    count = len(responses)
    rows = np.zeros(count, np.int64)
    return replace(seen.rows(rows), response=np.ascontiguousarray(responses.numpy(), np.float32))


def parts_of(model: Reconstructor, viewer: Viewer, test: Seen) -> Parts:
    """What of this reconstructor can be taken away."""
    training = viewer.training(model.recipe.average)
    bridge = model.recipe.condition
    starts = bridge.start is not None and bridge.start_at < 1  # else the start is all there is

    def start(given: Any, draw: torch.Generator) -> Tensor:
        told = model.told(holding(test, given), np.arange(len(given)))
        return model.started(told)

    def swap(own: Any, other: Any, draw: torch.Generator) -> Tensor:
        mine, theirs = (model.told(holding(test, one), np.arange(len(one))) for one in (own, other))
        return model.from_features(theirs, draw, first=mine)

    return Parts(
        start=start if starts else None,
        swap=swap if starts else None,
        from_truth=lambda shown, draw: model.from_features(model.features(shown), draw),
        training=rgb(training.images()),
        training_responses=torch.from_numpy(training.response),
    )


def ceiling_of(viewer: Viewer) -> float | None:
    """Median over voxels of the noise ceiling of the tested responses, percent; None where no picture repeats."""
    trials = viewer.seen.rows(viewer.test)
    most = int(np.bincount(trials.picture).max())
    if most < 2:
        return None
    # the ratio is that of a trial, whatever is averaged afterwards
    return float(np.median(noise_ceiling(noise_signal_ratio(trials, most), most)))


# ---- the page ------------------------------------------------------------------------------------------------------


def report(found: Sequence[Seeing], recipe: ReconstructRecipe, out: Path) -> Path:
    """The pictures as PNG, the page, and all numbers as JSON."""
    out.mkdir(parents=True, exist_ok=True)
    for one in found:
        save_grid(rows_of(one), out / f"pictures-{one.subject}.png")
    write_json(out / "scores.json", {one.subject: one.json for one in found})
    sections: list[Section] = [section(one) for one in found]
    return write("What they saw", [*sections, texts(recipe, [recipe.card])], out, recipe)


def section(one: Seeing) -> Figures:
    """One person on a page: pictures, what the controls say, and the table."""
    whose = f"{'New person' if one.new else 'Person'} {one.subject}"
    picture = grid(rows_of(one), f"{len(one.seen)} test pictures; columns are evenly spaced over them.")
    return Figures(f"{whose}: seen and reconstructed", [picture], str(one.verdict), table_of(one), one.json)


def rows_of(one: Seeing) -> dict[str, Tensor]:
    """What is drawn, in order."""
    controls = one.verdict.controls
    drawn = {name: controls[name].pictures for name in SHOWN if name in controls}
    return {"seen": one.seen, "reconstructed": one.pictures, **drawn}


def table_of(one: Seeing) -> list[dict[str, str]]:
    """A line a score: its interval, then every control's."""
    lines = []
    for name, own in one.scored.scores.items():
        line = {"score": name, "reconstructed": "–" if own.score is None else f"{own.score:.3f}"}
        line["95 % interval"] = own.reason if own.low is None else f"{own.low:.3f} to {own.high:.3f}"
        for control, taken in one.verdict.controls.items():
            other = taken.scored.scores.get(name)
            line[control] = "" if other is None or other.score is None else f"{other.score:.3f}"
        lines.append(line)
    return lines


def table(one: Seeing) -> str:
    """The same for a terminal."""
    head = f"{one.subject}{' (new)' if one.new else ''}: {len(one.seen)} test pictures"
    lines = [head]
    for name, own in one.scored.scores.items():
        said = (
            f"null ({own.reason})"
            if own.score is None
            else f"{own.score:.3f}  [{own.low:.3f}, {own.high:.3f}]"
        )
        lines.append(f"  {name:20} {said}")
    return "\n".join([*lines, f"  {one.verdict}"])
