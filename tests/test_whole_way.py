"""A user's whole way with a public set: fetched from a server, checked, prepared, pretrained on, probed."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import tiny


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder of four people's EDF files, and the address at which a server on this machine gives them."""
    tiny.edf_people(tmp_path / "public")
    folder = tmp_path / "public" / "edf"
    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder, f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def card_of(public: tuple[Path, str], folder: Path) -> Path:
    """The card of the set: where its files are to be had, with their hashes, and its task."""
    files, address = public
    lines = [
        f"    - {{path: {path.name}, url: '{address}/{path.name}', subject: '{path.stem.removeprefix('sub')}', "
        f"sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}, bytes: {path.stat().st_size}}}\n"
        for path in sorted(files.glob("*.edf"))
    ]
    more = f"{tiny.TASK}fetch:\n  kind: url\n  files:\n{''.join(lines)}"
    path = tiny.card(folder, "people", "{kind: mne_file}", "people", "sub{subject}.edf", more)
    text = path.read_text(encoding="utf-8").replace("licence: none", "licence: CC0-1.0", 1)
    path.write_text(text.replace("source: brainfm", "source: https://example.org", 1), encoding="utf-8")
    return path


def test_fetch_check_prepare_pretrain_probe(
    public: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path / "data"))
    card = card_of(public, tmp_path)
    fetched = tiny.brainfm("data", "fetch", card, "--json")
    assert fetched.code == 0 and len(fetched.json["files"]) == 4, fetched.err
    for path in (public[0]).glob("*.edf"):
        assert (tmp_path / "data" / "people" / path.name).read_bytes() == path.read_bytes()
        path.unlink()  # from here on there is what was fetched, and nothing else
    checked = tiny.brainfm("data", "check", card, "--json")
    assert checked.code == 0 and checked.json["ok"], checked.err
    store = tmp_path / "store"
    prepared = tiny.brainfm("data", "prepare", card, "--tokenizer", "patch_250ms", "--out", store, "--json")
    assert prepared.code == 0, prepared.err
    run = tmp_path / "run"
    words = tiny.train_words(card, run, f"data.store={store}", "data.hold_out={people: ['03', '04']}")
    trained = tiny.brainfm(*words, "--json")
    assert trained.code == 0 and trained.json["steps"] == 8, trained.err
    probed = tiny.brainfm("probe", run, card, "--seeds", 1, "--json", "--out", tmp_path / "probe")
    assert probed.code == 0, probed.err
    rows = {row["name"]: row["score"] for row in probed.json["rows"]}
    assert {"chance", "untrained", "frozen", "classical:csp_lda"} <= rows.keys()
    assert probed.json["contamination"].startswith("clean"), probed.json["contamination"]
    assert sorted(probed.json["held_out"]) == ["subject 03", "subject 04"]
    assert (tmp_path / "probe" / "report.html").exists()
