#!/bin/bash
# Several nodes under SLURM. Copy it, fill in account and partition, then: sbatch slurm.sh RECIPE runs/x
# Two minutes before its time is over every process is told to stop, and a checkpoint is written: submit the same again to go on,
# with as many nodes as there are then.
#SBATCH --job-name=brainfm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.out
set -euo pipefail
recipe=$1
out=$2
launch=${BRAINFM_LAUNCH:-pretrain/launch} # the folder of this file; fsdp2.yaml in place of ddp.yaml shares the weights
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
export OMP_NUM_THREADS=4

# Single quotes: SLURM_NODEID is each node's own.
srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --config_file "$0/ddp.yaml" \
  --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" --num_processes "$((SLURM_NNODES * SLURM_GPUS_ON_NODE))" \
  --main_process_ip "$1" --main_process_port 29500 \
  -m brainfm pretrain "$2" --out "$3" --set train.workers=6' "$launch" "$first" "$recipe" "$out"
