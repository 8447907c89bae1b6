"""Demo: a simulated brain seen by five instruments, offline: one network pretrains on all, each is probed and shown; and
what simulated people saw is reconstructed from their responses."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from brainfm.data.cards import DataCard
from brainfm.data.modalities import modality
from brainfm.jobs.finetune import finetune
from brainfm.jobs.fit_reconstruction import fit
from brainfm.jobs.interpolation import Interpolation, interpolation
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import Options, probe
from brainfm.jobs.reconstruct import Reconstruction, reconstruct, section
from brainfm.jobs.reporting import write
from brainfm.recipe import FinetuneRecipe, PretrainRecipe
from brainfm.recipe_reconstruct import ReconstructRecipe
from brainfm.scores import Scores, scores_json, table

TOLD_AFTER = 250
"""Steps that the sources train before they are asked for electrodes that are not there."""


@dataclass(frozen=True)
class Demonstration:
    """What the demo made: a probe of every instrument, a decoder, electrodes that were not there, and pictures."""

    report: Path
    seconds: float
    probe: dict[str, Scores]
    finetune: dict[str, Scores]
    told: Interpolation
    seen: Reconstruction

    @property
    def json(self) -> dict[str, Any]:
        """What `demo --json` prints."""
        return {
            "report": str(self.report),
            "seconds": round(self.seconds, 1),
            "probe": {name: scores_json(scores) for name, scores in self.probe.items()},
            "finetune": {name: scores_json(scores) for name, scores in self.finetune.items()},
            "interpolation": self.told.figure.numbers,
            "reconstruction": self.seen.json,
        }

    def print(self) -> None:
        """The tables and where the report is."""
        import typer

        for scores in (*self.probe.values(), *self.finetune.values()):
            typer.echo(table(scores))
        typer.echo(self.seen.text)
        typer.echo(f"{self.report}  ({self.seconds:.0f} s)")


def demo(out: Path, seed: int = 0, quiet: bool = False) -> Demonstration:
    """Run the demo into `out`; the same folder again goes on where it stopped."""
    began = time.monotonic()
    recipe = PretrainRecipe.load("demo", [f"seed={seed}"])
    pretrained = pretrain(recipe, out / "pretrain", quiet)
    checkpoint = pretrained.outcome.out
    options = Options(seed=seed, seeds=1, classical="card", quiet=quiet)  # a demo's patience
    probes = {
        modality_of(name): replace(
            probe([checkpoint], name, options), title=f"{modality(modality_of(name)).title}: frozen features"
        )
        for name in recipe.data.cards
    }
    task = FinetuneRecipe.load("demo_eeg", [f"seed={seed}"])
    again = replace(options, classical="none")  # the same task: they stand in the table of its probe
    tuned = replace(
        finetune(task, checkpoint, out / "finetune", again).scores, title="EEG: fine-tuned decoder"
    )
    told = interpolation(PretrainRecipe.load("sources_eeg"), TOLD_AFTER, seed, quiet)
    seen = pictures(out / "pictures", seed, quiet)
    sections = [*probes.values(), tuned, told.figure, *map(section, seen.people), *pretrained.sections]
    report = write("One simulated brain, five instruments, from recording to decoder", sections, out, recipe)
    return Demonstration(report, time.monotonic() - began, probes, {"eeg": tuned}, told, seen)


def pictures(out: Path, seed: int, quiet: bool) -> Reconstruction:
    """What two simulated people saw, from their responses."""
    fit(ReconstructRecipe.load("demo_pictures", [f"seed={seed}"]), out, quiet)
    return reconstruct(out, seed=seed, quiet=quiet)


def modality_of(card: str) -> str:
    """The instrument of a card."""
    return DataCard.load(card).modality
