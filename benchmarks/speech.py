"""Which of the things that a paper on speech decoding says do hold on simulated MEG of people who listen?

Défossez et al. 2023 report that a contrastive loss beats regression, that a layer for each subject and the clamp of amplitudes
matter most, and that all beats chance by far. One network, one fifth of the sentences held out for everyone, the arms below; a
ridge of each person's own (TRF) beside them. One command, resumable:

    python benchmarks/speech.py --out runs/speech

`--only ARM --seed N` makes one run and stops. Arms with artefacts hear the same people, whose sensors jump five times a minute.
"""

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked
from claims import Claim, found, lines
from numpy.typing import NDArray

from brainfm import folders
from brainfm.adaptation.full import Full
from brainfm.files import write_text
from brainfm.jobs.finetune import SCRATCH, Bench, started
from brainfm.panel import Panel
from brainfm.recipe import FinetuneRecipe
from brainfm.targeted import Targeted
from brainfm.tasks import laid_out

CARD, FOLD = "simulated_speech", 1
"""The first fold was looked at while steps, dropout and loudness of sources were chosen; what is scored is another."""
PREPARE = "network.signals.meg.prepare"
UNCLAMPED = (
    f"{PREPARE}=[{{kind: robust_scale, scope: recording, per: sensor, clip: null}}, "
    "{kind: band_pass, low: 0.5, high: 20.0}, {kind: resample, sfreq: 40.0}]"
)
ARMS: dict[str, tuple[str, ...]] = {
    "full": (),
    "no subject layer": ("subject_layer=null",),
    "regression": ("matching={loss: squared_error}",),
    "artefacts, clamp": (),
    "artefacts, no clamp": (UNCLAMPED,),
}
"""What is changed of `finetune/speech.yaml`."""
LINEAR = {"trf": True, "trf of all": False}
"""Ridges, and whether each person has one of their own."""
AGAINST = {
    "no subject layer": "full",
    "regression": "full",
    "artefacts, no clamp": "artefacts, clamp",
    "trf": "full",
    "trf of all": "full",
}
__all__ = ["lines", "measured"]


def main() -> None:
    """Train what is not trained yet, print a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/speech"))
    arguments.add_argument("--only", choices=[*ARMS, *LINEAR])
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--seeds", type=int, default=1, help="networks of each arm")
    arguments.add_argument("--set", action="append", default=[], help="as of brainfm finetune, for all arms")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    sets = tuple(chosen.set)
    if chosen.only:
        said(chosen.only, chosen.seed, chosen.out, sets)
        return
    for seed in range(chosen.seeds):
        for arm in (*LINEAR, *ARMS):
            said(arm, seed, chosen.out, sets)
    print(table(chosen.out, sets, chosen.seeds))  # noqa: T201 - this is the command's output


CLAIMS = {
    "no subject layer": "a layer for each subject helps",
    "regression": "the contrastive loss beats regression",
    "artefacts, no clamp": "the clamp of amplitudes helps where sensors jump",
    "trf": "the network beats a ridge (TRF) of each person's own",
    "trf of all": "the network beats a ridge (TRF) of all people",
}


def measured(asked: Asked) -> dict[str, Any]:
    """The claims about top-10 of one seed, for `systems.py`."""
    torch.set_num_threads(1)
    sets = () if asked.limit is None else (f"train.steps={asked.limit}",)
    full = said("full", 0, asked.out, sets)
    ten = evaluation_of("full", asked.out, sets)
    row, chance = ten.row("full", [full]), ten.chance().score
    on = f"simulated_speech, {ten.unit}, one seed, one fifth of the sentences"
    above = (row.score - chance, row.low - chance, row.high - chance)
    claims = [
        Claim("segments that were heard are found", on, f"top-10 {row.score:.3f}, chance {chance:.3f}", above)
    ]
    for arm, words in CLAIMS.items():
        whole = AGAINST[arm]
        ten = evaluation_of(arm, asked.out, sets)
        pair = [said(one, 0, asked.out, sets) for one in (whole, arm)]
        gap = ten.difference(whole, pair[:1], arm, pair[1:])
        scores = [ten.row(one, [values]).score for one, values in zip((whole, arm), pair, strict=True)]
        claims.append(
            Claim(
                words, on, f"top-10 {scores[0]:.3f}, without {scores[1]:.3f}", (gap.score, gap.low, gap.high)
            )
        )
    return found(claims)


def recipe(arm: str, out: Path, sets: tuple[str, ...] = ()) -> FinetuneRecipe:
    """The task with an arm's changes."""
    card = jumping(out) if arm.startswith("artefacts") else CARD
    return FinetuneRecipe.load("speech", [f"card={card}", *sets, *ARMS.get(arm, ())])


