"""Whose a file is: a decoder that knows contacts by their owner reads them as in training, or says what it must be told."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from brainfm.batch import number_of
from brainfm.data.modalities import modality as find
from brainfm.data.modalities import owner
from brainfm.embedder import Embedder
from brainfm.errors import DataError
from brainfm.jobs.export import Asked, example, windows_of
from brainfm.jobs.finetune import Bench, started
from brainfm.jobs.predict import Predictions, predict
from brainfm.jobs.stream import Options, stream
from brainfm.layers.subjects import SubjectLayer
from brainfm.manifest import Manifest
from brainfm.model import BrainFM
from brainfm.panel import Panel
from brainfm.recipe import FinetuneRecipe
from brainfm.tasks import laid_out
from brainfm.whose import UNTOLD, Person, dataset_of, listed, owned, require_known
from tests.decoders import decoding, file_of, network, saved

READER = "{kind: simulated_words, subjects: 2, words: 2, repeats: 12, sensors: 24}"
TASK = """task:
  labels: [river, teacher]
  window: {kind: trials, seconds: 1.25}
  split: WithinSession
  folds: 2
  metric: accuracy
"""
SMALL = (
    "sensors=null",
    "train.steps=30",
    "network.signals.seeg.tokenizer.start=1.0",
    "network.encoder={kind: transformer, depth: 1, width: 32, heads: 1}",
    "network.signals.seeg.prepare=[{kind: robust_scale, scope: window, per: sensor}]",
)


@pytest.fixture(scope="module")
def bench(folder: Path) -> Bench:
    card = tiny.card(folder, "words", READER, more=TASK, modality="seeg")
    recipe = FinetuneRecipe.load("du_in", [f"card={card}", *SMALL])
    model = started(recipe, None)
    return Bench.of(recipe, Panel.of([model], laid_out(recipe, model)), folder / "out")


@pytest.fixture(scope="module")
def decoder(bench: Bench) -> Path:
    """A decoder of words from the contacts of two people, all of which it was trained on."""
    return bench.final()


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    """What stands for the recording of the second person: its reader makes it of its name."""
    return simulated(folder, 2)


def simulated(folder: Path, subject: int) -> Path:
    path = folder / f"subject{subject:02d}" / "session01"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def in_training(bench: Bench, decoder: Path) -> tuple[np.ndarray, np.ndarray]:
    """When the second person's words begin, and what the decoder says of them inside brainfm."""
    evaluation = bench.panel.evaluation
    rows = np.flatnonzero(evaluation.windows.recording == 1)
    model = BrainFM.from_pretrained(decoder)
    return evaluation.windows.start[rows], model.probabilities(bench.stream(model), rows)


def told(found: Any, start: np.ndarray) -> np.ndarray:
    """The predictions of the windows that begin then."""
    assert isinstance(found, Predictions)
    at = {round(float(one), 4): row for row, one in enumerate(found.start)}
    return found.probability[[at[round(float(one), 4)] for one in start]]


def test_contacts_of_whom_it_was_trained_on_are_read_as_in_training(
    bench: Bench, decoder: Path, file: Path
) -> None:
    start, expected = in_training(bench, decoder)
    found = predict(decoder, file, subject="02")
    np.testing.assert_allclose(told(found, start), expected, atol=1e-5)
    assert not found.notes
    average = predict(decoder, file, stranger=True)
    assert np.abs(told(average, start) - expected).max() > 0.01, "to whom a contact belongs is heard"
    assert list(average.notes) == [
        "the decoder of words never met 24 of 24 sensors (or regions) and takes each for an average one"
    ]


def test_a_file_of_nobody_is_refused_where_contacts_are_known_by_their_owner(
    decoder: Path, file: Path
) -> None:
    knows = f"the decoder of words knows the sensors of subject 01, subject 02, and none of {file}"
    advice = "; say whose it is: --subject, or --stranger for somebody whom it never met"
    for verb in ("predict", "stream"):
        assert tiny.only_sentence(tiny.brainfm(verb, decoder, file)) == knows + advice
        said = tiny.only_sentence(tiny.brainfm(verb, decoder, file, "--subject", "09"))
        assert said == f"{knows} as those of subject 09{advice}"
        said = tiny.only_sentence(tiny.brainfm(verb, decoder, file, "--subject", "02", "--session", "01"))
        assert said == "the sensors of words are the same in every session; leave --session away"
        said = tiny.only_sentence(tiny.brainfm(verb, decoder, file, "--subject", "02", "--stranger"))
        assert said.startswith("--stranger is somebody whom the model never met; leave it away")


