"""Fine-tune: a decoder for one task, scored beside training from scratch, and saved with all it needs to decode a new file."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Plan, Stream
from brainfm.data.cards import DataCard
from brainfm.data.leaks import Fold
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows
from brainfm.errors import BrainfmError, DataError
from brainfm.evaluation import Evaluation
from brainfm.feed import Micro
from brainfm.jobs.probe import Options, classical, scores
from brainfm.manifest import Manifest
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM, DecoderSettings, weights_digest
from brainfm.objectives import Loss
from brainfm.panel import Panel, default_pool, twin
from brainfm.progress import bar
from brainfm.recipe import FinetuneRecipe
from brainfm.scores import Scores
from brainfm.train import Run, train


@dataclass(frozen=True)
class Decoded:
    """What fine-tuning gives: the table, and the folder of the decoder that was trained on all labelled windows."""

    scores: Scores
    decoder: Path


@dataclass
class Finetuning:
    """What the training loop needs to know of a fine-tuning run."""

    plan: Plan
    module: nn.Module
    model: BrainFM
    weight: Float[Tensor, " class"]

    def item(self, step: int, part: int, parts: int) -> Micro:
        share = self.plan.piece(step, part, parts)
        label = torch.from_numpy(share.stream.windows.label[share.rows])
        return Micro.of(share, (*share.stream.batches(share.rows), label))

    def loss(self, module: nn.Module, content: tuple[Batch, Int[Tensor, " batch"]], chance: Chance) -> Loss:
        batch, label = content
        logits = module(batch).float()
        return Loss(
            {"cross_entropy": F.cross_entropy(logits, label, self.weight.to(logits.device))},
            {"cross_entropy": 1.0},
        )

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


class _Decode(nn.Module):
    """`decode` as the forward of a module, as data-parallel wrappers want it."""

    def __init__(self, model: BrainFM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Float[Tensor, "batch class"]:
        return self.model.decode(batch)


def finetune(
    recipe: FinetuneRecipe, checkpoint: str | Path, out: Path, options: Options | None = None
) -> Decoded:
    """Score fine-tuning and training from scratch out of fold, then train the decoder on every labelled window.

    Every fold's run is a folder under `out/folds`, so a stopped command goes on where it was. Raises `BrainfmError` among
    several processes: its many small runs are one process's work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BrainfmError("fine-tuning runs in one process; start it without accelerate launch")
    options = options or Options(seed=recipe.seed)
    card = DataCard.load(recipe.card)
    evaluation = Evaluation.of(
        card, recipe.split, recipe.window, recipe.labels, options.metric, options.limit, recipe.seed
    )
    panel = Panel.of([BrainFM.from_pretrained(checkpoint)], evaluation, options.strict)
    bench = Bench.of(recipe, panel, out)
    pool = options.pool or default_pool(panel.evaluation, next(iter(panel.models.values()))[0])
    baselines, notes = classical(panel.evaluation, options.classical)
    with bar("fine-tuning", bench.runs + len(baselines) + 1, quiet=options.quiet) as tick:
        predictions: dict[str, list[Probabilities]] = {
            "untrained": [panel.untrained(seed, options.protocol, pool) for seed in bench.seeds],
            "frozen": [panel.frozen(seed, options.protocol, pool) for seed in panel.models],
        }
        for name, part in baselines:
            predictions[f"classical:{name}"] = [panel.evaluation.baseline(part)]
            tick(name)
        for arm in ("scratch", "finetuned"):
            predictions[arm] = [bench.out_of_fold(arm, seed, tick) for seed in bench.seeds]
        decoder = bench.final()
        tick("decoder")
    steps = f"scratch and finetuned took the same {recipe.train.steps} steps: few, for a network that starts from nothing"
    return Decoded(scores(panel, predictions, options, pool, [str(checkpoint)], [*notes, steps]), decoder)


