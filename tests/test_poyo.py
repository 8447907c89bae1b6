"""POYO: latents that read a whole window, a head that is asked for a moment, neurons that a decoder has yet to meet."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from brainfm.adaptation.sensors import Sensors
from brainfm.chance import seeded
from brainfm.data.recording import Recording, Signal
from brainfm.data.recording import Sensors as Table
from brainfm.data.spike_times import SpikeTimes
from brainfm.encoders.bottleneck import Bottleneck
from brainfm.encoders.recurrent import Recurrent
from brainfm.errors import CheckpointError, DataError
from brainfm.gather import stream
from brainfm.heads.at_time import AtTime
from brainfm.model import BrainFM
from brainfm.model_config import DecoderSettings, network_of
from brainfm.recipe import FinetuneRecipe
from tests.test_encoders import tokens_of
from tests.tiny import drawn

SIGNAL = {
    "prepare": [{"kind": "bin_counts", "seconds": 0.001}],
    "seconds": 1.0,
    "tokenizer": {"kind": "spike_events", "seconds": 0.1, "sfreq": 1000.0},
}


def events(times: list[float], seed: int = 0) -> Any:
    """One window of events of two sensors at these times."""
    time = torch.tensor([times])
    return tokens_of(torch.arange(len(times))[None] % 2, time, seed=seed)


def test_latents_hear_other_stretches_in_one_block_only_where_they_read_across() -> None:
    """A latent's own stretch and, `across`, every other: what one far token says reaches what latents have read."""
    tokens = events([0.1, 0.2, 0.6, 0.7, 0.9])
    other = tokens.with_embedding(tokens.embedding.clone())
    other.embedding[:, -1] = torch.randn(32, generator=drawn(9))
    for across in (False, True):
        part = Bottleneck(depth=1, width=32, heads=2, latents=2, seconds=0.5, across=across)
        with seeded(0):
            net = part.build(2).eval()
        read: list[torch.Tensor] = []
        with torch.no_grad():
            for one in (tokens, other):
                with net.read.register_forward_hook(lambda _, __, out, read=read: read.append(out)):
                    net(one)
        first = (read[0] - read[1]).abs()[:, :2]  # the latents of the first half second
        assert bool(first.max() > 1e-4) == across


def test_a_recurrent_core_hears_the_past_and_its_own_stretch() -> None:
    """What a later stretch says changes nothing; what an earlier one says does, over a stretch without any token, too."""
    with seeded(0):
        net = Recurrent(depth=1, width=32, heads=2, latents=2, seconds=0.1).build(2).eval()
    tokens = events([0.01, 0.02, 0.16, 0.55, 0.56, 0.93])

    def told(changed: int) -> torch.Tensor:
        said = tokens.embedding.clone()
        said[:, changed] = torch.randn(32, generator=drawn(9))
        with torch.no_grad():
            return (net(tokens.with_embedding(said)).embedding - net(tokens).embedding).abs().amax(dim=-1)[0]

    for changed, first in ((0, 0), (2, 2), (4, 3), (5, 5)):
        found = told(changed)
        assert float(found[:first].sum()) == 0
        assert bool((found[first:] > 1e-5).all())
    with pytest.raises(ValueError, match="tells nothing before it came"):
        Recurrent(depth=1, width=32, heads=2, across=True)


def test_an_answer_depends_on_when_it_is_asked_for_and_how_long_ago_spikes_were() -> None:
    tokens = replace(events([0.1, 0.2, 0.6, 0.7]), rows=2)
    with seeded(0):
        head = AtTime(seconds=0.9).build(32, 3, 0, 0)
        torch.nn.init.normal_(head.score.weight)
        later = AtTime(seconds=1.4).build(32, 3, 0, 0)
    later.load_state_dict(head.state_dict())
    with torch.no_grad():
        told = head(tokens)
        assert not torch.allclose(later(tokens), told, atol=1e-3)
        moved = replace(tokens, time=tokens.time + 0.5)
        torch.testing.assert_close(later(moved), told, atol=1e-5, rtol=1e-4)
        padded = replace(tokens, valid=torch.tensor([[True, True, True, False]]), padded=True)
        loud = padded.with_embedding(padded.embedding * torch.tensor([1.0, 1.0, 1.0, 9.0])[:, None])
        torch.testing.assert_close(head(padded), head(loud))


