#!/usr/bin/env bash
# Makes leaderboards/parts and docs/perturbations.png (the paper's Fig. 5), then the tables: 5 minutes on a CPU core.
set -euo pipefail
cd "$(dirname "$0")/.."
heat() { posebench plot heat --parts leaderboards/parts "$@" >/dev/null; }

heat --victim npt-mp --victim posemae --victim npt --victim gct --samples 64 --out docs/perturbations.png
heat --victim npt-mp --victim posemae --victim npt --attack pgd --samples 16 --out runs/perturbations-pgd.png
posebench report
