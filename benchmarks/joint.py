"""The runs of `real_joint.py`, as a section of RESULTS.md."""

from typing import Any

import real_joint
from asked import Asked
from score_tables import Found


def measured(asked: Asked) -> dict[str, Any]:
    """Every arm on every card; a check has the first cards and the arms that know their instruments."""
    cards = asked.few(real_joint.scored())
    known = {name for name, _ in cards}
    arms = [name for name, arm in real_joint.arms().items() if arm.get("only") in (None, *known)]
    seeds = asked.few(real_joint.SEEDS)
    asked.each(one_run, [(arm, seed, asked) for seed in seeds for arm in arms])
    return {"tables": asked.each(real_joint.probed, [(*pair, asked.out, seeds) for pair in cards])}


def one_run(arm: str, seed: int, asked: Asked) -> None:
    """As `real_joint.py` runs it, or a few steps of it."""
    if asked.limit is None:
        real_joint.one_run(arm, seed, asked.out)
        return
    changed = {**real_joint.arms()[arm], "train": {"steps": asked.limit, "tokens": real_joint.TOKENS}}
    recipe = real_joint.recipe_of(changed, seed)
    real_joint.pretrain(recipe, real_joint.folder(asked.out, arm, seed), quiet=True)


def lines(found: Found) -> list[str]:
    """The table of `real_joint.py`."""
    return real_joint.lines(found["tables"])
