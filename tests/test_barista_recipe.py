"""BaRISTA out of shared parts: its weights beside the published, two scales that are chosen apart, and its target."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.readers.simulated_words import SimulatedWords
from brainfm.data.recording import Recording
from brainfm.errors import DataError, RecipeError
from brainfm.gather import stream
from brainfm.layers.barista import Barista
from brainfm.layers.embedding import embedding
from brainfm.learner import Learner, learner
from brainfm.masks.region import Region, numbered
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.objectives.latent_prediction import normalised, signal_alone
from brainfm.recipe import PretrainRecipe
from brainfm.tokens import Tokens
from tests.tiny import drawn


def weights(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.fixture(scope="module")
def talker() -> Recording:
    """A person with three electrodes in several parcels and lobes."""
    reader = SimulatedWords(tells="speech", subjects=9, words=4, repeats=3, sensors=24)
    entry = reader.find(None, "")[8]  # type: ignore[arg-type] # no folder is looked at
    return replace(reader.open(entry.path), dataset="simulated_talk", subject="09", session="01")


def recipe(*more: str) -> PretrainRecipe:
    return PretrainRecipe.load("barista", ["encoder.depth=1", "train.batch=4", *more])


def streams(talker: Recording, chosen: PretrainRecipe) -> dict[str, Stream]:
    return {"seeg": stream([talker], chosen.signals["seeg"], "seeg")}


def net(talker: Recording, *more: str) -> tuple[Learner, Stream]:
    chosen = recipe(*more)
    found = streams(talker, chosen)
    return learner(chosen, found), found["seeg"]


def test_weights_beside_the_published() -> None:
    """Oganesian et al. 2025, released files: convolutions 616, the map after them 32,768, backbone 798,016."""
    chosen = PretrainRecipe.load("barista_published")
    with torch.device("meta"):
        model = BrainFM(BrainFMConfig.of(chosen))
        theirs = Barista((121,))
    tokenizer = model.tokenizers["seeg"]
    assert weights(tokenizer.embed) == 616 + 32_768
    temporal = theirs.tokenizer["temporal_encoder"], theirs.tokenizer["temporal_pooler"]
    assert sum(map(weights, temporal)) == weights(tokenizer.embed)
    ours = weights(model.encoder.blocks) + weights(model.encoder.norm)
    assert weights(theirs.backbone) == 798_016
    assert 798_016 - ours == 12 * (3 * 64 + 64)  # the biases of attention, which ours has not
    plain = BrainFM(BrainFMConfig.of(PretrainRecipe.load("barista_published", ["encoder.gated=false"])))
    assert weights(plain.encoder.blocks) == weights(model.encoder.blocks) - 12 * (64 * 256 + 256)


def test_the_dilated_embedding_computes_what_the_released_network_does() -> None:
    """Parity with the module that is tested against the released weights: same weights, same tokens of a patch."""
    theirs, ours = Barista((21,)), embedding("dilated", 512, 64)
    net = theirs.tokenizer["temporal_encoder"]["feature_extractor"]["net"]
    given = {
        name: value for part in (net, theirs.tokenizer["temporal_pooler"]) for name, value in named(part)
    }
    for (name, mine), other in zip(ours.named_parameters(), given.values(), strict=True):
        assert mine.numel() == other.numel(), name
        mine.data.copy_(other.data.reshape(mine.shape))
    signal = torch.randn(2, 3, 1024, generator=drawn(0))
    patches = signal.unfold(2, 512, 512)
    x = patches.transpose(1, 2).reshape(-1, 1, 1, 512)
    for block in net:
        x = block(x)
    wanted = theirs.tokenizer["temporal_pooler"]["final_layer"](x.reshape(2, 2, 3, 512)).transpose(1, 2)
    torch.testing.assert_close(ours(patches), wanted, atol=1e-5, rtol=1e-4)


def named(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters under names that two modules do not share."""
    return [(f"{id(module)}.{name}", value) for name, value in module.named_parameters()]


def labels(tokens: Tokens, scale: str) -> torch.Tensor:
    """(batch, row) the place of each row at a scale."""
    assert tokens.lobe is not None
    if scale == "channel":
        return torch.arange(tokens.rows).expand(len(tokens.time), -1)
    return numbered(tokens.region if scale == "parcel" else tokens.lobe, tokens)