@dataclass(frozen=True)
class Bench:
    """Everything that the runs of one fine-tuning share."""

    recipe: FinetuneRecipe
    panel: Panel
    model: BrainFM
    settings: DecoderSettings
    prepared: Sequence[Recording]
    out: Path
    seeds: Sequence[int]

    @classmethod
    def of(cls, recipe: FinetuneRecipe, panel: Panel, out: Path) -> "Bench":
        """Prepare the recordings once; refuse recordings whose sensors differ, which a decoder can't share."""
        evaluation = panel.evaluation
        model = next(iter(panel.models.values()))[0]
        prepared = model.prepare(evaluation.recordings, evaluation.modality)
        names = {recording.signal(evaluation.modality).sensors.name for recording in prepared}
        raw = [recording.signal(evaluation.modality).sensors.name for recording in evaluation.recordings]
        if len(names) > 1:
            raise DataError(
                f"{evaluation.card.name}: its recordings have different sensors; pick common ones in the card's reader"
            )
        assert evaluation.card.task is not None  # an evaluation has a task
        settings = DecoderSettings(
            head=recipe.head,
            labels=list(evaluation.windows.labels),
            modality=evaluation.modality,
            sensors=[name for name in raw[0] if all(name in others for others in raw)],
            channels=len(model.rows(prepared[0], evaluation.modality)),
            window=recipe.window or evaluation.card.task.window,
            reader=evaluation.card.reading,
            events=evaluation.card.events,
            card=evaluation.card.name,
            recipe=recipe.text,
        )
        seeds = [recipe.seed + extra for extra in range(recipe.seeds)]
        return cls(recipe, panel, model, settings, prepared, out, seeds)

    def stream(self, model: BrainFM, rows: NDArray[np.int64] | None = None) -> Stream:
        """All windows, or these rows of them, as `model` sees them."""
        windows = self.panel.evaluation.windows
        return model.stream(
            self.prepared, windows if rows is None else windows.rows(rows), self.settings.modality
        )

    @property
    def runs(self) -> int:
        """Networks that are trained for the table."""
        return 2 * len(self.seeds) * len(self.panel.evaluation.folds)

    def out_of_fold(self, arm: str, seed: int, tick: Any) -> Probabilities:
        """Predictions of one arm, a network trained for every fold."""

        def predict(number: int, fold: Fold) -> Probabilities:
            start = (
                twin(self.model, seed)
                if arm == "scratch"
                else self.panel.chosen[next(iter(self.panel.models)), number]
            )
            trained = self.train(start, fold.train, seed, self.out / "folds" / f"{arm}-{seed}-{number}")
            tick(f"{arm}, {fold.held_out}")
            return trained.probabilities(self.stream(trained), fold.test)

        return self.panel.evaluation.out_of_fold(predict)

    def train(self, start: BrainFM, rows: NDArray[np.int64], seed: int, out: Path) -> BrainFM:
        """One network from `start`, trained on these windows."""
        model = start.with_decoder(self.settings, seed)
        owners = np.unique(self.panel.evaluation.windows.recording[rows])
        labelled = [self.panel.evaluation.recordings[index] for index in owners]
        model.manifest = start.manifest + Manifest.of(labelled, self.settings.modality, with_labels=True)
        stream = self.stream(model, rows)
        model.adopt(stream, seed)
        plan = Plan({self.settings.modality: stream}, self.recipe.train.batch, seed)
        task = Finetuning(
            plan, _Decode(model), model, balance(stream.windows.label, len(self.settings.labels))
        )
        identity = {
            "recipe": self.recipe.hash,
            "seed": str(seed),
            "checkpoint": weights_digest(start)[:12],
            "data": f"{model.manifest.digest} {labels_digest(stream.windows)}",
        }
        rates = {"model.head": self.recipe.head_rate}
        train(Run(task, self.recipe.train, seed, out, self.recipe.text, identity, quiet=True, rates=rates))
        return model.cpu().eval()

    def final(self) -> Path:
        """The decoder for new files: trained on every labelled window, so no score of its own belongs to it."""
        every = np.arange(len(self.panel.evaluation.windows))
        model = self.train(self.model, every, self.seeds[0], self.out / "final")
        model.save_pretrained(self.out / "decoder")
        return self.out / "decoder"


def labels_digest(windows: Windows) -> str:
    """A hash of which windows are trained on, and as what."""
    digest = hashlib.sha256(f"{windows.seconds} {windows.labels}".encode())
    for column in (windows.recording, windows.start, windows.label):
        digest.update(column.tobytes())
    return digest.hexdigest()[:12]


def balance(label: NDArray[np.int64], classes: int) -> Float[Tensor, " class"]:
    """Weights that make every class count the same, as balanced accuracy does."""
    counts = np.bincount(label, minlength=classes)
    return torch.from_numpy((len(label) / (classes * np.maximum(counts, 1))).astype(np.float32))
