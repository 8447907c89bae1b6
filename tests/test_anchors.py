"""LaBraM, CBraMod and REVE: their sizes beside the published counts, and the parts that they brought."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from brainfm.chance import Chance, seeded
from brainfm.corpus import Stream
from brainfm.encoders.axial import Axial
from brainfm.layers.attention import Block
from brainfm.layers.halves import Halves
from brainfm.layers.summary import Summary
from brainfm.learner import learner
from brainfm.objectives.masked_patches import MaskedPatchLoss
from brainfm.recipe import PretrainRecipe, TokenizeRecipe
from tests.test_encoders import events, grid, listens, padded
from tests.tiny import drawn

PUBLISHED = {
    "labram_published": (5_800_000, 0.01),  # paper; without the patch embedding's 10 thousand
    "cbramod_published": (
        4_924_000,
        0.03,
    ),  # the released code's, its patch embedding and its convolution of places included
    "reve_published": (69_000_000, 0.05),  # 69 to 72 M by notes on the code
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_encoders_are_as_large_as_published(name: str) -> None:
    with torch.device("meta"):
        encoder = PretrainRecipe.load(name).encoder.build(1)
    wanted, tolerance = PUBLISHED[name]
    assert sum(one.numel() for one in encoder.parameters()) == pytest.approx(wanted, rel=tolerance)


def test_larger_labrams_are_one_setting_away() -> None:
    for depth, width, heads, millions in ((24, 400, 16, 46), (48, 800, 16, 369)):
        sets = [f"encoder.depth={depth}", f"encoder.width={width}", f"encoder.heads={heads}"]
        with torch.device("meta"):
            encoder = PretrainRecipe.load("labram_published", sets).encoder.build(1)
        assert sum(one.numel() for one in encoder.parameters()) == pytest.approx(millions * 1e6, rel=0.02)


def test_codes_of_labram_are_of_its_own_tokens() -> None:
    for size in ("", "_published"):
        codes, recipe = TokenizeRecipe.load(f"codes_labram{size}"), PretrainRecipe.load(f"labram{size}")
        signal = recipe.signals["eeg"]
        assert (codes.prepare, codes.tokenizer) == (signal.prepare, signal.tokenizer)
        assert recipe.codecs == {"eeg": f"runs/codes_labram{size}"}


def test_halves_are_two_maps_side_by_side() -> None:
    with seeded(0):
        module = Halves(8, parts=3)
    x = torch.randn(2, 5, 8, generator=drawn(0))
    found = module(x).unflatten(-1, (3, 2, 4))
    for part in range(3):
        for half in range(2):
            wanted = x[..., 4 * half : 4 * half + 4] @ module.weight[half, part].T
            torch.testing.assert_close(found[..., part, half, :], wanted)
    assert sum(one.numel() for one in module.parameters()) == 3 * 8 * 8 // 2


@torch.no_grad()
def test_each_half_of_the_features_looks_along_one_axis() -> None:
    """Through attention the first half hears its own sensor alone, the second its own moment alone, before the MLP mixes them."""
    with seeded(0):
        encoder = Axial(depth=1, width=32, heads=2, halves=True).build(1)
    block, tokens = encoder.blocks[0], grid()
    assert isinstance(block, Block)
    heard: dict[str, torch.Tensor] = {}
    block.out.register_forward_hook(lambda _, __, out: heard.update(out=out.clone()))
    encoder(tokens)
    before = heard["out"]
    changed = tokens.embedding.clone()
    changed[:, 0] = torch.randn(3, 32, generator=drawn(2))  # the first sensor's first moment
    encoder(tokens.with_embedding(changed))
    moved = (heard["out"] - before).abs().amax(dim=0).unflatten(0, (5, 8)) > 1e-6
    along, across = moved[..., :16].any(dim=-1), moved[..., 16:].any(dim=-1)
    assert along[0].all() and not along[1:].any()
    assert across[:, 0].all() and not across[:, 1:].any()


def test_halves_hear_whom_whole_blocks_hear() -> None:
    with seeded(0):
        encoder = Axial(depth=1, width=32, heads=2, halves=True).build(2)
        whole = Axial(depth=1, width=32, heads=2).build(2)
    tokens = padded(events())
    assert torch.equal(listens(encoder, tokens), listens(whole, tokens))
    with pytest.raises(ValidationError, match="even number of heads, not 3"):
        Axial(depth=1, width=36, heads=3, halves=True)


def test_a_summary_is_what_a_question_finds_and_never_padding() -> None:
    with seeded(0):
        module = Summary(32)
    tokens = grid()
    found = module(tokens)
    score = (tokens.embedding @ module.key.weight.T @ module.ask) / 32**0.5
    wanted = (score.softmax(dim=1).unsqueeze(-1) * tokens.embedding).sum(dim=1)
    torch.testing.assert_close(found.embedding[:, 0], wanted, atol=1e-5, rtol=1e-5)
    assert found.count == 1 and found.valid.all() and not found.padded
    hidden = padded(tokens, last=6)
    noise = torch.where(hidden.valid.unsqueeze(-1), hidden.embedding, 100.0)
    torch.testing.assert_close(module(hidden.with_embedding(noise)).embedding, module(hidden).embedding)


def test_what_a_summary_tells_comes_from_the_window_through_one_vector(
    make_recipe: Callable[..., PretrainRecipe], streams: dict[str, Stream]
) -> None:
    """All that its gradient changes of the encoder's output lies along what one vector lets through; nothing else is asked."""
    objectives = {"masked_patches": {"decoder_depth": 1, "raw": 0.0, "summary": 1.0}}
    net = learner(make_recipe(objectives=objectives), streams)
    objective = net.objectives["masked_patches"]
    assert isinstance(objective, MaskedPatchLoss)
    loss = net((streams["eeg"].batch(np.arange(4)),), Chance(0))
    assert list(loss.parts) == ["summary"] and loss.weights == {"summary": 1.0}
    loss.total.backward()
    for module in (net.model.encoder, objective.summary, objective.from_summary):
        assert isinstance(module, nn.Module)
        assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in module.parameters())


def test_a_summary_learns_what_windows_differ_in(
    make_recipe: Callable[..., PretrainRecipe], streams: dict[str, Stream]
) -> None:
    """Two windows by heart, through one vector each; with the same vector for both it stays as wrong as for a mean window."""
    objectives = {"masked_patches": {"decoder_depth": 1, "raw": 0.0, "summary": 1.0}}
    losses = {}
    for told in ("own", "shared"):
        net = learner(make_recipe(objectives=objectives), streams)
        objective = net.objectives["masked_patches"]
        assert isinstance(objective, MaskedPatchLoss)
        if told == "shared":
            objective.summary.register_forward_hook(
                lambda _, __, out: out.with_embedding(
                    out.embedding.mean(dim=0, keepdim=True).expand_as(out.embedding)
                )
            )
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
        batch = streams["eeg"].batch(np.array([0, 9]))
        for _ in range(100):
            loss = net((batch,), Chance(0)).total
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        losses[told] = float(loss.detach())
    assert losses["own"] < 0.92 * losses["shared"]