def test_a_decoder_names_the_people_of_its_own_set(bench: Bench, decoder: Path) -> None:
    """Of others, whom its checkpoint met in pretraining, its head has learnt nothing."""
    model, windows = BrainFM.from_pretrained(decoder), bench.panel.evaluation.windows
    others = [replace(one, dataset="others") for one in bench.prepared]
    model.adopt(model.stream(others, windows, "seeg"))
    model.manifest = model.manifest + Manifest.of(others, "seeg", with_labels=False)
    nobody = replace(bench.prepared[0], dataset="", subject="", session="", run="", source="a.edf")
    with pytest.raises(DataError, match=r"knows the sensors of subject 01, subject 02, and none of a\.edf"):
        require_known(model, nobody, UNTOLD)
    model.manifest = Manifest.of(others, "seeg", with_labels=False)
    assert len(require_known(model, nobody, UNTOLD)) == 1, "a note: nobody of its own set is known to it"


def test_what_the_file_is_taken_for_is_said_beside_the_table(decoder: Path, file: Path) -> None:
    known = tiny.brainfm("predict", decoder, file, "--subject", "02")
    assert known.code == 0 and len(known.err.splitlines()) == 1, known.err
    average = tiny.brainfm("predict", decoder, file, "--stranger")
    assert average.code == 0 and average.err.splitlines()[0].startswith(
        "the decoder of words never met 24 of 24"
    )
    assert average.out != known.out
    noted = tiny.brainfm("predict", decoder, file, "--stranger", "--json").json["notes"]
    assert noted == [average.err.splitlines()[0]]


def test_a_signal_that_comes_in_is_read_as_its_owners(bench: Bench, decoder: Path, file: Path) -> None:
    """The same contacts, and a note before the first decision where they are nobody's."""
    asked: dict[str, Any] = {"speed": 0, "every": 1.25, "stop_after": 3.0}
    running = stream(decoder, str(file), Options(**asked, person=Person("02")))
    model, settings = running.model, running.decoder
    (mine,) = [one for one in bench.prepared if one.subject == "02"]
    assert owner(running.prepared, "seeg") == owner(mine, "seeg") == "words/02" and not running.notes
    decision = next(running.decisions())
    windows = bench.panel.evaluation.windows
    first = replace(windows.rows(np.array([0])), recording=np.array([0]), start=np.array([0.0]), seconds=1.25)
    whole = model.probabilities(model.stream([mine], first, settings.modality), np.array([0]))[0]
    np.testing.assert_allclose(list(decision.told.values()), whole, atol=1e-5)
    average = stream(decoder, str(file), Options(**asked, person=Person(stranger=True)))
    assert average.said[0].startswith("the decoder of words never met 24 of 24 sensors")
    assert next(average.decisions()).told != decision.told


def test_a_graph_is_made_for_somebody(decoder: Path, file: Path) -> None:
    """What a graph is made of and compared on; the recording of the card's own says itself whose it is."""
    model = BrainFM.from_pretrained(decoder)

    def owners(asked: Asked) -> list[str]:
        return windows_of(model, example(model, decoder, asked), asked).owners

    assert owners(Asked(recording=file, person=Person("02"))) == ["words/02"]
    with pytest.raises(DataError, match=r"none of .*subject02/session01; say whose it is: --subject"):
        owners(Asked(recording=file))
    with pytest.raises(DataError, match="are for decoders, which know a card's people"):
        windows_of(BrainFM.from_pretrained("brainfm-tiny"), tiny.person(1, 4.0), Asked(person=Person("02")))


