"""BrainOmni's parts beside plain references: sources by cross-attention, residual codes, an axial block; what they are for."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor

from brainfm.batch import Batch
from brainfm.chance import Chance, seeded
from brainfm.codebook import Health, Usage
from brainfm.codec import Codec
from brainfm.corpus import Stream, Together
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording
from brainfm.encoders.axial import Axial
from brainfm.errors import RecipeError
from brainfm.gather import stream
from brainfm.jobs.tokenize import LATER, gather, looked_at
from brainfm.layers.apart import APART
from brainfm.layers.seanet import Down, Seanet, Up
from brainfm.learner import Learner, learner
from brainfm.manifest import Manifest
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.objectives.masked_codes import MaskedCodeLoss
from brainfm.recipe import PretrainRecipe, TokenizeRecipe
from brainfm.sensor_codec import shown, tell
from brainfm.tokens import Tokens, join

SMALL = (
    "codes.quantizer={kind: rvq, codes: 16, depth: 2, decay: 0.9}",
    "codes.hidden=32",
    "codes.width=16",
    "tokenizer.sources=6",
    "tokenizer.hidden=24",
)
SEANET = "codes.seanet={strides: [2, 4, 4], filters: 4, recurrent: 1}"


def person(seed: int, seconds: float = 40.0) -> Recording:
    """Somebody under a cap of eight electrodes and a helmet of twelve coils, at different times."""
    rng = np.random.default_rng(seed)
    found = {
        name: modality(name).simulate(rng, seconds=seconds, sensors=count)
        for name, count in (("eeg", 8), ("meg", 12))
    }
    signals = {name: one.signals[name] for name, one in found.items()}
    return Recording(signals, events=found["eeg"].events, source=f"person{seed}")


@pytest.fixture(scope="module")
def recipe() -> TokenizeRecipe:
    return TokenizeRecipe.load("codes_brainomni", SMALL)


@pytest.fixture(scope="module")
def streams(recipe: TokenizeRecipe) -> dict[str, Stream]:
    return {name: stream([person(1)], recipe, name) for name in ("eeg", "meg")}


def codec_of(recipe: TokenizeRecipe, streams: dict[str, Stream], steps: int = 0) -> Codec:
    """A codec whose codes are where its vectors are, trained for some steps on both instruments in turns."""
    codec, generator = Codec.fresh(recipe, streams["eeg"], 0), torch.Generator().manual_seed(0)
    rows = torch.cat([codec.rows(*codec.held(one.batch(np.arange(16)))) for one in streams.values()])
    codec.patches.fit(rows.detach(), generator)
    optimiser = torch.optim.AdamW(codec.train().parameters(), 3e-3)
    for step in range(steps):
        loss = codec(streams["eeg" if step % 2 else "meg"].batch(np.arange(16)), generator).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    codec.health = Health((Usage(16, 16, 16.0),), 100, 0.5, 0.5, 1.0, 0.8, "the windows of a test")
    codec.manifest = Manifest.of(streams["eeg"].recordings, "eeg", with_labels=False)
    return codec.eval()


@pytest.fixture(scope="module")
def codec(recipe: TokenizeRecipe, streams: dict[str, Stream]) -> Codec:
    return codec_of(recipe, streams, 40)


def linear(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def reference_sources(weights: dict[str, Tensor], batch: Batch, heads: int) -> Tensor:
    """(batch, source, time): cross-attention of latent queries over sensors by what they are, gains linear in orientation."""
    waves = 12
    length = 0.4 * (0.04 / 0.4) ** torch.linspace(0, 1, waves)
    angle = 2 * math.pi * batch.position[..., None] / length
    angle = angle.reshape(*batch.position.shape[:2], 3 * waves)
    place = linear(torch.cat([torch.sin(angle), torch.cos(angle)], -1), weights, "geometry.where.project")
    known = place + weights["geometry.kind"][batch.kind]
    known = linear(F.gelu(linear(known, weights, "geometry.mlp.0")), weights, "geometry.mlp.2")
    known = F.layer_norm(
        known, known.shape[-1:], weights["geometry.mlp.3.weight"], weights["geometry.mlp.3.bias"]
    )
    query = weights["query"]
    sources, _, hidden = query.shape
    key = linear(known, weights, "key").reshape(*known.shape[:2], heads, hidden)
    gain = linear(known, weights, "gain").reshape(*known.shape[:2], sources, heads, 4)
    size = batch.orientation.norm(dim=-1, keepdim=True)
    way = torch.cat([1 - size.clamp(max=1), batch.orientation], -1)
    out = torch.zeros(len(batch), sources, batch.signal.shape[-1])
    for source in range(sources):
        for head in range(heads):
            weight = torch.softmax((key[:, :, head] @ query[source, head]) / math.sqrt(hidden), dim=-1)
            signed = (gain[:, :, source, head] * way).sum(-1)
            out[:, source] += torch.einsum("bs,bst->bt", weight * signed, batch.signal)
    return out


@pytest.mark.parametrize("name", ["eeg", "meg"])
def test_sources_and_codes_are_those_of_a_plain_reference(
    codec: Codec, streams: dict[str, Stream], name: str
) -> None:
    """Cross-attention, the patch's network and residual nearest codes, written out with torch's functions alone."""
    batch = streams[name].batch(np.arange(5))
    weights = {key: value.detach() for key, value in codec.state_dict().items()}
    own = {
        key.removeprefix("tokenizer."): value
        for key, value in weights.items()
        if key.startswith("tokenizer.")
    }
    waves = reference_sources(own, batch, codec.recipe.tokenizer.heads)
    torch.testing.assert_close(codec.tokenizer.encode(batch), waves, rtol=1e-4, atol=1e-5)
    patches = waves.reshape(5, 6, -1, codec.recipe.tokenizer.times) / weights["patches.spread"]
    mine = {
        key.removeprefix("patches.encoder."): value
        for key, value in weights.items()
        if "patches.encoder" in key
    }
    x = F.gelu(linear(F.gelu(linear(patches, mine, "bent.0")), mine, "bent.2"))
    left = linear(patches, mine, "straight") + linear(x, mine, "bent.4")
    codes = []
    for level in range(2):
        table = weights[f"patches.quantizer.residual.layers.{level}._codebook.embed"][0]
        codes.append((left[..., None, :] - table).square().sum(-1).argmin(-1))
        left = left - table[codes[-1]]
    expected = torch.stack(codes, -1).flatten(1, 2)
    same = (codec.codes(batch) == expected).all(-1).float().mean()
    assert same > 0.99, "ties between codes may fall either way by rounding, and nothing else may"


def test_an_axial_block_is_that_of_a_plain_reference() -> None:
    """Half of the heads along time within a row, half across rows within a moment, rotary times on both."""
    torch.manual_seed(0)
    rows, times, width, heads = 3, 4, 32, 4
    encoder = Axial(kind="axial", depth=2, width=width, heads=heads).build(1)
    n = rows * times
    row = torch.arange(rows).repeat_interleave(times).expand(2, -1)
    time = ((torch.arange(times) + 0.5) * 0.25).repeat(rows).expand(2, -1)
    tokens = Tokens(
        torch.randn(2, n, width), time, torch.zeros(2, n, 3), torch.zeros(2, n, dtype=torch.bool),
        torch.zeros(2, n, dtype=torch.long), row, torch.zeros(2, n, dtype=torch.long), torch.ones(2, n, dtype=torch.bool),
        period=0.25, rows=rows,
    )  # fmt: skip
    w = {key: value.detach() for key, value in encoder.state_dict().items()}
    x = tokens.embedding + w["where.nowhere"] + w["instrument.weight"][0]
    size = width // heads
    period = 0.5 * (120.0 / 0.5) ** torch.linspace(0, 1, size // 2)
    angle = 2 * math.pi * time[..., None] / period

    def turned(q: Tensor) -> Tensor:
        a, b = q[..., : size // 2], q[..., size // 2 :]
        cos, sin = torch.cos(angle), torch.sin(angle)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    inside = [row[:, :, None] == row[:, None, :], time[:, :, None] == time[:, None, :]]
    for block in range(2):
        name = f"blocks.{block}."
        h = F.layer_norm(x, (width,), w[name + "norm.weight"])
        q, k, v = F.linear(h, w[name + "qkv.weight"]).split(width, -1)
        out = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            score = turned(q[..., part]) @ turned(k[..., part]).transpose(1, 2) / math.sqrt(size)
            score = score.masked_fill(~inside[head >= heads // 2], -torch.inf)
            out.append(score.softmax(-1) @ v[..., part])
        x = x + F.linear(torch.cat(out, -1), w[name + "out.weight"])
        mlp = {
            key.removeprefix(name + "mlp."): value
            for key, value in w.items()
            if key.startswith(name + "mlp.")
        }
        h = F.layer_norm(x, (width,), mlp["norm.weight"])
        x = x + linear(F.gelu(linear(h, mlp, "widen")), mlp, "narrow")
    expected = F.layer_norm(x, (width,), w["norm.weight"])
    with torch.no_grad():
        torch.testing.assert_close(encoder(tokens).embedding, expected, rtol=1e-4, atol=1e-5)


def test_losses_are_those_of_a_plain_reference() -> None:
    rng = np.random.default_rng(0)
    told, held = rng.normal(size=(2, 3, 64))
    a, b = (
        np.fft.rfft(x * (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(64) / 64)), norm="ortho")
        for x in (told, held)
    )
    expected = {
        "l1": np.abs(told - held).mean(),
        "correlation": np.mean([np.exp(-np.corrcoef(*pair)[0, 1]) for pair in zip(told, held, strict=True)]),
        "amplitude_l1": np.abs(np.abs(a) - np.abs(b)).mean(),
        "angle_l1": np.abs(np.angle(a) - np.angle(b)).mean(),
    }
    for name, value in expected.items():
        found = APART[name](torch.tensor(told, dtype=torch.float32), torch.tensor(held, dtype=torch.float32))
        assert float(found) == pytest.approx(value, rel=1e-3), name


def test_training_tells_sensors_that_are_not_shown(
    recipe: TokenizeRecipe, streams: dict[str, Stream], codec: Codec
) -> None:
    untrained = codec_of(recipe, streams)

    def error(one: Codec, name: str) -> float:
        batch = streams[name].batch(np.arange(8))
        seen, asked = (
            batch.sensors(torch.arange(0, batch.signal.shape[1], 2)),
            batch.sensors(torch.tensor([1, 3, 5])),
        )
        with torch.no_grad():
            told = tell(one.tokenizer, one.patches, seen, asked).sensors
        return float((told - asked.signal).square().mean() / asked.signal.square().mean())

    for name in ("eeg", "meg"):
        assert error(codec, name) < min(1.0, error(untrained, name)), name


def test_what_is_shown_lacks_sensors_and_has_noise(streams: dict[str, Stream]) -> None:
    batch = streams["meg"].batch(np.arange(4))
    some = shown(batch, 0.25, 0.0, torch.Generator().manual_seed(0))
    assert some.signal.shape[1] == 9 and torch.equal(
        shown(batch, 0.0, 0.0, torch.Generator()).signal, batch.signal
    )
    noisy = shown(batch, 0.0, 0.5, torch.Generator().manual_seed(0))
    assert float((noisy.signal - batch.signal).std()) == pytest.approx(0.5, rel=0.1)


def test_encoding_twice_is_the_same_to_the_bit(codec: Codec, streams: dict[str, Stream]) -> None:
    """Some published weights draw dropout when they encode, too."""
    batch = streams["eeg"].batch(np.arange(4))
    assert torch.equal(codec.codes(batch), codec.codes(batch))
    net = network(codec, streams)
    net.train()
    model = net.model.eval()
    with torch.no_grad():
        assert torch.equal(model(batch).embedding, model(batch).embedding)


def network(codec: Codec, streams: dict[str, Stream]) -> Learner:
    """An untrained learner of both instruments, each window of both."""
    recipe = PretrainRecipe.load("brainomni", ["encoder={kind: axial, depth: 1, width: 32, heads: 2}"])
    signal = codec.recipe.signal
    recipe = recipe.model_copy(update={"signals": {"eeg": signal, "meg": signal}})
    rows = np.arange(8)
    parts = tuple(replace(one, windows=one.windows.rows(rows)) for one in streams.values())
    return learner(recipe, {"eeg+meg": Together(parts)}, {"eeg": codec, "meg": codec})


def test_both_instruments_are_told_in_one_stream(codec: Codec, streams: dict[str, Stream]) -> None:
    net = network(codec, streams)
    batches = tuple(one.batch(np.arange(8)) for one in streams.values())
    loss = net(batches, Chance(0))
    assert loss.weights["codes"] == 1.0 and float(loss.parts["codes"].detach()) == pytest.approx(
        math.log(16), rel=0.5
    )
    optimiser = torch.optim.AdamW([one for one in net.parameters() if one.requires_grad], 3e-3)
    for step in range(60):
        optimiser.zero_grad()
        net(batches, Chance(step)).total.backward()
        optimiser.step()
    assert float(net(batches, Chance(0)).parts["codes"].detach()) < 0.85 * float(loss.parts["codes"].detach())


def test_the_network_has_the_codecs_sources_and_keeps_them(codec: Codec, streams: dict[str, Stream]) -> None:
    net = network(codec, streams)
    batch = streams["meg"].batch(np.arange(4))
    for one in net.model.tokenizers.values():
        torch.testing.assert_close(one.encode(batch), codec.tokenizer.encode(batch))
        moving = {name.partition(".")[0] for name, weight in one.named_parameters() if weight.requires_grad}
        assert moving == {"embed", "name"}
    assert net.model.tokenize(batch, torch.Generator()).losses == {}


def test_hidden_tokens_are_hidden_in_place(codec: Codec, streams: dict[str, Stream]) -> None:
    """What a hidden token says changes nothing, unless it is what another is replaced by: those are seen tokens alone."""
    net = network(codec, streams)
    objective = net.objectives["masked_codes"]
    assert isinstance(objective, MaskedCodeLoss)
    view = net.view(tuple(one.batch(np.arange(8)) for one in streams.values()), Chance(3))
    piece = view.pieces[0]
    before = objective.hide(piece, view)
    said = piece.tokenized.tokens.embedding.clone()
    said.scatter_(1, piece.hidden.hidden.unsqueeze(-1).expand(-1, -1, said.shape[-1]), 100.0)
    other = replace(
        piece, tokenized=replace(piece.tokenized, tokens=piece.tokenized.tokens.with_embedding(said))
    )
    again = net.view(tuple(one.batch(np.arange(8)) for one in streams.values()), Chance(3))
    assert torch.equal(objective.hide(other, again).embedding, before.embedding)
    hidden = piece.hidden.mask()
    assert torch.allclose(before.embedding[~hidden], piece.tokenized.tokens.embedding[~hidden], atol=1e-6)
    known = piece.tokenized.tokens.who
    assert known is not None
    masked = ((before.embedding - known)[hidden] - objective.mask).abs().amax(-1) < 1e-5
    assert 0.7 < float(masked.float().mean()) < 0.9, "four of five have the mask's vector"


def test_a_codec_of_sensors_asks_a_tokenizer_that_tells_them() -> None:
    with pytest.raises(RecipeError, match="tokenizer that can be asked for any sensor"):
        TokenizeRecipe.load("codes_eeg", ["codes.tells=sensors"])
    with pytest.raises(RecipeError, match="spikes can't be read"):
        TokenizeRecipe.load("codes_brainomni", ["codes.also=[spikes]"])
    with pytest.raises(
        RecipeError, match="robust_scale would learn from eeg alone, and the codes are also of meg"
    ):
        TokenizeRecipe.load("codes_brainomni", ["prepare=[{kind: robust_scale, scope: training_set}]"])


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("brainomni", "objectives.masked_codes.symmetric=true", "symmetric needs a decoder"),
        (
            "brainomni",
            "objectives.masked_codes.in_place=false",
            "random is of tokens that are hidden in_place",
        ),
        ("codes_brainomni", "codes.tells=rows", "drop and noise are of what sensors tell"),
    ],
)
def test_what_would_change_nothing_is_refused(recipe: str, override: str, words: str) -> None:
    kind = TokenizeRecipe if recipe.startswith("codes") else PretrainRecipe
    with pytest.raises(RecipeError, match=words):
        kind.load(recipe, [override])


def test_each_instrument_says_which_of_its_windows_were_looked_at(tmp_path: Path) -> None:
    """Of EEG a person was held out, of MEG nobody."""
    size = "subjects: 2, seconds: 30.0, sensors: 9"
    eeg, meg = (
        tiny.card(
            tmp_path,
            f"under_{name}",
            f"{{kind: simulated, modality: {name}, {size}}}",
            modality=name,
            more="",
        )
        for name in ("eeg", "meg")
    )
    data = f'data={{cards: [{eeg}, {meg}], hold_out: {{under_eeg: ["02"]}}}}'
    recipe = TokenizeRecipe.load("codes_brainomni", [*SMALL, data])
    found = gather(recipe)
    assert found.on == f"eeg: held-out recordings; meg: {LATER}"
    codec = Codec(found.recipe)
    codec.manifest = found.manifest
    cards = [str(eeg), str(meg)]
    assert looked_at(codec, cards, None)[1] == (
        f"eeg: 1 recordings of {', '.join(cards)}; meg: {', '.join(cards)}, trained on"
    )


@pytest.mark.parametrize(("width", "heads", "published"), [(256, 8, 8.42e6), (512, 16, 32.71e6)])
def test_the_published_sizes_of_the_network(width: int, heads: int, published: float) -> None:
    """The encoder and the map to codes."""
    recipe = PretrainRecipe.load("brainomni_published", [f"encoder.width={width}", f"encoder.heads={heads}"])
    with torch.device("meta"):
        model = BrainFM(BrainFMConfig.of(recipe))
    weights = sum(one.numel() for one in model.encoder.parameters()) + (width + 1) * 4 * 512
    assert weights == pytest.approx(published, rel=0.005)


def test_the_published_size_of_the_tokenizer() -> None:
    with torch.device("meta"):
        codec = Codec(TokenizeRecipe.load("brainomni_published"))
    lstms = 2 * 4 * (2 * 256 * 256 + 2 * 256)
    for network in (codec.patches.encoder, codec.patches.decoder):
        assert sum(one.numel() for one in network.parameters()) == pytest.approx(lstms + 0.99e6, rel=0.005)
    assert sum(one.numel() for one in codec.parameters()) == pytest.approx(5.05e6, rel=0.03)
    assert codec.sizes == (512, 512, 512, 512)


@pytest.mark.parametrize("strides", [[32], [2, 4, 4], [5, 3]])
def test_convolutions_say_a_row_that_they_made_into_vectors(strides: list[int]) -> None:
    """Sines of 2 to 10 Hz at 128 Hz: a few steps tell nine tenths of their variance by one vector a patch."""
    part, draw = Seanet(strides=strides, filters=4, recurrent=1), torch.Generator().manual_seed(0)
    with seeded(0):
        down, up = Down(part, 16), Up(part, 16)
    time = torch.arange(8 * part.samples) / 128
    rate, phase = 2 + 8 * torch.rand(32, 1, generator=draw), 2 * math.pi * torch.rand(32, 1, generator=draw)
    rows = torch.sin(2 * math.pi * rate * time + phase).unflatten(-1, (8, part.samples))
    optimiser = torch.optim.AdamW([*down.parameters(), *up.parameters()], 1e-2)
    for _ in range(60):
        vectors = down(rows)
        assert vectors.shape == (32, 8, 16)
        loss = F.mse_loss(up(vectors), rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1 * float(rows.var())
    changed = rows.clone()
    changed[1, 3] += 1.0
    with torch.no_grad():
        moved = (down(changed) - down(rows)).abs().amax(dim=-1) > 1e-4
    assert moved[1, 2:].all() and not moved[[0, *range(2, 32)]].any(), (
        "a row hears itself: neighbours and what came before"
    )


def test_a_codec_of_convolutions_is_the_same_when_loaded(streams: dict[str, Stream], tmp_path: Path) -> None:
    made = codec_of(TokenizeRecipe.load("codes_brainomni", [*SMALL, SEANET]), streams)
    made.save(tmp_path)
    batch = streams["meg"].batch(np.arange(4))
    assert torch.equal(Codec.load(tmp_path).reconstruct(batch).told, made.reconstruct(batch).told)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("codes.seanet.strides=[2, 4]", r"strides 2 · 4 make a code of 8 samples, and a token holds 32"),
        ("codes.decoder_depth=1", "seanet is of waveforms and has no blocks"),
        ("codes.heads=2", "of blocks, of which there are none"),
    ],
)
def test_networks_that_do_not_go_together_are_refused(more: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        TokenizeRecipe.load("codes_brainomni", [*SMALL, SEANET, more])


def test_one_stream_holds_the_tokens_of_both(codec: Codec, streams: dict[str, Stream]) -> None:
    net = network(codec, streams)
    tokens = join([net.model.tokenize(one.batch(np.arange(2))).tokens for one in streams.values()])
    assert tokens.count == 2 * 6 * 8 and tokens.rows == 12