def jumping(out: Path) -> Path:
    """The card of the same people with artefacts."""
    text = folders.find("data_cards", CARD, ".md").read_text(encoding="utf-8")
    return Path(
        write_text(
            out / "simulated_speech_jumps.md", text.replace("sensors: 48}", "sensors: 48, artefacts: 5.0}", 1)
        )
    )


@cache
def task(card_of: str, out: Path, sets: tuple[str, ...]) -> Targeted:
    """One fold of the task on a card, that of an arm of this name."""
    made = recipe(card_of, out, sets)
    evaluation = laid_out(made, started(made, None))
    assert isinstance(evaluation, Targeted)
    return replace(evaluation, folds=[evaluation.folds[FOLD]])


def evaluation_of(arm: str, out: Path, sets: tuple[str, ...]) -> Targeted:
    """What an arm is scored on; arms of one card share it."""
    return task("artefacts, clamp" if arm.startswith("artefacts") else "full", out, sets)


def said(arm: str, seed: int, out: Path, sets: tuple[str, ...]) -> NDArray[np.float64]:
    """Predictions of the held-out windows, made once."""
    path = out / f"{arm.replace(',', '').replace(' ', '-')}-{0 if arm in LINEAR else seed}.npy"
    if path.exists():
        found: NDArray[np.float64] = np.load(path, allow_pickle=False)
        return found
    evaluation, made = evaluation_of(arm, out, sets), recipe(arm, out, sets)
    if arm in LINEAR:
        found = evaluation.baseline(made.regressors[0].model_copy(update={"apart": LINEAR[arm]}))
    else:
        bench = Bench.of(made, Panel.of([started(made, None)], evaluation), out / path.stem)
        found = bench.out_of_fold(SCRATCH, Full(), seed, lambda _: None)
    out.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found


def table(out: Path, sets: tuple[str, ...], seeds: int) -> str:
    """Top-10 and top-1 of every arm with intervals over people, and what each loses against the arm that it is a change of."""
    lines = [
        "| arm | top-10 | 95 % interval | top-1 | 95 % interval | − its whole, top-10 | 95 % interval | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm in (*ARMS, *LINEAR):
        several = [said(arm, seed, out, sets) for seed in range(1 if arm in LINEAR else seeds)]
        ten = evaluation_of(arm, out, sets)
        one = replace(ten, metric="top_1")
        cells = [interval(row.row(arm, several)) for row in (ten, one)]
        less = ""
        if arm in AGAINST:
            whole = [said(AGAINST[arm], seed, out, sets) for seed in range(seeds)]
            found = ten.difference(arm, several, AGAINST[arm], whole)
            less = f"{found.score:+.3f} | {found.low:+.3f} to {found.high:+.3f}"
        lines.append(f"| {arm} | {cells[0]} | {cells[1]} | {less or ' | '} | {len(several)} |")
    ten = evaluation_of("full", out, sets)
    chance = [replace(ten, metric=metric).chance().score for metric in ("top_10", "top_1")]
    lines.append(f"| chance | {chance[0]:.3f} | | {chance[1]:.3f} | | | | |")
    return "\n".join(lines)


def interval(row: object) -> str:
    """A score and its interval, in two cells."""
    return f"{row.score:.3f} | {row.low:.3f} to {row.high:.3f}"  # type: ignore[attr-defined] # a `Row`


if __name__ == "__main__":
    main()
