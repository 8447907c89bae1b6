"""The demo from start to end, made small: a report, its numbers, and going on where it stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny

from brainfm.data import modalities
from brainfm.jobs import demo
from brainfm.recipe import FinetuneRecipe, PretrainRecipe
from brainfm.recipe_reconstruct import ReconstructRecipe

SMALLER = ("train.steps=4", "train.batch=16", "train.precision=no", "train.save_every=2")

QUICK = "batch: 32, learning_rate: 0.002, precision: 'no'"
SKETCH = f"{{name: sketch, of: sketch, train: ['sketch.*'], settings: {{steps: 60, {QUICK}}}}}"
PICTURES = f"{{name: pictures, of: pictures, train: ['generator.*'], settings: {{steps: 4, {QUICK}}}}}"
FEWER = (
    "features.shape.embedder.components=8",
    "sample.steps=2",
    f"stages=[{SKETCH}, {PICTURES}]",
    "condition.start_at=1.0",
)


def viewers(folder: Path) -> Path:
    """A card of two people who look at few pictures."""
    text = (tiny.ROOT / "data_cards" / "simulated_cortex.md").read_text(encoding="utf-8")
    few = "{kind: simulated_cortex, subjects: 2, sessions: 2, pictures: 120, shared: 8, repeats: 3, pixels: 16, ncsnr: [1, 3]}"
    head, _, rest = text.partition("reader: ")
    path = folder / "simulated_cortex.md"
    path.write_text(
        f"{head}reader: {few}\n---\n{rest.partition(chr(10))[2].rpartition('---')[2]}", encoding="utf-8"
    )
    return path


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo of three people under each instrument and a few steps."""
    cards = {path.stem: path for path in tiny.five_instruments(tmp_path)}
    held = ", ".join(f"{name}: ['03']" for name in cards)
    data = f"data={{cards: [{', '.join(map(str, cards.values()))}], hold_out: {{{held}}}}}"
    pretrain = (*tiny.NETWORK, *SMALLER, data)
    finetune = (*SMALLER, f"card={cards['eeg']}")

    def smaller(kind: Any, overrides: Sequence[str]) -> None:
        load = kind.load.__func__
        shrunk = classmethod(lambda cls, name, more=(): load(cls, name, [*overrides, *more]))
        monkeypatch.setattr(kind, "load", shrunk)

    smaller(PretrainRecipe, pretrain)
    smaller(FinetuneRecipe, finetune)
    smaller(ReconstructRecipe, (f"card={viewers(tmp_path)}", *FEWER))
    monkeypatch.setattr(demo, "TOLD_AFTER", 4)
    monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "demo"


def test_the_demo_ends_in_a_report_and_can_be_run_again(small: Path) -> None:
    result = tiny.brainfm("demo", "--out", small, "--json")
    assert result.code == 0 and result.err == "", result.err
    said = result.json
    assert said["report"] == str(small / "report.html") and said["seconds"] > 0
    assert said["probe"].keys() == set(tiny.INSTRUMENTS)
    for modality, probed in said["probe"].items():
        assert {"chance", "untrained", "frozen"} <= {row["name"] for row in probed["rows"]}, modality
        assert all("subject 03" in held for held in probed["held_out"])
        assert probed["contaminated"] is False
    assert "classical:csp_lda" in {row["name"] for row in said["probe"]["eeg"]["rows"]}
    assert {"scratch", "finetuned"} <= {row["name"] for row in said["finetune"]["eeg"]["rows"]}
    assert said["interpolation"]["shown"] == [4, 6]
    assert said["reconstruction"]["metrics"]["two-way of pixels"]["score"] > 0.6
    assert {"shuffled trials", "ground truth"} <= said["reconstruction"]["controls"].keys()
    numbers = json.loads((small / "report.json").read_text(encoding="utf-8"))
    page = (small / "report.html").read_text(encoding="utf-8")
    assert numbers and ("<svg" in page or "<img" in page)
    for word in (
        "frozen features",
        "fine-tuned decoder",
        "Any electrode at any place",
        "seen and reconstructed",
    ):
        assert word in page
    assert [one["title"] for one in numbers["tokens"]] == [
        f"{modalities.modality(name).title}: a window and its tokens" for name in tiny.INSTRUMENTS
    ]

    logs = {path: path.read_bytes() for path in small.rglob("log.jsonl")}
    checkpoints = {path: path.stat().st_mtime_ns for path in small.rglob("training.safetensors")}
    # pretraining, both arms of one fold, the decoder, both stages of the pictures
    assert len(logs) == 1 + 2 + 1 + 2 and checkpoints
    again = tiny.brainfm("demo", "--out", small, "--json").json
    assert {**again, "seconds": 0} == {**said, "seconds": 0}
    assert {path: path.read_bytes() for path in logs} == logs
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints

    told = tiny.brainfm("demo", "--out", small)
    assert "finetuned" in told.out and "frozen − untrained" in told.out
    assert str(small / "report.html") in told.out.splitlines()[-1]

    other = tiny.brainfm("demo", "--out", small, "--json", "--seed", "2")
    assert "belongs to a run of another recipe" in tiny.only_sentence(other)
