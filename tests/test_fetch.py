"""Fetching, against a server on this machine: cut connections are taken up, wrong files never get a name, gates hold."""

import hashlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from pydantic import ValidationError

from brainfm.data import download as downloading
from brainfm.data.cards import DataCard
from brainfm.data.download import RemoteFile, download
from brainfm.data.fetch import fetch
from brainfm.data.fetchers import Fetcher
from brainfm.data.fetchers.dandi import Dandi
from brainfm.data.fetchers.huggingface import Huggingface
from brainfm.data.fetchers.mne import Mne
from brainfm.data.fetchers.moabb import Moabb
from brainfm.data.fetchers.nilearn import Nilearn
from brainfm.data.fetchers.openneuro import Openneuro
from brainfm.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """Serves `CONTENT` under every path; `cuts` says after how many bytes each answer in turn breaks off."""

    url: str
    cuts: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    ranges: bool = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            told.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and told.ranges else 0
            if self.path.endswith("absent"):
                self.send_error(404)
                return
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : start + told.cuts.pop(0)] if told.cuts else CONTENT[start:])

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    told = Server(f"http://127.0.0.1:{running.server_port}")
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield told
    running.shutdown()
    running.server_close()


def remote(server: Server, **changes: Any) -> RemoteFile:
    return RemoteFile(
        **{
            "path": "sub-01/one.bin",
            "url": f"{server.url}/one",
            "sha256": SHA256,
            "bytes": len(CONTENT),
            **changes,
        }
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    path = download(remote(server), tmp_path)
    assert path == tmp_path / "sub-01" / "one.bin" and path.read_bytes() == CONTENT
    assert download(remote(server), tmp_path) == path and server.asked == [None]
    path.write_bytes(b"spoilt")
    assert download(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_cut_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [10_000, 20_000]
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=10000-", "bytes=30000-"]
    assert names(tmp_path) == ["one.bin"]


def test_a_later_command_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_000] * downloading.TRIES
    with pytest.raises(DataError, match=f"was cut after {1_000 * downloading.TRIES} of 50000 bytes"):
        download(remote(server), tmp_path)
    assert names(tmp_path) == ["one.bin.part"]
    server.asked.clear()
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={1_000 * downloading.TRIES}-"]


def test_a_server_without_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = [10_000], False
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=10000-"]


def test_a_part_that_was_whole_gets_its_name(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "sub-01" / "one.bin.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["one.bin"]


@pytest.mark.parametrize(
    "wrong", [{"sha256": "0" * 64}, {"sha256": None, "md5": "0" * 32}, {"bytes": 49_999}]
)
def test_a_wrong_file_never_gets_a_name(server: Server, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="is not the file that the card describes"):
        download(remote(server, **wrong), tmp_path)
    assert names(tmp_path) == []


def test_a_spoilt_part_is_thrown_away_and_the_next_try_is_right(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "sub-01" / "one.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="another hash; nothing was kept"):
        download(remote(server), tmp_path)
    assert download(remote(server), tmp_path).read_bytes() == CONTENT


def test_an_md5_is_as_good(server: Server, tmp_path: Path) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert download(remote(server, sha256=None, md5=md5), tmp_path).read_bytes() == CONTENT


def test_an_address_that_is_gone_is_one_sentence(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent answers 404 Not Found") as caught:
        download(remote(server, url=f"{server.url}/absent"), tmp_path)
    assert "\n" not in str(caught.value) and names(tmp_path) == []


def test_without_a_network_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    nobody = RemoteFile(
        path="a", url="http://127.0.0.1:9/a", sha256=SHA256
    )  # the port of `discard`: nobody listens
    with pytest.raises(DataError, match=r"can't be reached .*; fetching needs a network") as caught:
        download(nobody, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": None}, "what is not checked is not fetched"),
        ({"path": "../../home"}, "must lie inside"),
        ({"path": "/etc/passwd"}, "must lie inside"),
        ({"url": "file:///etc/passwd"}, "is no web address"),
        ({"sha256": "abc"}, "pattern"),
    ],
)
def test_what_is_not_safe_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RemoteFile(**{"path": "a", "url": "https://x/a", "sha256": SHA256, **changes})


def card(folder: Path, server: Server, more: str = "", licence: str = "CC0-1.0") -> Path:
    """A catalogue card of two people's files and one that belongs to nobody."""
    files = "".join(
        f"    - {{path: {path}, url: '{server.url}/{path}', sha256: {SHA256}{owner}}}\n"
        for path, owner in (
            ("README", ""),
            ("sub-01/a.bin", ", subject: '01'"),
            ("sub-02/a.bin", ", subject: '02'"),
        )
    )
    matter = f"title: t\nmodality: eeg\nlicence: {licence}\ncitation: c\nsource: https://example.org\n{more}"
    path = folder / "public.md"
    path.write_text(f"---\n{matter}fetch:\n  kind: url\n  files:\n{files}---\nProse.\n", encoding="utf-8")
    return path


def test_the_command_fetches_what_was_asked_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path / "data"))
    path = card(tmp_path, server)
    result = tiny.brainfm("data", "fetch", path, "--subjects", "02", "--json")
    assert result.code == 0
    assert names(tmp_path / "data" / "public") == ["README", "a.bin"]
    assert result.json["files"][1].endswith("public/sub-02/a.bin")
    out = tmp_path / "elsewhere"
    assert "1 there" in tiny.brainfm("data", "fetch", path, "--out", out, "--limit", 1).out
    assert names(out) == ["README"]
    whole = tiny.brainfm("data", "fetch", path)
    assert whole.code == 0 and len(names(tmp_path / "data" / "public")) == 3
    said = tiny.only_sentence(tiny.brainfm("data", "fetch", path, "--subjects", "03"))
    assert "belongs to 03; its subjects are 01, 02" in said


@pytest.mark.parametrize("kind", ["registration", "agreement", "application"])
def test_a_gated_set_is_refused_with_where_to_ask(server: Server, tmp_path: Path, kind: str) -> None:
    path = card(tmp_path, server, f"access: {{kind: {kind}, ask: https://ask.example}}\n")
    said = tiny.only_sentence(tiny.brainfm("data", "fetch", path, "--out", tmp_path / "out"))
    assert kind in said and "ask at https://ask.example" in said
    assert server.asked == [] and not (tmp_path / "out").exists()


def test_an_unlicensed_set_is_refused(server: Server, tmp_path: Path) -> None:
    path = card(tmp_path, server, licence="none stated, local evaluation only")
    said = tiny.only_sentence(tiny.brainfm("data", "fetch", path, "--out", tmp_path / "out"))
    assert "states no licence" in said and "https://example.org" in said and server.asked == []


def test_what_can_not_be_fetched_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="made by brainfm when it is read"):
        fetch(DataCard.load("simulated_eeg"))
    with pytest.raises(
        DataError, match=r"does not say how to fetch it; get it from https://github.com/sylvchev"
    ):
        fetch(DataCard.load("eeg_ssvep_exo"))


