"""Fine-tune: a decoder for one task, scored beside training from scratch, and saved with all it needs to decode a new file."""

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.adaptation import Adaptation
from brainfm.adaptation.full import Full
from brainfm.answers import Answer, balance
from brainfm.batch import Batch, number_of
from brainfm.chance import Chance
from brainfm.corpus import Plan, Stream
from brainfm.data.leaks import Fold
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows
from brainfm.errors import BrainfmError, DataError, RecipeError
from brainfm.feed import Micro
from brainfm.files import write_folder
from brainfm.jobs.probe import Options, classical, scores
from brainfm.manifest import Manifest
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM, weights_digest
from brainfm.model_config import DecoderSettings, network_of
from brainfm.narrowed import left_out, narrowed, require
from brainfm.objectives import Loss
from brainfm.panel import Panel, twin
from brainfm.progress import bar
from brainfm.recipe import FinetuneRecipe
from brainfm.scores import Scores
from brainfm.targeted import Targeted
from brainfm.tasks import labelled, laid_out, names_of, pool_of, protocol_of
from brainfm.train import Run, train

SCRATCH = "scratch"


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
    adaptation: Adaptation
    weight: Float[Tensor, " class"] | None
    target: Tensor | None = None
    """(row, part, …) what is told, where that is no label of a window; labels of windows are then its rows."""

    def item(self, step: int, part: int, parts: int) -> Micro:
        share = self.plan.piece(step, part, parts)
        label = torch.from_numpy(share.stream.windows.label[share.rows])
        true = label if self.target is None else self.target[label]
        return Micro.of(share, (*share.stream.batches(share.rows), true))

    def loss(self, module: nn.Module, content: tuple[Batch, Tensor], chance: Chance) -> Loss:
        batch, true = content
        output = module(batch, chance.shared).float()
        weight = None if self.weight is None else self.weight.to(output.device)
        assert self.model.decoder is not None  # a model that is fine-tuned has one
        name, found = self.model.decoder.answer.loss(output, true, weight)
        return Loss({name: found}, {name: 1.0})

    def save(self, folder: Path) -> None:
        """A model as any other: what an adaptation put in is merged in a copy, since training may go on."""
        whole = copy.deepcopy(self.model)
        self.adaptation.merge(whole)
        whole.save_pretrained(folder)


class _Decode(nn.Module):
    """`decode` as the forward of a module, as data-parallel wrappers want it."""

    def __init__(self, model: BrainFM) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch ... output"]:
        return self.model.decode(batch, generator)


