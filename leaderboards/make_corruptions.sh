#!/usr/bin/env bash
# Makes the records of scans, noise and corruptions for all shipped compact weights, then the tables.
# Usage: leaderboards/make_corruptions.sh [VICTIM...]
#   default: the paper's four, each cleanly and adversarially trained: 28 pose sources, 64 pairs,
#   about half an hour on one CPU core. Records that exist are made again.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- npt-mp npt gct posemae

sources=(scan@0)
for severity in 1 3 5; do
  for kind in scan jitter rotate scale drop-global drop-local add-global add-local; do
    sources+=("$kind@$severity")
  done
done
sources+=(noise@0.01 noise@0.02 noise@0.04)

for victim; do
  for source in "${sources[@]}"; do
    posebench run --victim "$victim" --task "anny/$source" --attack none --samples 64 \
      --batch-size 16 --out leaderboards/records >/dev/null
  done
done
posebench report