def test_a_gate_needs_an_address(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs `ask`"):
        DataCard.load(card(tmp_path, server, "access: {kind: application}\n"))


LIBRARIES: list[tuple[Fetcher, str]] = [
    (Openneuro(id="ds000001"), "pip install openneuro-py"),
    (Dandi(id="000001"), "pip install dandi"),
    (Moabb(id="BNCI2014_001"), "pip install moabb"),
    (Mne(id="sample"), "pip install mne"),
    (Nilearn(id="haxby"), "pip install nilearn"),
    (Huggingface(id="a/b"), "pip install huggingface_hub"),
]


@pytest.mark.parametrize(("fetcher", "words"), LIBRARIES, ids=lambda value: getattr(value, "kind", ""))
def test_a_library_that_is_not_installed_is_named(
    fetcher: Fetcher, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = fetcher.needs[0]
    for name in (module, *(name for name in sys.modules if name.startswith(f"{module}."))):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=words):
        list(fetcher.fetch(tmp_path, [], None))


def module(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """A stand-in for a library, so that how it is called can be seen without a network."""
    made = types.ModuleType(name)
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, name, made)


def test_openneuro_is_asked_for_subjects_of_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    module(monkeypatch, "openneuro", download=lambda **words: calls.append(words))
    fetcher = Openneuro(id="ds000001", version="1.0.0")
    assert list(fetcher.fetch(tmp_path, ["01", "sub-02"], None)) == [tmp_path]
    assert list(fetcher.fetch(tmp_path, [], None)) == [tmp_path]
    assert [call["include"] for call in calls] == [["sub-01", "sub-02"], None]
    assert calls[0]["tag"] == "1.0.0" and calls[0]["target_dir"] == tmp_path
    with pytest.raises(DataError, match="give --subjects"):
        list(fetcher.fetch(tmp_path, [], 2))


def failing(*_: Any, **__: Any) -> None:
    raise ConnectionError("no route to host\nsecond line")


def test_a_library_without_a_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "openneuro", download=failing)
    module(monkeypatch, "dandi")
    module(monkeypatch, "dandi.dandiapi", DandiAPIClient=failing)
    module(monkeypatch, "huggingface_hub", list_repo_files=failing)
    for fetcher in (Openneuro(id="ds000001"), Dandi(id="000001"), Huggingface(id="a/b")):
        with pytest.raises(DataError, match=r"no route to host second line.*goes on from there") as caught:
            list(fetcher.fetch(tmp_path, [], None))
        assert "\n" not in str(caught.value)


