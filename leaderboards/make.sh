#!/usr/bin/env bash
# Makes the records behind the tables, then the tables. Records that exist are made again.
# Usage: leaderboards/make.sh [WEIGHTS...]
#   default: all shipped weights, about 80 minutes on 2 CPU cores, half of it pt-ensemble. Other weights: runs that
#   `posebench train --recipe table5` or `--recipe options` left in runs/; the name of a file or
#   of its folder starts with the victim's.
set -euo pipefail
cd "$(dirname "$0")/.."
run() { posebench run --batch-size 16 --out leaderboards/records "$@" >/dev/null; }

make_records() { # of one weights file
  local weights=$1 name victim
  name=$(basename "$weights" .safetensors)
  [ "$name" != weights ] || name=$(basename "$(dirname "$weights")")
  case $name in
    npt-mp-*) victim=npt-mp ;;
    *) victim=${name%%-*} ;;
  esac
  local with=(--victim "$victim" --weights "$weights")
  run "${with[@]}" --samples 256 --attack none --task anny/seen
  run "${with[@]}" --samples 256 --attack none --task anny/unseen
  run "${with[@]}" --samples 256 --attack fgm --eps 0.08
  [ "$victim-${weights%%/*}" != posemae-runs ] || return 0 # all that Table 5 shows
  run "${with[@]}" --samples 64 --attack fgm --eps 0.02
  run "${with[@]}" --samples 32 --attack pgd --eps 0.08
  case $weights in runs/* | *-seed*) return 0 ;; esac
  run "${with[@]}" --samples 4 --attack pt-ensemble --eps 0.08
  run "${with[@]}" --samples 64 --attack none --task anny/unseen-bent
  run "${with[@]}" --samples 64 --attack none --task anny/wide
  for access in oblivious adaptive; do
    run "${with[@]}" --samples 64 --attack fgm --eps 0.08 --defense sor --access $access
  done
}

[ $# -gt 0 ] || set -- victims/weights/*-compact*.safetensors
for weights; do
  make_records "$weights"
done
posebench report
