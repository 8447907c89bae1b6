"""Decoding what somebody hears: its parts at the published size, splits by sentence, what a match is, and that it is learnt."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from brainfm.answers import Answer, Matching
from brainfm.batch import number_of
from brainfm.data import speech
from brainfm.data.cards import DataCard
from brainfm.data.leaks import Fold, check_fold, stimuli
from brainfm.data.listening import Heard, Listener, driven, listening
from brainfm.data.readers.simulated_speech import SimulatedSpeech
from brainfm.data.recording import Events, Recording, Track
from brainfm.data.sound import mel_spectrogram
from brainfm.data.speech import RATE, sentences, spoken
from brainfm.data.splits import split
from brainfm.data.targets import Targets
from brainfm.data.windows import Windows
from brainfm.data.windows.inside import Inside
from brainfm.encoders.dilated import Dilated
from brainfm.errors import DataError, RecipeError
from brainfm.heads.course import Course
from brainfm.layers.flat import Waves, flat, outside
from brainfm.layers.subjects import SubjectLayer
from brainfm.metrics import OF_SEGMENTS
from brainfm.model import BrainFM, network_of
from brainfm.recipe import FinetuneRecipe
from brainfm.regressors.trf import Trf
from brainfm.sounds.mel import Mel
from brainfm.sounds.wav2vec2 import Wav2Vec2
from brainfm.targeted import Targeted
from brainfm.tasks import laid_out
from brainfm.tokenizers.spatial_attention import SpatialAttention
from brainfm.tokens import Tokens

READER = "{kind: simulated_speech, subjects: 2, sentences: 12, sensors: 18, voice: formants}"


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    """Two people who hear twelve sentences that nobody has to install anything for."""
    return tiny.card(folder, "listeners", READER, modality="meg", more="")


@pytest.fixture(scope="module")
def people(card: Path) -> list[Recording]:
    return DataCard.load(card).recordings()


def weights(module: torch.nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


# ---- the network, as published


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
    recipe = small(card, "network.signals.meg.tokenizer.dropout=0.5")
    net = BrainFM.fresh(network_of(recipe), 0)
    batch = batch_of(net, people)
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


# ---- sound


def test_mel_is_that_of_another_library() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    sound = spoken("the river opened", "formants").astype(np.float64)
    bank = mel_filter_bank(201, 24, 0.0, 8000.0, RATE, norm=None, mel_scale="htk")
    other = spectrogram(
        sound, window_function(400, "hann"), 400, 160, fft_length=400, power=1.0, center=True,
        pad_mode="constant", mel_filters=bank, mel_floor=0.0,
    )  # fmt: skip
    mine = np.exp(mel_spectrogram(sound, RATE, 24)) - 1e-5
    n = min(len(mine), other.shape[1])
    np.testing.assert_allclose(mine[:n] * 200, other.T[:n], atol=1e-3)
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    loudest = mel_spectrogram(tone, RATE, 24)[50].argmax()
    assert loudest == np.abs(np.linspace(0, 2840.02, 26)[1:-1] - 999.99).argmin()


def test_sentences_differ_and_are_spoken_alike_each_time() -> None:
    said = sentences(30)
    assert len(set(said)) == 30 and said == sentences(30) and said != sentences(30, 1)
    first = spoken(said[0], "formants")
    spoken.cache_clear()
    np.testing.assert_array_equal(first, spoken(said[0], "formants"))
    assert 5 < len(first) / RATE < 12 and np.abs(first).max() == pytest.approx(0.9)


def test_without_espeak_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.shutil, "which", lambda _: None)
    spoken.cache_clear()
    with pytest.raises(DataError, match="apt-get install espeak-ng"):
        SimulatedSpeech(subjects=1, sentences=2).open(Path("simulated_speech/subject01"))


@pytest.mark.skipif(not speech.can_speak(), reason="espeak-ng is not installed: apt-get install espeak-ng")
def test_espeak_says_words() -> None:
    short, long = (spoken(words, "espeak") for words in ("the river", "the river opened the window at night"))
    assert 0.3 < len(short) / RATE < len(long) / RATE < 5
    assert mel_spectrogram(long, RATE).std(axis=0).min() > 0.1


def test_a_network_of_speech_hears_each_stimulus_by_itself(people: list[Recording]) -> None:
    part = Wav2Vec2(width=32)
    one = people[0]
    heard = part.on([one], "heard")[0].tracks["heard"]
    assert heard.rate == 50.0 and heard.data.shape[1] == 32 and "untrained" in part.said()
    louder = one.tracks["sound"].data.copy()
    onset, duration = one.events.onset[0], one.events.duration[0]
    louder[: round(onset * RATE)] += 1.0
    louder[round((onset + duration) * RATE) :] *= -2.0
    other = replace(one, tracks={"sound": Track(louder, RATE)})
    again = part.on([other], "heard")[0].tracks["heard"].data
    span = slice(round(onset * 50), round((onset + duration) * 50))
    np.testing.assert_array_equal(again[span], heard.data[span])
    assert np.isfinite(heard.data[span]).all() and np.isnan(heard.data[: span.start]).all()
    with pytest.raises(DataError, match="can't be loaded"):
        Wav2Vec2(checkpoint="/nowhere/at/all").on([one], "heard")


# ---- who listens


def test_a_source_answers_after_the_sound_by_its_response() -> None:
    """Of a click train the mean answer of a source is its response: nothing before, its peaks where they are said to be."""
    person = Listener.draw(np.random.default_rng(0))
    response = person.response(200.0)
    peak = response.argmin(axis=1) / 200
    assert (np.abs(peak - (0.105 + person.delay[:, 1])) < 0.02).all()
    heard = Heard.of(sentences(3), np.random.default_rng(1), "formants")
    session = listening(person, heard, np.random.default_rng(2), 128.0)
    sources = session.moment[-len(person.tuning) :]
    drive = person.tuning @ driven(heard, 128.0)
    for source, kernel, cause in zip(sources, person.response(128.0), drive, strict=True):
        np.testing.assert_allclose(np.corrcoef(source, np.convolve(cause, kernel)[: len(cause)])[0, 1], 1.0)
    assert session.events.label == tuple(sentences(3))


def test_everyone_hears_the_same_sentences_in_an_order_of_their_own(people: list[Recording]) -> None:
    first, second = (one.events for one in people)
    assert sorted(first.label) == sorted(second.label) and first.label != second.label
    assert not np.array_equal(
        people[0].signal("meg").load()[0][:500], people[1].signal("meg").load()[0][:500]
    )
    again = SimulatedSpeech(subjects=2, sentences=12, sensors=18, voice="formants").open(
        Path("simulated_speech/subject02")
    )
    np.testing.assert_array_equal(again.signal("meg").load(), people[1].signal("meg").load())
    planted = SimulatedSpeech(subjects=2, sentences=12, sensors=18, voice="formants", artefacts=30.0)
    jumped = planted.open(Path("simulated_speech/subject02")).signal("meg").load()
    beyond = np.abs(jumped - again.signal("meg").load()).max(axis=1) / again.signal("meg").load().std(axis=1)
    assert beyond.max() > 200


# ---- windows and splits


def events_of(*labels: str) -> Events:
    return Events(np.arange(len(labels)) * 10.0 + 1, np.full(len(labels), 6.0), labels)


def test_windows_lie_inside_events_and_begin_later(people: list[Recording]) -> None:
    windows = Inside(seconds=3.0, stride=0.5, offset=0.15)(people, "meg", [])
    whose = stimuli(windows, people)
    assert len(windows) > 100 and "" not in set(whose)
    for row in range(len(windows)):
        events = people[windows.recording[row]].events
        at = events.label.index(whose[row])
        heard = windows.start[row] - 0.15
        assert (
            events.onset[at] - 1e-6 <= heard and heard + 3.0 <= events.onset[at] + events.duration[at] + 1e-6
        )


def test_a_stimulus_is_held_out_for_everyone(people: list[Recording]) -> None:
    windows = Inside(seconds=3.0, stride=0.5, offset=0.15)(people, "meg", [])
    whose = stimuli(windows, people)
    folds = split("CrossStimulus", windows, people, 4)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(len(windows)))
    for fold in folds:
        assert not set(whose[fold.train]) & set(whose[fold.test])
        assert set(windows.recording[fold.test]) == {0, 1}
    leaky = Fold(
        folds[0].train[windows.recording[folds[0].train] == 0], np.flatnonzero(windows.recording == 1), "x"
    )
    with pytest.raises(
        DataError, match=r"stimulus the .* is in both train and test; hold it out for everyone"
    ):
        check_fold("CrossStimulus", leaky, windows, people)
    loose = replace(windows, start=windows.start + 1000.0)
    with pytest.raises(DataError, match="needs every window to begin inside an event"):
        split("CrossStimulus", loose, people, 4)


def test_a_window_belongs_to_the_event_that_it_begins_in() -> None:
    recording = replace(
        SimulatedSpeech(subjects=1, sentences=2, sensors=9, voice="formants").open(Path("a/subject01")),
        events=events_of("a", "b"),
    )
    windows = Windows(np.zeros(5, np.int64), np.array([0.5, 1.0, 7.5, 11.5, 17.5]), 1.0, np.full(5, -1))
    assert stimuli(windows, [recording]).tolist() == ["", "a", "", "b", ""]


# ---- matching and its score


def test_a_segment_that_several_heard_is_one_candidate() -> None:
    rng = np.random.default_rng(0)
    true = np.tile(rng.normal(size=(20, 1, 6)), (3, 1, 1))
    top_1, top_10 = OF_SEGMENTS["top_1"], OF_SEGMENTS["top_10"]
    assert top_1.chance(0, true) == 1 / 20 and top_10.chance(0, true) == 10 / 20
    assert top_1(true + 1e-3 * rng.normal(size=true.shape), true + 1e-12) == 1.0
    noise = rng.normal(size=true.shape)
    assert abs(top_10(noise, true) - 0.5) < 0.2
    said = true + 1.2 * noise
    alone = [top_1(said[20 * n : 20 * n + 20], true[:20]) for n in range(3)]
    assert top_1(said, true) == pytest.approx(np.mean(alone)) and top_1(said, true) > 0.2


def direct(told: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Equation 2 with the scores of the paper's code: candidates of length 1, one direction, no temperature."""
    scores = told @ (true / np.linalg.norm(true, axis=1, keepdims=True)).T
    return float(np.mean([np.log(np.exp(row - row[n]).sum()) for n, row in enumerate(scores)]))


