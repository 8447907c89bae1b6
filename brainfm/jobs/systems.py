"""Published systems in one table: parts, weights beside the paper's, what was shown (`brainfm show --systems`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from brainfm.codec import Codec
from brainfm.encoders import Encoder
from brainfm.errors import RecipeError
from brainfm.jobs.cost_of_pictures import cost_of_pictures
from brainfm.published import Count, System, load, names, shown, verdict
from brainfm.recipe import FinetuneRecipe, PretrainRecipe, SignalRecipe, TokenizeRecipe
from brainfm.recipe_reconstruct import ReconstructRecipe

APART = ("preprocess", "windows", "targets", "regressors")
"""Families that say how data are prepared and scored, not what a system is."""


@dataclass(frozen=True)
class Row:
    """A system with what was counted and what was shown of it."""

    key: str
    system: System
    counts: tuple[tuple[Count, int], ...]
    """What a paper says, and how many weights ours has of the same."""
    claims: list[dict[str, Any]]

    @property
    def json(self) -> dict[str, Any]:
        """One of the `rows` of `show --systems --json`; the weights are those of the first count."""
        first = self.counts[0] if self.counts else None
        return {
            "system": self.system.name,
            "recipe": self.system.recipes[-1],
            "recipes": self.system.recipes,
            "parts": self.system.parts,
            "parameters": first[1] if first else None,
            "published_parameters": first[0].weights if first else None,
            "counts": [{**vars(count), "ours": ours} for count, ours in self.counts],
            "provisional": self.system.provisional,
            "shown": self.claims,
            "verdict": verdict(self.claims),
        }

    @property
    def cells(self) -> list[str]:
        """As a line of the table."""
        weights = "; ".join(f"{short(ours)} of {short(count.weights)}" for count, ours in self.counts)
        name = self.system.name + (" (provisional)" if self.system.provisional else "")
        return [name, self.system.recipes[-1], weights or "unknown", verdict(self.claims)]

    @property
    def text(self) -> str:
        """All that is known of it, on a page."""
        system = self.system
        lines = [f"{system.name}: {system.paper}", "", *wrapped("recipes", system.recipes)]
        lines += [f"{family:>14}  {', '.join(kinds)}" for family, kinds in system.parts.items()]
        lines += ["", f"otherwise or unknown: {system.unknown}", ""]
        for count, ours in self.counts:
            lines.append(
                f"{count.of} of {count.recipe}: {ours:,} weights, {count.weights:,} by {count.source}"
            )
        for claim in self.claims:
            lines += ["", f"{claim['verdict']}: {claim['says']}", f"  {claim['figure']} ({claim['on']})"]
            if claim["difference"] is not None:
                lines.append("  difference {:+.3f} [{:+.3f}, {:+.3f}]".format(*claim["difference"]))
        if not self.claims:
            lines += ["", "nothing was measured of it yet"]
        command = f"python benchmarks/{system.benchmark}.py" + (f" --of {system.of}" if system.of else "")
        lines += ["", f"measured by: {command}, {system.minutes} minutes of a core"]
        return "\n".join(lines)


def rows(chosen: Sequence[str] = ()) -> list[Row]:
    """These systems, all by default. Raises `RecipeError` for a name that is none."""
    return [row(key) for key in chosen or names()]


def row(key: str) -> Row:
    """One system, its weights counted."""
    system = System.load(key)
    counts = tuple((count, weights_of(count)) for count in system.published)
    return Row(key, system, counts, shown(key)["claims"])


def table(found: Sequence[Row]) -> str:
    """All of them for a terminal."""
    lines = [["system", "recipe", "weights here, published", "claims"], *(one.cells for one in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    padded = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*padded, "", f"brainfm show --systems {found[0].key} says more of one."])


def matrix(found: Sequence[Row]) -> list[str]:
    """Parts × systems in Markdown: which system is made of what, preparation and scoring left out."""
    used: dict[str, dict[str, list[str]]] = {}
    for one in found:
        for family, kinds in one.system.parts.items():
            for kind in kinds if family not in APART else []:
                used.setdefault(family, {}).setdefault(kind, []).append(one.key)
    head = f"| part | {' | '.join(one.key for one in found)} |"
    lines = [head, "|---|" + ":-:|" * len(found)]
    for family, whose in sorted(used.items()):
        for kind, systems in sorted(whose.items(), key=lambda one: (-len(one[1]), one[0])):
            marks = ["●" if one.key in systems else "" for one in found]
            lines.append(f"| {family}: `{kind}` | {' | '.join(marks)} |")
    return lines


def weights_of(count: Count) -> int:
    """Weights of the recipe that a count is of, built without numbers; what grows with sensors met is not among them.

    Raises `RecipeError` for a recipe that has no network of its own.
    """
    recipe = load(count.recipe, count.overrides)
    if isinstance(recipe, TokenizeRecipe):
        with torch.device("meta"):
            return counted(Codec(recipe))
    if isinstance(recipe, PretrainRecipe):
        return of_network(recipe.signals, recipe.encoder, count.of)
    if isinstance(recipe, ReconstructRecipe):
        return cost_of_pictures(recipe).parameters["generator"]
    if not isinstance(recipe, FinetuneRecipe) or recipe.network is None:
        raise RecipeError(
            f"{count.recipe} has no network of its own; count the recipe of what it is trained from"
        )
    return of_network(recipe.network.signals, recipe.network.encoder, count.of)


def of_network(signals: Mapping[str, SignalRecipe], encoder: Encoder, of: str) -> int:
    """Of tokenizers, of the encoder, or of both."""
    with torch.device("meta"):
        each = [one.tokenizer.build(encoder.width, number) for number, one in enumerate(signals.values())]
        sizes = {"tokenizer": sum(map(counted, each)), "encoder": counted(encoder.build(len(each)))}
    return sizes.get(of, sum(sizes.values()))


def counted(module: nn.Module) -> int:
    """Weights that train."""
    return sum(one.numel() for one in module.parameters())


def short(weights: int) -> str:
    """5,050,000 as "5.05 M"."""
    return f"{weights / 1e6:.2f} M" if weights >= 10_000 else str(weights)


def wrapped(word: str, lines: Sequence[str]) -> list[str]:
    """Lines under one another behind a word."""
    return [f"{word if not number else '':>14}  {line}" for number, line in enumerate(lines)]
