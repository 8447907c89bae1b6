"""Data cards: each shipped one loads and its facts hold, a bad one is one sentence, a first card works."""

import os
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from brainfm import folders
from brainfm.data.audit import audit
from brainfm.data.cards import DataCard, check, data_root, front_matter, list_cards, recount
from brainfm.data.fetchers.url import Url
from brainfm.data.modalities import instruments, modality
from brainfm.data.new_card import new_card, pattern
from brainfm.data.readers.simulated_speech import SimulatedSpeech
from brainfm.data.speech import can_speak
from brainfm.data.splits import in_words, split, strictest
from brainfm.errors import DataError, RecipeError

CARDS = list_cards()
READ = [name for name in CARDS if DataCard.load(name).reader is not None]
CATALOGUE = [name for name in CARDS if name not in READ]
SMALL = """---
title: two simulated people
modality: eeg
licence: none
citation: none
source: brainfm
folder: ""
files: ""
reader: {kind: simulated, subjects: 2, seconds: 60.0, sensors: 8}
task:
  labels: [left_hand, right_hand]
  window: {kind: trials, seconds: 2.0}
  split: CrossSubject
  metric: balanced_accuracy
---
Some prose.
"""


def written(folder: Path, text: str = SMALL) -> Path:
    path = folder / "small.md"
    path.write_text(text, encoding="utf-8")
    return path


def data_or_skip(card: DataCard) -> DataCard:
    if isinstance(card.reader, SimulatedSpeech) and card.reader.voice == "espeak" and not can_speak():
        pytest.skip(f"the sentences of {card.name} are spoken by espeak-ng: apt-get install espeak-ng")
    if card.folder and not (data_root() / card.folder).is_dir():
        pytest.skip(
            f"the recordings of {card.name} are not at {data_root()}; set BRAINFM_DATA to have this checked"
        )
    return card


def test_there_are_cards_of_every_instrument() -> None:
    assert len(CARDS) >= 32 and len(CATALOGUE) >= 30
    assert "simulated_eeg" in READ
    of = [DataCard.load(name).modality for name in CARDS]
    assert {instrument: of.count(instrument) >= 5 for instrument in instruments()} == dict.fromkeys(
        instruments(), True
    )


@pytest.mark.parametrize("name", CARDS)
def test_every_card_loads_and_says_what_it_must(name: str) -> None:
    card = DataCard.load(name)
    assert card.name == name and len(card.hash) == 12
    assert card.facts is not None
    assert set(card.facts.windows) == set(card.task.labels if card.task else [])
    assert card.licence and card.citation and card.source
    for word in ("onsent", "cite" if card.simulated else "Cite"):
        assert word in card.prose, f"the card {name} says nothing on {word}"


@pytest.mark.parametrize("name", CARDS)
def test_every_fact_has_a_source(name: str) -> None:
    """Of catalogue cards always; of others where they say who may have them."""
    card = DataCard.load(name)
    if card.reader is None or card.access is not None:
        assert audit(card) == []


def test_the_audit_finds_what_is_planted(tmp_path: Path) -> None:
    """Each flaw alone, in a card that is otherwise without one."""
    right = """---
title: a public set
modality: eeg
licence: CC0-1.0
citation: somebody 2020
source: https://example.org
access: {kind: open}
species: Homo sapiens
facts: {subjects: 3}
verified:
  - {facts: [licence, citation, access, species, facts.subjects], by: literature, source: "https://example.org"}
---
Prose.
"""
    assert audit(DataCard.load(written(tmp_path, right))) == []
    flaws = [
        ("modality: eeg", "modality: ecg", "modality"),
        ("citation: somebody 2020", "citation: FILL IN", "citation"),
        ("access: {kind: open}\n", "", "access"),
        ("licence: CC0-1.0", "licence: own terms", "licence"),
        ("facts: {subjects: 3}", "facts: {subjects: 3, hours: 2.0}", "facts.hours"),
        ('by: literature, source: "https://example.org"', "by: literature", "verified"),
        (
            "facts: {subjects: 3}",
            "overlaps: [{card: nowhere, what: stimuli, why: x}]\nfacts: {subjects: 3}",
            "overlaps",
        ),
        (
            "{kind: open}",
            "{kind: agreement, ask: https://example.org}\nfetch: {kind: moabb, id: X}",
            "fetch",
        ),
    ]
    for old, new, field in flaws:
        assert old in right
        text = right.replace(old, new, 1)
        if field == "access":
            text = text.replace("access, ", "")
        assert field in {problem.field for problem in audit(DataCard.load(written(tmp_path, text)))}, new


