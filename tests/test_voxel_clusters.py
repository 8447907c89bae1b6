"""Voxels of all people share clusters: who is new takes over from neighbours, and voxels without places are not one cluster."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.model import BrainFM
from brainfm.tokenizers.voxel_clusters import VoxelClusters, places
from tests.decoders import network
from tests.test_tokenizers import built
from tests.tiny import drawn


def voxels(person: int, count: int = 60) -> tuple[Batch, Tensor]:
    """A person's voxels, anywhere in a ball, whose responses follow from their place; with the places."""
    rng = np.random.default_rng(person)
    place = rng.uniform(-0.06, 0.06, (count, 3))
    names = [f"v{row}" for row in range(count)]
    sensors = Sensors.of(names, "voxel", "%", place, "exact")
    hidden = np.random.default_rng(5).normal(size=(4, 3, 12))  # the same brain in everyone
    signal = np.einsum("vp,wpt->wvt", place / 0.06, hidden).astype(np.float32)
    batch = Batch.of("fmri", signal, 0.5, [sensors] * 4, None, [f"p{person}"] * 4)
    return batch, torch.from_numpy(place)


@torch.no_grad()
def test_a_new_persons_voxels_take_over_from_their_neighbours() -> None:
    """Brain-IT §3.1: with the nearest known voxel's cluster, tokens are nearer to the first person's than with random ones."""
    part = VoxelClusters(seconds=4.0, sfreq=0.5, clusters=12, hidden=16)
    tokenizer = built(part)
    first, _ = voxels(1, 200)
    second, place = voxels(2)
    tokenizer.adopt(first)
    wanted = tokenizer(first).targets["fmri"].value
    unmet = tokenizer(second).targets["fmri"].value  # looked up, not adopted
    tokenizer.adopt(second)
    table = tokenizer.vocabulary
    row = table.rows(second.identity)[0][0]
    nearest = torch.cdist(place.float(), first.position[0]).argmin(dim=1)
    assert torch.equal(table.table[row], table.table[nearest])
    assert torch.equal(tokenizer.cluster[row], tokenizer.cluster[nearest])
    lent = tokenizer(second).targets["fmri"].value
    torch.testing.assert_close(unmet, lent)
    tokenizer.cluster[row] = tokenizer.cluster[row][torch.randperm(60, generator=drawn(0))]
    random = tokenizer(second).targets["fmri"].value
    assert float((lent - wanted).square().mean()) < 0.5 * float((random - wanted).square().mean())


def test_what_clusters_know_survives_a_config() -> None:
    part = VoxelClusters(seconds=4.0, sfreq=0.5, clusters=5, hidden=16)
    tokenizer, again = built(part), built(part)
    batch, _ = voxels(1)
    tokenizer.adopt(batch)
    again.restore(tokenizer.known())
    again.load_state_dict(tokenizer.state_dict())
    with torch.no_grad():
        assert torch.equal(again(batch).tokens.embedding, tokenizer(batch).tokens.embedding)


@torch.no_grad()
def test_voxels_without_places_do_not_fall_into_one_cluster() -> None:
    """They are clustered as they come; each person's have embeddings of their own, and survive a config."""
    part = VoxelClusters(seconds=4.0, sfreq=0.5, clusters=6, hidden=16)
    tokenizer, again = built(part), built(part)
    first, second = (
        replace(voxels(person)[0], located=torch.zeros(4, 60, dtype=torch.bool)) for person in (1, 2)
    )
    tokenizer.adopt(first)
    assert tokenizer.cluster.bincount(minlength=6).tolist() == [10] * 6 and bool(
        (tokenizer.cluster.diff() >= 0).all()
    )
    tokens = tokenizer(first).tokens.embedding
    assert (tokens.std(dim=0).mean(dim=1) > 0.01).all(), "every cluster's token follows its voxels"
    with pytest.raises(DataError, match="60 voxels were not met in training, and none has a place"):
        tokenizer(second)
    tokenizer.adopt(second)
    assert tokenizer.cluster.bincount(minlength=6).tolist() == [20] * 6
    assert len(tokenizer.vocabulary.table.unique(dim=0)) == 120
    again.restore(tokenizer.known())
    again.load_state_dict(tokenizer.state_dict())
    assert torch.equal(again(second).tokens.embedding, tokenizer(second).tokens.embedding)
    with pytest.raises(DataError, match="have no places to find neighbours by"):
        tokenizer(voxels(3)[0])
    third, _ = voxels(3)
    tokenizer.adopt(third)
    assert len(tokenizer.cluster[120:].unique()) == 6, "the first who have places are clustered by them"


def test_a_voxel_without_a_place_is_where_the_one_before_it_is() -> None:
    batch, place = voxels(1)
    located = torch.ones(4, 60, dtype=torch.bool)
    located[:, [0, 7, 8, 59]] = False
    found = places(replace(batch, located=located))
    assert torch.equal(found[[0, 7, 8, 59]], place.float()[[1, 6, 6, 58]])
    assert torch.equal(found[located[0]], place.float()[located[0]])


def test_clusters_that_met_no_one_say_so() -> None:
    with pytest.raises(DataError, match="has met no voxel yet"):
        built(VoxelClusters(seconds=4.0, sfreq=0.5))(voxels(1)[0])


def test_a_stranger_is_the_same_to_a_checkpoint_that_was_loaded(tmp_path: Path) -> None:
    """Which voxels have places is needed for strangers alone, and survives saving; so do clusters without places."""
    tokenizer = {"kind": "voxel_clusters", "seconds": 4.0, "sfreq": 0.5, "clusters": 6, "hidden": 16}
    model = network(signals={"fmri": {"prepare": [], "seconds": 24.0, "tokenizer": tokenizer}})
    nowhere = replace(voxels(1)[0], located=torch.zeros(4, 60, dtype=torch.bool))
    for batch in (nowhere, voxels(2)[0]):
        model.tokenizers["fmri"].adopt(batch)
    model.config.known = {"fmri": model.tokenizers["fmri"].known()}
    model.save_pretrained(tmp_path)
    again, stranger = BrainFM.from_pretrained(tmp_path), voxels(3)[0]
    in_the_middle = replace(
        stranger, position=0.05 * stranger.position
    )  # where voxels without a place are not
    with torch.no_grad():
        for batch in (nowhere, voxels(2)[0], stranger, in_the_middle):
            assert torch.equal(again(batch).embedding, model.eval()(batch).embedding)
