"""Tokenizers of whole brains: a linear map for each person, and the surface as a picture in patches."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.tokenizers.subject_linear import SubjectLinear, SubjectLinearTokenizer
from brainfm.tokenizers.surface_patch import SurfacePatch, SurfacePatchTokenizer, sine_cosine


def trials(values: np.ndarray, who: str = "d/a") -> Batch:
    """(trial, voxel) as windows of one sample; places on a ring."""
    angle = np.arange(values.shape[1])
    place = 0.05 * np.stack([np.cos(angle), np.sin(angle), np.sin(2 * angle)], axis=1)
    sensors = Sensors.of([f"v{row}" for row in range(values.shape[1])], "voxel", "1", place, "own")
    signal = values[:, :, None].astype(np.float32)
    return Batch.of("fmri", signal, 1.0, [sensors] * len(values), places=[who] * len(values))


def linear(*batches: Batch) -> SubjectLinearTokenizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = SubjectLinear(seconds=1.0, sfreq=1.0).build(6, 0)
        for batch in batches:
            found.adopt(batch)
    return found


@torch.no_grad()
def test_a_persons_map_is_linear_and_their_own() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 30))
    part = linear(trials(x), trials(x[:, :20], "d/b"))

    def told(values: np.ndarray, who: str = "d/a") -> torch.Tensor:
        return part(trials(values, who)).tokens.embedding[:, 0] - 2 * part.bias

    torch.testing.assert_close(told(2 * x - y), 2 * told(x) - told(y), atol=1e-5, rtol=1e-4)
    by_hand = torch.from_numpy(x).float() @ part.vocabulary(trials(x).identity[:1])[0] * (6 / 30) ** 0.5
    torch.testing.assert_close(told(x), by_hand, atol=1e-5, rtol=1e-4)
    assert 0.3 < float(told(x).std()) < 3  # of the size of its values, whatever the number of voxels
    assert not torch.allclose(told(x[:, :20]), told(x[:, :20], "d/b"), atol=0.1)


@torch.no_grad()
def test_people_may_share_a_batch() -> None:
    x = np.random.default_rng(1).normal(size=(2, 12))
    a, b = trials(x[:1]), trials(x[1:], "d/b")
    part = linear(a, b)
    tables = [Sensors.of([f"v{row}" for row in range(12)], "voxel", "1") for _ in range(2)]
    both = Batch.of("fmri", x[:, :, None].astype(np.float32), 1.0, tables, places=["d/a", "d/b"])
    apart = torch.cat([part(one).tokens.embedding for one in (a, b)])
    torch.testing.assert_close(part(both).tokens.embedding, apart, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_new_person_leaves_the_others_alone() -> None:
    x = np.random.default_rng(1).normal(size=(3, 12))
    part = linear(trials(x))
    before = part(trials(x)).tokens.embedding
    part.adopt(trials(x, "d/b"))
    assert torch.equal(part(trials(x)).tokens.embedding, before) and len(part.vocabulary) == 24


# --- the surface --------------------------------------------------------------------------------------------


def surface() -> SurfacePatchTokenizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SurfacePatch(seconds=1.0, sfreq=1.0, grid=(4, 6), patch=2).build(8, 0)


@torch.no_grad()
def test_vertices_fall_on_the_pixels_of_the_map() -> None:
    part = surface()
    x = np.random.default_rng(0).normal(size=(3, 5))
    batch = trials(x)
    part.join(batch.identity[0].tolist(), np.array([0, 0, 9, 23, -1]))
    heard: list[torch.Tensor] = []
    part.embed.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    tokens = part(batch).tokens
    assert (
        tokens.embedding.shape == (3, 6, 8)
        and part.part.rows(Sensors.of([], "voxel", "1"), "")[5] == "patch 2, 3"
    )
    picture = np.zeros((3, 4, 6))
    picture[:, 0, 0], picture[:, 1, 3], picture[:, 3, 5] = x[:, :2].mean(axis=1), x[:, 2], x[:, 3]
    for square in range(6):
        down, across = divmod(square, 3)
        cut = picture[:, 2 * down : 2 * down + 2, 2 * across : 2 * across + 2].reshape(3, 4)
        np.testing.assert_allclose(heard[0][:, square, 0], cut, atol=1e-6)
    x[:, 4] += 100  # off the map
    assert torch.equal(part(trials(x)).tokens.embedding, tokens.embedding)


@torch.no_grad()
def test_people_share_the_grid() -> None:
    """The same picture through other vertices in another order gives the same tokens."""
    part, rng = surface(), np.random.default_rng(0)
    x, order = rng.normal(size=(2, 24)), rng.permutation(24)
    a, b = trials(x), trials(x[:, order], "d/b")
    part.join(a.identity[0].tolist(), np.arange(24))
    part.join(b.identity[0].tolist(), order)
    torch.testing.assert_close(part(a).tokens.embedding, part(b).tokens.embedding)
    again = surface()
    again.restore(part.known())
    again.load_state_dict(part.state_dict())
    assert torch.equal(again(b).tokens.embedding, part(b).tokens.embedding)


def test_a_map_must_fit() -> None:
    part = surface()
    with pytest.raises(DataError, match="from 0 to 23"):
        part.join([1, 2], np.array([0, 24]))
    with pytest.raises(DataError, match="each of 2 vertices"):
        part.join([1, 2], np.array([0]))
    with pytest.raises(ValidationError, match="no whole number of patches"):
        SurfacePatch(seconds=1.0, sfreq=1.0, grid=(10, 8), patch=4)


def test_positions_are_fixed_and_differ() -> None:
    where = sine_cosine(4, 5, 16)
    assert where.shape == (20, 16) and len(where.round(decimals=4).unique(dim=0)) == 20
    torch.testing.assert_close(where[0, :4], torch.zeros(4))
    torch.testing.assert_close(where[5, 0], torch.sin(torch.tensor(1.0)))  # one row down
    assert not [name for name, _ in surface().named_parameters() if name == "where"]


def test_regions_lie_side_by_side() -> None:
    """Each in a square of its own, left to right and top to bottom; what is in none of them is nowhere."""
    place = np.array([[-1, 0, 1], [1, 0, -1], [0.5, 0, 0.5], [0.6, 0, 0.4], [9, 9, 9]], float) / 100
    sensors = Sensors.of([f"v{row}" for row in range(5)], "voxel", "1", place, "own")
    sensors = sensors.with_regions(["A", "A", "B", "B", "C"])
    batch = Batch.of("fmri", np.zeros((1, 5, 1), np.float32), 1.0, [sensors], places=["d/a"])
    part = SurfacePatch(grid=(8, 8), patch=4, regions=["A", "B"], seconds=1.0, sfreq=1.0).build(8, 0)
    part.adopt(batch)
    # two across: A has columns 0 to 3 and B 4 to 7 of the first four rows
    assert part.pixel.tolist() == [0, 3 * 8 + 3, 4, 3 * 8 + 7, -1]