@pytest.mark.parametrize("hides", ["channel", "parcel", "lobe"])
@pytest.mark.parametrize("tells", ["channel", "parcel", "lobe"])
def test_places_are_told_at_one_scale_and_hidden_at_another(
    talker: Recording, tells: str, hides: str
) -> None:
    """All of a place is hidden for the whole window, but for one place that is cut; at least 30 % of the tokens are."""
    found, of = net(talker, f"signals.seeg.tokenizer.scale={tells}", f"mask.scale={hides}")
    view = found.view((of.batch(np.arange(4)),), Chance(0))
    piece = view.pieces[0]
    tokens = piece.tokenized.tokens
    hidden = piece.hidden.mask().unflatten(1, (tokens.rows, -1))
    assert 0.3 <= float(hidden.float().mean()) < 0.4
    whole = hidden.all(dim=2)
    assert torch.equal(whole, hidden.any(dim=2))
    for window, place in zip(whole, labels(tokens, hides), strict=True):
        share = torch.stack([window[place == one].float().mean() for one in place.unique()])
        assert ((share > 0) & (share < 1)).sum() <= 1
    vocabulary = found.model.tokenizers["seeg"].vocabulary
    regions = talker.signal("seeg").sensors.region
    places = {"channel": 0, "parcel": len(set(regions)), "lobe": len(set(tokens.lobe[0].tolist()))}
    assert len(vocabulary) == places[tells]


def test_lobes_hide_more_together_than_channels(talker: Recording) -> None:
    """Scales differ: with lobes hidden, the neighbours of a hidden contact are hidden, too."""
    together = {}
    for hides in ("channel", "lobe"):
        found, of = net(talker, f"mask.scale={hides}")
        piece = found.view((of.batch(np.arange(8)),), Chance(0)).pieces[0]
        gone = piece.hidden.mask().unflatten(1, (24, -1))[..., 0].float()
        together[hides] = float((gone[:, 1:] * gone[:, :-1]).sum() / gone[:, 1:].sum())
    assert together["lobe"] > together["channel"] + 0.3


def test_tokens_that_say_no_lobe_are_refused(talker: Recording) -> None:
    found, of = net(talker)
    tokens = replace(found.model.tokenize(of.batch(np.arange(2))).tokens, lobe=None)
    with pytest.raises(DataError, match="the mask region hides lobes, and these tokens say none"):
        Region(scale="lobe").draw(tokens, Chance(0))


def test_the_target_is_the_signal_without_its_place(talker: Recording) -> None:
    """Contacts that are told otherwise and carry the same have the same target; the tokens themselves differ."""
    found, of = net(talker)
    batch = of.batch(np.arange(2))
    batch = replace(batch, signal=batch.signal[:, :1].expand_as(batch.signal).contiguous())
    tokens = found.model.tokenize(batch).tokens
    alone = signal_alone(tokens).embedding.unflatten(1, (24, -1))
    torch.testing.assert_close(alone, alone[:, :1].expand_as(alone), atol=1e-5, rtol=1e-4)
    told = tokens.embedding.unflatten(1, (24, -1))
    assert float((told - told[:, :1]).detach().abs().max()) > 0.1


def test_it_is_the_teachers_and_of_hidden_tokens(talker: Recording) -> None:
    """Told exactly what the slow copy's tokenizer makes of the hidden tokens, it costs nothing; of another copy's it does."""
    found, of = net(talker)
    slow = copy.deepcopy(found.model)
    found.teacher_tokens = lambda batch: slow.tokenize(batch).tokens
    batch = of.batch(np.arange(4))
    view = found.view((batch,), Chance(0))
    index = view.pieces[0].hidden.hidden
    latent = normalised(signal_alone(slow.tokenize(batch).tokens))
    exact = latent.gather(1, index.unsqueeze(-1).expand(-1, -1, 64))
    module = found.objectives["latent_prediction"]

    class Exact(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return exact

    module.predict = Exact()
    with torch.no_grad():
        assert float(module(view).parts["latents"]) < 1e-9
        for value in slow.tokenizers["seeg"].embed.parameters():
            value.normal_()
        assert float(module(found.view((batch,), Chance(0))).parts["latents"]) > 0.1


def test_no_gradient_reaches_the_tokenizer_by_its_target(talker: Recording) -> None:
    """A hidden contact's own signal teaches its tokenizer nothing: only what is seen does."""
    found, of = net(talker)
    slow = copy.deepcopy(found.model)
    found.teacher_tokens = lambda batch: slow.tokenize(batch).tokens
    found((of.batch(np.arange(4)),), Chance(0)).total.backward()
    assert all(value.grad is None for value in slow.parameters())
    assert float(found.model.tokenizers["seeg"].embed.weight.grad.abs().max()) > 0


def test_tokens_without_a_teacher_are_refused() -> None:
    with pytest.raises(RecipeError, match="of: tokens needs a teacher"):
        recipe("objectives.latent_prediction.teacher=none")
