"""Demo: a simulated brain from start to end, offline: pretrain, probe, fine-tune, and one report with pictures."""

import time
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
    sections: list[Section] = []
    probes: dict[str, Scores] = {}
    decoders: dict[str, Scores] = {}
    for modality in MODALITIES:
        found = one(modality, out / modality, seed, quiet)
        probes[modality], decoders[modality] = found[0], found[1]
        sections += found[2]
    report = write("A simulated brain, from recording to decoder", sections, out)
    return Demonstration(report, time.monotonic() - began, probes, decoders)


def one(modality: str, out: Path, seed: int, quiet: bool) -> tuple[Scores, Scores, list[Section]]:
    """The whole way for one modality: the probe's scores, fine-tuning's, and the sections of the report."""
    recipe = PretrainRecipe.load(f"demo_{modality}", [f"seed={seed}"])
    pretrained = pretrain(recipe, out / "pretrain", quiet)
    checkpoint = pretrained.outcome.out
    options = Options(seed=seed, quiet=quiet)
    probed = replace(probe([checkpoint], recipe.data.cards[0], options), title="Frozen features")
    task = FinetuneRecipe.load(f"demo_{modality}", [f"seed={seed}"])
    tuned = replace(finetune(task, checkpoint, out / "finetune", options).scores, title="Fine-tuned decoder")
    return probed, tuned, [probed, tuned, *pretrained.sections]