def test_contacts_are_embedded_as_those_of_whom_they_are(
    bench: Bench, decoder: Path, folder: Path, tmp_path: Path
) -> None:
    """Features are those of training; nobody's contacts are refused, a stranger's are average ones and said to be."""
    (mine,) = [one for one in bench.panel.evaluation.recordings if one.subject == "02"]
    file = tmp_path / "words_raw.fif"
    tiny.raw_of(mine, "seeg").save(file, fmt="double", verbose="error")  # a file that has lost the places
    signal = mine.signal("seeg")
    nowhere = replace(signal.sensors, position=np.full_like(signal.sensors.position, np.nan))
    lost = mine.with_signal("seeg", replace(signal, sensors=nowhere))
    model, out = BrainFM.from_pretrained(decoder), tmp_path / "features.npz"

    def embedded(*options: str) -> tuple[np.ndarray, str]:
        result = tiny.brainfm("embed", decoder, file, "--seconds", "1.25", "--out", out, *options)
        assert result.code == 0, result.err
        with np.load(out) as found:
            return found["values"], result.err

    values, said = embedded("--subject", "02")
    np.testing.assert_allclose(values, model.embed(lost, seconds=1.25).values, atol=1e-5)
    assert said == "" and np.array_equal(embedded("--subject", "02", "--dataset", "words")[0], values)
    average, said = embedded("--stranger")
    assert (
        said.startswith("the checkpoint never met 24 of 24 sensors") and np.abs(average - values).max() > 0.01
    )
    out.unlink()
    refused = tiny.only_sentence(tiny.brainfm("embed", decoder, file, "--out", out))
    assert refused == (
        f"the checkpoint knows the sensors of subject 01 of words, subject 02 of words, and none of {file.name}; "
        "say whose it is: --dataset and --subject, or --stranger for somebody whom it never met"
    )
    refused = tiny.only_sentence(tiny.brainfm("embed", decoder, file, "--out", out, "--subject", "09"))
    assert refused.startswith("the checkpoint met no subject 09") and not out.exists()


def test_an_array_of_contacts_becomes_features_of_whom_it_is_said_to_be(bench: Bench, decoder: Path) -> None:
    (mine,) = [one for one in bench.panel.evaluation.recordings if one.subject == "02"]
    signal = mine.signal("seeg")
    count = round(1.25 * signal.sfreq)
    windows = signal.load()[:, : 3 * count].reshape(len(signal.sensors), 3, count).swapaxes(0, 1)

    def embedder(**whose: Any) -> Embedder:
        return Embedder(decoder, sfreq=signal.sfreq, names=signal.sensors.name, modality="seeg", **whose)

    known, average = (
        embedder(**one).fit(windows).transform(windows) for one in ({"subject": "02"}, {"stranger": True})
    )
    assert np.abs(known - average).max() > 0.01
    said = "say whose it is: `dataset` and `subject`, or `stranger` for somebody"
    with pytest.raises(DataError, match=said):
        embedder().fit(windows).transform(windows)
    with pytest.raises(DataError, match=said):
        embedder(subject="09", dataset="words").fit(windows).transform(windows)


def test_a_name_that_several_datasets_have_needs_its_dataset() -> None:
    model = BrainFM.from_pretrained("brainfm-tiny")
    with pytest.raises(
        DataError, match=r"met a subject 01 in .*simulated_eeg.*; say in which of them: --dataset"
    ):
        dataset_of(model, "01", UNTOLD)


def test_an_instrument_is_asked_for_where_a_file_holds_several() -> None:
    model, eeg = BrainFM.from_pretrained("brainfm-tiny"), tiny.person(1, 4.0)
    both = replace(eeg, signals={**eeg.signals, "seeg": eeg.signal("eeg")})
    assert model.heard_in(eeg) == "eeg"
    with pytest.raises(DataError, match="holds eeg and seeg; choose with --modality"):
        model.embed(both)
    with pytest.raises(
        DataError, match="holds behaviour, and the checkpoint reads eeg, meg, seeg, fmri, spikes"
    ):
        model.embed(replace(eeg, signals={"behaviour": eeg.signal("eeg")}))


