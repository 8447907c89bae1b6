"""The network of speech decoding: its parts at the published size, against references written apart."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import listeners
import pytest
import torch

from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording
from brainfm.encoders.dilated import Dilated
from brainfm.errors import DataError, RecipeError
from brainfm.heads.course import Course
from brainfm.layers.flat import Waves, flat, outside
from brainfm.layers.subjects import SubjectLayer
from brainfm.model import BrainFM
from brainfm.model_config import network_of
from brainfm.recipe import FinetuneRecipe
from brainfm.tokenizers.spatial_attention import SpatialAttention
from brainfm.tokens import Tokens


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    return listeners.card(folder)


@pytest.fixture(scope="module")
def people(folder: Path) -> list[Recording]:
    return DataCard.load(listeners.card(folder)).recordings()


def weights(module: torch.nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def test_the_published_size_has_the_published_weights() -> None:
    """Of 27 people and 208 sensors: 9,565,054, part by part as the paper's code has them."""
    tokenizer = SpatialAttention(seconds=1 / 120, sfreq=120.0).build(270, 0)
    people = SubjectLayer(ids=list(range(27))).build(270)
    encoder = Dilated(depth=5, width=270, hidden=320, placed=False).build(1)
    head = Course(features=1024).build(320, 1024 * 342, 1, 342)
    counts = [weights(one) for one in (tokenizer, people, encoder, head)]
    assert counts == [552_960 + 73_170, 27 * 270 * 270, 6_108_800, 205_440 + 656_384]
    assert sum(counts) == 9_565_054
    batched = Dilated(depth=5, width=270, hidden=320, placed=False, norm="batch").build(1)
    assert weights(batched) == counts[2]


def test_the_published_recipe_is_of_that_size() -> None:
    recipe = FinetuneRecipe.load("speech_published")
    net = BrainFM.fresh(network_of(recipe), 0)
    assert weights(net) == 552_960 + 73_170 + 6_108_800
    assert net.width == 320 and net.encoder.part.width == 270


def test_waves_are_those_of_the_paper() -> None:
    place = torch.tensor([[[0.3, 0.9], [0.0, 1.0]]])
    found = Waves(3)(place)
    assert found.shape == (1, 2, 18)
    for row, (x, y) in enumerate(place[0].tolist()):
        for k in range(3):
            for m in range(3):
                angle = 2 * math.pi * (k * (x + 0.2) + m * (y + 0.2)) / 1.4
                assert found[0, row, 3 * k + m] == pytest.approx(math.cos(angle), abs=1e-5)
                assert found[0, row, 9 + 3 * k + m] == pytest.approx(math.sin(angle), abs=1e-5)


def test_the_map_has_the_nose_above_and_the_left_on_the_left() -> None:
    top, nose, left = [0.0, -0.018, 0.1], [0.0, 0.09, 0.005], [-0.08, -0.018, 0.005]
    place = flat(torch.tensor([[top, nose, left]]))[0]
    torch.testing.assert_close(place[0], torch.tensor([0.5, 0.5]), atol=1e-4, rtol=0)
    assert place[1, 1] > 0.8 and place[1, 0] == pytest.approx(0.5, abs=1e-4)
    assert place[2, 0] < 0.2 and place[2, 1] == pytest.approx(0.5, abs=1e-4)


def test_spatial_dropout_leaves_out_neighbours_in_training_alone() -> None:
    place = torch.rand(1, 400, 2, generator=torch.Generator().manual_seed(0))
    heard = outside(place, 0.2, torch.Generator().manual_seed(1))[0]
    gone = place[0][~heard]
    assert 10 < len(gone) < 80
    assert torch.cdist(gone, gone).max() <= 0.4
    assert not torch.equal(heard, outside(place, 0.2, torch.Generator().manual_seed(2))[0])


def test_a_network_is_fine_tuned_with_sensors_left_out(card: Path, people: list[Recording]) -> None:
    """`decode` with a generator drops sensors; without one it does not, and gives the same twice."""
    recipe = listeners.small(card, "network.signals.meg.tokenizer.dropout=0.5")
    net = BrainFM.fresh(network_of(recipe), 0)
    batch = listeners.batch_of(net, people)
    with torch.no_grad():
        plain, again = net(batch).embedding, net(batch).embedding
        dropped = net(batch, torch.Generator().manual_seed(0)).embedding
    assert torch.equal(plain, again) and not torch.allclose(plain, dropped, atol=1e-3)