def test_the_loss_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    told, true = rng.normal(size=(2, 7, 12)).astype(np.float32)
    answer = Answer(
        of="segments",
        mean=[0.0] * 12,
        scale=[1.0] * 12,
        matching=Matching(norm="candidates", temperature=1.0),
    )
    name, found = answer.loss(torch.tensor(told), torch.tensor(true[:, None]))
    assert name == "contrastive" and float(found) == pytest.approx(direct(told, true), rel=1e-4)
    both = answer.model_copy(
        update={"matching": Matching(norm="candidates", temperature=1.0, symmetric=True)}
    )
    assert float(both.loss(torch.tensor(told), torch.tensor(true[:, None]))[1]) != pytest.approx(float(found))
    squared = answer.model_copy(update={"matching": Matching(loss="squared_error")})
    name, found = squared.loss(torch.tensor(told), torch.tensor(true[:, None]))
    assert name == "squared_error" and float(found) == pytest.approx(((told - true) ** 2).mean(), rel=1e-4)
    twice = np.concatenate([true, true])
    right = 90 * twice / np.linalg.norm(twice, axis=1, keepdims=True)
    assert float(answer.loss(torch.tensor(right), torch.tensor(twice[:, None]))[1]) < 1e-4, (
        "what two people heard must not count as a mistake"
    )