def test_a_source_for_a_fact_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = SMALL.replace("source: brainfm", "source: brainfm\nverified: [{facts: [facts.hours], by: files}]")
    with pytest.raises(DataError, match=r"'facts\.hours' is no fact that this card states"):
        DataCard.load(written(tmp_path, text))


def test_no_two_cards_are_one_file() -> None:
    """A hash that occurs twice would be a fact copied from one card into another."""
    ways = [DataCard.load(name).fetch for name in CARDS]
    hashes = [file.sha256 or file.md5 for way in ways if isinstance(way, Url) for file in way.files]
    assert len(hashes) > 30
    empty = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "d41d8cd98f00b204e9800998ecf8427e",
    }
    assert all(hashes.count(one) == 1 for one in hashes if one not in empty)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_catalogue_card_says_what_it_can_not_do(name: str) -> None:
    card = DataCard.load(name)
    with pytest.raises(DataError, match=f"{name} is a catalogue card") as caught:
        card.recordings()
    assert "\n" not in str(caught.value)
    (problem,) = check(card)
    assert "catalogue card" in problem.found


@pytest.mark.parametrize("name", READ)
def test_the_facts_of_every_card_hold_and_its_split_can_be_made(name: str) -> None:
    card = data_or_skip(DataCard.load(name))
    assert check(card) == []
    recordings = card.recordings()
    assert {recording.dataset for recording in recordings} == {name}
    if card.task is None:
        return
    windows = card.windows(recordings)
    folds = split(card.task.split, windows, recordings, card.task.folds, card.task.gap)
    own = card.modality in ("seeg", "spikes") or name == "simulated_fmri"
    if not own:  # one person's contacts, neurons or voxels say nothing of another's, who has others
        assert card.task.split == strictest(recordings), "a card holds out as strictly as its data allow"
    assert in_words(card.task.split, folds, windows, recordings).startswith(
        f"{card.task.split}: {len(folds)} folds"
    )


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    facts = "facts: {subjects: 3, sessions: 2, recordings: 2, sensors: 8, sfreq: 100.0}\n---\nSome"
    wrong = DataCard.load(written(tmp_path, SMALL.replace("---\nSome", facts)))
    found = {problem.field: (problem.said, problem.found) for problem in check(wrong)}
    assert found == {"facts.subjects": ("3", "2"), "facts.sfreq": ("100.0", "128.0")}


WRONG = {
    "eeg_bci2_selfpaced": [
        ("  sfreq: 100.0\n  windows", "  sfreq: 250.0\n  windows", "facts.sfreq", "100.0"),
        ("left: 159", "left: 158", "facts.windows", "'left': 159"),
        ("unit: µV", "unit: V", "recordings", "µV"),
    ],
    "meg_s1_detection": [
        ("  sfreq: 600.0\n  windows", "  sfreq: 1000.0\n  windows", "facts.sfreq", "600.0"),
        ("recordings: 5", "recordings: 6", "facts.recordings", "5"),
        ("unit: A m", "unit: nA m", "recordings", "A m"),
    ],
    "ieeg_bonn": [
        ("  sfreq: 173.61\n  windows", "  sfreq: 200.0\n  windows", "facts.sfreq", "173.61"),
        ("seizure: 60}", "seizure: 100}", "facts.windows", "'seizure': 60"),
        ("unit: µV", "unit: V", "recordings", "µV"),
    ],
}
"""A rate, a count and a unit of a field signal's card, each said wrong; fMRI and spikes have theirs beside their readers."""


@pytest.mark.parametrize(
    ("name", "old", "new", "field", "words"),
    [(name, *one) for name, several in WRONG.items() for one in several],
)
def test_a_planted_error_is_found(
    tmp_path: Path, name: str, old: str, new: str, field: str, words: str
) -> None:
    text = (folders.find("data_cards", name, ".md")).read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / f"{name}.md"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    card = DataCard.load(path)
    if not (data_root() / card.folder).is_dir():
        pytest.skip(f"{card.folder} is not in BRAINFM_DATA")
    (problem,) = check(card)
    assert problem.field == field and words in problem.found


@pytest.mark.parametrize(
    ("said", "fine"), [("0.0333", True), ("0.03", True), ("0.04", False), ("0.0341", False)]
)
def test_hours_are_compared_to_the_digits_that_are_given(tmp_path: Path, said: str, fine: bool) -> None:
    text = SMALL.replace("---\nSome", f"facts: {{hours: {said}}}\n---\nSome")
    assert (check(DataCard.load(written(tmp_path, text))) == []) == fine  # two minutes


