"""What is probed, whoever made it: checkpoints and models of others by their names, models and estimators at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brainfm.adapters import named
from brainfm.errors import DataError
from brainfm.estimator import Estimator
from brainfm.evaluation import Evaluation
from brainfm.foreign_model import Foreign
from brainfm.model import BrainFM


def opened(checkpoints: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The models, and by name the estimators of scikit-learn, which have no frozen features but learn in each fold."""
    found = [opened_one(one) for one in checkpoints]
    estimators = [one for one in found if isinstance(one, Estimator)]
    by_name = {one.name: one for one in estimators}
    if len(by_name) < len(estimators):
        raise DataError("two estimators are called the same; say which is which: Estimator(..., name=...)")
    return [one for one in found if not isinstance(one, Estimator)], by_name


def opened_one(where: Any) -> Any:
    """A checkpoint or a foreign model by its name, an estimator wrapped, a foreign model anew; a checkpoint is itself."""
    if isinstance(where, str | Path):
        return named(str(where)) or BrainFM.from_pretrained(where)
    if isinstance(where, Foreign):
        return where.anew()
    return Estimator(where) if hasattr(where, "fit") and hasattr(where, "get_params") else where


def name_of(checkpoint: Any) -> str:
    """What a report calls it."""
    if isinstance(checkpoint, str | Path):
        return str(checkpoint)
    return str(getattr(checkpoint, "name", "")) or type(checkpoint).__name__


def said(models: Sequence[Any], evaluation: Evaluation) -> list[str]:
    """What a reader must know of models that others made."""
    seconds = evaluation.windows.seconds
    every = [sentence for model in models for sentence in model.said(evaluation.recordings, seconds)]
    lacking = [name_of(model) for model in models if not model.has_twin]
    twin = [f"{lacking[0]} can't be had untrained, so what training added is not known"] if lacking else []
    return [*dict.fromkeys(every), *twin]