def test_a_response_that_was_planted_is_found_backwards() -> None:
    """Sensors follow two features by 100 ms: with those delays all is told, with none of them nothing."""
    rng = np.random.default_rng(0)
    heard = rng.normal(size=(60, 2, 30))
    late = np.repeat(heard, 10, axis=2)  # 100 Hz, steps of a tenth of a second
    signal = np.concatenate([np.zeros((60, 2, 10)), late[..., :-10]], axis=2)
    signal = np.einsum("sf,wft->wst", rng.normal(size=(4, 2)), signal)
    target = heard.transpose(0, 2, 1).reshape(60, -1)
    groups = np.arange(60) % 5
    errors = []
    for first, last in ((0.0, 0.2), (-0.3, -0.1)):
        fitted = (
            Trf(times=30, lags=5, first=first, last=last)
            .build(100.0)
            .fit(signal[:40], target[:40], groups[:40])
        )
        told = fitted.predict(signal[40:]).reshape(20, 30, 2)[:, 2:-3]
        errors.append(float(np.mean((told - target[40:].reshape(20, 30, 2)[:, 2:-3]) ** 2)))
    assert errors[0] < 0.05 and errors[1] > 0.8


# ---- the whole


def small(card: Path, *more: str) -> FinetuneRecipe:
    sets = [
        f"card={card}", "folds=2", "train.steps=4", "train.batch=16", "train.save_every=4",
        "network.signals.meg.tokenizer.channels=8", "network.signals.meg.tokenizer.waves=3",
        "network.encoder.width=8", "network.encoder.hidden=12", "network.encoder.depth=2",
    ]  # fmt: skip
    return FinetuneRecipe.load("speech", [*sets, *more])