@pytest.fixture(scope="module")
def decoder() -> tuple[BrainFM, Any]:
    """An untrained decoder of the recipe on four neurons, and windows of very different numbers of spikes."""
    rng = np.random.default_rng(0)
    rates = np.array([2.0, 4.0, 9.0, 3.0])
    trains = [np.sort(rng.uniform(0, 60, rng.poisson(rate * 60))) for rate in rates]
    trains[2] = trains[2][trains[2] > 30]
    table = Table.of([f"n{row}" for row in range(4)], "neuron", "count", np.full((4, 3), np.nan), "none")
    recording = Recording(
        {"spikes": Signal(SpikeTimes.of(trains, 60.0, 1000.0), 1000.0, table)}, source="test"
    )
    recipe = FinetuneRecipe.load("poyo")
    model = BrainFM.fresh(network_of(recipe), 0)
    found = stream([recording], model.signals["spikes"], "spikes")
    model.adopt(found)
    settings = DecoderSettings.model_construct(
        head=recipe.head,
        labels=["x"],
        answer=DecoderSettings.model_fields["answer"].default.model_copy(
            update={"of": "values", "mean": [0.0], "scale": [1.0]}
        ),
        subjects=None,
        modality="spikes",
        sensors=list(table.name),
        channels=0,
        window=recipe.window,
        reader={"kind": "spike_arrays", "unit": "s"},
        events=None,
        card="test",
        recipe=recipe.text,
    )
    return model.with_decoder(settings, 0), found


def test_what_is_decoded_does_not_depend_on_the_windows_beside_it(decoder: tuple[BrainFM, Any]) -> None:
    """Windows of few spikes and of many: each alone, and all in one call."""
    model, found = decoder
    torch.nn.init.normal_(model.head.score.weight)
    rows = np.arange(len(found.windows))
    together = model.probabilities(found, rows)
    alone = np.concatenate([model.probabilities(found, rows[row : row + 1]) for row in rows])
    assert np.ptp(found.lengths) > 10
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(found, rows[::-1]), alone[::-1], atol=1e-5)


def test_only_vectors_of_sensors_are_learnt_and_the_head_is_kept(decoder: tuple[BrainFM, Any]) -> None:
    model, _ = decoder
    (phase,) = Sensors().phases(model, 1.0)
    trained = [
        name
        for name, _ in model.named_parameters()
        if next(rate for prefix, rate in phase.rates.items() if name.startswith(prefix)) > 0
    ]
    assert trained == ["tokenizers.spikes.vocabulary.table"] == list(phase.undecayed)
    assert model.decoder is not None
    torch.nn.init.normal_(model.head.score.weight)
    kept, fresh = (model.with_decoder(model.decoder, 1, keep) for keep in (True, False))
    assert torch.equal(kept.head.score.weight, model.head.score.weight)
    assert not torch.equal(fresh.head.score.weight, model.head.score.weight)
    with pytest.raises(CheckpointError, match="this adaptation keeps the head"):
        model.with_decoder(model.decoder.model_copy(update={"labels": ["y"]}), 0, keep=True)
    with pytest.raises(DataError, match="knows sensors by name"):
        Sensors().phases(model.encoder, 1.0)


@pytest.mark.parametrize(
    ("overrides", "ours", "published"),
    [
        ([], 1_232_577, 1.3e6),
        (
            ["network.encoder.latents=32", "network.encoder.depth=24", "network.encoder.width=128"],
            11_618_433,
            11.8e6,
        ),
    ],
)
def test_the_published_sizes_counted(overrides: list[str], ours: int, published: float) -> None:
    """Within a tenth: what reads and what asks has fewer heads here."""
    recipe = FinetuneRecipe.load("poyo_published", overrides)
    with torch.device("meta"):
        model = BrainFM(network_of(recipe))
        head = recipe.head.build(model.width, 1, 0, 0)
    count = sum(one.numel() for module in (model, head) for one in module.parameters())
    assert count == ours
    assert 0.9 < count / published < 1