def finetune(
    recipe: FinetuneRecipe, checkpoint: str | Path | None, out: Path, options: Options | None = None
) -> Decoded:
    """Score fine-tuning and training from scratch out of fold, then train the decoder on every labelled window.

    Without a checkpoint the recipe's own network is trained from nothing, and that alone.
    Every fold's run is a folder under `out/folds`, so a stopped command goes on where it was. Raises `BrainfmError` among
    several processes: its many small runs are one process's work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BrainfmError("fine-tuning runs in one process; start it without accelerate launch")
    options = options or Options()
    model = started(recipe, checkpoint)
    evaluation = laid_out(recipe, model, options.metric, options.limit)
    protocol_of(evaluation, options.protocol)
    panel = Panel.of([model], evaluation, options.strict)
    bench = Bench.of(recipe, panel, out)
    pool = pool_of(panel.evaluation, model, options.pool)
    baselines, notes = classical(panel.evaluation, options.classical)
    with bar("fine-tuning", bench.runs + len(baselines) + 1, quiet=options.quiet) as tick:
        predictions: dict[str, list[Probabilities]] = {
            "shuffled": [panel.shuffled(seed, options.protocol, pool) for seed in panel.models],
            "untrained": [panel.untrained(seed, options.protocol, pool) for seed in bench.seeds],
        }
        if checkpoint is not None:
            predictions["frozen"] = [panel.frozen(seed, options.protocol, pool) for seed in panel.models]
        for name, part in baselines:
            predictions[f"classical:{name}"] = [panel.evaluation.baseline(part)]
            tick(name)
        for arm, adaptation in bench.arms.items():
            predictions[arm] = [bench.out_of_fold(arm, adaptation, seed, tick) for seed in bench.seeds]
        decoder = bench.final()
        tick("decoder")
    arms = ", ".join(bench.arms)
    few = ": few, for a network that starts from nothing" if checkpoint is not None else ""
    notes += [f"{recipe.train.steps} steps for each of {arms}{few}"]
    notes += [said for sound in recipe.tracks.values() if (said := sound.said())]
    name = "no checkpoint" if checkpoint is None else str(checkpoint)
    return Decoded(scores(panel, predictions, options, pool, [name], notes), decoder)


def started(recipe: FinetuneRecipe, checkpoint: str | Path | None) -> BrainFM:
    """The checkpoint, or the recipe's own network untrained. Raises `RecipeError` where there is neither, or both are meant."""
    if checkpoint is None:
        model = BrainFM.fresh(network_of(recipe), recipe.seed).eval()
        model.untouched = True
        return model
    if recipe.network is not None:
        raise RecipeError(
            "this task has a network of its own, which a checkpoint would take the place of; "
            "leave --from away, or the `network:` section"
        )
    return BrainFM.from_pretrained(checkpoint)


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
        task = evaluation.card.task
        window = recipe.window or (task.window if task else None)
        assert window is not None  # an evaluation was cut
        settings = DecoderSettings(
            head=recipe.head,
            labels=list(names_of(evaluation)),
            modality=evaluation.modality,
            sensors=[name for name in raw[0] if all(name in others for others in raw)],
            channels=len(model.rows(prepared[0], evaluation.modality)),
            window=window,
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
        return len(self.arms) * len(self.seeds) * len(self.panel.evaluation.folds)

    @property
    def arms(self) -> dict[str, Adaptation]:
        """What is trained in every fold, by its row: a network that starts from nothing, and what the recipe asks for."""
        if self.recipe.network is not None:
            return {SCRATCH: Full()}
        return {SCRATCH: Full(), **{part.row: part for part in self.recipe.adaptation}}

    def out_of_fold(self, arm: str, adaptation: Adaptation, seed: int, tick: Any) -> Probabilities:
        """Predictions of one arm, a network trained for every fold."""

        def predict(number: int, fold: Fold) -> Probabilities:
            start = (
                twin(self.model, seed)
                if arm == SCRATCH
                else self.panel.chosen[next(iter(self.panel.models)), number]
            )
            folder = self.out / "folds" / f"{arm.replace(':', '-')}-{seed}-{number}"
            trained = self.train(start, adaptation, fold.train, seed, folder)
            tick(f"{arm}, {fold.held_out}")
            return trained.probabilities(self.stream(trained), fold.test)

        return self.panel.evaluation.out_of_fold(predict)

    def train(
        self, start: BrainFM, adaptation: Adaptation, rows: NDArray[np.int64], seed: int, out: Path
    ) -> BrainFM:
        """One network from `start`, adapted to these windows."""
        evaluation = self.panel.evaluation
        if self.recipe.sensors is not None:
            start = self.narrowed(start, adaptation, rows, seed, out / "all-sensors")
        model = start.with_decoder(self.answering(rows), seed, adaptation.keeps_head)
        owners = np.unique(evaluation.windows.recording[rows])
        labelled = [evaluation.recordings[index] for index in owners]
        model.manifest = start.manifest + Manifest.of(labelled, self.settings.modality, with_labels=True)
        stream = self.stream(model, rows)
        model.adopt(stream, seed)
        plan = Plan({self.settings.modality: stream}, self.recipe.train.batch, seed)
        told, target, weight = self.told(rows)
        task = Finetuning(plan, _Decode(model), model, adaptation, weight, target)
        identity = {
            "recipe": self.recipe.hash,
            "seed": str(seed),
            "checkpoint": weights_digest(start)[:12],
            "data": f"{model.manifest.digest} {labels_digest(stream.windows, told)}",
        }
        if quiet := left_out(start, self.settings.modality):
            identity["left out"] = hashlib.sha256(str(sorted(quiet)).encode()).hexdigest()[:12]
        return adapt(task, self.recipe, seed, out, identity)

    def narrowed(
        self, start: BrainFM, adaptation: Adaptation, rows: NDArray[np.int64], seed: int, out: Path
    ) -> BrainFM:
        """`start` with the sensors left out that matter least to a decoder of these very windows, trained with all of them."""
        choice, modality = self.recipe.sensors, self.settings.modality
        assert choice is not None  # the caller has looked
        require(start, modality)
        whole = replace(self, recipe=self.recipe.model_copy(update={"sensors": None}))
        first = whole.train(start, adaptation, rows, seed, out)
        return narrowed(start, first, choice, self.stream(first, rows))

    def told(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], Tensor | None, Tensor | None]:
        """What is told of these windows, the table of targets where that is no label, and how much each class weighs."""
        evaluation = self.panel.evaluation
        if not isinstance(evaluation, Targeted):
            label = evaluation.windows.label[rows]
            return label, None, balance(label, evaluation.classes)
        value = evaluation.targets.value[rows]
        classes = evaluation.targets.of == "classes"
        weight = balance(value.reshape(-1), evaluation.classes) if classes else None
        return value, torch.from_numpy(evaluation.targets.value), weight

    def answering(self, rows: NDArray[np.int64]) -> DecoderSettings:
        """The decoder's settings, with what only its training windows say: the mean of what is told, and whose they are."""
        evaluation = self.panel.evaluation
        more: dict[str, Any] = {}
        if isinstance(evaluation, Targeted):
            more["answer"] = Answer.to(evaluation.targets.rows(rows), self.recipe.matching)
        if self.recipe.subject_layer is not None:
            stream = self.stream(self.model, rows)
            people = sorted({stream.subjects[owner] for owner in stream.windows.recording} - {""})
            ids = [number_of(place) for place in people]
            more["subjects"] = self.recipe.subject_layer.model_copy(update={"ids": ids})
        return self.settings.model_copy(update=more)

    def final(self) -> Path:
        """The decoder for new files: trained on every labelled window, so no score of its own belongs to it."""
        every = labelled(self.recipe, np.arange(len(self.panel.evaluation.windows)))
        adaptation = self.recipe.adaptation[0]
        model = self.train(self.model, adaptation, every, self.seeds[0], self.out / "final")
        return write_folder(self.out / "decoder", model.save_pretrained)


