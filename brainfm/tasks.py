"""Tasks: what a recipe of `finetune/` asks, laid out on its card's recordings for one model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm import folders
from brainfm.data.cards import DataCard, list_cards
from brainfm.data.leaks import Split
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.model import BrainFM
from brainfm.panel import default_pool, same_rows
from brainfm.pooling import Pool
from brainfm.probes import Protocol
from brainfm.recipe import FinetuneRecipe
from brainfm.targeted import Targeted

KEEP_TIME: tuple[Pool, ...] = ("time", "moments")
"""Poolings whose features are those of one patch in time after those of the other."""


def named_task(name: str | Path) -> FinetuneRecipe | None:
    """The recipe that is meant where a card could be: by a path that ends in .yaml, or by a name that no card has."""
    path = Path(name)
    known = str(name) in folders.names(FinetuneRecipe.folder, ".yaml") and str(name) not in list_cards()
    return FinetuneRecipe.load(name) if path.suffix == ".yaml" or known else None


def card_of(name: str | Path) -> str:
    """The card of a task, or the name itself, which is a card's."""
    recipe = named_task(name)
    return str(name) if recipe is None else recipe.card


def laid_out(
    recipe: FinetuneRecipe, model: BrainFM | None, metric: str | None = None, limit: int | None = None
) -> Evaluation:
    """The task of a recipe as this model's tokens divide its windows. Raises `DataError` where it can't be laid out."""
    whole = with_all_labels(recipe, model, metric, limit)
    if recipe.labelled == 1:
        return whole
    folds = [replace(fold, train=labelled(recipe, fold.train)) for fold in whole.folds]
    return replace(whole, folds=folds)


def asked_otherwise(recipe: FinetuneRecipe, split: Split | None, seed: int | None) -> FinetuneRecipe:
    """The task under another split or seed than its recipe says; None leaves the recipe's.

    How many folds and how wide a gap belong to the split that they were said of.
    """
    changed: dict[str, Any] = {} if seed is None else {"seed": seed}
    task = DataCard.load(recipe.card).task
    if split not in (None, recipe.split or (task.split if task else None)):
        changed |= {"split": split, "folds": None, "gap": None}
    return recipe.model_copy(update=changed)


def labelled(recipe: FinetuneRecipe, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some training windows whose labels are told; with a larger share the same ones and more."""
    order = np.random.default_rng([recipe.seed, 8]).permutation(np.sort(rows))
    return np.sort(order[: max(2, round(recipe.labelled * len(rows)))])


def with_all_labels(
    recipe: FinetuneRecipe, model: BrainFM | None, metric: str | None, limit: int | None
) -> Evaluation:
    """The task where every training window has its label."""
    card = DataCard.load(recipe.card)
    if recipe.target is None:
        return Evaluation.of(card, recipe.split, recipe.window, recipe.labels, metric, limit, recipe.seed)
    return Targeted.of_target(
        card,
        recipe.target,
        parts_of(recipe, card, model),
        recipe.split,
        recipe.window,
        metric or recipe.metric,
        recipe.regressors,
        recipe.folds,
        recipe.gap,
        limit,
        recipe.seed,
        recipe.tracks,
    )


def parts_of(recipe: FinetuneRecipe, card: DataCard, model: BrainFM | None) -> int:
    """Into how many parts a window's answer is divided: one, or the patches in time that the model makes of it."""
    window = recipe.window or (card.task.window if card.task else None)
    if recipe.head.each == "window" or window is None:
        return 1
    signals = getattr(model, "signals", {})  # a model of others has none
    if card.modality not in signals:
        raise DataError(
            f"{recipe.head.kind} answers for every patch in time, which only brainfm's own models have"
        )
    return max(1, round(window.seconds / signals[card.modality].tokenizer.seconds))


def names_of(evaluation: Evaluation) -> Sequence[str]:
    """What a decoder's outputs are called."""
    return evaluation.names if isinstance(evaluation, Targeted) else evaluation.windows.labels


def protocol_of(evaluation: Evaluation, asked: Protocol) -> str:
    """What predicts from frozen features, as a report names it. Raises `DataError` for one that targets have no use for."""
    if not isinstance(evaluation, Targeted):
        return asked
    how = "ctc" if evaluation.targets.of == "sequences" else "ridge"
    if asked != "ridge":
        raise DataError(
            f"{evaluation.card.name}: what is told are {evaluation.targets.of}, which frozen features are probed for by {how}; "
            f"{asked} is for one label of a window, so leave --protocol away"
        )
    return how


def require_time(evaluation: Evaluation, pool: Pool) -> None:
    """Raise `DataError` where parts of windows are told and a pooling does not lay features part after part.

    Cut into parts, they would be columns of the whole window, and scored as if they were moments.
    """
    if isinstance(evaluation, Targeted) and evaluation.parts > 1 and pool not in KEEP_TIME:
        raise DataError(
            f"{evaluation.card.name}: {evaluation.parts} parts of each window are told, and pooling by {pool} does not keep them "
            f"apart; use --pool {' or '.join(KEEP_TIME)}"
        )


def pool_of(evaluation: Evaluation, model: BrainFM, asked: Pool | None = None) -> Pool:
    """How the rows of frozen features pool tokens. Raises `DataError` where the pooling that is asked for can't answer."""
    if asked is not None:
        require_time(evaluation, asked)
        return asked
    if isinstance(evaluation, Targeted) and evaluation.parts > 1:
        return "moments" if same_rows(evaluation, model) else "time"
    return default_pool(evaluation, model)