def test_what_a_card_does_not_say_is_counted_and_not_wrong(tmp_path: Path) -> None:
    counted, problems = recount(DataCard.load(written(tmp_path)))
    assert problems == [] and counted is not None
    assert counted.subjects == 2 and sum(counted.windows.values()) > 0


def test_check_of_absent_data_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    text = SMALL.replace('folder: ""', "folder: nowhere").replace('files: ""', "files: '*.edf'")
    text = text.replace(
        "reader: {kind: simulated, subjects: 2, seconds: 60.0, sensors: 8}", "reader: {kind: mne_file}"
    )
    (problem,) = check(DataCard.load(written(tmp_path, text)))
    assert problem.field == "recordings" and "set BRAINFM_DATA" in problem.found


def test_recordings_are_named_and_limited(tmp_path: Path) -> None:
    card = DataCard.load(written(tmp_path))
    assert [(r.dataset, r.subject) for r in card.recordings()] == [("small", "01"), ("small", "02")]
    assert len(card.recordings(limit=1)) == 1
    (second,) = card.recordings(entries=card.entries()[1:])
    assert second.subject == "02"


def test_the_hash_follows_the_facts_and_not_the_prose(tmp_path: Path) -> None:
    one = DataCard.load(written(tmp_path)).hash
    assert DataCard.load(written(tmp_path, SMALL.replace("Some prose", "Other prose"))).hash == one
    assert DataCard.load(written(tmp_path, SMALL.replace("seconds: 2.0", "seconds: 3.0"))).hash != one
    told = SMALL.replace("source: brainfm", "source: brainfm\nspecies: Homo sapiens\naccess: {kind: open}")
    assert DataCard.load(written(tmp_path, told)).hash == one


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("modality: eeg", "modalty: eeg", "'modalty' is not known; did you mean 'modality'"),
        ("modality: eeg\n", "", "modality: is missing"),
        ("modality: eeg", "modality: eeg\nmodality: meg", "duplicate key"),
        ("modality: eeg", "modality: [eeg", "not valid YAML"),
        ("modality: eeg", "name: mine\nmodality: eeg", "name is not written into a card"),
        ("kind: trials", "kind: trails", "'trails' is not known; did you mean 'trials'"),
        ("kind: simulated", "kind: my_lab.reader", "code outside brainfm"),
        ("split: CrossSubject", "split: Random", "task.split"),
        ("seconds: 2.0", "seconds: '2'", "task.window.*seconds"),
        ("labels: [left_hand, right_hand]", "labels: [left_hand]", "task.labels"),
        ("---\ntitle", "title", "between two lines of ---"),
    ],
)
def test_a_bad_card_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        DataCard.load(written(tmp_path, SMALL.replace(old, new, 1)))
    assert "\n" not in str(caught.value) and "small.md" in str(caught.value)


def test_a_wrong_name_suggests_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'eeg_delhi'"):
        DataCard.load("eeg_dehli")
    with pytest.raises(DataError, match="does not exist"):
        DataCard.load("nowhere/else.md")


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    facts, prose = front_matter("---\na: no\nb: 010\n---\ntext\n", tmp_path)
    assert facts == {"a": "no", "b": 10} and prose == "text"


def test_a_card_without_task_has_recordings_and_no_windows(tmp_path: Path) -> None:
    start, end = SMALL.index("task:"), SMALL.index("---\nSome")
    card = DataCard.load(written(tmp_path, SMALL[:start] + SMALL[end:]))
    assert len(card.recordings()) == 2
    with pytest.raises(DataError, match="small has no task"):
        card.windows(card.recordings())


def test_windows_need_two_classes(tmp_path: Path) -> None:
    card = DataCard.load(written(tmp_path))
    recordings = card.recordings()
    events = recordings[0].events
    left = np.array([label == "left_hand" for label in events.label])
    kept = replace(
        events, onset=events.onset[left], duration=events.duration[left], label=("left_hand",) * left.sum()
    )
    with pytest.raises(DataError, match="every window is labelled 'left_hand'"):
        card.windows([replace(recordings[0], events=kept)])


def test_the_folder_is_found_beside_the_card_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "mine").mkdir(parents=True)
    card = DataCard.load(written(tmp_path, SMALL.replace('folder: ""', "folder: mine")))
    assert card.path == tmp_path / "data" / "mine"
    (tmp_path / "mine").mkdir()
    assert card.path == tmp_path / "mine"
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path))
    assert data_root() == Path(os.environ["BRAINFM_DATA"])


