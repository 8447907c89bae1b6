"""What does one network gain from all instruments together, on real recordings? And what does each mechanism add there?

    python benchmarks/real_joint.py --out runs/real_joint

One network on every real set of five instruments, without labels; the same network on each instrument alone; and the joint one
without its window-level target, without the geometry of its mask, without positions: all with the same number of steps
and of tokens in a step. Half of the people of each set, of its sessions or runs or, where it is one recording, of the blocks
that its folds test are kept out of pretraining, with a gap around them; these alone are scored. Resumable; one thread a run.
"""

import argparse
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
from real_eeg import FOLDS

from brainfm.data.cards import DataCard
from brainfm.evaluation import Evaluation
from brainfm.files import write_json
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import classical
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.panel import Panel, default_pool, tested
from brainfm.recipe import PretrainRecipe
from brainfm.scores import plain

SCALE = {"kind": "robust_scale", "scope": "recording", "clip": 15.0}
FIELD = [{"kind": "resample", "sfreq": 128.0}, SCALE]
PATCH = {"kind": "patch", "seconds": 0.25, "sfreq": 128.0}
SIGNALS: dict[str, dict[str, Any]] = {
    "eeg": {"prepare": FIELD, "seconds": 4.0, "tokenizer": PATCH},
    "meg": {"prepare": FIELD, "seconds": 1.0, "tokenizer": PATCH},
    "seeg": {"prepare": FIELD, "seconds": 4.0, "stride": 2.0, "tokenizer": PATCH},
    "fmri": {
        "prepare": [{"kind": "regress_out", "drift": "linear"}, SCALE],
        "seconds": 30.0,
        "stride": 5.0,
        "tokenizer": {"kind": "voxel_clusters", "clusters": 48, "hidden": 32, "seconds": 2.5, "sfreq": 0.4},
    },
    "spikes": {
        "prepare": [{"kind": "bin_counts", "seconds": 0.05}],
        "seconds": 0.3,
        "tokenizer": {"kind": "spike_counts", "seconds": 0.05, "sfreq": 20.0},
    },
}
CARDS = {
    "eeg": ("eeg_arithmetic", "eeg_ssvep_exo", "eeg_muse_p300", "eeg_muse_ssvep", "eeg_delhi"),
    "meg": ("meg_s1_detection",),
    "seeg": ("ieeg_bonn",),
    "fmri": ("fmri_haxby_sub001",),
    "spikes": ("spk_nelpy_ca1", "spk_dad_m1", "spk_zhang_desimone"),
}
HOLD_OUT = {
    **FOLDS["a"],
    "meg_s1_detection": ["1", "2"],
    "fmri_haxby_sub001": [f"001//{run:03d}" for run in range(1, 7)],
}
BLOCKS = ("eeg_delhi", "ieeg_bonn", "spk_nelpy_ca1", "spk_dad_m1", "spk_zhang_desimone")
"""Sets of one recording."""
UNSCORED = ("spk_dad_m1",)
"""Trained on alone: its labelled windows reach to the ends of stretches, of which bins of 50 ms may leave out up to 40."""
SEEDS = (0, 1)
STEPS, TOKENS = 400, 4000


def arms() -> dict[str, dict[str, Any]]:
    """What each arm changes of the joint run."""
    nowhere = {
        name: {**signal, "prepare": [*signal["prepare"], {"kind": "without_positions"}]}
        for name, signal in SIGNALS.items()
    }
    return {
        "joint": {},
        "no neurodynamics": {"objectives": {"masked_patches": {}}},
        "no mask geometry": {"mask": {"kind": "independent", "share": 0.55}},
        "no position": {"signals": nowhere},
        **{f"alone: {name}": {"only": name} for name in SIGNALS},
    }


def blocks(card: str) -> list[str]:
    """What the first half of a card's folds test, as places of `hold_out`, a window's length wider on either side."""
    evaluation = Evaluation.of(DataCard.load(card))
    (recording,) = evaluation.recordings
    gap = evaluation.windows.seconds
    half = evaluation.folds[: len(evaluation.folds) // 2]
    spans: list[list[float]] = []
    for start, stop in sorted(span for fold in half for span in tested(evaluation, fold)[0]):
        if spans and start - gap <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], stop + gap)
        else:
            spans.append([max(0.0, start - gap), stop + gap])
    where = "/".join((recording.subject, recording.session, recording.run)).rstrip("/")
    return [f"{where}@{start:.3f}-{stop:.3f}" for start, stop in spans]


@cache
def hold_out() -> dict[str, list[str]]:
    """Who and what is kept out of every run."""
    return {**HOLD_OUT, **{card: blocks(card) for card in BLOCKS}}


