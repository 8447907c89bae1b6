"""Demo: a simulated brain from start to end, offline: pretrain, probe, fine-tune, and one report with pictures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from brainfm.jobs.finetune import finetune
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import Options, probe
from brainfm.jobs.reporting import write
from brainfm.recipe import FinetuneRecipe, PretrainRecipe
from brainfm.report import Section
from brainfm.scores import Scores, scores_json, table

MODALITIES = ("eeg",)


@dataclass(frozen=True)
class Demonstration:
    """What the demo made."""

    report: Path
    seconds: float
    probe: dict[str, Scores]
    finetune: dict[str, Scores]

    @property
    def json(self) -> dict[str, Any]:
        """What `demo --json` prints."""
        return {
            "report": str(self.report),
            "seconds": round(self.seconds, 1),
            "probe": {name: scores_json(scores) for name, scores in self.probe.items()},
            "finetune": {name: scores_json(scores) for name, scores in self.finetune.items()},
        }

    def print(self) -> None:
        """The tables and where the report is."""
        import typer

        for scores in (*self.probe.values(), *self.finetune.values()):
            typer.echo(table(scores))
        typer.echo(f"{self.report}  ({self.seconds:.0f} s)")


def demo(out: Path, seed: int = 0, quiet: bool = False) -> Demonstration:
    """Run the demo into `out`; the same folder again goes on where it stopped."""
    began = time.monotonic()
    journeys = {modality: journey(modality, out / modality, seed, quiet) for modality in MODALITIES}
    sections = [section for one in journeys.values() for section in one.sections]
    recipe = next(iter(journeys.values())).recipe
    report = write("A simulated brain, from recording to decoder", sections, out, recipe)
    probes = {modality: one.probe for modality, one in journeys.items()}
    decoders = {modality: one.finetune for modality, one in journeys.items()}
    return Demonstration(report, time.monotonic() - began, probes, decoders)


@dataclass(frozen=True)
class Journey:
    """The whole way for one modality."""

    recipe: PretrainRecipe
    probe: Scores
    finetune: Scores
    pictures: Sequence[Section]

    @property
    def sections(self) -> list[Section]:
        """What the report shows, in reading order."""
        return [self.probe, self.finetune, *self.pictures]


def journey(modality: str, out: Path, seed: int, quiet: bool) -> Journey:
    """Pretrain, probe and fine-tune on what one instrument sees of the simulated brain."""
    recipe = PretrainRecipe.load(f"demo_{modality}", [f"seed={seed}"])
    pretrained = pretrain(recipe, out / "pretrain", quiet)
    checkpoint = pretrained.outcome.out
    options = Options(seed=seed, quiet=quiet)
    probed = replace(probe([checkpoint], recipe.data.cards[0], options), title="Frozen features")
    task = FinetuneRecipe.load(f"demo_{modality}", [f"seed={seed}"])
    again = replace(options, classical="none")  # the same task: they stand in the table above
    tuned = replace(finetune(task, checkpoint, out / "finetune", again).scores, title="Fine-tuned decoder")
    return Journey(recipe, probed, tuned, pretrained.sections)
