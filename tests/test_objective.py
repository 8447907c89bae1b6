"""The masked-patch objective: its parts, its weights, its targets, and what it may and may not be told."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.learner import Learner, learner
from brainfm.objectives import Loss
from brainfm.objectives.masked_patches import MaskedPatchLoss, normalise, patches_wanted
from brainfm.recipe import PretrainRecipe
from brainfm.tokens import Hidden, Target, Tokenized, Tokens
from brainfm.view import taken
from tests.tiny import drawn

MakeRecipe = Callable[..., PretrainRecipe]


def net(make: MakeRecipe, streams: dict[str, Stream], dynamics: float = 1.0) -> Learner:
    objectives = {"masked_patches": {"decoder_depth": 1}, "neurodynamics": {"weight": dynamics}}
    return learner(make(objectives=objectives), streams)


def decoder(found: Learner) -> MaskedPatchLoss:
    module = found.objectives["masked_patches"]
    assert isinstance(module, MaskedPatchLoss)
    return module


def test_the_total_is_the_weighted_sum_of_unweighted_parts() -> None:
    loss = Loss({"a": torch.tensor(2.0), "b": torch.tensor(5.0)}, {"a": 1.0, "b": 0.1})
    assert float(loss.total) == pytest.approx(2.5)
    with pytest.raises(AssertionError):
        _ = Loss({}, {}).total


def test_weights_change_the_total_and_not_the_parts(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    one, three = (net(make_recipe, streams, weight)((windows,), Chance(0)) for weight in (1.0, 3.0))
    assert one.parts.keys() == three.parts.keys() == {"patches", "statistics"}
    for name, part in one.parts.items():
        assert torch.equal(part, three.parts[name])
    assert float(three.total.detach()) == pytest.approx(
        float((one.parts["patches"] + 3 * one.parts["statistics"]).detach()), rel=1e-6
    )


def test_no_statistics_no_head(make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch) -> None:
    with_, without = net(make_recipe, streams), net(make_recipe, streams, 0.0)
    assert without((windows,), Chance(0)).parts.keys() == {"patches"}
    assert any("describe" in name for name, _ in with_.named_parameters())
    assert not any("describe" in name for name, _ in without.named_parameters())


def test_an_untrained_guess_costs_about_one(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    """Targets have variance 1, so saying nothing costs 1: a loss below it has learnt something."""
    found = net(make_recipe, streams)
    torch.nn.init.zeros_(decoder(found).predict["eeg"].weight)
    torch.nn.init.zeros_(decoder(found).predict["eeg"].bias)
    assert float(found((windows,), Chance(0)).parts["patches"].detach()) == pytest.approx(1.0, abs=1e-3)


def test_targets_are_normalised_patch_by_patch() -> None:
    patch = 5.0 + 30.0 * torch.randn(2, 3, 32, generator=drawn(0))
    found = normalise(patch)
    torch.testing.assert_close(found.mean(dim=-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(dim=-1, unbiased=False), torch.ones(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalise(7 * patch - 2), found, atol=1e-4, rtol=1e-4)
    assert torch.equal(normalise(torch.full((1, 1, 32), 3.0)), torch.zeros(1, 1, 32))


def two_rows(times: int) -> Tokenized:
    """Two rows of six tokens of so many samples, one around 5, the other around 50."""
    level = torch.tensor([5.0, 50.0]).repeat_interleave(6)[None, :, None]
    value = (
        level + torch.randn(3, 12, times, generator=drawn(0)) + 4 * torch.randn(3, 12, 1, generator=drawn(1))
    )
    one = torch.ones(3, 12)
    tokens = Tokens(
        embedding=one.unsqueeze(-1),
        time=one,
        position=torch.zeros(3, 12, 3),
        located=one.bool(),
        modality=one.long(),
        sensor=torch.arange(2).repeat_interleave(6).expand(3, -1),
        region=one.long(),
        valid=one.bool(),
        period=1.0,
        rows=2,
    )
    return Tokenized(tokens, {"fmri": Target(value, 0.5)})


def test_short_patches_keep_their_level() -> None:
    """Two volumes normalised alone are a sign; over the row they still say how much."""
    found = patches_wanted(two_rows(2), "fmri")
    rows = found.unflatten(1, (2, 6)).flatten(2)
    torch.testing.assert_close(rows.mean(dim=-1), torch.zeros(3, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.var(dim=-1, unbiased=False), torch.ones(3, 2), atol=1e-3, rtol=0)
    assert len(found.abs().round(decimals=2).unique()) > 10
    assert found.mean(dim=-1).std() > 0.5
    long = patches_wanted(two_rows(32), "fmri")
    torch.testing.assert_close(long.mean(dim=-1), torch.zeros(3, 12), atol=1e-4, rtol=0)


def test_the_target_is_what_the_hidden_tokens_held(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    found = net(make_recipe, streams)
    hidden = Hidden(seen=torch.arange(2, 64).expand(8, -1), hidden=torch.tensor([[0, 1]]).expand(8, -1))
    target = taken(found.model.tokenize(windows).targets["eeg"].value, hidden.hidden)
    assert torch.equal(target[:, 0], windows.signal[:, 0, :32])
    assert torch.equal(target[:, 1], windows.signal[:, 0, 32:64])


def test_only_hidden_patches_are_scored(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    """The error is computed again by hand from the decoder's words for the hidden tokens alone."""
    found = net(make_recipe, streams)
    tokenized = found.model.tokenize(windows)
    hidden = found.mask.draw(tokenized.tokens, Chance(0))
    with torch.no_grad():
        seen = found.model.encoder(tokenized.tokens.take(hidden.seen))
        told = decoder(found).decode("eeg", seen, tokenized.tokens.take(hidden.hidden))
        patches = windows.signal.unflatten(-1, (-1, 32)).flatten(1, 2)
        wanted = torch.stack([normalise(patches[None, row, at])[0] for row, at in enumerate(hidden.hidden)])
        expected = (told - wanted).square().mean()
        torch.testing.assert_close(found((windows,), Chance(0)).parts["patches"], expected)


def test_the_decoder_is_told_place_and_time_of_what_it_is_asked(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    found = net(make_recipe, streams)
    tokens = found.model.tokenize(windows).tokens
    seen, asked = tokens.take(torch.arange(40).expand(8, -1)), tokens.take(torch.arange(40, 64).expand(8, -1))
    with torch.no_grad():
        plain = decoder(found).decode("eeg", seen, asked)
        for other in (
            replace(asked, position=asked.position + 0.03),
            replace(asked, time=asked.time + 0.25),
        ):
            moved = decoder(found).decode("eeg", seen, other)
            assert not torch.allclose(moved[:, :16], plain[:, :16], atol=1e-4)
        content = decoder(found).decode("eeg", seen, asked.with_embedding(100 * asked.embedding))
        assert torch.equal(content, plain)
