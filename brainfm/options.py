"""What the verbs of the command line share: their options, and one JSON object as an answer."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from brainfm.errors import BrainfmError


def a_folder(path: Path | None) -> Path | None:
    """Refuse a file where a folder is to be written, before the work and not after it."""
    if path is not None and path.exists() and not path.is_dir():
        raise BrainfmError(f"{path} is a file; choose another --out, a folder")
    return path


Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one value, e.g. --set train.steps=100. May be repeated."),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        help="The run's folder; runs/RECIPE by default. Point at it again to resume.", callback=a_folder
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of weights, order and masks.")]
Limit = Annotated[int | None, typer.Option(help="Read only this many recordings of each card.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout; logs go to stderr.")
]
OnErrorOption = Annotated[
    Literal["raise", "skip", "repair"] | None,
    typer.Option(
        help="In a BIDS dataset, what to do where a table is at fault: raise (the default), skip, repair."
    ),
]
Protocol = Annotated[
    Literal["ridge", "logistic", "knn", "attentive"],
    typer.Option(help="How frozen features become predictions; attentive takes the tokens unpooled."),
]
PoolOption = Annotated[
    Literal["mean", "place", "sensor", "time", "all", "moments"] | None,
    typer.Option(
        help="What stays apart when a window's tokens become one vector; all: sensor by sensor, moments: moment by moment."
    ),
]
MetricOption = Annotated[
    Literal[
        "accuracy",
        "balanced_accuracy",
        "kappa",
        "weighted_f1",
        "auroc",
        "r2",
        "pearson_r",
        "co_bps",
        "top_1",
        "top_10",
    ]
    | None,
    typer.Option(
        help="Another score than the card's or the task's: of labels, of numbers (r2, pearson_r), of expected counts "
        "(co_bps), of segments (top_1, top_10)."
    ),
]
SplitOption = Annotated[
    Literal["WithinSession", "CrossSession", "CrossSubject", "LeaveOneSubjectOut", "CrossStimulus"] | None,
    typer.Option(help="Who is held out; the card says by default."),
]


SubjectOption = Annotated[
    str,
    typer.Option(
        "--subject",
        help="Whose it is, by its name in training, where sensors (contacts, voxels, neurons) or a layer are "
        "a person's own.",
    ),
]
SessionOption = Annotated[
    str, typer.Option("--session", help="And of which session, where sensors are a session's own: neurons.")
]
StrangerOption = Annotated[
    bool,
    typer.Option(
        "--stranger",
        help="Somebody whom the model never met: sensors that are a person's own are taken for average ones.",
    ),
]


def with_seed(overrides: list[str] | None, seed: int | None) -> list[str]:
    """`--seed N` is `--set seed=N`."""
    return [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]


def show_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(result, indent=1, allow_nan=False))
