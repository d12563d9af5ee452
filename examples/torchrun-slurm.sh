#!/bin/bash
#SBATCH --job-name=pixelwise
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#
# Trains a recipe on all GPUs of all machines of the job, one process on each:
#
#     sbatch torchrun-slurm.sh RECIPE RUN
#
# RUN lies in a folder that all machines share. When a process dies, all are started again and go on
# from the last saved state; so does the job when SLURM puts it back into the queue.
set -euo pipefail

processes=${SLURM_GPUS_ON_NODE:-1}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Jobs may share a machine: each has a port of its own.
port=$((20000 + SLURM_JOB_ID % 20000))
# A restart gets a store of its own, and not the addresses of the processes that died.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export OMP_NUM_THREADS=$((${SLURM_CPUS_PER_TASK:-$processes} / processes))

srun torchrun \
  --nnodes "$SLURM_NNODES" --nproc-per-node "$processes" --max-restarts 3 \
  --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:$port" \
  -m pixelwise train "$1" -o "$2"