def adapt(
    task: Finetuning, recipe: FinetuneRecipe, seed: int, out: Path, identity: Mapping[str, str]
) -> BrainFM:
    """The task's model, trained phase by phase; the last phase's folder is `out` itself, those before it lie inside."""
    model, adaptation = task.model, task.adaptation
    adaptation.install(model, seed)
    phases = adaptation.phases(model, recipe.head_rate)
    for number, phase in enumerate(phases, 1):
        here = out if number == len(phases) else out / f"phase-{number}"
        steps = max(1, round(phase.share * recipe.train.steps))
        training = recipe.train.model_copy(update={"steps": steps})
        rates = {f"model.{name}": rate for name, rate in phase.rates.items()}
        model.train(not phase.still)
        model.head.train()
        undecayed = {f"model.{name}" for name in phase.undecayed}
        run = Run(
            task, training, seed, here, recipe.text, identity, quiet=True, rates=rates, undecayed=undecayed
        )
        train(run)
    adaptation.merge(model)
    return model.cpu().eval().requires_grad_()


def labels_digest(windows: Windows, told: NDArray[Any]) -> str:
    """A hash of which windows are trained on, and as what."""
    digest = hashlib.sha256(f"{windows.seconds} {windows.labels}".encode())
    for column in (windows.recording, windows.start, np.ascontiguousarray(told)):
        digest.update(column.tobytes())
    return digest.hexdigest()[:12]