def reference(x: torch.Tensor, encoder: Any) -> torch.Tensor:
    """The blocks as they are described, one tap after another: (row, width, time) to (row, hidden, time)."""
    for number, block in enumerate(encoder.blocks):
        for which in (0, 1):
            convolution, dilation = block.convolutions[which], 2 ** ((2 * number + which) % 5)
            out = convolution.bias[None, :, None].repeat(len(x), 1, x.shape[2])
            for tap in range(3):
                shift = (tap - 1) * dilation
                moved = torch.zeros_like(x)
                if abs(shift) < x.shape[2]:
                    span = slice(max(0, -shift), x.shape[2] - max(0, shift))
                    moved[..., span] = x[..., max(0, shift) : x.shape[2] + min(0, shift)]
                out = out + torch.einsum("oi,rit->rot", convolution.weight[..., tap], moved)
            centred = out - out.mean(dim=1, keepdim=True)
            normed = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
            after = torch.nn.functional.gelu(normed)
            x = x + after if x.shape == after.shape else after
        both = torch.nn.functional.conv1d(x, block.gate.weight, block.gate.bias, padding=1)
        half = both.shape[1] // 2
        x = both[:, :half] * both[:, half:].sigmoid()
    return x


def stream_of(rows: int, times: int, width: int) -> Tokens:
    """Random tokens of a few rows in order of time, a tenth of a second each."""
    row = torch.arange(rows).repeat_interleave(times).expand(2, -1)
    n = rows * times
    generator = torch.Generator().manual_seed(0)
    return Tokens(
        embedding=torch.randn(2, n, width, generator=generator),
        time=((torch.arange(times) + 0.5) * 0.1).repeat(rows).expand(2, -1),
        position=torch.zeros(2, n, 3), located=torch.zeros(2, n, dtype=torch.bool),
        modality=torch.zeros(2, n, dtype=torch.long), sensor=row, region=torch.zeros(2, n, dtype=torch.long),
        valid=torch.ones(2, n, dtype=torch.bool), period=0.1, rows=rows,
    )  # fmt: skip


@torch.no_grad()
def test_the_blocks_are_those_that_are_described() -> None:
    torch.manual_seed(0)
    encoder = Dilated(depth=5, width=6, hidden=8, placed=False).build(1)
    tokens = stream_of(3, 20, 6)
    found = encoder(tokens).embedding.unflatten(1, (3, 20))
    lines = tokens.embedding.unflatten(1, (3, 20)).flatten(0, 1).transpose(1, 2)
    wanted = reference(lines, encoder).transpose(1, 2).unflatten(0, (2, 3))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_gaps_say_nothing_and_rows_do_not_hear_each_other() -> None:
    torch.manual_seed(0)
    encoder = Dilated(depth=3, width=6, placed=False).build(1)
    tokens = stream_of(2, 12, 6)
    index = torch.tensor([0, 1, 2, 5, 6, 11, 13, 20]).expand(2, -1)
    some = encoder(tokens.take(index)).embedding
    mixed = encoder(tokens.take(index.flip(1))).embedding
    torch.testing.assert_close(mixed.flip(1), some, atol=1e-6, rtol=1e-5)
    other = tokens.with_embedding(tokens.embedding + (tokens.sensor == 1).unsqueeze(-1) * 5.0)
    changed = (encoder(other.take(index)).embedding != some).any(dim=-1)[0]
    assert changed.tolist() == [False] * 6 + [True] * 2


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"can't be divided over 30 patches in time"):
        Course(features=5).build(8, 7 * 5, 1, 30)
    events = replace(stream_of(1, 4, 6), period=0.0)
    with pytest.raises(DataError, match="needs tokens at equal steps of time"):
        Dilated(depth=1, width=6).build(1)(events)
    sections = {
        "card": "simulated_spikes", "head": {"kind": "linear", "pool": "mean"},
        "train": {"steps": 1, "learning_rate": 1.0},
        "network": {"signals": {"spikes": "spike_events"}, "encoder": {"kind": "dilated", "depth": 1, "width": 8}},
    }  # fmt: skip
    with pytest.raises(
        RecipeError, match="encoder dilated needs tokens at equal steps of time, and spike_events"
    ):
        FinetuneRecipe.resolve(sections)
