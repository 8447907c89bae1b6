"""Checkpoints: loaded whole or refused in one sentence, found in runs and on the Hub, and never running foreign code."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from brainfm.batch import Batch
from brainfm.checkpoint import latest, resolve, step_of
from brainfm.data.recording import Recording
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import CheckpointError, DataError
from brainfm.files import write_folder
from brainfm.manifest import Manifest
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig, DecoderSettings
from brainfm.recipe import PretrainRecipe

ROOT = Path(__file__).parents[1]
ENCODER = """
from pathlib import Path
from brainfm.encoders.transformer import Transformer, TransformerEncoder
from brainfm.encoders import Encoder
Path(__file__).with_name("was_run").touch()
class Mine(Encoder):
    def build(self, modalities):
        return TransformerEncoder(Transformer(depth=self.depth, width=self.width, heads=self.heads), modalities)
"""


@pytest.fixture
def saved(model: BrainFM, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def refusal(folder: Path | str, **kwargs: Any) -> str:
    """The sentence that refuses a checkpoint."""
    with pytest.raises(CheckpointError) as caught:
        BrainFM.from_pretrained(folder, **kwargs)
    sentence = str(caught.value)
    assert sentence.strip() and "\n" not in sentence
    return sentence


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_checkpoint_is_safetensors_and_json(saved: Path, recipe: PretrainRecipe) -> None:
    assert {path.name for path in saved.iterdir()} == {"config.json", "manifest.json", "model.safetensors"}
    config = json.loads((saved / "config.json").read_text())
    assert config["recipe"] == recipe.text
    assert config["model_type"] == "brainfm"
    assert "trust" not in config


def test_a_whole_checkpoint_says_so(saved: Path, model: BrainFM, batch: Batch) -> None:
    loaded = BrainFM.from_pretrained(saved)
    report = loaded.load_report
    assert (report.coverage, report.expected) == (1.0, len(model.state_dict()))
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert str(report) == f"100.0% of {report.expected} tensors loaded, 0 left over"
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    with torch.no_grad():
        assert torch.equal(model(batch).embedding, loaded(batch).embedding)


@pytest.mark.parametrize(
    "name", ["encoder.norm.weight", "tokenizers.eeg.embed.bias", "encoder.where.nowhere"]
)
def test_one_missing_tensor_is_refused(saved: Path, name: str) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[name]

    change_weights(saved, drop)
    assert (
        f"lacks 1 of the backbone's {len(load_file(saved / 'model.safetensors')) + 1} tensors ({name})"
        in refusal(saved)
    )


def test_a_tensor_of_another_shape_is_refused(saved: Path) -> None:
    change_weights(saved, lambda tensors: tensors.update({"encoder.norm.weight": torch.ones(3)}))
    assert "has in another shape 1 of" in refusal(saved)
    assert "(encoder.norm.weight)" in refusal(saved)


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    change_config(saved, lambda config: config["encoder"].update(depth=3))
    assert "lacks 8 of" in refusal(saved)
    change_config(saved, lambda config: config["encoder"].update(depth=2, width=64))
    assert "has in another shape" in refusal(saved)


def test_tensors_left_over_are_reported(saved: Path) -> None:
    change_weights(saved, lambda tensors: tensors.update({"more": torch.ones(3)}))
    report = BrainFM.from_pretrained(saved).load_report
    assert report.unexpected == ("more",)
    assert report.coverage == 1.0
    assert str(report).endswith("1 left over")


@pytest.mark.parametrize("bytes_left", [0, 5, 2000, -100])
def test_a_cut_file_is_refused(saved: Path, bytes_left: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:bytes_left])
    assert str(saved) in refusal(saved)


def test_pickled_weights_are_not_looked_at(saved: Path, model: BrainFM) -> None:
    (saved / "model.safetensors").unlink()
    torch.save(model.state_dict(), saved / "pytorch_model.bin")
    assert "no file named model.safetensors" in refusal(saved)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"a":', "Expecting value"),
        ("[1]", "model_type None, not 'brainfm'"),
        ('{"model_type": "bert"}', "model_type 'bert', not 'brainfm'"),
        ("", "Expecting value"),
    ],
)
def test_a_damaged_or_foreign_config_is_refused(saved: Path, text: str, word: str) -> None:
    (saved / "config.json").write_text(text)
    assert word in refusal(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"signals": [1]}, {"signals": {}}, {"signals": None}, {"signals": {"eeg": "patch_250ms"}}, {"encoder": None},
        {"encoder": {"kind": "transformr"}}, {"encoder": "transformer"}, {"decoder": {"head": {"kind": "linear"}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_builds_nothing_is_refused(saved: Path, changes: dict[str, Any]) -> None:
    change_config(saved, lambda config: config.update(changes))
    assert refusal(saved)


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package outside brainfm that holds a working encoder."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "__init__.py").touch()
    (tmp_path / "my_lab" / "mine.py").write_text(ENCODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "my_lab"
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def test_foreign_code_that_a_checkpoint_names_is_not_run(saved: Path, my_lab: Path) -> None:
    """Not even where the checkpoint says of itself that it may be trusted."""
    change_config(saved, lambda config: config["encoder"].update(kind="my_lab.mine"))
    assert "allow it with trust=['my_lab.mine']" in refusal(saved)
    change_config(
        saved, lambda config: config.update(trust=["my_lab.mine"], auto_map={"AutoModel": "mine.Mine"})
    )
    assert "allow it with trust=['my_lab.mine']" in refusal(saved)
    with pytest.raises(CheckpointError):
        BrainFM(BrainFMConfig.from_pretrained(saved))
    assert not (my_lab / "was_run").exists()


def test_foreign_code_works_from_an_own_recipe_to_a_trusted_checkpoint(
    my_lab: Path, make_recipe: Callable[..., PretrainRecipe], batch: Batch, tmp_path: Path
) -> None:
    recipe = make_recipe(encoder={"kind": "my_lab.mine", "depth": 1, "width": 32, "heads": 2})
    model = BrainFM.fresh(BrainFMConfig.of(recipe), seed=0).eval()
    model.save_pretrained(tmp_path / "theirs")
    assert "code outside brainfm" in refusal(tmp_path / "theirs")
    loaded = BrainFM.from_pretrained(tmp_path / "theirs", trust=["my_lab.mine"])
    with torch.no_grad():
        assert torch.equal(loaded(batch).embedding, model(batch).embedding)
    loaded.save_pretrained(tmp_path / "again")
    assert "code outside brainfm" in refusal(tmp_path / "again")


def test_a_run_gives_its_newest_whole_checkpoint(model: BrainFM, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in (5, 40, 1000):
        write_folder(run / "checkpoints" / f"step-{step:08d}", model.save_pretrained)
    (run / "checkpoints" / "step-00002000.writing").mkdir()
    assert resolve(run) == run / "checkpoints" / "step-00001000" == latest(run)
    assert step_of(resolve(run)) == 1000
    assert resolve(run / "checkpoints" / "step-00000005") == run / "checkpoints" / "step-00000005"
    assert BrainFM.from_pretrained(str(run)).load_report.coverage == 1.0


def test_a_folder_that_is_not_written_to_its_end_has_no_name(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "checkpoints" / "step-00000001", fails)
    assert latest(tmp_path) is None
    assert "holds no checkpoint" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["no such/thing", "/nowhere/at/all", "a/b/c", "../up"])
def test_a_name_that_is_neither_folder_nor_hub_id(name: str) -> None:
    assert f"{name} is neither a folder nor the id of a Hub repository" in refusal(name)


def test_the_manifest_travels(model: BrainFM, person: Recording, tmp_path: Path) -> None:
    fresh = BrainFM.fresh(model.config, seed=0)
    fresh.manifest = Manifest.of([person], "eeg", with_labels=False)
    fresh.save_pretrained(tmp_path)
    assert BrainFM.from_pretrained(tmp_path).manifest == fresh.manifest
    (tmp_path / "manifest.json").write_text('{"entries": [{}]}')
    assert "is not a manifest" in refusal(tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert BrainFM.from_pretrained(tmp_path).manifest.verdict(person, "eeg") == "unknown"


def decoder_of() -> DecoderSettings:
    return DecoderSettings.model_validate(
        {
            "head": {"kind": "linear", "pool": "sensor"},
            "labels": ["left", "right"],
            "modality": "eeg",
            "sensors": [f"S{row}" for row in range(8)],
            "window": {"kind": "sliding", "seconds": 2.0},
            "reader": {"kind": "mne_file"},
            "events": None,
            "card": "simulated_eeg",
            "channels": 8,
            "recipe": "card: simulated_eeg\n",
        }
    )


def test_a_decoder_of_other_labels_can_start_from_a_decoder(model: BrainFM) -> None:
    first = model.with_decoder(decoder_of(), seed=1)
    for parameter in first.head.parameters():
        parameter.data.fill_(3.0)
    several = decoder_of().model_copy(update={"labels": ["left", "right", "rest"]})
    second = first.with_decoder(several, seed=2)
    assert second.head.score.out_features == 3
    same = first.with_decoder(decoder_of(), seed=2)
    assert not same.head.score.weight.any(), "the head is fresh, whatever the shape of the one before"
    assert torch.equal(same.encoder.norm.weight, first.encoder.norm.weight)


def test_a_decoder_is_saved_with_its_backbone(model: BrainFM, batch: Batch, tmp_path: Path) -> None:
    decoder = model.with_decoder(decoder_of(), seed=1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, decoder.state_dict()[name]), name
    with torch.no_grad():
        decoder.head.score.weight.normal_(generator=torch.Generator().manual_seed(0))
        decoder.save_pretrained(tmp_path)
        loaded = BrainFM.from_pretrained(tmp_path)
        assert loaded.decoder == decoder.decoder
        logits = loaded.decode(batch)
        assert logits.shape == (8, 2)
        assert torch.equal(logits, decoder.eval().decode(batch))
    change_weights(tmp_path, lambda tensors: tensors.pop("head.score.bias"))
    assert "(head.score.bias)" in refusal(tmp_path)


def test_a_backbone_has_no_decoder(model: BrainFM, batch: Batch) -> None:
    with pytest.raises(CheckpointError, match="has no decoder; make one with `brainfm finetune"):
        model.decode(batch)


def test_features_keep_the_order_of_windows_across_layouts(model: BrainFM, person: Recording) -> None:
    """Recordings of other sensors are batched apart and put back where they belong."""
    few = person.with_signal("eeg", person.signal("eeg").take([0, 2, 4, 6]))
    prepared = model.prepare([few, person, few], "eeg")
    windows = Sliding(seconds=2.0)(prepared, "eeg", [])
    order = np.random.default_rng(0).permutation(len(windows))
    together = model.features(prepared, windows.rows(order), "eeg", batch=4)
    alone = [model.embed(recording).values for recording in (few, person, few)]
    np.testing.assert_allclose(together, np.concatenate(alone)[order], atol=1e-5)
    with pytest.raises(DataError, match="use pool='mean'"):
        model.features(prepared, windows, "eeg", pool="sensor")


def test_pools_keep_apart_what_they_say(model: BrainFM, person: Recording) -> None:
    pools = {pool: model.embed(person, pool=pool).values for pool in ("mean", "sensor", "time", "all")}
    grid = pools["all"].reshape(10, 8, 8, model.width)
    np.testing.assert_allclose(pools["sensor"].reshape(10, 8, -1), grid.mean(axis=2), atol=1e-5)
    np.testing.assert_allclose(pools["time"].reshape(10, 8, -1), grid.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(pools["mean"], grid.mean(axis=(1, 2)), atol=1e-5)


def test_wrong_windows_and_modalities_are_one_sentence(
    model: BrainFM, batch: Batch, person: Recording
) -> None:
    from dataclasses import replace

    with pytest.raises(DataError, match="this model knows eeg, not meg"):
        model(replace(batch, modality="meg"))
    with pytest.raises(DataError, match=r"wants 128 Hz, the signal has 256 Hz: resample it"):
        model(replace(batch, sfreq=256.0))
    with pytest.raises(
        DataError, match=r"not a whole number of patches of 32: choose .* a multiple of 0.25 s"
    ):
        model.embed(person, seconds=1.1)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as a snapshot needs: what a repository holds, and its files."""

    files: dict[str, bytes] = {}
    asked: list[str] = []
    SHA = "0123456789abcdef0123456789abcdef01234567"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/lab/tiny/tree/"):
            tree = [{"type": "file", "path": n, "size": len(b), "oid": "0"} for n, b in self.files.items()]
            return self.answer(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        if path.startswith("/api/models/lab/tiny/") or path == "/api/models/lab/tiny":
            if path.rpartition("/")[2] not in ("main", "v1", self.SHA):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            names = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": "lab/tiny", "sha": self.SHA, "siblings": names}).encode()
            return self.answer(200, body, {"Content-Type": "application/json"})
        start, _, name = path.partition(f"/resolve/{self.SHA}/")
        if start == "/lab/tiny" and name in self.files:
            body = self.files[name]
            return self.answer(200, body, {"ETag": f'"{hash(body):x}"', "X-Repo-Commit": self.SHA})
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(saved: Path) -> Iterator[str]:
    """A Hub on this machine that holds one checkpoint, with a pickle and a script beside it."""
    Hub.files = {path.name: path.read_bytes() for path in saved.iterdir()}
    Hub.files |= {"pytorch_model.bin": b"danger", "modeling.py": b"raise SystemExit('danger')"}
    Hub.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SCRIPT = """
import json, sys
from brainfm.errors import CheckpointError
from brainfm.model import BrainFM
def told(*args, **kwargs):
    try:
        model = BrainFM.from_pretrained(*args, **kwargs)
        return [str(model.load_report), float(sum(p.double().sum() for p in model.parameters()))]
    except CheckpointError as error:
        return str(error)
print(json.dumps([told("lab/tiny"), told("lab/tiny", revision="v1"), told("lab/tiny", revision="v9"), told("lab/none")]))
"""


def test_a_hub_id_is_downloaded_without_its_code(hub: str, model: BrainFM, tmp_path: Path) -> None:
    settings = {
        "HF_ENDPOINT": hub,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    plain, tagged, untagged, none = json.loads(done.stdout.splitlines()[-1])
    assert plain[0].startswith("100.0%")
    assert plain[1] == pytest.approx(float(sum(p.detach().double().sum() for p in model.parameters())))
    assert tagged == plain
    assert any(path.endswith("/v1") for path in Hub.asked)
    for sentence in (untagged, none):
        assert isinstance(sentence, str) and "the Hub did not give it" in sentence and "\n" not in sentence
    downloaded = {
        path.name for path in (tmp_path / "home").rglob("*") if path.suffix in (".py", ".bin", ".json")
    }
    assert {"config.json", "manifest.json"} <= downloaded
    assert not any(name in path for path in Hub.asked for name in ("pytorch_model.bin", "modeling.py"))
