"""The card of a model on the Hub: what made it, what it saw, and what it scored, from its own files and its reports."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainfm.data.cards import DataCard, list_cards
from brainfm.errors import CheckpointError
from brainfm.manifest import Entry, Manifest
from brainfm.model import BrainFM
from brainfm.scores import number

PROBED = ("frozen", "untrained")
"""Rows that the table of scores has a column for, beside the best classical decoder."""


def model_card(model: BrainFM, name: str, reports: Sequence[Mapping[str, Any]], licence: str | None) -> str:
    """The card in Markdown, its front matter as the Hub reads it; `reports` are the contents of `report.json` files."""
    from huggingface_hub import EvalResult, ModelCardData

    scores = [one for report in reports for one in report.get("scores", [])]
    results = [
        EvalResult(
            task_type="other",
            dataset_type=one["card"],
            dataset_name=one["card"],
            dataset_split=one["split"],
            metric_type=one["metric"],
            metric_name=f"{one['metric']}, {row['name']}",
            metric_value=row["score"],
        )
        for one in scores
        for row in one["rows"]
        if row["score"] is not None
    ]
    facts: dict[str, Any] = {"eval_results": results, "model_name": name} if results else {}
    data = ModelCardData(
        license=licence,
        library_name="brainfm",
        tags=[*model.modalities, *(["decoder"] if model.decoder else ["self-supervised"])],
        datasets=None,
        **facts,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name}",
        describe(model),
        f"```python\nimport brainfm\n\nmodel = brainfm.load({name!r})\n```",
        f"## What it saw\n\n{saw(model.manifest)}",
        f"## What it scored\n\n{scored(scores)}",
        f"## How it was made\n\nThe recipe, hash `{model.recipe_hash}`:\n\n```yaml\n{model.recipe_text.rstrip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def describe(model: BrainFM) -> str:
    """What it is, in a sentence or two."""
    millions = sum(one.numel() for one in model.parameters()) / 1e6
    reads = ", ".join(model.modalities)
    what = f"A network of {millions:.2g} million weights that turns recordings ({reads}) into features."
    if model.decoder is None:
        return what
    return f"{what} It decodes {', '.join(model.decoder.labels)} from windows of {model.decoder.window.seconds:g} s."


def saw(manifest: Manifest) -> str:
    """The training data, a line for each dataset. `manifest.json` has every recording with its content hash."""
    if not manifest.entries:
        return "Unknown: the checkpoint carries no manifest, so no score of it can be called clean."
    by_set: dict[str, list[Entry]] = {}
    for entry in manifest.entries:
        by_set.setdefault(entry.dataset, []).append(entry)
    lines = ["| dataset | licence | people | recordings | hours | labels |", "|---|---|---|---|---|---|"]
    for dataset, entries in sorted(by_set.items()):
        people = len({entry.subject for entry in entries})
        hours = sum(entry.seconds for entry in entries) / 3600
        used = "seen" if any(entry.with_labels for entry in entries) else "not seen"
        lines.append(
            f"| {dataset} | {licence_of(dataset)} | {people} | {len(entries)} | {hours:.2f} | {used} |"
        )
    return "\n".join(lines)


def licence_of(dataset: str) -> str:
    """The licence that a shipped card states; "unknown" for a card of one's own."""
    return DataCard.load(dataset).licence if dataset in list_cards() else "unknown"


def scored(scores: Sequence[Mapping[str, Any]]) -> str:
    """A line for each table: our rows, the best classical decoder, and whether pretraining saw the test data."""
    if not scores:
        return "No report came with it."
    lines = [
        "| card | metric (chance) | split | frozen | untrained | fine-tuned | best classical | test data |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in scores:
        rows = {row["name"]: row for row in one["rows"]}
        classical = [
            row for name, row in rows.items() if name.startswith("classical:") and row["score"] is not None
        ]
        best = max(classical, key=lambda row: row["score"], default=None)
        cells = [said(rows.get(name)) for name in (*PROBED, "finetuned")] + [said(best)]
        metric = f"{one['metric'].replace('_', ' ')} ({number(one['chance'])})"
        lines.append(
            f"| {one['card']} | {metric} | {one['split']} | {' | '.join(cells)} | {one['contamination']} |"
        )
    return "\n".join(lines)


def said(row: Mapping[str, Any] | None) -> str:
    """A score with its interval."""
    if row is None or row["score"] is None:
        return "–"
    around = "" if row["low"] is None else f" [{number(row['low'])}, {number(row['high'])}]"
    return f"{number(row['score'])}{around}"


def read_report(where: Path) -> dict[str, Any]:
    """The numbers of a report, by its folder or its file. Raises `CheckpointError` where they are not there."""
    path = where / "report.json" if where.is_dir() else where
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no report: {error.__class__.__name__}; give the --out of a probe"
        ) from None
    if not isinstance(found, dict) or "scores" not in found:
        raise CheckpointError(f"{path} is no report of brainfm: it has no scores")
    return found
