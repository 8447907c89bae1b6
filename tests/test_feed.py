"""The data path: every process reads its own pieces, workers read ahead, and a store may lie behind HTTP or S3."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from forked import ended, finish, started, together
from served_files import Objects, Ranges, serve
from torch import Tensor

from brainfm.batch import Batch
from brainfm.feed import Feed, Micro

STEPS = 6


class Asked:
    """A source that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def item(self, step: int, part: int, parts: int) -> Micro:
        self.asked.append((step, part, parts))
        return Micro((torch.tensor([step, part, parts, os.getpid()]), torch.zeros(1)), part, 1, parts)


def fed(
    source: Asked, process: int, processes: int, first: int = 0, workers: int = 0
) -> list[tuple[int, list[Micro]]]:
    feed = Feed(source, 5, 2, workers, process, processes, torch.device("cpu"))
    return list(feed.after(first))


def test_each_process_asks_for_its_own_pieces_and_between_them_for_all() -> None:
    sources = [Asked() for _ in range(3)]
    for process, source in enumerate(sources):
        assert [step for step, _ in fed(source, process, 3, first=2)] == [2, 3, 4]
    asked = [one for source in sources for one in source.asked]
    assert sorted(asked) == [(step, part, 6) for step in (2, 3, 4) for part in range(6)]


def test_workers_give_the_same_in_the_same_order_from_processes_of_their_own() -> None:
    here, there = (fed(Asked(), 1, 2, workers=workers) for workers in (0, 2))
    assert [step for step, _ in there] == [0, 1, 2, 3, 4]
    made = set()
    for (_, ours), (_, theirs) in zip(here, there, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.content[0][:3], other.content[0][:3]) and one.first == other.first
            made.add(int(other.content[0][3]))
    assert len(made) == 2 and os.getpid() not in made


def test_all_of_a_micro_batch_is_pinned_for_a_gpu(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no GPU there is no pinned memory: copies stand for it."""
    pinned: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    label = torch.arange(len(batch))
    found = Micro((batch, label), 3, 4, 9).pin_memory()
    assert (found.first, found.count, found.total) == (3, 4, 9)
    held = [value for value in vars(found.content[0]).values() if isinstance(value, Tensor)]
    assert {id(one) for one in (*held, found.content[1])} == {id(one) for one in pinned}
    assert torch.equal(found.content[0].signal, batch.signal) and torch.equal(found.content[1], label)
    assert torch.equal(Micro(label).pin_memory().content, label)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_comes_to_a_gpu_was_pinned(batch: Batch) -> None:
    assert Micro((batch,)).pin_memory().content[0].signal.is_pinned()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a card, and with its store."""
    folder = tmp_path_factory.mktemp("prepared")
    card = tiny.people(folder, subjects=2, seconds=24.0)
    done = tiny.brainfm(
        "data", "prepare", card, "--tokenizer", "patch_250ms", "--out", folder / "store", "--json"
    )
    assert done.code == 0, done.err
    return folder


def words(folder: Path, out: Path, store: str, *overrides: str) -> list[str]:
    settings = (f"data.store={store}", "train.batch=8", *overrides)
    return tiny.train_words(folder / "people.md", out, *settings, steps=STEPS)


@pytest.fixture(scope="module")
def local(folder: Path) -> list[dict[str, float]]:
    """What a run from the folder logs."""
    return tiny.rows(finish(words(folder, folder / "local", str(folder / "store"))))


@pytest.fixture
def web(folder: Path) -> Iterator[tuple[str, type[Ranges]]]:
    """The store behind HTTP, and a count of what it gave."""
    pytest.importorskip("aiohttp")
    server, counted = serve(folder)
    yield f"http://127.0.0.1:{server.server_port}/store", counted
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_behind_http_trains_to_the_bit_as_a_folder_does(
    folder: Path, local: list[dict[str, float]], web: tuple[str, type[Ranges]], tmp_path: Path, workers: int
) -> None:
    """The first request is made before the workers are forked: each must open connections of its own."""
    url, counted = web
    run = finish(words(folder, tmp_path / "run", url, f"train.workers={workers}"))
    assert tiny.rows(run) == local
    assert counted.asked > STEPS


def test_two_processes_with_workers_train_from_http(
    folder: Path, local: list[dict[str, float]], web: tuple[str, type[Ranges]], tmp_path: Path
) -> None:
    run = finish(words(folder, tmp_path / "run", web[0], "train.workers=1"), 2)
    for one, other in zip(tiny.rows(run), local, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_a_server_that_is_not_there_ends_a_run_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    argv = words(folder, tmp_path / "run", "http://127.0.0.1:9/store", "train.workers=1")
    result = ended(started(argv), tmp_path / "run")
    assert "http://127.0.0.1:9/store" in tiny.only_sentence(result)


@pytest.fixture
def bucket(folder: Path, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The store in a bucket of a local server that speaks S3, and how to reach it."""
    pytest.importorskip("s3fs")
    (tmp_path / "buckets").mkdir()
    (tmp_path / "buckets" / "lab").symlink_to(folder)
    server, _ = serve(tmp_path / "buckets", Objects)
    yield (
        "s3://lab/store",
        {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": Objects.key,
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
    )
    server.shutdown()
    server.server_close()


def test_a_store_in_a_bucket_trains_as_a_folder_does(
    folder: Path, local: list[dict[str, float]], bucket: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    url, surroundings = bucket
    argv = words(folder, tmp_path / "run", url, "train.workers=1")
    result = ended(started(argv, surroundings=surroundings), tmp_path / "run")
    assert result.code == 0, result.err
    assert tiny.rows(tmp_path / "run") == local
    processes = together(words(folder, tmp_path / "two", url, "train.workers=1"), 2, **surroundings)
    for rank, process in enumerate(processes):
        assert ended(process, tmp_path / "two", rank).code == 0
    for one, other in zip(tiny.rows(tmp_path / "two"), local, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_a_bucket_that_refuses_the_key_ends_a_run_with_a_sentence(
    folder: Path, bucket: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    url, surroundings = bucket
    argv = words(folder, tmp_path / "run", url)
    stranger = surroundings | {"AWS_ACCESS_KEY_ID": "stranger"}
    result = ended(started(argv, surroundings=stranger), tmp_path / "run")
    assert url in tiny.only_sentence(result)
