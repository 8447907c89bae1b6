"""Export: a graph gives PyTorch's numbers for any number of windows, says what belongs into it, or is not written."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from decoders import PREPARE, SENSORS, decoding, fast_person, file_of, network, saved

from brainfm.answers import Answer
from brainfm.errors import CheckpointError
from brainfm.heads.sequence import Sequence
from brainfm.jobs import export as graphs
from brainfm.jobs.export import ALLOWED, DESCRIPTION, INPUT, Asked, export
from brainfm.model import BrainFM, throughout
from tests.cases import INSTRUMENTS, somebody


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(decoding(network()), tmp_path_factory.mktemp("decoder") / "decoder")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return file_of(fast_person(), tmp_path_factory.mktemp("recording") / "new_raw.fif")


@pytest.fixture(scope="module")
def written(decoder: Path, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> graphs.Exported:
    out = tmp_path_factory.mktemp("out") / "decoder.pt2"
    return export(decoder, "torch", out, Asked(recording))


def test_the_graph_gives_what_the_decoder_says(
    written: graphs.Exported, decoder: Path, recording: Path
) -> None:
    said = {DESCRIPTION: ""}
    with written.out.open("rb") as file:
        graph = torch.export.load(file, extra_files=said).module()
    assert json.loads(said[DESCRIPTION]) == written.description
    model = BrainFM.from_pretrained(decoder)
    assert model.decoder is not None
    stream = graphs.windows_of(model, graphs.read(model.decoder, recording), Asked())
    for rows in ([0], [3, 1], range(9)):
        batch = stream.batch(np.array(rows))
        with torch.inference_mode():
            told = model.decode(batch)
            torch.testing.assert_close(graph(batch.signal), told, atol=1e-5, rtol=0)
    assert told.std(dim=0).min() > 0.01, "windows are told apart, so equality says something"
    assert all(0 <= apart < ALLOWED for apart in written.apart.values()) and set(written.apart) == {
        "random",
        "real",
    }


def test_it_says_what_was_written(written: graphs.Exported) -> None:
    assert "(batch, 8, 256) windows of 2 s at 128 Hz, prepared, to logits (batch, 3)" in written.text
    assert f"{written.apart['real']:.1e} on real windows" in written.text and str(written.out) in written.text


def test_the_file_says_what_belongs_into_it(written: graphs.Exported) -> None:
    said = written.description
    assert said["input"] == {
        "name": INPUT,
        "shape": ["batch", 8, 256],
        "sfreq": 128.0,
        "seconds": 2.0,
        "unit": ["1"],
    }
    assert [sensor["name"] for sensor in said["sensors"]] == SENSORS == said["prepare"]["sensors"]
    assert all(0.02 < math.dist(sensor["position"], (0, 0, 0)) < 0.2 for sensor in said["sensors"])
    assert [step["kind"] for step in said["prepare"]["steps"]] == [step["kind"] for step in PREPARE]
    assert said["labels"] == ["left_hand", "right_hand", "rest"]
    assert said["output"] == {"name": "logits", "shape": ["batch", 3]}


def test_a_decoder_of_numbers_says_how_they_become_what_is_told(recording: Path, tmp_path: Path) -> None:
    answer = Answer(of="values", mean=[3.0, -1.0], scale=[2.0, 0.5], unit="cm/s")
    model = decoding(network(), head=Sequence(rows="apart"), labels=["x", "y"], answer=answer)
    written = export(saved(model, tmp_path / "decoder"), "torch", tmp_path / "out.pt2", Asked(recording))
    said = written.description
    assert said["output"] == {"name": "numbers", "shape": ["batch", 8, 2]}
    assert said["answer"] == {"of": "values", "mean": [3.0, -1.0], "scale": [2.0, 0.5], "unit": "cm/s"}
    assert "to numbers (batch, 8, 2)" in written.text


def test_without_a_recording_it_takes_the_first_of_the_decoders_card(decoder: Path) -> None:
    model = BrainFM.from_pretrained(decoder)
    assert graphs.example(model, decoder, Asked()).name == "simulated/subject01/session01"


def test_an_encoder_embeds_by_the_command_line(recording: Path, tmp_path: Path) -> None:
    encoder = saved(network(), tmp_path / "encoder")
    words = ("--recording", recording, "--pool", "sensor", "--seconds", "1", "--json")
    result = tiny.brainfm("export", encoder, "--out", tmp_path / "encoder.pt2", *words)
    assert result.code == 0 and result.err == "", result.err
    found = result.json
    assert found["parity"].keys() == {"random", "real"} and max(found["parity"].values()) < ALLOWED
    said = found["graph"]
    assert said["output"] == {"name": "features", "shape": ["batch", 8 * 32]}
    assert said["pool"] == "sensor" and "labels" not in said and said["sensors_of"] == recording.name
    said = tiny.only_sentence(tiny.brainfm("export", encoder, "--out", tmp_path / "x.pt2"))
    assert said.endswith("name a recording: --recording FILE")


def test_a_graph_that_differs_is_not_written(
    decoder: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = graphs.Graph.forward
    monkeypatch.setattr(graphs.Graph, "forward", lambda self, signal: right(self, signal) + 2e-4)
    out = tmp_path / "decoder.pt2"
    said = tiny.only_sentence(tiny.brainfm("export", decoder, "--recording", recording, "--out", out))
    assert "on random windows the torch graph is 2.0e-04 from PyTorch" in said
    assert list(tmp_path.iterdir()) == []


def test_what_can_be_no_graph_is_refused(
    decoder: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = graphs.Graph.forward
    monkeypatch.setattr(
        graphs.Graph,
        "forward",
        lambda self, signal: right(self, signal if signal.sum() > 0 else -signal),
    )
    out = tmp_path / "decoder.pt2"
    said = tiny.only_sentence(tiny.brainfm("export", decoder, "--recording", recording, "--out", out))
    assert "patch with transformer looks at its windows to choose its operations" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "instrument, tokenizer, encoder",
    [
        ("seeg", {"kind": "regions", "scale": "parcel"}, {"kind": "axial", "halves": True}),
        ("fmri", {"kind": "voxel_clusters", "clusters": 6, "hidden": 16}, {"kind": "bottleneck"}),
        (
            "eeg",
            {"kind": "patch"},
            {"kind": "transformer", "where": {"kind": "conduction"}, "when": {"kind": "oscillations"}},
        ),
        (
            "eeg",
            {"kind": "patch"},
            {
                "kind": "transformer",
                "where": {"kind": "fourier_4d"},
                "when": {"kind": "table", "seconds": 0.25},
            },
        ),
    ],
)
def test_what_follows_from_the_sensors_is_a_constant(
    instrument: str, tokenizer: dict[str, str], encoder: dict[str, Any]
) -> None:
    """Tokens that are grouped by region, by moment or by name can be a graph, too."""
    signal = INSTRUMENTS[instrument].signal(tokenizer)
    shape = {**encoder, "depth": 1, "width": 32, "heads": 2}
    model = network(signals={instrument: signal}, encoder=shape).eval()
    person = somebody(instrument)
    prepared = model.prepare([person], instrument)
    stream = model.stream(prepared, throughout(prepared, instrument, signal["seconds"]), instrument)
    model.adopt(stream)
    batch = stream.batch(np.arange(3))
    graph = graphs.Graph(model, batch.windows(slice(0, 1)), "mean").eval()
    with torch.inference_mode():
        right = graphs.told(model, batch, "mean")
        torch.testing.assert_close(graph(batch.signal), right, atol=1e-6, rtol=0)
        traced = graphs.traced(graph, "x").module()(batch.signal)
    torch.testing.assert_close(traced, right, atol=1e-5, rtol=0)
    assert right.std(dim=0).max() > 1e-3, "windows are told apart, so equality says something"


def test_events_are_no_graph(tmp_path: Path) -> None:
    signal = INSTRUMENTS["spikes"].signal({"kind": "spike_events", "sfreq": 100.0})
    model = network(signals={"spikes": signal}).eval()
    with pytest.raises(CheckpointError, match="spikes is read event by event"):
        graphs.windows_of(model, somebody("spikes"), Asked())


def test_mistakes(decoder: Path, recording: Path, tmp_path: Path) -> None:
    def said(*words: object) -> str:
        return tiny.only_sentence(tiny.brainfm("export", *words))

    out = ("--out", tmp_path / "x.pt2")
    assert said(decoder, "--out", tmp_path).endswith("is a folder; choose another --out, a file")
    assert "nowhere" in said(tmp_path / "nowhere", *out)
    assert said(decoder, "--recording", tmp_path / "no.fif", *out).endswith("does not exist")
    raw = tiny.raw_of(fast_person()).drop_channels(["C4"])
    raw.save(tmp_path / "fewer_raw.fif", verbose="error")
    assert "lacks C4" in said(decoder, "--recording", tmp_path / "fewer_raw.fif", *out)
    foreign = saved(decoding(network(), card="nobody_knows"), tmp_path / "foreign")
    assert said(foreign, *out).endswith("name one with the same sensors: --recording FILE")
    assert not (tmp_path / "x.pt2").exists()


def test_onnx_without_its_packages_says_how_to_get_them(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs.importlib.util, "find_spec", lambda name: None)
    said = tiny.only_sentence(
        tiny.brainfm("export", decoder, "--format", "onnx", "--out", tmp_path / "x.onnx")
    )
    assert said == "--format onnx needs onnx: pip install 'brainfm-toolkit[export]'"


def test_onnx_gives_the_same(decoder: Path, recording: Path, tmp_path: Path) -> None:
    """By ONNX Runtime alone, with what the file says of itself."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    pytest.importorskip("onnxscript", reason="needs the extra export")
    out = tmp_path / "decoder.onnx"
    found = tiny.brainfm("export", decoder, "--recording", recording, "--format", "onnx", "--out", out)
    assert found.code == 0 and found.err == "", found.err
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.onnx"]
    session = onnxruntime.InferenceSession(out)
    said = json.loads(session.get_modelmeta().custom_metadata_map[DESCRIPTION])
    assert session.get_inputs()[0].name == said["input"]["name"]
    assert session.get_outputs()[0].name == said["output"]["name"]
    model = BrainFM.from_pretrained(decoder)
    assert model.decoder is not None
    stream = graphs.windows_of(model, graphs.read(model.decoder, recording), Asked())
    for rows in ([0], range(9)):
        batch = stream.batch(np.array(rows))
        with torch.inference_mode():
            told = model.decode(batch).numpy()
        np.testing.assert_allclose(
            session.run(None, {INPUT: batch.signal.numpy()})[0], told, atol=ALLOWED, rtol=0
        )
