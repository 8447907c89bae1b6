"""The launch files that users copy: Accelerate and bash read them, and they say to processes what brainfm listens to."""

import os
import shlex
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from brainfm import folders, shards
from brainfm.errors import BrainfmError

LAUNCH = folders.shipped("pretrain") / "launch"
TRAINING = ["-m", "brainfm", "pretrain", "smoke", "--out", "runs/x"]


def parsed(words: list[str]) -> Namespace:
    """What `accelerate launch` makes of these words on a machine with GPUs."""
    return _validate_launch_command(launch_command_parser().parse_args(words))[0]


def test_they_are_no_recipes() -> None:
    assert LAUNCH.is_dir()
    assert not {"ddp", "fsdp2", "launch", "slurm"} & set(folders.names("pretrain", ".yaml"))


@pytest.mark.parametrize(("name", "kind", "shared"), [("ddp", "MULTI_GPU", False), ("fsdp2", "FSDP", True)])
def test_accelerate_reads_them_and_brainfm_hears(
    name: str, kind: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = LAUNCH / f"{name}.yaml"
    assert ClusterConfig.from_yaml_file(path).distributed_type.value == kind
    words = ["--config_file", str(path), "--num_processes", "8", *TRAINING]
    said = prepare_multi_gpu_env(parsed(words))
    for key in ("ACCELERATE_USE_FSDP", "FSDP_VERSION"):
        monkeypatch.setenv(key, said.get(key, ""))
    assert shards.wanted() is shared


def test_older_shards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.delenv("FSDP_VERSION", raising=False)
    with pytest.raises(BrainfmError, match="only FSDP2 is supported"):
        shards.wanted()


def test_the_slurm_file_starts_every_node_with_its_own_rank(tmp_path: Path) -> None:
    """With stand-ins for SLURM's and Accelerate's commands that say what they were told."""
    stand_ins = {
        "scontrol": 'printf "node1\\nnode2\\n"',
        "srun": 'shift; for node in 0 1; do SLURM_NODEID=$node "$@"; done',
        "accelerate": 'printf "%s\\0" "$@"; printf "\\n"',
    }
    for name, script in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    given = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8"}
    environment = {
        **os.environ,
        **given,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "BRAINFM_LAUNCH": str(LAUNCH),
    }
    command = ["bash", str(LAUNCH / "slurm.sh"), "my recipe.yaml", "runs/x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = [line.rstrip("\0").split("\0") for line in done.stdout.splitlines()]
    assert len(calls) == 2
    for rank, (verb, *words) in enumerate(calls):
        found = parsed(words)
        assert verb == "launch" and (found.num_machines, found.num_processes) == (2, 16)
        assert (found.machine_rank, found.main_process_ip) == (rank, "node1")
        assert found.module and found.training_script == "brainfm"
        assert found.training_script_args[:2] == ["pretrain", "my recipe.yaml"]


def test_the_slurm_file_asks_for_time_to_write_a_checkpoint() -> None:
    text = (LAUNCH / "slurm.sh").read_text(encoding="utf-8")
    asked = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert "--signal=TERM@120" in asked and "--ntasks-per-node=1" in asked
    assert all(len(shlex.split(line)) == 1 for line in asked)
