"""Do words of discrete codes say which waveform it was, and do they tell seizures? EEGFormer's two uses of its codes.

One command, resumable:

    BRAINFM_DATA=recordings python benchmarks/eegformer.py --out runs/eegformer

Waveforms are planted in simulated people (`data/waveforms.py`): codecs and naive Bayes see twelve of them, words are scored
on twelve others. Seizures are real: a codec is trained without labels on normal recordings that no fold tests.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked, command
from claims import Claim, between, compared, found, lines
from numpy.typing import NDArray

from brainfm.baselines.band_power import BandPower, log_power
from brainfm.code_words import Lexicon, Text, surprise, telling
from brainfm.codebook import correlations
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.leaks import Fold
from brainfm.data.splits import split
from brainfm.data.windows import take
from brainfm.evaluation import Evaluation
from brainfm.jobs.tokenize import gather, train_codes
from brainfm.jobs.words import Options, coded, pieces, told, windows_of
from brainfm.metrics import METRICS, Probabilities, bootstrap, paired_difference
from brainfm.recipe import TokenizeRecipe

LONGEST = 3
SHUFFLES = 10
FIRST = 12
"""People whose recordings train codecs and naive Bayes; the others are scored."""
ARMS: dict[str, list[str]] = {
    "amplitudes": [],
    "no blocks": ["codes.depth=0"],
    "signal": ["codes.of=signal"],
}
BONN = "reader: {{kind: zip_segments, members: '{{label}}/*.txt', labels: [{labels}], sensors: [contact], sfreq: 173.61, samples: 4096, unit: µV, kinds: {{contact: seeg}}}}"  # noqa: E501
DELHI = "reader: {kind: zip_segments, members: '*/{label}/*.mat', sensors: [EEG], sfreq: 200.0, samples: 1024, unit: µV, positions: none}"  # noqa: E501
SEGMENT = 4096 / 173.61
"""Seconds of a segment of Bonn; each set has 60, of which the first 30 train the codec."""
SETS = {
    "Bonn, seizure or interictal (E, CD)": ("bonn_cd", "C_N: normal, D_F: normal, E_S: seizure"),
    "Bonn, seizure or healthy (E, AB: inside the head or on the scalp, too)": (
        "bonn_ab",
        "A_Z: normal, B_O: normal, E_S: seizure",
    ),
    "Delhi, ictal or interictal": ("delhi", "interictal: normal, ictal: seizure"),
}
SHORT = {"bonn_cd": "Bonn E, CD", "bonn_ab": "Bonn E, AB", "delhi": "Delhi"}


def main() -> None:
    """Train what is not trained yet, print the table."""
    command(__doc__, "eegformer", measured, lines, "training steps and real sets")


def measured(asked: Asked) -> dict[str, Any]:
    """The claims."""
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    claims = planted(asked)
    for title, (name, codes) in list(SETS.items())[: asked.limit]:
        claims += seizures(asked, title, name, codes)
    return found(claims)


def codec_of(asked: Asked, name: str, recipe: TokenizeRecipe) -> Codec:
    """The codec of a run, trained if it is not there yet."""
    train_codes(recipe, asked.out / name, quiet=True)
    return Codec.load(asked.out / name, unfinished=True)


def planted(asked: Asked) -> list[Claim]:
    """Words of waveforms that are known to be there."""
    steps, shuffles = asked.steps(400), len(asked.few(range(SHUFFLES)))
    evaluation = Evaluation.of(DataCard.load("simulated_waveforms"))
    first = evaluation.windows.recording < FIRST
    fold = Fold(np.flatnonzero(first), np.flatnonzero(~first), "twelve people")
    one = replace(evaluation, folds=[fold])
    texts: dict[str, Text] = {}
    for arm, changes in ARMS.items():
        overrides = [*changes, f"train.steps={steps}", "codes.usage=0.0"]
        codec = codec_of(asked, arm.replace(" ", "-"), TokenizeRecipe.load("eegformer", overrides))
        texts[arm] = coded(codec, windows_of(codec, one))
    told_ = {
        (arm, longest): told(one, text, Options(longest=longest, shuffles=shuffles))
        for arm, text in texts.items()
        for longest in ((1, LONGEST) if arm == "amplitudes" else (LONGEST,))
    }
    on = "simulated_waveforms, 12 people scored, 12 others trained on"
    claims = [
        top_word(one, fold, texts["amplitudes"], number, on)
        for number, name in enumerate(one.windows.labels)
        if name != "nothing"
    ]
    whole = told_["amplitudes", LONGEST]
    words = ("words", whole["words"])
    claims += [
        compared("words tell four kinds of window", on, one, words, ("shuffled", whole["shuffled"])),
        compared("runs of three codes say more than single codes", on, one, ("up to three", whole["words"]),
                 ("single", told_["amplitudes", 1]["words"])),
    ]  # fmt: skip
    for arm, says in (
        ("signal", "codes of amplitudes say more than codes of the signal itself"),
        ("no blocks", "blocks along a sensor's patches say more than each patch alone"),
    ):
        other = (arm, told_[arm, LONGEST]["words"])
        claims.append(compared(says, on, one, ("amplitudes, blocks", whole["words"]), other))
    classical = ("band_power", [one.baseline(BandPower())])
    return [*claims, compared("words say more than band powers of the window", on, one, words, classical)]


def top_word(evaluation: Evaluation, fold: Fold, text: Text, label: int, on: str) -> Claim:
    """How well the one word that speaks most for a waveform in some people tells windows that hold it in others."""
    name, rng = evaluation.windows.labels[label], np.random.default_rng(6)
    lexicon = Lexicon.of(text, LONGEST, fold.train, Options().least)
    counts, true = lexicon.counts(text), evaluation.windows.label
    present = (true[fold.test] == label).astype(np.int64)
    people = evaluation.windows.recording[fold.test]

    def scored(labels: NDArray[np.int64]) -> tuple[int, Probabilities]:
        evidence = telling(counts[fold.train], labels[fold.train], evaluation.classes)
        word = int(evidence[label].argmax())
        return word, two(np.asarray(counts[:, word].todense()).ravel()[fold.test])

    word, ours = scored(true)
    chance = [scored(evaluation.shuffled(fold, rng))[1] for _ in range(SHUFFLES)]
    auroc = METRICS["auroc"]
    row = bootstrap(auroc, [ours], present, people, np.random.default_rng(0))
    other = bootstrap(auroc, chance, present, people, np.random.default_rng(0))
    gap = paired_difference(auroc, [ours] * SHUFFLES, chance, present, people, np.random.default_rng(0))
    spelt = "·".join(map(str, lexicon.spelt(word)))
    return Claim(
        f"one word of codes found in some people tells {name} in others",
        on,
        f"AUROC {between(row)} by the word {spelt}, shuffled labels {other.score:.3f}",
        (gap.score, gap.low, gap.high),
    )


def seizures(asked: Asked, title: str, name: str, codes: str) -> list[Claim]:
    """Words, errors and rare words of a codec that was trained without labels on normal recordings, beside band powers."""
    evaluation, usual = laid_out(asked, name, codes)
    shuffles = len(asked.few(range(SHUFFLES)))
    codec = codec_of(asked, name, recipe_of(asked, name))
    stream = windows_of(codec, evaluation)
    text = coded(codec, stream)
    said = told(evaluation, text, Options(longest=LONGEST, shuffles=shuffles, least=2))
    words = ("words", said["words"])
    logistic = ("logistic", [band_logistic(evaluation)])
    ridge = ("band_power", [evaluation.baseline(BandPower())])
    rare = ("rare", [two(rarity(codec, usual, text))[evaluation.tested]])
    error = ("error", [two(errors(codec, stream))[evaluation.tested]])
    chance = ("chance", [two(np.zeros(text.count))[evaluation.tested]])
    on = f"{title}, {evaluation.unit}, 10 folds; folds may share patients"
    short = SHORT[name]
    return [
        compared(f"{short}: words tell seizures", on, evaluation, words, ("shuffled", said["shuffled"])),
        compared(f"{short}: words say more than band powers", on, evaluation, words, logistic),
        compared(f"{short}: words say more than our band_power", on, evaluation, words, ridge),
        compared(f"{short}: without labels, what is badly said is a seizure", on, evaluation, error, chance),
        compared(f"{short}: without labels, rare words are a seizure", on, evaluation, rare, chance),
    ]


def card(asked: Asked, name: str, reader: str, codes: str, labels: str, modality: str) -> Path:
    """A card of some sets of an archive, under other names."""
    folder, files = (
        ("ieeg_bonn", "bonn_first60.zip") if "label}/*.txt" in reader else ("eeg_delhi", "delhi.zip")
    )
    seconds = 23.5 if folder == "ieeg_bonn" else 5.0
    task = (
        f"task:\n  labels: [{labels}]\n  window: {{kind: trials, seconds: {seconds}}}\n"
        "  split: WithinSession\n  metric: auroc\n  folds: 10\n"
    )
    path = asked.out / f"{name}.md"
    path.write_text(
        f"---\ntitle: {name}\nmodality: {modality}\nlicence: see {folder}\ncitation: see {folder}\n"
        f"source: see {folder}\nfolder: {folder}\nfiles: {files}\n{reader}\n"
        f"events: {{source: annotations, codes: {{{codes}}}}}\n"
        f"{task if labels else ''}---\nPart of another card's set.\n",
        encoding="utf-8",
    )
    return path


def laid_out(asked: Asked, name: str, codes: str) -> tuple[Evaluation, Evaluation | None]:
    """Windows that are tested, none of which the codec was trained on; of Bonn also those that it was."""
    bonn = name.startswith("bonn")
    labels = ", ".join(part.partition(":")[0] for part in codes.split(", "))
    reader = BONN.format(labels=labels) if bonn else DELHI
    made = card(asked, name, reader, codes, "normal, seizure", "seeg" if bonn else "eeg")
    evaluation = Evaluation.of(DataCard.load(made))
    if not bonn:
        return evaluation, None
    number = np.round(evaluation.windows.start / SEGMENT).astype(int) % 60  # of a segment within its set
    usual = (evaluation.windows.label == 0) & (number < 30)
    return part_of(evaluation, ~usual), part_of(evaluation, usual, folds=False)


def part_of(evaluation: Evaluation, kept: NDArray[np.bool_], folds: bool = True) -> Evaluation:
    """The same card's task on some of its windows."""
    windows = evaluation.windows.rows(np.flatnonzero(kept))
    made = split("WithinSession", windows, evaluation.recordings, 10, None) if folds else ()
    return replace(evaluation, windows=windows, folds=made)


