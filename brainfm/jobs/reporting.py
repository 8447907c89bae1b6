"""Reports of jobs: gather what a run left behind and what it scored, as plain data for the page."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.modalities import modality, owner
from brainfm.data.recording import Recording
from brainfm.jobs.doctor import PACKAGES, version
from brainfm.learner import Learner
from brainfm.model import BrainFM
from brainfm.objectives.masked_patches import MaskedPatchLoss, patches_wanted
from brainfm.recipe import Recipe
from brainfm.recipe_yaml import to_yaml
from brainfm.report import (
    Losses,
    MaskMap,
    Reconstruction,
    Report,
    Section,
    Texts,
    TokenMap,
    write_report,
)
from brainfm.run_folder import read_log
from brainfm.scores import Scores
from brainfm.tokens import Hidden, Tokenized


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
    """The curves of a run's log, if it still has one; steps of other instruments may have other parts."""
    rows = read_log(run / "log.jsonl")
    return [Losses(rows)] if rows else []


@torch.inference_mode()
def pictures(learner: Learner, stream: Stream, seed: int) -> list[Section]:
    """One window: its tokens, what was hidden, what was predicted there, and where on the head the mask fell."""
    learner = learner.cpu().eval()
    row = int(np.random.default_rng([seed, 4]).integers(len(stream.windows)))
    batch = stream.batch(np.array([row]))
    recording = stream.recordings[stream.windows.recording[row]]
    tokenized = learner.model.tokenize(batch)
    sections: list[Section] = [token_map(learner.model, recording, batch, stream.windows.seconds)]
    if not tokenized.tokens.period:
        return sections  # events: the map shows them one by one
    hidden = learner.mask.draw(tokenized.tokens, Chance(seed))
    names = labels(learner.model, recording, stream.modality)
    drawn = hidden.mask()[0].unflatten(0, (len(names), -1)).numpy()
    for objective in learner.objectives.values():
        if isinstance(objective, MaskedPatchLoss) and objective.part.raw:
            sections.append(predicted(learner.model, objective, batch, tokenized, hidden, names))
    first = tokenized.tokens.take(torch.arange(0, tokenized.tokens.count, drawn.shape[1])[None])
    place = torch.where(first.located[0, :, None], first.position[0], torch.nan).double().numpy()
    head = not tokenized.tokens.virtual and stream.modality in ("eeg", "meg")
    title = f"{modality(stream.modality).title}: where the mask fell"
    return [*sections, MaskMap(names, place, drawn, tokenized.tokens.period, head, title)]


def token_map(model: BrainFM, recording: Recording, batch: Batch, seconds: float) -> TokenMap:
    """The first window of a batch beside what the encoder makes of it."""
    tokens = model(batch)
    valid = tokens.valid[0]
    names = recording.signal(batch.modality).sensors.name
    return TokenMap(
        seconds=seconds,
        names=names,
        signal=batch.signal[0].double().numpy(),
        rows=labels(model, recording, batch.modality) or names,
        time=tokens.time[0][valid].double().numpy(),
        row=tokens.sensor[0][valid].numpy(),
        embedding=tokens.embedding[0][valid].double().numpy(),
        regular=tokens.period > 0,
        title=f"{modality(batch.modality).title}: a window and its tokens",
    )


def labels(model: BrainFM, recording: Recording, name: str) -> tuple[str, ...]:
    """What each row of tokens stands for; in a picture of one person it needs no saying whose it is."""
    prefix = f"{owner(recording, name)}/"
    return tuple(row.removeprefix(prefix) for row in model.rows(recording, name))


def predicted(
    model: BrainFM,
    objective: MaskedPatchLoss,
    batch: Batch,
    tokenized: Tokenized,
    hidden: Hidden,
    names: Sequence[str],
) -> Reconstruction:
    """Every row of tokens as the objective sees it, each patch at mean 0 and variance 1, and what was told of the hidden ones."""
    seen = model.encoder(tokenized.tokens.take(hidden.seen))
    told = objective.decode(batch.modality, seen, tokenized.tokens.take(hidden.hidden)).float()
    whole = patches_wanted(tokenized, batch.modality, objective.part.normalised)
    shown = whole.scatter(1, hidden.hidden.unsqueeze(-1).expand_as(told), told)
    covered = hidden.mask().unsqueeze(-1).expand_as(whole)
    signal, prediction, where = (
        one[0].unflatten(0, (len(names), -1)).flatten(1).numpy() for one in (whole, shown, covered)
    )
    return Reconstruction(
        seconds=np.arange(signal.shape[1]) / batch.sfreq,
        names=names,
        signal=signal,
        prediction=prediction,
        hidden=where,
        title=f"{modality(batch.modality).title}: what was hidden, and what was told of it",
        of="rows" if tokenized.tokens.virtual else "sensors",
    )