# --- what nothing is trained for ----------------------------------------------------------------------------


def settings_of(modality: str, subjects: SubjectLayer | None = None) -> Any:
    return SimpleNamespace(card="card", modality=modality, subjects=subjects)


@pytest.mark.parametrize(
    ("modality", "whose"), [("seeg", "card/jenkins"), ("spikes", "card/jenkins/friday"), ("eeg", "")]
)
def test_a_file_that_says_itself_whose_it_is_need_not_be_told(modality: str, whose: str) -> None:
    """Where sensors are a person's own; what is everyone's stays the file's."""
    made = find(modality).simulate(np.random.default_rng(0), seconds=4.0, sensors=8)
    said = replace(made, subject="jenkins", session="friday")
    found = owned(said, settings_of(modality), UNTOLD)
    assert owner(found, modality) == whose
    assert (found is said) == (modality == "eeg")
    if modality != "eeg":
        told = owned(said, settings_of(modality), Person("larry"))
        assert owner(told, modality) == whose.replace("jenkins", "larry")
        assert not owned(said, settings_of(modality), Person(stranger=True)).subject


def test_a_subject_of_whom_nothing_depends_is_refused() -> None:
    one = tiny.person(1, 4.0)
    for subjects in (None, SubjectLayer(ids=[5])):
        with pytest.raises(DataError, match="has no map for subject 09; leave --subject away"):
            owned(one, settings_of("eeg", subjects), Person("09"))


def test_new_people_of_sensors_that_are_everyones_need_not_be_known() -> None:
    model = decoding(network())
    assert require_known(model, tiny.person(1, 4.0), UNTOLD) == []


NAMED = {"prepare": [], "seconds": 2.0, "tokenizer": {"kind": "named_patch", "seconds": 0.25, "sfreq": 128.0}}


def test_sensors_that_were_never_met_are_a_note_where_others_of_the_file_were() -> None:
    """Names that are everyone's: some are new, which averages answer; nobody could say whose they are."""
    one = tiny.person(1, 4.0)
    model = decoding(network(signals={"eeg": NAMED}))
    model.manifest = Manifest.of([replace(one, dataset="simulated_eeg", subject="01")], "eeg", True)
    vocabulary: Any = model.tokenizers["eeg"]
    note = "the decoder of simulated_eeg never met {} of 8 sensors (or regions) and takes each for an average one"
    assert require_known(model, one, UNTOLD) == [note.format(8)], "nobody's sensors are known either"
    names = one.signal("eeg").sensors.name
    vocabulary.vocabulary.adopt([number_of(f"/{name}") for name in names[:5]])
    assert require_known(model, one, UNTOLD) == [note.format(3)]
    vocabulary.vocabulary.adopt([number_of(f"/{name}") for name in names])
    assert require_known(model, one, UNTOLD) == []


def test_a_layer_of_ones_own_is_used_while_a_signal_comes_in(tmp_path: Path) -> None:
    """As in `predict`: whose it is changes what is told, and a subject who has no map is refused."""
    model = decoding(network(), subjects=SubjectLayer(ids=[number_of("simulated_eeg/01")]))
    torch.nn.init.normal_(model.subjects.change, 0, 0.3, generator=tiny.drawn(0))
    save = saved(model, tmp_path / "decoder")
    path = file_of(tiny.person(1, 6.0), tmp_path / "one_raw.fif")
    asked: dict[str, Any] = {"speed": 0, "calibrate": 2.0}
    mine, anybody = (stream(save, str(path), Options(**asked, person=one)) for one in (Person("01"), UNTOLD))
    window = np.random.default_rng(0).normal(size=(8, 256))
    assert np.abs(mine.decide(window) - anybody.decide(window)).max() > 0.01
    with pytest.raises(DataError, match="has no map for subject 09; leave --subject away"):
        stream(save, str(path), Options(**asked, person=Person("09")))


def test_many_people_are_not_all_named() -> None:
    assert listed([f"{number}" for number in range(3)]) == "0, 1, 2"
    assert listed([f"{number}" for number in range(11)]).endswith("6, 7 and 3 more")
