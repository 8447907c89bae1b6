"""To the Hub and back, against a server of our own: the same bytes, the manifest, and a card that says what is known."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import hub
import pytest
import tiny
from ruamel.yaml import YAML

from brainfm.checkpoint import SHIPPED
from brainfm.jobs.reporting import write_scores
from brainfm.scores import Difference, Row, Scores

NAME = "lab/tiny-brain"


@pytest.fixture(scope="module")
def server() -> Iterator[hub.Repositories]:
    with hub.serving() as store:
        yield store


@pytest.fixture(scope="module")
def environment(server: hub.Repositories, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Nothing but this server, and a cache of the test's own; a token that is none."""
    home = tmp_path_factory.mktemp("hub")
    kept = {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tiny.ROOT)}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe's report."""
    rows = [Row("chance", 0.5), Row("untrained", 0.61, 0.5, 0.7, 90, 3), Row("frozen", 0.74, 0.66, 0.81, 90)]
    rows.append(Row("classical:csp_lda", 0.7, 0.6, 0.8, 90))
    scores = Scores(
        card="simulated_eeg",
        split="CrossSubject: 6 folds",
        held_out=["subject 13"],
        metric="balanced_accuracy",
        chance=0.5,
        rows=rows,
        differences=[Difference("frozen", "untrained", 0.13, 0.02, 0.2)],
        contamination="clean recordings; other recordings of the same subjects were in the training corpus",
    )
    folder = tmp_path_factory.mktemp("report")
    write_scores(scores, folder, "Probe", "simulated_eeg")
    return folder


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=tiny.ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def pushed(server: hub.Repositories, environment: dict[str, str], report: Path) -> dict[str, bytes]:
    words = ("push", "brainfm-tiny", NAME, "--report", str(report), "--licence", "apache-2.0", "--json")
    done = run(environment, "-m", "brainfm", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == [
        "README.md",
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]
    return server.files[NAME]


def test_the_same_bytes_arrive(pushed: dict[str, bytes]) -> None:
    assert set(pushed) >= {"README.md", "config.json", "manifest.json", "model.safetensors"}
    assert not [name for name in pushed if name.endswith((".bin", ".py", ".pkl"))]
    shipped = SHIPPED / "brainfm-tiny"
    assert json.loads(pushed["manifest.json"]) == json.loads(
        (shipped / "manifest.json").read_text(encoding="utf-8")
    )


def test_the_card_says_what_was_scored_seen_and_asked_for(pushed: dict[str, bytes]) -> None:
    text = pushed["README.md"].decode()
    front = YAML(typ="safe", pure=True).load(text.split("---")[1])
    assert front["license"] == "apache-2.0" and front["library_name"] == "brainfm"
    assert {"eeg", "spikes", "self-supervised"} <= set(front["tags"])
    results = front["model-index"][0]["results"]
    metrics = {one["name"]: one["value"] for result in results for one in result["metrics"]}
    assert metrics["balanced_accuracy, frozen"] == 0.74 and metrics["balanced_accuracy, untrained"] == 0.61
    for words in (
        "| simulated_eeg | balanced accuracy (0.50) | CrossSubject: 6 folds | 0.74 [0.66, 0.81] | 0.61 [0.50, 0.70] | – | 0.70",
        "clean recordings; other recordings of the same subjects",
        "| eeg_arithmetic | ODC-By-1.0 |",
        "c2a089a03870",
        "kind: transformer",
        "brainfm.load('lab/tiny-brain')",
    ):
        assert words in text, words


def test_it_is_loaded_by_its_name_with_the_same_features(
    pushed: dict[str, bytes], environment: dict[str, str], server: hub.Repositories
) -> None:
    code = (
        "import brainfm, numpy, sys\n"
        "from brainfm.data.modalities import modality\n"
        "person = modality('eeg').simulate(numpy.random.default_rng(0), seconds=8.0)\n"
        f"here, there = (brainfm.load(name) for name in ('brainfm-tiny', {NAME!r}))\n"
        "numpy.testing.assert_array_equal(here.embed(person).values, there.embed(person).values)\n"
        "assert here.manifest == there.manifest and there.load_report.coverage == 1\n"
    )
    done = run(environment, "-c", code)
    assert done.returncode == 0, done.stderr
    assert any(f"GET /{NAME}/resolve/" in one for one in server.asked)


def test_a_damaged_checkpoint_is_refused_before_the_hub_hears_of_it(tmp_path: Path) -> None:
    for name in ("config.json", "manifest.json"):
        (tmp_path / name).write_bytes((SHIPPED / "brainfm-tiny" / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with mock.patch("huggingface_hub.HfApi.create_repo") as asked:
        said = tiny.only_sentence(tiny.brainfm("push", tmp_path, "lab/damaged"))
    assert "can't be loaded" in said and not asked.called
