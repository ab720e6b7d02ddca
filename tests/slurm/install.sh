#!/usr/bin/env bash
# Installs what the tests in this folder need, from Debian's packages; does nothing where it is there already.
set -euo pipefail
command -v slurmctld >/dev/null && command -v munged >/dev/null && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "Slurm is not installed, and only root on a Debian machine can install it here: its tests will be skipped." >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
packages=(slurm-wlm munge)
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
slurmctld -V
