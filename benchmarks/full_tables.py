"""Every task of `finetune/` that has real recordings, from end to end: what each way of decoding scores, in one table.

    python benchmarks/full_tables.py --out runs/full_tables

Each task starts from `brainfm-tiny`, the checkpoint of the package, where its tokenizers take the recordings, else from the
short pretraining on the set alone that the recipe names (`real_five.py`). All folds that the checkpoint may judge, one seed, the
recipe's own steps. Resumable; one thread a task.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import real_five
import torch
from asked import Asked
from score_tables import Found, best_cell, cell, decimals, gap, markdown, named, portable

from brainfm import folders
from brainfm.data.cards import DataCard
from brainfm.files import write_json
from brainfm.jobs.finetune import finetune
from brainfm.jobs.probe import Options
from brainfm.recipe import FinetuneRecipe
from brainfm.recipe_yaml import read_yaml

PACKAGE = "brainfm-tiny"
ITS_OWN = ("fmri_haxby_sub001", "fmri_vtc_tasks", "fmri_digits69", "spk_dad_m1", "spk_zhang_desimone")
"""Cards whose recordings `brainfm-tiny` can't take: voxels without regions, bins wider than its own."""
WAYS = "adaptation=[{kind: full}, {kind: lora}]"
COLUMNS = ("chance", "shuffled", "untrained", "classical", "scratch", "frozen", "lora", "finetuned")
ON = ("unit", "split", "contamination")
GAPS = ("frozen − untrained", "finetuned − scratch")


def main() -> None:
    """Run what has not been run yet, print the tables."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/full_tables"))
    arguments.add_argument("--limit", type=int, help="steps and tasks")
    arguments.add_argument("--side-by-side", type=int, default=2, help="tasks at once, one thread each")
    chosen = arguments.parse_args()
    found = measured(Asked(chosen.out, chosen.limit, chosen.side_by_side))
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output


def measured(asked: Asked) -> dict[str, Any]:
    """The rows of every task. What several tasks start from is pretrained before them, or two would write one folder."""
    names = asked.few(real_tasks())
    cards = {FinetuneRecipe.load(name).card for name in names} & set(ITS_OWN)
    asked.each(pretrained, [(asked, card) for card in sorted(cards)])
    return {"tasks": asked.each(one_task, [(asked, name) for name in names])}


def real_tasks() -> list[str]:
    """The recipes of decoders whose card has recordings that are not simulated.

    A recipe without a head tells pictures; one with a network of its own takes no checkpoint, and `systems.py` measures it.
    """
    out = []
    for name in sorted(folders.names(FinetuneRecipe.folder, ".yaml")):
        given = read_yaml(folders.find(FinetuneRecipe.folder, name, ".yaml"))
        decodes = "head" in given and "network" not in given
        if decodes and not DataCard.load(FinetuneRecipe.load(name).card).simulated:
            out.append(name)
    return out


def pretrained(asked: Asked, card: str) -> Path:
    """The folder of the short pretraining on the set alone, in one thread."""
    torch.set_num_threads(1)
    return real_five.pretrained(asked.beside("real_five"), card)


def one_task(asked: Asked, name: str) -> dict[str, Any]:
    """The rows of one task, and how they came about."""
    torch.set_num_threads(1)
    done = asked.out / name / "scores.json"
    if done.exists():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    plain = FinetuneRecipe.load(name)
    own = plain.card in ITS_OWN
    checkpoint = pretrained(asked, plain.card) if own else PACKAGE
    recipe = asked.shortened(FinetuneRecipe.load(name, [WAYS]))
    scores = finetune(recipe, checkpoint, asked.out / name, Options(quiet=True)).scores
    start = "its own recordings" if own else PACKAGE
    about = {"task": name, "start": start, "steps": recipe.train.steps}
    write_json(done, {**about, **portable(scores)})
    return {**about, **portable(scores)}


def lines(found: Found) -> list[str]:
    """The scores, and below them what they stand on."""
    rows = [
        [one["task"], one["metric"], *(column(one, name) for name in COLUMNS), *(cell(gap(one, name), "+.2f") for name in GAPS)]
        for one in found["tasks"]
    ]  # fmt: skip
    head = ["task", "metric", *(name.replace("classical", "best classical") for name in COLUMNS), *GAPS]
    on = [
        [one["task"], one["start"], str(one["steps"]), *(str(one[key]) for key in ON)]
        for one in found["tasks"]
    ]
    words = ["task", "pretrained on", "steps", "intervals over", "split", "contamination"]
    return [*markdown(head, rows), "", *markdown(words, on)]


def column(one: Found, name: str) -> str:
    """A cell of the first table."""
    if name == "chance":
        return decimals(one["chance"], ".2f")
    return best_cell(one) if name == "classical" else cell(named(one, name))


if __name__ == "__main__":
    main()
