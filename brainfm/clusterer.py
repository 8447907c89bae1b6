"""Functional clusters of voxels: an encoder tells what each voxel sees, and voxels that see alike belong together.

Stage A of Brain-IT (Beliy et al. 2025, arXiv:2510.25976, §3.1), a small Universal Brain Encoder (arXiv:2406.12179): features of a
picture at every place → the response of any voxel of any person, who differ in nothing but an embedding for each voxel. A
Gaussian mixture over all people's embeddings gives the clusters. Of a new person only embeddings are fitted, and each
voxel joins its nearest known one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from brainfm.chance import Chance, seeded
from brainfm.data.seen import Seen, refuse_mixed
from brainfm.errors import DataError
from brainfm.feature_losses import weighted
from brainfm.feed import Micro
from brainfm.objectives import Loss
from brainfm.part import Settings
from brainfm.trials import Pairs, TrialPlan

RESPONSE = "response"
"""What an encoder's stage calls its one target."""


SMALL = 0.05
"""About how long an embedding is before it is trained (Brain-IT: each number is 0.1 / (2 √256) times a normal one)."""


class VoxelEncoder(Settings):
    """The description of an encoder from pictures' features to voxels."""

    levels: dict[str, tuple[int, int]] = Field(
        min_length=1, description="features by name, each with its number of places and of channels"
    )
    embedding: int = Field(default=256, ge=2, description="numbers that say what a voxel is like")
    width: int = Field(default=128, ge=2, description="of each level's features")
    voxels: int | None = Field(
        default=5_000, ge=1, description="voxels drawn for a step of training where there are more; None: all"
    )

    def build(self, seed: int) -> "VoxelEncoderNetwork":
        with seeded(seed):
            return VoxelEncoderNetwork(self)


class VoxelEncoderNetwork(nn.Module):
    """Each voxel attends to places of the picture and weighs what it finds there.

    Of a level's features `x` and a voxel's embedding `e`: attention softmax(W e · (K x + place)) over places, without a
    temperature; what is attended to passes an MLP; the response is its product with weights that are linear in `e`.
    """

    def __init__(self, settings: VoxelEncoder) -> None:
        super().__init__()
        self.settings = settings
        self.embedding = nn.ParameterDict()
        width, hidden = settings.width, settings.embedding
        self.level = nn.ModuleDict(
            {
                name: Level(places, channels, width, hidden)
                for name, (places, channels) in settings.levels.items()
            }
        )
        self.weigh = nn.Linear(hidden, width * len(settings.levels), bias=False)

    def adopt(self, seen: Seen, seed: int) -> None:
        """Make room for a person's voxels; one who is known stays as he is."""
        key = key_of(seen)
        if key in self.embedding:
            return
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(len(seen.voxels), self.settings.embedding, generator=generator)
        # so small that what is learnt is most of an embedding: neighbours and clusters are found by its direction
        self.embedding[key] = nn.Parameter(SMALL * rows / self.settings.embedding**0.5)

    def forward(
        self, key: str, features: Mapping[str, Tensor], rows: Tensor | None = None
    ) -> Float[Tensor, "picture voxel"]:
        """Responses of a person's voxels, or of these rows of them, to pictures of these features."""
        own = self.embedding[key]
        own = own if rows is None else own[rows]
        seen = torch.cat([level(own, features[name]) for name, level in self.level.items()], dim=-1)
        return (seen * self.weigh(own)).sum(dim=-1)

    def embeddings(self, seen: Seen) -> NDArray[np.float64]:
        """(voxel, embedding) of a person, each of length one."""
        if key_of(seen) not in self.embedding:
            raise DataError(f"{seen.who} is not known to the encoder; `adopt` and train the embeddings first")
        found = self.embedding[key_of(seen)].detach().double().cpu().numpy()
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


