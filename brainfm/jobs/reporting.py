"""Reports of jobs: gather what a run left behind and what it scored, as plain data for the page."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.jobs.doctor import PACKAGES, version
from brainfm.jobs.pretrain import Learner
from brainfm.objectives.masked_patches import MaskedPatchLoss, normalise
from brainfm.recipe import Recipe, to_yaml
from brainfm.report import Losses, MaskMap, Reconstruction, Report, Section, Texts, write_report
from brainfm.run_folder import read_log
from brainfm.scores import Scores


def write(title: str, sections: Sequence[Section], out: Path, recipe: Recipe | None = None) -> Path:
    """Write `report.html` and `report.json` with versions, seed and the recipe's hash."""
    return write_report(
        Report(
            title=title,
            sections=sections,
            date=datetime.date.today().isoformat(),
            seed=None if recipe is None else recipe.seed,
            versions={name: found for name in ("brainfm-toolkit", *PACKAGES) if (found := version(name))},
            recipe_hash="" if recipe is None else recipe.hash,
        ),
        out,
    )


def write_scores(scores: Scores, out: Path, title: str, card: str, recipe: Recipe | None = None) -> Path:
    """The report of one table; `card` is the name or the path that it was scored on."""
    unfolded = texts(recipe, [card], {"pretraining recipe": scores.recipe})
    return write(title, [scores, unfolded], out, recipe)


def texts(recipe: Recipe | None, cards: Sequence[str], more: Mapping[str, str] | None = None) -> Texts:
    """The recipe, other texts, and the cards, by name or path, to unfold at the end of a page."""
    shown = {**({} if recipe is None else {"recipe": recipe.text}), **(more or {})}
    loaded = [DataCard.load(name) for name in cards]
    return Texts({**shown, **{f"card {card.name}": card_text(card) for card in loaded}})


def card_text(card: DataCard) -> str:
    """A card's facts as YAML, and its prose."""
    return f"{to_yaml(card.model_dump(mode='json'))}\n{card.prose}"


def losses(run: Path) -> list[Section]:
    """The curves of a run's log, if it still has one."""
    rows = read_log(run / "log.jsonl")
    known = {"step", "loss", "gradient_norm", "learning_rate"}
    return [Losses(rows, parts=[name for name in rows[0] if name not in known])] if rows else []


@torch.inference_mode()
def pictures(learner: Learner, stream: Stream, seed: int) -> list[Section]:
    """One window: what was hidden, what was predicted there, and where on the head the mask fell.

    Every patch is drawn as the objective sees it, at mean 0 and variance 1.
    """
    learner = learner.cpu().eval()
    row = int(np.random.default_rng([seed, 4]).integers(len(stream.windows)))
    batch = stream.batch(np.array([row]))
    tokenized = learner.model.tokenize(batch)
    hidden = learner.mask.draw(tokenized.tokens, torch.Generator().manual_seed(seed))
    drawn = hidden.mask()[0].unflatten(0, (batch.signal.shape[1], -1)).numpy()
    sensors = stream.recordings[stream.windows.recording[row]].signal(stream.modality).sensors
    patch = learner.model.signals[stream.modality].tokenizer.seconds
    mask = MaskMap(sensors.name, sensors.position, drawn, patch)
    if not isinstance(learner.objective, MaskedPatchLoss):
        return [mask]
    seen = learner.model.encoder(tokenized.tokens.take(hidden.seen))
    predicted = learner.objective.decode(stream.modality, seen, tokenized.tokens.take(hidden.hidden)).float()
    whole = normalise(tokenized.targets[stream.modality].value)
    shown = whole.scatter(1, hidden.hidden.unsqueeze(-1).expand_as(predicted), predicted)
    times = batch.signal.shape[-1]
    samples = whole.shape[-1]
    picture = Reconstruction(
        seconds=np.arange(times) / batch.sfreq,
        names=sensors.name,
        signal=whole.reshape(batch.signal.shape)[0].numpy(),
        prediction=shown.reshape(batch.signal.shape)[0].numpy(),
        hidden=drawn.repeat(samples, axis=1),
    )
    return [picture, mask]
