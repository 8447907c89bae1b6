"""The command line in forked processes that have imported everything, which saves seconds a start: one, or several that train
together and find each other as torchrun's do."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import tiny

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["brainfm.jobs.pretrain", "brainfm.jobs.reporting", "accelerate", "mne"])


def main(argv: list[str], said: Path, surroundings: Mapping[str, str]) -> None:
    """What a forked process does."""
    import torch

    from brainfm import cli

    os.environ.update(surroundings)
    multiprocessing.set_start_method("fork", force=True)  # for the loader's workers, to save seconds too
    torch.set_num_threads(1)
    sys.argv = ["brainfm", *argv]
    os.setsid()  # a group of its own, to be signalled as a terminal or a scheduler does
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(f"{said}{suffix}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    cli.main()


def out_of(argv: Sequence[str]) -> Path:
    """The run's folder."""
    return Path(argv[argv.index("--out") + 1])


def started(
    argv: list[str], rank: int = 0, surroundings: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """A run whose words go to files beside its folder."""
    said = Path(f"{out_of(argv)}-{rank}")
    process = FORKS.Process(target=main, args=([*argv, "--json"], said, dict(surroundings or {})))
    process.start()
    return process


def together(argv: list[str], count: int, **more: str) -> list[ForkServerProcess]:
    """Processes of one run, on one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [
        started(argv, rank, {**shared, "MASTER_PORT": port, **own, **more}) for rank, own in enumerate(ranks)
    ]


def ended(process: ForkServerProcess, run: Path, rank: int = 0, seconds: float = 120) -> tiny.Result:
    """What a process left, once it has ended, which it must."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"process {rank} of the run does not end")
    said = [Path(f"{run}-{rank}{suffix}").read_text(encoding="utf-8") for suffix in (".out", ".err")]
    return tiny.Result(process.exitcode, *said)


def finish(argv: list[str], count: int = 1, **more: str) -> Path:
    """Run to the end, without a word on stderr; the run's folder."""
    run = out_of(argv)
    processes = [started(argv)] if count == 1 else together(argv, count, **more)
    results = [ended(process, run, rank) for rank, process in enumerate(processes)]
    for result in results:
        assert result.code == 0 and result.err == "", result
    assert results[0].json["loss"] == tiny.rows(run)[-1]["loss"]
    return run


def wait_for(run: Path, lines: int) -> None:
    """Until the log has so many lines."""
    log, until = run / "log.jsonl", time.monotonic() + 90
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < until, "the run logged nothing"
        time.sleep(0.001)
