"""The report of a run: one small offline HTML file and its numbers as JSON, made from plain data alone.

A `Report` is a title and sections in reading order: `Scores`, `Losses`, `Reconstruction`, `MaskMap`, `TokenMap`, `Texts`.
It opens no recording and knows no model.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from brainfm import pictures
from brainfm.errors import BrainfmError
from brainfm.palette import MARKERS, PALETTE, Picture, Scale
from brainfm.scores import (
    NAN,
    Difference,
    Row,
    Scores,
    curve_rows,
    exposed,
    family,
    interval,
    number,
    overall,
    plain,
    rich_table,
    scores_json,
    signed,
    small,
    table,
    together,
    verdict,
)

__all__ = [
    "Difference",
    "Figures",
    "Losses",
    "MaskMap",
    "Reconstruction",
    "Report",
    "Row",
    "Scores",
    "Texts",
    "TokenMap",
    "rich_table",
    "scores_json",
    "table",
    "to_html",
    "to_json",
    "verdict",
    "write_report",
]

BESIDE = ("step", "loss", "learning_rate", "gradient_norm", "seconds")
"""Columns of `log.jsonl` that are no part of the loss."""


@dataclass(frozen=True)
class Losses:
    """The lines of `log.jsonl`: `step`, `loss`, the objective's parts unweighted, and what `BESIDE` names.

    `parts` says which columns are the parts; None takes every other column.
    """

    rows: Sequence[Mapping[str, float]]
    parts: Sequence[str] | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise BrainfmError("the loss curve has no steps; leave the section out of the report")

    def column(self, name: str) -> NDArray[np.float64]:
        """(step,) the values of a column, NaN where a line lacks it."""
        return np.array([float(row.get(name, NAN)) for row in self.rows])

    @property
    def part_names(self) -> list[str]:
        if self.parts is not None:
            return list(self.parts)
        return [
            name for name in dict.fromkeys(name for row in self.rows for name in row) if name not in BESIDE
        ]

    @property
    def not_finite(self) -> int:
        return int((~np.isfinite(self.column("loss"))).sum())


@dataclass(frozen=True)
class Reconstruction:
    """One window: `seconds` (time,); `signal`, `prediction`, `hidden` (sensor, time).

    `unit=""` means normalised. Four sensors (or rows of tokens: `of` says which) are drawn, evenly spaced from the best to the
    worst predicted.
    `prediction` may be NaN where nothing was hidden.
    """

    seconds: NDArray[np.float64]
    names: Sequence[str]
    signal: NDArray[np.float64]
    prediction: NDArray[np.float64]
    hidden: NDArray[np.bool_]
    unit: str = ""
    title: str = ""
    of: str = "sensors"

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.seconds))
        for name in ("signal", "prediction", "hidden"):
            if getattr(self, name).shape != shape:
                found = getattr(self, name).shape
                raise BrainfmError(
                    f"the reconstruction's {name} has shape {found}, not (sensor, time) = {shape}"
                )

    @property
    def explained(self) -> NDArray[np.float64]:
        return pictures.explained(self.signal, self.prediction, self.hidden)

    @property
    def scored(self) -> list[int]:
        """The sensors with something hidden to predict, best predicted first."""
        quality = self.explained
        return [int(row) for row in np.argsort(-quality) if np.isfinite(quality[row])]

    @property
    def shown(self) -> list[int]:
        rows = self.scored or list(range(len(self.names)))
        return [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, 4).round().astype(int))]


@dataclass(frozen=True)
class MaskMap:
    """Where the mask fell: `position` (sensor, 3) in metres, NaN where unknown; `hidden` (sensor, patch).

    `head=False` draws no head around the sensors: for positions in a frame of their own.
    """

    names: Sequence[str]
    position: NDArray[np.float64]
    hidden: NDArray[np.bool_]
    patch_seconds: float | None = None
    head: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.position.shape != (n, 3) or self.hidden.ndim != 2 or len(self.hidden) != n:
            found = f"positions {self.position.shape} and mask {self.hidden.shape}"
            raise BrainfmError(f"the mask of {n} sensors has {found}, not (sensor, 3) and (sensor, patch)")


@dataclass(frozen=True)
class TokenMap:
    """One window of `seconds` and its tokens: `signal` (sensor, time); `time`, `row` (token,), `embedding` (token, width).

    `names` are the sensors', `rows` what each row of tokens stands for; tokens that are not `regular` are events.
    """

    seconds: float
    names: Sequence[str]
    signal: NDArray[np.float64]
    rows: Sequence[str]
    time: NDArray[np.float64]
    row: NDArray[np.int64]
    embedding: NDArray[np.float64]
    regular: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        n = len(self.embedding)
        if self.time.shape != (n,) or self.row.shape != (n,) or len(self.signal) != len(self.names):
            found = f"times {self.time.shape}, rows {self.row.shape} and a signal {self.signal.shape}"
            raise BrainfmError(f"the picture of {n} tokens of {len(self.names)} sensors has {found}")


@dataclass(frozen=True)
class Figures:
    """Pictures that were drawn elsewhere, a sentence above and a table below them; `numbers` go to the JSON."""

    title: str
    pictures: Sequence[Picture]
    sentence: str = ""
    table: Sequence[Mapping[str, str]] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """Texts to unfold, by name: the resolved recipe, the card."""

    texts: Mapping[str, str]
    title: str = ""


Section = Scores | Losses | Reconstruction | MaskMap | TokenMap | Figures | Texts


@dataclass(frozen=True)
class Report:
    """A title, the sections in reading order, and where the numbers come from.

    With `verdict=""` the sentence is written from the scores.
    """

    title: str
    sections: Sequence[Section]
    verdict: str = ""
    date: str = ""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    recipe_hash: str = ""

    @property
    def sentence(self) -> str:
        """The verdict as given; else that of the only scores, or a count over several; "" without scores."""
        scores = [section for section in self.sections if isinstance(section, Scores)]
        if self.verdict or not scores:
            return self.verdict
        return overall(scores)


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` and `report.html` into `folder` and return the path of the page.

    Both are made in memory first and replace older ones whole: a failure leaves the folder as it was.
    """
    page = to_html(report)
    numbers = json.dumps(to_json(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    _replace({folder / "report.json": numbers, folder / "report.html": page})
    return folder / "report.html"


def to_html(report: Report) -> str:
    """The page, with nothing outside itself: no script, no font, no image to fetch."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    pages.trim_blocks = pages.lstrip_blocks = True
    pages.filters |= {
        "number": number,
        "signed": signed,
        "interval": interval,
        "family": family,
        "small": small,
    }
    drawn = [
        {"kind": type(one).__name__, "of": one, **DRAW.get(type(one), _nothing)(one)}
        for one in report.sections
    ]
    return pages.get_template("report.html").render(
        report=report, sections=drawn, palette=PALETTE, markers=MARKERS
    )


def to_json(report: Report) -> dict[str, Any]:
    """The numbers of the page: scores whole, pictures as the figures in their captions; null: not finite."""
    head: dict[str, Any] = {
        "title": report.title,
        "verdict": report.sentence,
        "date": report.date,
        "seed": report.seed,
    }
    head |= {"versions": dict(report.versions), "recipe_hash": report.recipe_hash}
    tested = together([one for one in report.sections if isinstance(one, Scores)])
    head |= {"together": plain(vars(tested))} if np.isfinite(tested.p) else {}
    lists: dict[str, list[Any]] = {name: [] for name, _ in JSON.values()}
    for section in report.sections:
        name, numbers = JSON[type(section)]
        lists[name].append(plain(numbers(section)))
    return head | lists


def _scores(scores: Scores) -> dict[str, Any]:
    """The axes of the dot plots, the learning curve, and the verdict where the header has only the count."""
    values = [value for row in scores.rows for value in (row.score, row.low, row.high)]
    gaps = [value for one in scores.differences for value in (one.score, one.low, one.high)]
    groups = [value for one in scores.per_group.values() for value in one.values()]
    return {
        "axis": Scale.over([scores.chance, *values]),
        "gap_axis": Scale.over([0.0, *gaps]),
        "group_axis": Scale.over([scores.chance, *groups]),
        "tested": any(np.isfinite(one.p) for one in scores.differences),
        "exposed": exposed(scores),
        "curve": curve_rows(scores),
        "curve_axis": Scale.over([scores.chance, *_edges([point.row for point in scores.curve])]),
        "curve_pictures": [learning_curve(scores)] if len(curve_rows(scores)) > 1 else [],
        "aside_axes": {key: Scale.over([one.mark, *_edges(one.rows)]) for key, one in scores.asides.items()},
        "verdict": verdict(scores),
    }


def _edges(rows: Sequence[Row]) -> list[float]:
    return [value for row in rows for value in (row.score, row.low, row.high)]


def learning_curve(scores: Scores) -> Picture:
    """Score against labelled windows per class, a line a row; one that a row lacks is a gap."""
    found = curve_rows(scores)
    names = list(dict.fromkeys(point.row.name for point in scores.curve))
    lines = {
        name: np.array(
            [
                next(((row.score, row.low, row.high) for row in rows if row.name == name), (NAN, NAN, NAN))
                for rows in found.values()
            ]
        )
        for name in names
    }
    hues = {name: family(name) for name in names}
    return pictures.learning_curve(list(found), lines, hues, scores.chance, scores.metric.replace("_", " "))


def _losses(losses: Losses) -> dict[str, Any]:
    curves = {name: losses.column(name) for name in ["loss", *losses.part_names]}
    rate = losses.column("learning_rate")
    known = rate if np.isfinite(rate).any() else None
    return {"pictures": pictures.losses(losses.column("step"), curves, known)}


def _reconstruction(one: Reconstruction) -> dict[str, Any]:
    def draw(row: int) -> Picture:
        signal, prediction, hidden = one.signal[row], one.prediction[row], one.hidden[row]
        return pictures.reconstruction(one.seconds, one.names[row], signal, prediction, hidden, one.unit)

    return {"pictures": [draw(row) for row in one.shown]}


def _mask_map(one: MaskMap) -> dict[str, Any]:
    drawn = [pictures.mask_image(one.names, one.position, one.hidden, one.patch_seconds)]
    if np.isfinite(one.position).all(axis=1).any():
        share = one.hidden.mean(axis=1)
        drawn.insert(0, pictures.sensor_map(one.names, one.position, share, one.head))
    return {"pictures": drawn}


def _token_map(one: TokenMap) -> dict[str, Any]:
    hue = pictures.hues(one.embedding)
    return {
        "pictures": [
            pictures.signal_image(one.seconds, one.names, one.signal, events=not one.regular),
            pictures.token_image(one.seconds, one.rows, one.time, one.row, hue, one.regular),
        ]
    }


def _nothing(_: Section) -> dict[str, Any]:
    return {}


def _losses_json(losses: Losses) -> dict[str, Any]:
    step, loss = losses.column("step"), losses.column("loss")
    ends = {"first_loss": loss[0], "last_loss": loss[-1], "not_finite": losses.not_finite}
    return {"title": losses.title, "steps": len(step), "last_step": step[-1], **ends}


def _reconstruction_json(one: Reconstruction) -> dict[str, Any]:
    return {"title": one.title, "explained": dict(zip(one.names, one.explained, strict=True))}


def _mask_json(one: MaskMap) -> dict[str, Any]:
    return {"title": one.title, "hidden_share": dict(zip(one.names, one.hidden.mean(axis=1), strict=True))}


def _token_json(one: TokenMap) -> dict[str, Any]:
    return {"title": one.title, "sensors": len(one.names), "rows": len(one.rows), "tokens": len(one.time)}


def _figures_json(one: Figures) -> dict[str, Any]:
    return {"title": one.title, **one.numbers}


def _texts_json(one: Texts) -> dict[str, Any]:
    return {"title": one.title, "texts": one.texts}


DRAW: dict[type, Callable[[Any], dict[str, Any]]] = {
    Scores: _scores,
    Losses: _losses,
    Reconstruction: _reconstruction,
    MaskMap: _mask_map,
    TokenMap: _token_map,
}
JSON: dict[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    Scores: ("scores", scores_json),
    Losses: ("losses", _losses_json),
    Reconstruction: ("reconstructions", _reconstruction_json),
    MaskMap: ("masks", _mask_json),
    TokenMap: ("tokens", _token_json),
    Figures: ("figures", _figures_json),
    Texts: ("texts", _texts_json),
}


def _replace(files: Mapping[Path, str]) -> None:
    """Write all files beside their places, then move all there; a failure leaves no half-written file."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, text in files.items():
            parts[path].write_text(text, encoding="utf-8")
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
