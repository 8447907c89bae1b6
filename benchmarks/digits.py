"""Are digits that were seen reconstructed better than by ridge, and what does each part of the recipe add?

    BRAINFM_DATA=… python benchmarks/digits.py --out runs/digits

van Gerven's sixes and nines (90 trials of one person, 3092 voxels of V1 to V3), 10 folds over pictures, each fitted on the
other nine alone: embedder, ridge, its errors, sketch and generator. All 90 out-of-fold pictures are scored together; intervals
are over the ten folds. Arms: ridge from voxels to pixels; ridge to ten principal components and their linear decoder; `digits`
as it stands; its sketch alone (what sampling starts from); the sketch without warped pictures and without the measured errors;
the generator from noise, without the sketch. Resumable: a fold's pictures are kept.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from brainfm.brains.ridge import mixed
from brainfm.files import write_file, write_json
from brainfm.images.grid import save_grid
from brainfm.images.rgb import rgb
from brainfm.images.scores import ImageScore, Reconstructed
from brainfm.images.scores.pix_corr import PixCorr
from brainfm.images.scores.ssim import Ssim
from brainfm.images.scores.two_way import TwoWay
from brainfm.images.suite import score
from brainfm.jobs.fit_reconstruction import Fitted, fit
from brainfm.recipe_reconstruct import ReconstructRecipe
from brainfm.reconstructor import pairs_of
from brainfm.ridge import Ridge

FOLDS = 10
SCORES: Mapping[str, ImageScore] = {
    "PixCorr": PixCorr(),
    "SSIM": Ssim(),
    "two-way": TwoWay(features="pixels"),
}
ARMS: dict[str, list[str]] = {
    "digits": [],
    "sketch without warps": ["warps=null", "condition.start_at=1.0"],
    "sketch without errors": ["noise=false", "condition.start_at=1.0"],
}
"""Arm → what it changes of the recipe."""
BASELINE = "ridge to pixels"


def main() -> None:
    """Fit what is not fitted yet, score all arms, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    parser.add_argument("--folds", type=int, default=FOLDS, help="the first so many of ten")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(lines(scored(range(chosen.folds), chosen.out))))  # noqa: T201 - this is the command's output


def measured(asked: Asked) -> dict[str, Any]:
    """All folds; a check has the first ones."""
    return scored(asked.few(range(FOLDS)), asked.out)


def scored(folds: Sequence[int], out: Path) -> dict[str, Any]:
    """Every arm's scores over these folds, kept in `out` with the pictures."""
    made = [one_fold(number, out) for number in folds]
    seen = torch.cat([fold["seen"] for fold in made])
    fold_of = np.repeat(np.arange(len(made)), [len(fold["seen"]) for fold in made])
    arms = {name: torch.cat([fold[name] for fold in made]) for name in made[0] if name != "seen"}
    each = {name: values(seen, pictures) for name, pictures in arms.items()}
    found = {name: summary(one, each[BASELINE], fold_of) for name, one in each.items()}
    write_json(out / "scores.json", found)
    save_grid({"seen": seen, **arms}, out / "digits.png")
    return found


def one_fold(number: int, out: Path) -> dict[str, Tensor]:
    """Every arm's pictures of one fold, and what was seen."""
    path = out / f"fold-{number}.safetensors"
    if path.exists():
        return load_file(path)
    made: dict[str, Tensor] = {}
    for arm, changes in ARMS.items():
        recipe = ReconstructRecipe.load("digits", [f"test.folds={FOLDS}", f"test.fold={number}", *changes])
        if changes:
            recipe = recipe.model_copy(
                update={"stages": [one for one in recipe.stages if one.of == "sketch"]}
            )
        fitted = fit(recipe, out / f"{arm.replace(' ', '-')}-{number}", quiet=True)
        made |= pictures_of(fitted, arm)
    write_file(
        path, lambda passing: save_file({name: one.contiguous() for name, one in made.items()}, passing)
    )
    return made


def pictures_of(fitted: Fitted, arm: str) -> dict[str, Tensor]:
    """The arm's pictures; with the whole recipe, its parts' and the baselines', too."""
    model, (viewer,) = fitted.model, fitted.known
    test = viewer.testing()
    rows, told = np.arange(len(test)), model.told(test)
    draw = torch.Generator().manual_seed(0)
    made = {arm: model.reconstruct(test, rows, draw)}
    if arm != "digits":
        return made
    with torch.no_grad():
        made["sketch alone"] = model.started(told)
        given = model.conditioning(told, starting=False)
        draws = [model.generator.sample(given, draw, model.recipe.sample.steps) for _ in range(8)]
        made["generator from noise"] = torch.stack(draws).mean(dim=0)
    made["ridge to components"] = model.features.embedders["shape"].pictures(
        model.features.unscaled("shape", told["shape"])
    )
    train = viewer.training()
    pixels = pairs_of(train, model.features).seen.images().reshape(len(train), -1)
    ridge = Ridge().fit(train.response, pixels.astype(np.float64), mixed(train.picture))
    guess = ridge.predict(test.response).clip(0, 1).reshape(len(test), 1, 28, 28)
    return {"seen": rgb(test.images()), BASELINE: rgb(guess.astype(np.float32)), **made}


def values(seen: Tensor, pictures: Tensor) -> dict[str, NDArray[np.float64]]:
    """Every score's number for every picture."""
    return score(Reconstructed(seen, pictures), np.random.default_rng(0), SCORES).values


def summary(
    own: Mapping[str, NDArray[np.float64]], other: Mapping[str, NDArray[np.float64]], fold: NDArray[np.int64]
) -> dict[str, Any]:
    """Of each score its mean and what it gains over the baseline, both with 95 % intervals over folds."""
    return {
        name: {
            "score": over_folds(one, fold),
            "gain": over_folds(one - other[name], fold),
        }
        for name, one in own.items()
    }


def over_folds(one: NDArray[np.float64], fold: NDArray[np.int64]) -> list[float]:
    """[mean over folds, low, high]: folds are drawn with replacement 10,000 times."""
    means = np.array([one[fold == number].mean() for number in np.unique(fold)])
    drawn = np.random.default_rng(0).integers(len(means), size=(10_000, len(means)))
    low, high = np.percentile(means[drawn].mean(axis=1), [2.5, 97.5])
    return [float(means.mean()), float(low), float(high)]


def lines(found: Mapping[str, Any]) -> list[str]:
    """A row an arm."""
    head = [cell for name in SCORES for cell in (name, f"gain over {BASELINE}")]
    out = ["| arm | " + " | ".join(head) + " |", "|" + "---|" * (len(head) + 1)]
    for arm, scores in found.items():
        cells = [
            cell
            for name in SCORES
            for cell in (
                "{:.3f} [{:.3f}, {:.3f}]".format(*scores[name]["score"]),
                "" if arm == BASELINE else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*scores[name]["gain"]),
            )
        ]
        out.append("| " + " | ".join([arm, *cells]) + " |")
    return out


if __name__ == "__main__":
    main()
