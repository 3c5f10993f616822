#!/usr/bin/env bash
# Makes the records behind the tables from the shipped weights, then the tables.
# Records that exist are made again.
# Usage: leaderboards/make.sh [VICTIM...]     about 40 minutes on 2 CPU cores for all four
set -euo pipefail
cd "$(dirname "$0")/.."
out=leaderboards/records
run() { posebench run --batch-size 16 --out $out "$@" >/dev/null; }
tables_1_and_2() { # the clean and attacked cells of one victim; more arguments choose weights
  for task in seen unseen; do
    run --samples 256 --attack none --task "anny/$task" "$@"
  done
  for task in unseen-bent wide; do
    run --samples 64 --attack none --task "anny/$task" "$@"
  done
  for eps in 0.02 0.08; do
    run --samples 256 --attack fgm --eps $eps "$@"
    run --samples 32 --attack pgd --eps $eps "$@"
  done
}
for victim in ${@:-npt-mp npt gct posemae}; do
  tables_1_and_2 --victim "$victim"
  for access in oblivious adaptive; do
    run --samples 256 --attack fgm --eps 0.08 --defense sor --access $access --victim "$victim"
  done
  # Other training seeds, where their weights are shipped.
  for weights in victims/weights/"$victim"-compact*-seed*.safetensors; do
    [ -e "$weights" ] || continue
    tables_1_and_2 --victim "$victim" --weights "$weights"
  done
done
# Weights that are not shipped but made by `posebench train --recipe table5`.
for weights in runs/posemae-{vanilla,masking,channel,spatial}/weights.safetensors; do
  [ -e "$weights" ] || continue
  for task in seen unseen; do
    run --samples 256 --attack none --task "anny/$task" --victim posemae --weights "$weights"
  done
  run --samples 256 --attack fgm --eps 0.08 --victim posemae --weights "$weights"
done
posebench report