def test_names_and_paths_of_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.find("data_cards", "eeg_delhi", ".md").name == "eeg_delhi.md"
    path = written(tmp_path)
    assert folders.find("data_cards", str(path), ".md") == path
    with pytest.raises(RecipeError, match="'eeg_delli' is not in data_cards; did you mean 'eeg_delhi'"):
        folders.find("data_cards", "eeg_delli", ".md")
    monkeypatch.setattr(folders, "checkout", lambda: None)
    assert folders.shipped("data_cards") == folders.PACKAGE / "_recipes" / "data_cards"


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["Subject00_1", "Subject01_2"], "Subject{subject}_{run}.edf"),
        (["S001R02", "S109R14"], "S{subject}R{run}.edf"),
        (["S001/S001R02", "S002/S002R02"], "S*/S{subject}R{run}.edf"),
        (
            ["sub-01/eeg/sub-01_task-a_eeg", "sub-02/eeg/sub-02_task-b_eeg"],
            "sub-{subject}/eeg/sub-{subject}_task-*_eeg.edf",
        ),
        (
            ["sub-01/ses-2/eeg/sub-01_ses-2_task-a_run-1_eeg"],
            "sub-{subject}/ses-{session}/eeg/sub-{subject}_ses-{session}_task-*_run-{run}_eeg.edf",
        ),
        (["p1/rest", "p2/task"], "p{subject}/*.edf"),
        (["p1/day1/a", "p2/day2/b"], "p{subject}/day{session}/*.edf"),
        (["one", "two"], "*.edf"),
        (["x/one", "two"], "**/*.edf"),
    ],
)
def test_patterns_are_read_from_names(names: list[str], wanted: str) -> None:
    assert pattern([f"{name}.edf" for name in names], ".edf") == wanted


def bids(root: Path) -> None:
    """Two people, two runs each, as BrainVision with an events.tsv."""
    from pybv import write_brainvision

    rng = np.random.default_rng(0)
    for subject in ("01", "02"):
        folder = root / f"sub-{subject}" / "eeg"
        folder.mkdir(parents=True)
        for run in ("1", "2"):
            base = f"sub-{subject}_task-move_run-{run}"
            data = 1e-5 * rng.standard_normal((4, 2000))
            write_brainvision(
                data=data,
                sfreq=100,
                ch_names=["C3", "Cz", "C4", "Nowhere"],
                fname_base=f"{base}_eeg",
                folder_out=folder,
            )
            rows = [f"{onset}\t1.0\t{'left' if onset % 4 else 'right'}" for onset in range(2, 18, 2)]
            (folder / f"{base}_events.tsv").write_text(
                "\n".join(["onset\tduration\ttrial_type", *rows]) + "\n"
            )


def test_a_first_card_of_a_bids_folder_passes_check_and_decodes(tmp_path: Path) -> None:
    bids(tmp_path / "study")
    text = new_card(tmp_path / "study")
    assert "FILL IN" in text and '"drop": ["Nowhere"]' in text and "left (16)" in text
    card = DataCard.load(written(tmp_path, text))
    assert check(card) == []
    assert card.facts is not None
    assert (card.facts.subjects, card.facts.recordings, card.facts.sensors) == (2, 4, 3)
    uncommented = "\n".join(
        line.removeprefix("# ") if line.startswith(("# task:", "#   ")) else line for line in text.split("\n")
    )
    uncommented = uncommented.replace("facts:", "facts:\n  windows: {left: 16, right: 16}")
    card = DataCard.load(written(tmp_path, uncommented.replace("#   ", "  ")))
    assert check(card) == []
    assert card.task is not None and card.task.split == "CrossSubject"
    recordings = card.recordings()
    assert len(split(card.task.split, card.windows(recordings), recordings)) == 2


def test_a_first_card_of_meg_files_reads_their_coils(tmp_path: Path) -> None:
    recording = modality("meg").simulate(np.random.default_rng(0), seconds=20.0, sensors=9)
    signal = recording.signal("meg")
    info = mne.create_info(list(signal.sensors.name), signal.sfreq, list(signal.sensors.kind))
    for number in (1, 2):
        raw = mne.io.RawArray(signal.load() * number, info, verbose="error")
        (tmp_path / "study").mkdir(exist_ok=True)
        raw.save(tmp_path / "study" / f"sub{number:02d}_raw.fif", verbose="error")
    card = DataCard.load(written(tmp_path, new_card(tmp_path / "study")))
    assert card.modality == "meg" and check(card) == []
    assert card.recordings()[0].signal("meg").sensors.kind == signal.sensors.kind


@pytest.mark.parametrize(("files", "words"), [([], "nothing"), (["a.mat", "b.mat"], "2 × .mat")])
def test_a_folder_without_recordings_is_one_sentence(tmp_path: Path, files: list[str], words: str) -> None:
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(DataError, match=words) as caught:
        new_card(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="is not a folder"):
        new_card(tmp_path / "absent")