def recipe_of(asked: Asked, name: str) -> TokenizeRecipe:
    """The tiny recipe on normal recordings alone."""
    overrides = [f"train.steps={asked.steps(300)}", "codes.usage=0.0"]
    if name == "delhi":
        return TokenizeRecipe.load("eegformer", [*overrides, "data={cards: [eeg_arithmetic]}"])
    labels = "C_N, D_F" if name == "bonn_cd" else "A_Z, B_O"
    sets = ", ".join(f"{one}: normal" for one in labels.split(", "))
    made = card(asked, f"{name}_normal", BONN.format(labels=labels), sets, "", "seeg")
    ends = [(SEGMENT * 30, SEGMENT * 60), (SEGMENT * 90, SEGMENT * 120)]
    held = ", ".join(f'"@{start:.3f}-{stop:.3f}"' for start, stop in ends)
    data = f"data={{cards: [{made}], hold_out: {{{made.stem}: [{held}]}}}}"
    return TokenizeRecipe.load("eegformer", [*overrides, data, "codes.modality=seeg"])


def rarity(codec: Codec, usual: Evaluation | None, text: Text) -> NDArray[np.float64]:
    """(window,) how rare a window's pairs of codes are in normal recordings."""
    normal = coded(codec, windows_of(codec, usual) if usual is not None else trained_on(codec))
    both = normal.beside(text)
    pairs = Lexicon.of(both, 2, np.arange(both.count))
    pairs = Lexicon(pairs.codes, [pairs.words[0][:0], pairs.words[1]])
    return surprise(pairs.counts(normal), pairs.counts(text))


