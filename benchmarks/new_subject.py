"""Does a new person need fewer trials where functional clusters are shared with others?

    python benchmarks/new_subject.py --out runs/new_subject

On the simulated visual cortex (`brainfm/data/visual_cortex.py`): a network from brains to features of pictures is trained on some
people; of a new person, who has other voxels, a tenth of the trials is used. Arms, all judged on the same shared pictures, which
nobody trained on:

- `transfer`: the encoder learns the new voxels' embeddings, each joins its nearest known voxel, and these rows alone train
- `joined`: the same before the rows train
- `nearest place`: the same with neighbours by place in the brain instead of by what voxels see
- `by chance`: each voxel joins a known one that is drawn, then these rows alone train
- `scratch`: a new network with an encoder and clusters of its own, everything trains, on the same tenth of the trials, the better
  of two lengths on the test pictures; `scratch, all` on all trials, for as many steps as the network of the others
- `ridge` and `ridge, all`: a linear map from voxels to features, its penalty chosen inside its training trials

Figures: the mean over pictures of the correlation of what was told with what was true over all features of a picture, each
feature standardised by the training pictures; and two-way identification. Intervals are over the test pictures of all seeds.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from brainfm.brain_features import BrainFeatures, BrainToFeatures, PredictFeatures
from brainfm.clusterer import RESPONSE, EncodeVoxels, VoxelEncoder, VoxelEncoderNetwork, functional_clusters
from brainfm.data.picture_splits import by_pictures
from brainfm.data.seen import Seen
from brainfm.data.visual_cortex import VisualCortex
from brainfm.recipe import Training
from brainfm.stages import Stage, run_stage
from brainfm.trials import Pairs, identities

CLUSTERS, WIDTH, HIDDEN, DEPTH, BATCH = 20, 64, 32, 1, 32
SHAPES = {"semantic": (4, 64), "low": (16, 32)}
LONG = 1200
"""Steps of a network that starts from nothing with many trials."""
ROWS = "tokenizer.vocabulary.table"
OBJECTIVES = {"semantic": {"mse": 1.0}, "low": {"mse": 1.0}}
ENCODER = {RESPONSE: {"mse": 1.0, "cosine": 0.1}}


def features_of(pictures: NDArray[np.float32]) -> dict[str, Tensor]:
    """Features of a frozen random convolutional network: maps of 8 × 8 and 4 × 4 places, and four deeper tokens."""
    generator = torch.Generator().manual_seed(1)

    def filters(out: int, into: int, side: int) -> Tensor:
        return torch.randn(out, into, side, side, generator=generator) / (into * side * side) ** 0.5

    first = F.conv2d(torch.from_numpy(pictures) * 2 - 1, filters(32, 3, 5), stride=2, padding=2).relu()
    second = F.conv2d(first, filters(64, 32, 3) * 2, stride=2, padding=1).relu()
    third = F.conv2d(second, filters(64, 64, 3) * 2, stride=2, padding=1).relu()
    maps = {"maps": first, "low": F.avg_pool2d(first, 2), "semantic": third}
    return {name: one.flatten(2).transpose(1, 2) for name, one in maps.items()}


def standardised(features: dict[str, Tensor], rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """Each feature by its mean and spread over these pictures."""
    found = {}
    for name, one in features.items():
        spread, mean = torch.std_mean(one[rows], dim=0)
        found[name] = (one - mean) / spread.clamp(min=1e-3)
    return found


def settings(steps: int, rate: float, decay: float = 0.05) -> Training:
    return Training(
        steps=steps, learning_rate=rate, batch=BATCH, weight_decay=decay, precision="no", save_every=steps
    )


class Bench:
    """One seed: the people, their training trials, and everything that is trained on them."""

    def __init__(self, seed: int, out: Path, scale: float, trials: int, voxels: tuple[int, int]) -> None:
        self.seed, self.out, self.scale = seed, out / f"seed-{seed}", scale
        self.cortex = VisualCortex.simulate(
            seed, subjects=4, pictures=trials, shared=100, voxels=voxels, sessions=max(2, trials // 300)
        )
        people = [one.standardised("session_all") for one in self.cortex.people]
        folds = [by_pictures(one, self.cortex.shared) for one in people]
        train = [one.rows(fold.train) for one, fold in zip(people, folds, strict=True)]
        self.known, self.new = train[:3], train[3]
        self.test = people[3].rows(folds[3].test).averaged()
        shown = np.unique(np.concatenate([one.picture for one in self.known]))
        self.features = standardised(features_of(np.asarray(self.new.pictures)), shown)
        self.little = self.new.rows(np.arange(len(self.new) // 10))
        self.recipe = BrainToFeatures.model_validate(
            {
                "tokenizer": {
                    "kind": "voxel_clusters",
                    "seconds": 1.0,
                    "sfreq": 1.0,
                    "clusters": CLUSTERS,
                    "hidden": HIDDEN,
                },
                "targets": {name: {"tokens": n, "width": w} for name, (n, w) in SHAPES.items()},
                "width": WIDTH,
                "depth": DEPTH,
            }
        )

    def pairs(self, *people: Seen) -> list[Pairs]:
        return [Pairs(one, self.features) for one in people]

    def fit(
        self, name: str, module: BrainFeatures, people: list[Seen], steps: int, rate: float, train: list[str]
    ) -> BrainFeatures:
        """Train what is named, in a folder of its own."""
        training = settings(max(1, round(steps * self.scale)), rate)
        stage = Stage(name=name, train=train, objectives=OBJECTIVES, settings=training)
        task = PredictFeatures(module, self.pairs(*people), OBJECTIVES, BATCH, self.seed)
        run_stage(stage, task, self.seed, self.out, {"data": f"{[len(one) for one in people]}"})
        return module

    def encode(self, name: str, people: list[Seen], steps: int) -> VoxelEncoderNetwork:
        """A new encoder of these people's voxels."""
        module = VoxelEncoder(levels={"maps": (64, 32)}, embedding=16, width=32).build(self.seed)
        training = settings(max(1, round(steps * self.scale)), 1e-2)
        stage = Stage(name=name, train=["*"], objectives=ENCODER, settings=training)
        task = EncodeVoxels(module, self.pairs(*people), ENCODER, BATCH, self.seed)
        run_stage(stage, task, self.seed, self.out, {"data": f"{[len(one) for one in people]}"})
        return module

    def meet(self, encoder: VoxelEncoderNetwork) -> VoxelEncoderNetwork:
        """The same with embeddings of the new person, from a tenth of the trials; shrunk, since few trials say little of each."""
        training = settings(max(1, round(100 * self.scale)), 1e-2, decay=3.0)
        stage = Stage(
            name="encoder-new",
            train=["embedding.*/" + self.new.subject],
            objectives=ENCODER,
            undecayed=[],
            settings=training,
        )
        task = EncodeVoxels(encoder, self.pairs(self.little), ENCODER, BATCH, self.seed)
        run_stage(stage, task, self.seed, self.out, {"data": f"{len(self.little)}"})
        return encoder

    def clustered(self, encoder: VoxelEncoderNetwork, people: list[Seen]) -> BrainFeatures:
        """A new network that knows these people's voxels by their functional clusters."""
        embedding = np.concatenate([encoder.embeddings(one) for one in people])
        found = functional_clusters(embedding, CLUSTERS, self.seed)
        model = self.recipe.build(self.seed)
        model.tokenizer.join([one for seen in people for one in identities(seen)], embedding, found.label)
        return model

    def score(self, told: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(picture, 2): correlation and two-way identification of each test picture, the mean over targets."""
        found = []
        for name in SHAPES:
            a = told[name].flatten(1).double().numpy()
            b = self.features[name][self.test.picture].flatten(1).double().numpy()
            a, b = ((one - one.mean(axis=1, keepdims=True)) for one in (a, b))
            a, b = ((one / np.linalg.norm(one, axis=1, keepdims=True).clip(1e-12)) for one in (a, b))
            alike = a @ b.T
            own = np.diag(alike)
            better = (own[:, None] > alike).sum(axis=1) / (len(own) - 1)
            found.append(np.stack([own, better], axis=1))
        return np.mean(found, axis=0)

    def ridge(self, seen: Seen) -> dict[str, Tensor]:
        """A linear map; the penalty is chosen by a fifth of the training trials."""
        flat = {name: self.features[name].flatten(1).double().numpy() for name in SHAPES}
        y = np.concatenate([flat[name][seen.picture] for name in SHAPES], axis=1)
        x, held = seen.response.astype(float), np.arange(len(seen)) % 5 == 0

        def map_of(rows: NDArray[np.bool_], penalty: float) -> NDArray[np.float64]:
            gram = x[rows].T @ x[rows] + penalty * np.eye(x.shape[1])
            return np.linalg.solve(gram, x[rows].T @ y[rows])

        penalties = 10.0 ** np.arange(0, 6, 0.5)
        errors = [((x[held] @ map_of(~held, one) - y[held]) ** 2).mean() for one in penalties]
        told = self.test.response @ map_of(np.ones(len(x), bool), penalties[int(np.argmin(errors))])
        edge = flat["semantic"].shape[1]
        parts = {"semantic": told[:, :edge], "low": told[:, edge:]}
        return {name: torch.from_numpy(one).unflatten(1, SHAPES[name]) for name, one in parts.items()}

    def arms(self, say: Callable[[str], None]) -> dict[str, NDArray[np.float64]]:
        """Every arm's scores of the test pictures."""
        scores: dict[str, NDArray[np.float64]] = {}

        def put(name: str, told: Mapping[str, Tensor]) -> None:
            scores[name] = self.score(told)
            say(f"{name}: {scores[name].mean(axis=0).round(3).tolist()}")

        encoder = self.encode("encoder", self.known, 600)
        pretrained = self.fit("features", self.clustered(encoder, self.known), self.known, LONG, 3e-3, ["*"])
        say("trained on the others")
        encoder = self.meet(encoder)
        ids = identities(self.new)
        for name in ("transfer", "nearest place", "by chance"):
            model = self.recipe.build(self.seed)
            model.tokenizer.restore(pretrained.tokenizer.known())
            model.load_state_dict(pretrained.state_dict())
            if name == "transfer":
                model.tokenizer.join(ids, encoder.embeddings(self.new))
                put("joined", model.eval().predict(self.test))
            elif name == "nearest place":
                places = np.concatenate([one.voxels.position for one in self.known])
                model.tokenizer.feature = torch.nn.Buffer(torch.from_numpy(places).float())
                model.tokenizer.join(ids, self.new.voxels.position)
            else:
                known = model.tokenizer.feature.double().numpy()
                model.tokenizer.join(ids, np.random.default_rng(self.seed).permutation(known)[: len(ids)])
            self.fit(name.replace(" ", "-"), model, [self.little], 100, 1e-2, [ROWS])
            put(name, model.predict(self.test))
        # chosen on the test pictures themselves, which favours what transfer is compared with
        for name, seen, lengths in (
            ("scratch", self.little, (75, 200)),
            ("scratch, all", self.new, (LONG,)),
        ):
            own = self.encode(f"encoder-{len(seen)}", [seen], 400)
            tried = []
            for steps in lengths:
                model = self.clustered(own, [seen])
                self.fit(f"scratch-{len(seen)}-{steps}", model, [seen], steps, 3e-3, ["*"])
                tried.append(model.predict(self.test))
            put(name, max(tried, key=lambda told: float(self.score(told)[:, 0].mean())))
        put("ridge", self.ridge(self.little))
        put("ridge, all", self.ridge(self.new))
        return scores


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean and its 95 % interval over pictures (bootstrap)."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """The ratio of two means over the same pictures and its 95 % interval (bootstrap)."""
    drawn = np.random.default_rng(0).integers(0, len(a), (2000, len(a)))
    found = a[drawn].mean(axis=1) / b[drawn].mean(axis=1)
    return float(a.mean() / b.mean()), float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def summary(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """The table, and what is claimed: differences of the same pictures."""
    table = {
        name: {what: interval(one[:, at]) for at, what in enumerate(("correlation", "two_way"))}
        for name, one in scores.items()
    }
    claims = {
        "transfer - scratch": interval(scores["transfer"][:, 0] - scores["scratch"][:, 0]),
        **{
            f"transfer / {other}": ratio(scores["transfer"][:, 0], scores[other][:, 0])
            for other in ("scratch, all", "nearest place", "ridge, all")
        },
    }
    return {"rows": table, "claims": claims}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--scale", type=float, default=1.0, help="multiple of all numbers of steps")
    parser.add_argument("--trials", type=int, default=1500, help="pictures that each person alone saw")
    parser.add_argument("--voxels", type=int, nargs=2, default=(150, 220))
    given = parser.parse_args()
    torch.set_num_threads(1)
    began, every = time.monotonic(), []
    for seed in range(given.first, given.first + given.seeds):
        bench = Bench(seed, given.out, given.scale, given.trials, tuple(given.voxels))
        every.append(bench.arms(lambda word: print(f"{time.monotonic() - began:6.0f} s  {word}", flush=True)))  # noqa: T201
    scores = {name: np.concatenate([one[name] for one in every]) for name in every[0]}
    found = {**summary(scores), "seeds": given.seeds, "seconds": round(time.monotonic() - began)}
    (given.out / "new_subject.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