class Level(nn.Module):
    """What voxels find in features of one level."""

    def __init__(self, places: int, channels: int, width: int, hidden: int) -> None:
        super().__init__()
        self.value = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.key = nn.Linear(width, width, bias=False)
        self.place = nn.Parameter(torch.randn(places, width) / width**0.5)
        self.query = nn.Linear(hidden, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        with torch.no_grad():
            self.query.weight *= (
                3  # embeddings have length one: attention that is flat at first stays so for long
            )

    def forward(
        self, own: Float[Tensor, "voxel hidden"], features: Float[Tensor, "picture place channel"]
    ) -> Float[Tensor, "picture voxel width"]:
        value = self.value(features)
        weight = (self.query(own) @ (self.key(value) + self.place).transpose(1, 2)).softmax(dim=-1)
        found = self.norm(weight @ value)
        return found + self.mlp(found)


def key_of(seen: Seen) -> str:
    """Under what name an encoder keeps a person's embeddings: a dot would divide it."""
    return seen.who.replace(".", "_")


@dataclass
class EncodeVoxels:
    """What the training loop needs to know of an encoder: whose responses, and features of what was seen."""

    module: VoxelEncoderNetwork
    people: Sequence[Pairs]
    objectives: Mapping[str, Mapping[Any, float]]
    """Of `RESPONSE`: Brain-IT's are {mse: 1.0, cosine: 0.1}."""
    batch: int
    seed: int

    def __post_init__(self) -> None:
        refuse_mixed([one.seen for one in self.people])
        for one in self.people:
            self.module.adopt(one.seen, self.seed)
        self.plan = TrialPlan(tuple(len(one.seen) for one in self.people), self.batch, self.seed)

    def item(self, step: int, part: int, parts: int) -> Micro:
        person, rows, first, count, total = self.plan.piece(step, part, parts)
        pairs = self.people[person]
        response = torch.from_numpy(pairs.seen.response[rows])
        content = (torch.tensor(person), response, *pairs.targets(rows, tuple(self.module.settings.levels)))
        return Micro(content, first, count, total)

    def loss(self, module: nn.Module, content: tuple[Any, ...], chance: Chance) -> Loss:
        person, response, *levels = content
        key = key_of(self.people[int(person)].seen)
        settings = self.module.settings
        most, count = settings.voxels, response.shape[1]
        rows = None
        if most is not None and count > most:
            rows = torch.randperm(count, generator=chance.shared)[:most].to(response.device)
            response = response[:, rows]
        told = module(key, dict(zip(settings.levels, levels, strict=True)), rows)
        return Loss(*weighted({RESPONSE: told}, {RESPONSE: response}, self.objectives, chance.shared))

    def save(self, folder: Path) -> None:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in self.module.state_dict().items()},
            folder / "model.safetensors",
        )


@dataclass(frozen=True)
class Clusters:
    """(voxel,) the cluster of each voxel, and in words how they were found."""

    label: NDArray[np.int64]
    how: str


def functional_clusters(embedding: NDArray[np.float64], clusters: int, seed: int) -> Clusters:
    """A Gaussian mixture over embeddings (voxel, embedding) of length one, of all people together.

    With full covariances, as published, where each cluster has twice as many voxels as numbers to a voxel; else with diagonal
    ones, of at most 64 principal components. `how` says which.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    voxels, width = embedding.shape
    if voxels < clusters:
        raise DataError(f"{voxels} voxels can't be put into {clusters} clusters; ask for fewer")
    full = voxels >= 2 * width * clusters and width <= 256
    how = "full covariances" if full else "diagonal covariances"
    if not full and width > 64:
        embedding, how = (
            PCA(64, random_state=seed).fit_transform(embedding),
            f"{how} of 64 principal components",
        )
    mixture = GaussianMixture(
        clusters, covariance_type="full" if full else "diag", reg_covar=1e-5, random_state=seed, max_iter=200
    )
    label = mixture.fit_predict(embedding).astype(np.int64)
    return Clusters(label, f"Gaussian mixture of {clusters} with {how}, {len(set(label.tolist()))} in use")
