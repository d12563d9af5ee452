#!/bin/sh
#SBATCH --job-name=pixelwise
#SBATCH --array=1-64
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --requeue
#
# Labels a folder of pictures, each task of the array a part of it:
#
#     sbatch slurm-array.sh MODEL PICTURES OUT
#
# One part again, or those that a node took with it: sbatch --array=7,12 slurm-array.sh ...
# The number of parts stands here, as SLURM_ARRAY_TASK_COUNT would be 2 then.
set -eu
PARTS=${PARTS:-64}
exec pixelwise predict "$1" "$2" -o "$3" --save labels \
    --threads "$SLURM_CPUS_PER_TASK" --shard "$SLURM_ARRAY_TASK_ID/$PARTS"