def batch_of(net: BrainFM, people: list[Recording]) -> Any:
    prepared = net.prepare(people, "meg")
    windows = Inside(seconds=3.0, stride=0.5, offset=0.15)(prepared, "meg", [])
    return net.stream(prepared, windows, "meg").batch(np.arange(4))


def test_the_ridge_beats_chance_and_each_person_has_their_own(card: Path, people: list[Recording]) -> None:
    recipe = small(card)
    evaluation = laid_out(recipe, BrainFM.fresh(network_of(recipe), 0))
    assert isinstance(evaluation, Targeted)
    evaluation = replace(evaluation, folds=evaluation.folds[:1])
    chance = evaluation.chance().score
    said = evaluation.baseline(Trf(times=30))
    assert evaluation.row("trf", [said]).low > chance
    own = [evaluation.baseline(Trf(times=30, lags=3, apart=apart)) for apart in (True, False)]
    assert not np.allclose(*own)


def test_the_task_runs_from_the_command_line_without_a_checkpoint(card: Path, folder: Path) -> None:
    words = [word for override in SMALLER for word in ("--set", override)]
    found = tiny.brainfm(
        "finetune", "speech", "--set", f"card={card}", *words, "--out", folder / "out", "--json"
    )
    assert found.code == 0, found.err
    rows = {row["name"]: row for row in found.json["rows"]}
    assert {"chance", "untrained", "classical:trf", "scratch"} <= rows.keys() and "frozen" not in rows
    assert found.json["split"].startswith("CrossStimulus: 2 folds") and "clean" in found.json["contamination"]
    decoder = BrainFM.from_pretrained(found.json["decoder"]).decoder
    assert decoder is not None and decoder.subjects is not None
    assert decoder.subjects.ids == [number_of("listeners/01"), number_of("listeners/02")]
    assert decoder.answer.of == "segments" and len(decoder.labels) == 600
    refused = tiny.only_sentence(
        tiny.brainfm("finetune", "speech", "--from", found.json["decoder"], "--out", folder / "x")
    )
    assert "has a network of its own" in refused
    nothing = tiny.only_sentence(tiny.brainfm("finetune", "smoke", "--out", folder / "y"))
    assert "give it a checkpoint by --from" in nothing


SMALLER = [
    "folds=2", "train.steps=3", "train.batch=16", "train.save_every=3", "network.encoder.width=8",
    "network.encoder.hidden=12", "network.encoder.depth=1", "network.signals.meg.tokenizer.channels=8",
    "network.signals.meg.tokenizer.waves=3", "window.stride=1.5",
]  # fmt: skip


def test_matching_is_for_segments() -> None:
    sections = {
        "card": "x", "head": {"kind": "linear", "pool": "mean"}, "matching": {},
        "train": {"steps": 1, "learning_rate": 1.0},
    }  # fmt: skip
    with pytest.raises(RecipeError, match="matching is for a target of segments"):
        FinetuneRecipe.resolve(sections)


def test_features_are_made_once_and_alike_for_all(people: list[Recording]) -> None:
    first, second = (one.tracks["m"] for one in Mel(bands=8).on(people, "m"))
    name = people[0].events.label[0]
    at = [round(one.events.onset[one.events.label.index(name)] * 100) for one in people]
    np.testing.assert_array_equal(first.data[at[0] : at[0] + 400], second.data[at[1] : at[1] + 400])
    with pytest.raises(DataError, match="has no track 'sond'"):
        Mel(of="sond").on(people, "m")


def test_targets_of_the_same_segment_are_one_but_for_rounding() -> None:
    value = np.random.default_rng(0).normal(5, 2, (8, 1, 4))
    both = Targets(np.concatenate([value, value + 1e-10]), tuple("abcd"), "segments")
    assert OF_SEGMENTS["top_1"].chance(0, both.value) == 1 / 8