def trained_on(codec: Codec) -> Stream:
    """The windows that a codec was trained on."""
    return gather(codec.recipe).train


def errors(codec: Codec, stream: Stream) -> NDArray[np.float64]:
    """(window,) how little of a window's amplitudes its codes say: 1 − r, the mean over its pieces and sensors."""
    out = np.zeros(len(stream.windows))
    for rows in stream.layouts:
        several = [codec.reconstruct(piece) for piece in pieces(codec, stream.batch(rows))]
        r = [correlations(one.held.numpy(), one.told.numpy()).reshape(len(rows), -1) for one in several]
        out[rows] = 1 - np.nanmean(np.concatenate(r, axis=1), axis=1)
    return out


def band_logistic(evaluation: Evaluation) -> Probabilities:
    """(tested window, class) out of fold by logistic regression of log band powers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    windows, modality = evaluation.windows, evaluation.modality
    x = take(evaluation.recordings, windows, np.arange(len(windows)), modality)
    features = log_power(
        x / np.std(x), evaluation.recordings[0].signal(modality).sfreq, BandPower().bands, 2.0
    )

    def of_fold(_: int, fold: Fold) -> Probabilities:
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        model.fit(features[fold.train], windows.label[fold.train])
        return np.asarray(model.predict_proba(features[fold.test]))

    return evaluation.out_of_fold(of_fold)


def two(score: NDArray[np.float64]) -> Probabilities:
    """(window, 2) a score as what the area under the curve takes."""
    return np.stack([-score, score], axis=1)


if __name__ == "__main__":
    main()
