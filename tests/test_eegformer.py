"""EEGFormer's parts: codes of amplitude spectra by one sensor alone, words of codes, and what is found of planted waveforms."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from codecs_of_waveforms import LABELS, codec_of_waveforms, evaluation_of, stream_of
from numpy.typing import NDArray

from brainfm.code_words import Lexicon, Text, aligned, bayes, log_odds, surprise, telling
from brainfm.codec import Codec
from brainfm.data.waveforms import KINDS
from brainfm.errors import DataError, RecipeError
from brainfm.jobs.words import Options, by_words, coded, ranked, stretches, told, windows_of
from brainfm.recipe import TokenizeRecipe


@pytest.fixture(scope="module")
def codec() -> Codec:
    return codec_of_waveforms()


def test_codes_of_amplitudes_know_neither_sign_nor_size(codec: Codec) -> None:
    """A row normalised over its own window: what is twice as loud has the same codes, what is turned round too."""
    batch = stream_of(codec).batch(np.arange(8))
    codes = codec.codes(batch)
    for factor in (-1.0, 4.0):
        assert torch.equal(codec.codes(replace(batch, signal=factor * batch.signal)), codes)
    of_signal = codec_of_waveforms("codes.of=signal")
    assert not torch.equal(of_signal.codes(replace(batch, signal=-batch.signal)), of_signal.codes(batch))


@pytest.mark.parametrize(("depth", "spreads"), [(2, True), (0, False)])
def test_a_sensor_hears_itself_alone(depth: int, spreads: bool) -> None:
    """The vectors before the codes, since codes may stay the same by luck. Level is fixed: with it any change would spread."""
    codec = codec_of_waveforms(f"codes.depth={depth}", "codes.of=signal")
    batch = stream_of(codec).batch(np.arange(4))
    tokenized, times = codec.held(batch)
    rows = tokenized.targets["eeg"].value.unflatten(1, (-1, times))
    changed = rows.clone()
    changed[:, 1, 2] += 3.0
    with torch.no_grad():
        before, after = (
            codec.patches.encoder(one.flatten(0, 1)).unflatten(0, (4, -1)) for one in (rows, changed)
        )
    moved = (before - after).abs().amax(dim=-1) > 1e-5
    assert moved[:, 1, 2].all() and not moved[:, [0, 2, 3]].any()
    assert moved[:, 1, [0, 1, 3]].any() == spreads


def test_what_is_said_of_amplitudes_has_their_level_again(codec: Codec) -> None:
    batch = stream_of(codec).batch(np.arange(8))
    one, louder = codec.reconstruct(batch), codec.reconstruct(replace(batch, signal=3 * batch.signal))
    assert one.spectra and one.held.shape == (8 * 4, 8 * 33)
    torch.testing.assert_close(louder.told, 3 * one.told, rtol=1e-3, atol=1e-4)


def test_losses_that_need_a_waveform_are_refused_of_amplitudes() -> None:
    with pytest.raises(RecipeError, match="phase is of waveforms"):
        TokenizeRecipe.load("eegformer", ["codes.losses={phase: 1.0}"])
    with pytest.raises(RecipeError, match="no loss of codes"):
        TokenizeRecipe.load("eegformer", ["codes.losses={squarred: 1.0}"])


def random_text(rng: np.random.Generator) -> tuple[Text, NDArray[np.int64]]:
    ids = rng.integers(0, 4, (10, 3, 7, 2))
    order = rng.permutation(10)
    return Text.of([(order[:6], ids[:6]), (order[6:], ids[6:])], (4, 4), 10), ids[np.argsort(order)]


def test_counts_are_those_of_a_plain_loop() -> None:
    text, ids = random_text(np.random.default_rng(0))
    lexicon = Lexicon.of(text, 3, np.arange(10))
    counts = lexicon.counts(text).toarray()
    for window in range(10):
        plain: Counter[tuple[int, ...]] = Counter()
        for row in ids[window, :, :, 0].tolist():
            for length in (1, 2, 3):
                plain.update(tuple(row[at : at + length]) for at in range(len(row) - length + 1))
        found = {
            lexicon.spelt(column): int(counts[window, column]) for column in np.flatnonzero(counts[window])
        }
        assert found == plain


def test_words_are_those_of_the_training_windows_and_found_again() -> None:
    text, ids = random_text(np.random.default_rng(1))
    lexicon = Lexicon.of(text, 2, np.arange(3), least=2)
    for column in range(len(lexicon)):
        word = lexicon.spelt(column)
        places = lexicon.places(text, column)
        assert len(np.unique(places[places[:, 0] < 3, 0])) >= 2
        for window, row, first in places.tolist():
            assert tuple(ids[window, row, first : first + len(word), 0]) == word
        assert len(places) == lexicon.counts(text)[:, column].sum()


def test_quantizers_together_spell_other_codes_than_the_first_alone() -> None:
    ids = np.array([[[[0, 1], [0, 2]]]])
    pages = [(np.array([0]), ids)]
    assert len(Lexicon.of(Text.of(pages, (4, 4), 1), 1, np.array([0]))) == 1
    assert len(Lexicon.of(Text.of(pages, (4, 4), 1, books=2), 1, np.array([0]))) == 2


def test_words_too_long_to_number_are_refused() -> None:
    text = Text([(np.array([0]), np.zeros((1, 1, 9), np.int64))], 2**16, 1)
    with pytest.raises(DataError, match="can't be counted"):
        Lexicon.of(text, 4, np.array([0]))
    with pytest.raises(DataError, match="no word of codes occurs in 2"):
        Lexicon.of(text, 1, np.array([0]), least=2)


def test_odds_are_those_of_the_counts() -> None:
    text, _ = random_text(np.random.default_rng(2))
    counts, labels = Lexicon.of(text, 1, np.arange(10)).counts(text), (np.arange(10) % 3 > 0).astype(int)
    dense = counts.toarray()
    own, rest = (dense[labels == one].sum(axis=0) + 1 for one in (0, 1))
    expected = np.log(own / own.sum()) - np.log(rest / rest.sum())
    np.testing.assert_allclose(log_odds(counts, labels, 2)[0], expected)
    model = bayes(counts, labels)  # scikit-learn's own estimate of the same shares
    np.testing.assert_allclose(model.feature_log_prob_[0] - model.feature_log_prob_[1], expected)
    assert (
        np.sign(telling(counts, labels, 2))
        == np.sign(log_odds(counts, labels, 2)) * (telling(counts, labels, 2) != 0)
    ).all()


def test_what_is_rare_surprises() -> None:
    usual = Text([(np.arange(50), np.zeros((50, 1, 8), np.int64))], 4, 50)
    other = Text([(np.arange(2), np.array([[[0] * 8], [[0, 1, 2, 3] * 2]]))], 4, 2)
    lexicon = Lexicon.of(usual.beside(other), 1, np.arange(52))
    calm, strange = surprise(lexicon.counts(usual), lexicon.counts(other))
    assert strange > calm + 1


def test_a_rhythm_that_begins_anywhere_survives_the_mean() -> None:
    rng, times = np.random.default_rng(3), np.arange(128) / 128
    waves = np.stack([np.sin(2 * np.pi * (10 * times + rng.uniform())) for _ in range(60)])
    waves += 0.3 * rng.normal(size=waves.shape)
    middle, _ = aligned(waves)
    assert np.abs(waves.mean(axis=0)).max() < 0.5 < 0.8 < np.abs(middle).max()
    assert np.abs(np.fft.rfft(middle)).argmax() == 10


def test_planted_waveforms_are_told_by_words_and_shown_where_they_are(codec: Codec) -> None:
    evaluation = evaluation_of()
    stream = windows_of(codec, evaluation)
    text = coded(codec, stream)
    options = Options(longest=2, shuffles=4, least=3)
    found = told(evaluation, text, options)
    words, shuffled = (evaluation.row(name, found[name]).score for name in ("words", "shuffled"))
    assert words > shuffled + 0.15
    lexicon = Lexicon.of(text, 2, np.arange(text.count), options.least)
    best = next(word for word in ranked(stream, text, lexicon, options.top) if word.label == "alpha")
    places = lexicon.places(text, best.column)
    places = places[stream.windows.label[places[:, 0]] == KINDS.index("alpha")]
    middle, _ = aligned(stretches(codec, stream, places, len(best.codes)))
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), n=512))
    assert 7.5 <= spectrum.argmax() * 128 / 512 <= 12
    assert best.times_as_frequent > 2 and best.where[0].endswith(" s")


def test_words_of_a_fold_know_nothing_of_its_test_labels(codec: Codec) -> None:
    evaluation = evaluation_of()
    text, fold = coded(codec, windows_of(codec, evaluation)), evaluation.folds[0]
    counts = Lexicon.of(text, 1, fold.train).counts(text)
    label = evaluation.windows.label
    other = label.copy()
    other[fold.test] = (other[fold.test] + 1) % len(LABELS)
    assert np.array_equal(by_words(counts, fold, label, 4), by_words(counts, fold, other, 4))


def test_windows_longer_than_those_of_training_are_coded_piece_by_piece(codec: Codec) -> None:
    stream = stream_of(codec)
    short = codec.recipe.model_copy(update={"seconds": 2.0})
    whole, codec_recipe = coded(codec, stream), codec.recipe
    codec.recipe = short
    halves = coded(codec, stream)
    codec.recipe = codec_recipe
    assert halves.pages[0][1].shape == whole.pages[0][1].shape
    batch = stream.batch(halves.pages[0][0])
    last = codec.codes(replace(batch, signal=batch.signal[..., 256:])).unflatten(1, (4, -1))[..., 0]
    assert np.array_equal(halves.pages[0][1][..., 4:], last.numpy())


def test_the_verb(codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "run" / "codec").mkdir(parents=True)
    codec.save(tmp_path / "run" / "codec")
    card = tiny.card(
        tmp_path, "waves", "{kind: simulated_waveforms, subjects: 4, seconds: 60.0}", more=LABELS
    )
    result = tiny.brainfm("tokenize", "words", tmp_path / "run", card, "--longest", 2, "--json")
    assert result.code == 0, result.err
    assert [row["name"] for row in result.json["rows"]] == ["chance", "shuffled", "words"]
    assert {word["label"] for word in result.json["words"]} == set(KINDS)
    page = (tmp_path / "run" / "words-waves" / "report.html").read_text(encoding="utf-8")
    assert "mean waveforms of its most telling words" in page
    shown = tiny.brainfm("tokenize", "words", tmp_path / "run", card)
    assert "times as frequent" in shown.out
    other = tiny.card(
        tmp_path, "other", "{kind: simulated, modality: meg, subjects: 2, seconds: 40.0}", modality="meg"
    )
    sentence = tiny.only_sentence(tiny.brainfm("tokenize", "words", tmp_path / "run", other, "--json"))
    assert sentence.endswith("this codec has codes for eeg, not meg")


@pytest.mark.parametrize(("depth", "published"), [(6, 1.9e6), (8, 2.3e6), (12, 3.2e6)])
def test_the_published_sizes(depth: int, published: float) -> None:
    """Weights and codebook within four in a hundred: theirs are rounded, and learn a vector for each place, where ours turn."""
    with torch.device("meta"):
        codec = Codec(TokenizeRecipe.load("eegformer_published", [f"codes.depth={depth}"]))
    weights = sum(one.numel() for one in codec.patches.parameters()) + 1024 * 128
    assert weights == pytest.approx(published, rel=0.04)
