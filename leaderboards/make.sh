#!/usr/bin/env bash
# Makes the records behind the tables, then the tables. Records that exist are made again.
# Usage: leaderboards/make.sh [VICTIM...]     about 10 minutes on 2 CPU cores for all four
set -euo pipefail
cd "$(dirname "$0")/.."
run() { posebench run --samples 256 --batch-size 16 --out leaderboards/records "$@" >/dev/null; }
for victim in "${@:-npt-mp npt gct posemae}"; do
  for name in $victim; do
    for task in seen unseen unseen-bent wide; do
      run --victim "$name" --attack none --task "anny/$task"
    done
    run --victim "$name" --attack fgm --eps 0.08
    run --victim "$name" --attack fgm --eps 0.02
    run --victim "$name" --attack fgm --eps 0.08 --defense sor --access oblivious
    run --victim "$name" --attack fgm --eps 0.08 --defense sor --access adaptive
  done
done
posebench report
