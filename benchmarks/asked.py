"""What is asked of a benchmark: where its runs lie, how small they are to be made, how many go side by side.

A benchmark that `results.py` can run is a script with two functions: `measured(asked)` gives what goes to JSON, `lines(found)`
makes Markdown of it.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from brainfm.recipe import FinetuneRecipe, PretrainRecipe, TokenizeRecipe

R = TypeVar("R", PretrainRecipe, FinetuneRecipe, TokenizeRecipe)


@dataclass(frozen=True)
class Asked:
    """`limit` makes a check of a benchmark: at most so many training steps, sets and seeds."""

    out: Path
    limit: int | None = None
    side_by_side: int = 1

    def few(self, several: Sequence[Any]) -> list[Any]:
        """All sets or seeds, or the first `limit`."""
        return list(several[: self.limit])

    def steps(self, number: int) -> int:
        """So many steps, or `limit`."""
        return number if self.limit is None else min(number, self.limit)

    @property
    def folds(self) -> int | None:
        """How many folds a check asks, one more than `limit` so that there is an interval; None for all."""
        return None if self.limit is None else self.limit + 1

    def shortened(self, recipe: R) -> R:
        """The recipe with so many steps at most."""
        train = recipe.train.model_copy(update={"steps": self.steps(recipe.train.steps)})
        return recipe.model_copy(update={"train": train})

    def beside(self, name: str) -> "Asked":
        """The same of another benchmark, whose runs lie in a folder beside this one's."""
        return replace(self, out=self.out.with_name(name))

    def each(self, function: Callable[..., Any], jobs: Sequence[Sequence[Any]]) -> list[Any]:
        """`function(*job)` of every job, in their order; scores do not depend on how many go side by side."""
        if self.side_by_side == 1:
            return [function(*job) for job in jobs]
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
        with ProcessPoolExecutor(self.side_by_side, mp_context=context) as pool:
            return list(pool.map(function, *zip(*jobs, strict=True)))


def command(
    doc: str | None,
    name: str,
    measured: Callable[[Asked], Any],
    lines: Callable[[Any], list[str]],
    limited: str = "",
    long: Callable[[Asked], Any] | None = None,
    of: Sequence[str] = (),
) -> None:
    """A benchmark by itself: measure into --out, keep the JSON there, print the table.

    `limited` says what --limit bounds, `long` measures with --long, and `of` are what --of may name, which `measured` then gets.
    """
    arguments = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("runs") / name)
    if limited:
        arguments.add_argument("--limit", type=int, help=limited)
    if long is not None:
        arguments.add_argument("--long", action="store_true", help=(long.__doc__ or "").partition("\n")[0])
    if of:
        arguments.add_argument("--of", choices=of, help="this one alone")
    chosen = arguments.parse_args()
    given = {"of": chosen.of} if of and chosen.of else {}
    measure = long if long is not None and chosen.long else measured
    found = measure(Asked(chosen.out, getattr(chosen, "limit", None)), **given)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output