def recipe_of(arm: Mapping[str, Any], seed: int) -> PretrainRecipe:
    """The joint recipe with what the arm changes. Each instrument has the same share of the tokens, and in it each card."""
    kept = [arm["only"]] if "only" in arm else list(SIGNALS)
    cards = [card for name in kept for card in CARDS[name]]
    given = {
        "size": "tiny",
        "seed": seed,
        "data": {
            "cards": cards,
            "weights": {card: 1.0 / len(CARDS[name]) for name in kept for card in CARDS[name]},
            "hold_out": {card: places for card, places in hold_out().items() if card in cards},
        },
        "signals": {name: SIGNALS[name] for name in kept},
        "encoder": {"kind": "transformer"},
        "mask": {"kind": "block", "radius": 0.09, "length": 2, "share": 0.55},
        "objectives": {"masked_patches": {"decoder_depth": 2}, "neurodynamics": {"weight": 3.0}},
        "train": {
            "steps": STEPS,
            "tokens": TOKENS,
            "learning_rate": 2.0e-3,
            "precision": "no",
            "save_every": 200,
        },
    }
    changed = {key: value for key, value in arm.items() if key != "only"}
    return PretrainRecipe.resolve({**given, **changed})


def main() -> None:
    """Pretrain what is not pretrained yet, probe every card with every arm, print the table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/real_joint"))
    arguments.add_argument("--side-by-side", type=int, default=2)
    chosen = arguments.parse_args()
    jobs = [(name, seed, chosen.out) for seed in SEEDS for name in arms()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.side_by_side, mp_context=context) as pool:
        list(pool.map(one_run, *zip(*jobs, strict=True)))
        jobs = [(*pair, chosen.out) for pair in scored()]
        tables = list(pool.map(probed, *zip(*jobs, strict=True)))
    (chosen.out / "scores.json").write_text(json.dumps(tables, indent=1))
    print("\n".join(lines(tables)))  # noqa: T201 - this is the command's output


def one_run(arm: str, seed: int, out: Path) -> None:
    """One pretraining run on one thread."""
    torch.set_num_threads(1)
    pretrain(recipe_of(arms()[arm], seed), folder(out, arm, seed), quiet=True)


def scored() -> list[tuple[str, str]]:
    """The instrument and the name of every card that is probed."""
    return [(name, card) for name in CARDS for card in CARDS[name] if card not in UNSCORED]


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where a run is."""
    return out / f"{arm.replace(': ', '-').replace(' ', '-')}-seed-{seed}"


def probed(modality: str, card: str, out: Path, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """The scores of every arm that knows this instrument on a card, and the joint one's gain over each; resumable."""
    done = out / "scores" / f"{card}.json"
    if done.exists():
        known: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return known
    torch.set_num_threads(1)
    evaluation = Evaluation.of(DataCard.load(card))
    predictions: dict[str, list[Probabilities]] = {}
    for arm, changes in arms().items():
        if changes.get("only", modality) != modality:
            continue
        models = [BrainFM.from_pretrained(folder(out, arm, seed)) for seed in seeds]
        panel = Panel.of(models, evaluation)
        pool = default_pool(panel.evaluation, models[0])
        name = "alone" if "only" in changes else arm
        predictions[name] = [panel.frozen(seed, "ridge", pool) for seed in seeds]
        if arm == "joint":
            predictions["untrained"] = [panel.untrained(seed, "ridge", pool) for seed in seeds]
    kept = panel.evaluation
    for name, part in classical(kept, "card")[0]:
        predictions[f"classical:{name}"] = [kept.baseline(part)]
    rows = [kept.row(name, several) for name, several in predictions.items()]
    gaps = [
        kept.difference("joint", predictions["joint"], name, several)
        for name, several in predictions.items()
        if name != "joint"
    ]
    found = {
        "card": card,
        "metric": kept.metric,
        "unit": kept.unit,
        "contamination": panel.contamination,
        "chance": kept.chance().score,
        "rows": {row.name: [row.score, row.low, row.high] for row in rows},
        "joint minus": {gap.minus: [gap.score, gap.low, gap.high] for gap in gaps},
    }
    write_json(done, plain(found))
    return found


def lines(tables: list[dict[str, Any]]) -> list[str]:
    """One table: a row for each card, a column for each arm; in bold where the joint run's gain over it excludes zero."""
    names = ["joint", "alone", "no neurodynamics", "no mask geometry", "no position", "untrained"]
    head = ["card", "chance", *names, "classical", "over", "contamination"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in tables:
        cells = [one["card"], f"{one['chance']:.2f}"]
        for name in names:
            low, high = one["joint minus"].get(name, [0, 0, 0])[1:]
            score = "{:.3f} [{:.2f}, {:.2f}]".format(*one["rows"][name])
            cells.append(f"**{score}**" if low > 0 or high < 0 else score)
        best = max(
            (row[0] for name, row in one["rows"].items() if name.startswith("classical")),
            default=float("nan"),
        )
        out.append(
            "| "
            + " | ".join([*cells, f"{best:.3f}", one["unit"], one["contamination"].partition(":")[0]])
            + " |"
        )
    return out


if __name__ == "__main__":
    main()
