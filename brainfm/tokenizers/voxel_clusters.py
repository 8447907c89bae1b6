"""Voxel clusters: voxels of all people in one table, pooled into clusters that all people share (Brain-IT).

Beliy et al. 2025, arXiv:2510.25976, §3.1: a voxel's token is its response times its own embedding; each cluster attends to its
member voxels, and a skip from the cluster's centre gives even an empty one a token. A person who was not trained on takes over
embedding and cluster of the nearest known voxels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.layers.fixed import of_sensors
from brainfm.layers.groups import group_mean, group_softmax, group_sum, places_of, without_padding
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized

NOBODY = -1
"""Whose embedding a voxel takes over that has one of its own."""


class VoxelClusters(Tokenizer):
    """`clusters` tokens for every `seconds`, whatever the number of voxels."""

    reads = ("fmri",)

    clusters: int = Field(default=128, ge=2)
    hidden: int = Field(default=64, ge=2, description="width of a voxel's embedding")

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return tuple(f"cluster {row + 1}" for row in range(self.clusters))

    def build(self, width: int, modality: int) -> "VoxelClustersTokenizer":
        return VoxelClustersTokenizer(self, width, modality)


class VoxelClustersTokenizer(Knowing):
    """`Batch -> Tokenized`, cluster after cluster, each in order of time."""

    def __init__(self, part: VoxelClusters, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.vocabulary = Vocabulary(part.hidden)
        self.cluster = nn.Buffer(torch.zeros(0, dtype=torch.int64))
        self.feature = nn.Buffer(torch.zeros(0, 3))
        """(voxel, feature) by which neighbours are found: places, or what `join` was given; zeros of a voxel without a place."""
        self.placed: list[bool] = []
        """Which of them have features. Plain values, not a tensor: a checkpoint's config carries them, as old ones' did not."""
        self.response = nn.Linear(part.times, part.hidden, bias=False)
        self.centre = nn.Parameter(torch.randn(part.clusters, width) / math.sqrt(width))
        self.query = nn.Linear(width, part.hidden, bias=False)
        self.key = nn.Linear(part.hidden, part.hidden, bias=False)
        self.value = nn.Linear(part.hidden, width, bias=False)
        self.skip = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width, bias=False)

    def adopt(self, batch: Batch) -> None:
        """Make room for the voxels of a batch of one person, by their places.

        The first to come are clustered (k-means, the same each time); later ones join the cluster of their nearest neighbour.
        A scan's neighbours mostly follow each other: a voxel without a place is taken to be where the one before it is, and where
        no voxel has one, they are clustered in the order in which they come.
        """
        self.join(batch.identity[0].tolist(), places(batch).double().cpu().numpy())

    def join(
        self, ids: Sequence[int], feature: NDArray[np.float64], group: NDArray[np.int64] | None = None
    ) -> None:
        """Add voxels by (voxel, feature): a new one takes over embedding and cluster of its nearest one (Brain-IT, §3.1).

        The first to come may be given their clusters, `group`, by whoever found better ones than k-means over the features.
        """
        if group is not None and len(self.cluster):
            raise DataError(
                "clusters are given to the first voxels alone; later ones join those of their nearest"
            )
        if group is not None and not (
            len(group) == len(ids) == len(set(ids)) and 0 <= group.min() <= group.max() < self.part.clusters
        ):
            raise DataError(
                f"{len(ids)} voxels need an id of their own and a cluster below {self.part.clusters} each"
            )
        known = set(self.vocabulary.ids)
        fresh = [row for row, one in enumerate(ids) if one not in known]
        if not fresh:
            return
        told = torch.from_numpy(feature[fresh]).float().to(self.cluster.device)
        if group is None:
            cluster, nearest = self.assigned(told)
        else:
            cluster, nearest = torch.from_numpy(group.astype(np.int64)), torch.full((len(group),), NOBODY)
        before = len(self.vocabulary)
        self.vocabulary.adopt([ids[row] for row in fresh])
        with torch.no_grad():
            lent = nearest != NOBODY
            self.vocabulary.table[before:][lent] = self.vocabulary.table[nearest[lent]]
        self.cluster = nn.Buffer(torch.cat([self.cluster, cluster.to(self.cluster)]))
        old = self.feature if len(self.feature) else told[:0]
        self.feature = nn.Buffer(torch.cat([old, told.nan_to_num()]))
        self.placed = [*self.placed, *told.isfinite().all(dim=1).tolist()]

    def assigned(
        self, feature: Float[Tensor, "voxel feature"]
    ) -> tuple[Int[Tensor, " voxel"], Int[Tensor, " voxel"]]:
        """The cluster of each new voxel, and the known one whose embedding it takes over: `NOBODY` where it has its own."""
        there = feature.isfinite().all(dim=1)
        cluster = torch.zeros(len(feature), dtype=torch.int64, device=feature.device)
        nearest = torch.full_like(cluster, NOBODY)
        cluster[~there] = in_runs(int((~there).sum()), self.part.clusters).to(cluster)
        if bool(there.any()) and any(self.placed):
            nearest[there] = self.nearest(feature[there])
            cluster[there] = self.cluster[nearest[there]]
        elif bool(there.any()):
            cluster[there] = self.clustered(feature[there].double().cpu().numpy()).to(cluster)
        return cluster, nearest

    def clustered(self, feature: NDArray[np.float64]) -> Int[Tensor, " voxel"]:
        """k-means over the first voxels; fewer voxels than clusters get one each."""
        from sklearn.cluster import KMeans

        count = min(self.part.clusters, len(np.unique(feature, axis=0)))
        found = KMeans(count, n_init=1, random_state=0).fit_predict(feature)
        return torch.from_numpy(found.astype(np.int64))

    def nearest(self, feature: Float[Tensor, "voxel feature"]) -> Int[Tensor, " voxel"]:
        """The known voxel nearest to each, by the features. Raises `DataError` where no known one has any."""
        where = torch.tensor(self.placed, device=self.feature.device).nonzero().squeeze(dim=1)
        if not len(where):
            raise DataError("the voxels that this tokenizer has met have no places to find neighbours by")
        return where[torch.cdist(feature.to(self.feature.device), self.feature[where]).argmin(dim=1)]

    def known(self) -> dict[str, Any]:
        return {
            **super().known(),
            "cluster": self.cluster.tolist(),
            "feature": [[round(value, 5) for value in row] for row in self.feature.tolist()],
            "placed": list(self.placed),
        }

    def restore(self, known: Mapping[str, Any]) -> None:
        super().restore(known)
        self.cluster = nn.Buffer(torch.tensor(known["cluster"], dtype=torch.int64))
        self.feature = nn.Buffer(torch.tensor(known["feature"]))
        self.placed = list(known.get("placed", [True] * len(self.feature)))  # as old checkpoints took it

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        batch = without_padding(batch)
        count = self.part.clusters
        row = self.row_of(batch)
        group = self.cluster[row]
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        token = self.response(patches) * self.vocabulary.table[row].view(1, len(row), 1, -1)
        asks = self.query(self.centre)[group].view(1, len(row), 1, -1)
        weight = (asks * self.key(token)).sum(dim=-1) / math.sqrt(self.part.hidden)
        weight = group_softmax(weight, group, count).unsqueeze(-1)
        pooled = group_sum(weight * self.value(token), group, count)
        grid = self.norm(F.relu(self.skip(self.centre).view(1, count, 1, -1) + pooled))
        mean = group_mean(patches.flatten(2), group, count).unflatten(-1, patches.shape[2:])
        position, located = places_of(batch, group, count)
        nameless = torch.zeros_like(located, dtype=torch.int64)
        rows = Rows.all_there(position, located, nameless, self.centre.expand(batch.signal.shape[0], -1, -1))
        return tokenized(batch, rows, grid, mean, self.part.seconds, self.modality)

    @of_sensors(shared=True)
    def row_of(self, batch: Batch) -> Int[Tensor, " voxel"]:
        """The table's row of each voxel of a batch, that of the nearest known one for a voxel that is not in it."""
        if not len(self.vocabulary):
            raise DataError(
                "this tokenizer has met no voxel yet: pretrain with it, or let it `adopt` the recordings"
            )
        row, known = self.vocabulary.rows(batch.identity)
        if not bool((batch.identity == batch.identity[0]).all()):
            raise DataError("voxels of several people in one batch; give each person a batch of their own")
        if bool(known[0].all()):
            return row[0]
        if self.feature.shape[1] != 3:
            raise DataError(
                "voxels were adopted by features of their own; `join` the new ones with theirs first"
            )
        if not bool(batch.located[0].any()):
            raise DataError(
                f"{int((~known[0]).sum())} voxels were not met in training, and none has a place by which a known neighbour "
                "could stand in for it; give places, or whose they are"
            )
        return torch.where(known[0], row[0], self.nearest(places(batch)))


def places(batch: Batch) -> Float[Tensor, "voxel 3"]:
    """Where the voxels are: one without a place where the one before it is, the first ones where the next one is; NaN if none
    has a place."""
    there = batch.located[0].nonzero().squeeze(dim=1)
    if not len(there):
        return torch.full_like(batch.position[0], torch.nan)
    before = (
        torch.searchsorted(there, torch.arange(len(batch.located[0]), device=there.device), right=True) - 1
    )
    return batch.position[0][there[before.clamp(min=0)]]


def in_runs(voxels: int, clusters: int) -> Int[Tensor, " voxel"]:
    """Clusters of equal size, each a run of voxels; fewer voxels than clusters get one each."""
    return torch.arange(voxels) * min(clusters, voxels) // max(voxels, 1)