def test_dandi_files_are_checked_by_their_digests(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asset:
        def __init__(self, path: str) -> None:
            self.path, self.size, self.base_download_url = path, len(CONTENT), f"{server.url}/{path}"

        def get_raw_digest(self, kind: str) -> str:
            assert kind == "dandi:sha2-256"
            return SHA256

    class Client:
        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def get_dandiset(self, id: str, version: str) -> "Client":
            assert (id, version) == ("000001", "draft")
            return self

        def get_assets(self) -> list[Asset]:
            return [Asset("sub-B/b.nwb"), Asset("sub-A/a.nwb")]

    module(monkeypatch, "dandi")
    module(monkeypatch, "dandi.dandiapi", DandiAPIClient=Client)
    first = next(Dandi(id="000001").fetch(tmp_path, [], 1))
    assert first == tmp_path / "sub-A" / "a.nwb" and first.read_bytes() == CONTENT
    assert [path.name for path in Dandi(id="000001").fetch(tmp_path, ["B"], None)] == ["b.nwb"]
    with pytest.raises(DataError, match="has no file of C"):
        list(Dandi(id="000001").fetch(tmp_path, ["C"], None))


def test_moabb_is_asked_subject_by_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        subject_list = (1, 2, 3)

        def data_path(self, subject: int, path: str, update_path: bool) -> list[Any]:
            return [[f"{path}/{subject}a"], f"{path}/{subject}b"]

    module(monkeypatch, "moabb")
    module(monkeypatch, "moabb.datasets", Made=Made)
    found = [path.name for path in Moabb(id="Made").fetch(tmp_path, ["3", "1"], None)]
    assert found == ["1a", "1b", "3a", "3b"]
    assert len(list(Moabb(id="Made").fetch(tmp_path, [], 2))) == 4
    with pytest.raises(DataError, match="has no subject 9; it has 1, 2, 3"):
        list(Moabb(id="Made").fetch(tmp_path, ["9"], None))
    with pytest.raises(DataError, match="has no dataset Absent"):
        list(Moabb(id="Absent").fetch(tmp_path, [], None))


def test_mne_and_nilearn_have_what_the_cards_name() -> None:
    """Without a network: only that the functions are there under these names."""
    import importlib

    from brainfm.data.cards import list_cards

    ways = [DataCard.load(name).fetch for name in list_cards()]
    for way in ways:
        if isinstance(way, Mne):
            assert callable(importlib.import_module(f"mne.datasets.{way.id}").data_path)
        if isinstance(way, Nilearn):
            assert callable(getattr(importlib.import_module("nilearn.datasets"), f"fetch_{way.id}"))


def test_nilearn_counts_subjects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    made: Callable[..., None] = lambda **words: calls.append(words)  # noqa: E731
    module(monkeypatch, "nilearn")
    module(monkeypatch, "nilearn.datasets", fetch_some=made)
    list(Nilearn(id="some", by="n_subjects").fetch(tmp_path, [], 3))
    assert calls == [{"data_dir": str(tmp_path), "verbose": 0, "n_subjects": 3}]


def test_the_hub_is_asked_for_files_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    files = ["README.md", "sub-1/a.h5", "sub-2/a.h5"]
    monkeypatch.setattr(hub, "list_repo_files", lambda *_, **__: files)
    monkeypatch.setattr(hub, "hf_hub_download", lambda _, name, **words: f"{words['local_dir']}/{name}")
    fetcher = Huggingface(id="a/b", include=["sub-{subject}/*"])
    assert [path.name for path in fetcher.fetch(tmp_path, [], None)] == ["a.h5", "a.h5"]
    assert [path.parent.name for path in fetcher.fetch(tmp_path, ["2"], None)] == ["sub-2"]
    with pytest.raises(DataError, match="can't be fetched by subject"):
        list(Huggingface(id="a/b").fetch(tmp_path, ["2"], None))
