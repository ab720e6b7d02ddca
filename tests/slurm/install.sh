#!/usr/bin/env bash
# Installs what the tests in this folder need, from Debian's packages; does nothing where all is there.
#
# Where that cannot be done the tests will be skipped, and this says so; with CI or
# WEBSHOP_RL_REQUIRE_SLURM set it is an error.
set -euo pipefail
packages=()
want() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
want slurmctld slurm-wlm
want munged munge
want slurmdbd slurmdbd
want mariadbd mariadb-server
[ ${#packages[@]} -gt 0 ] || exit 0

cannot() {
  echo "not installed, and cannot be here: ${packages[*]} ($1)" >&2
  case "${CI:-}${WEBSHOP_RL_REQUIRE_SLURM:-}" in
    "" | 0 | false) echo "the tests on a real Slurm will be skipped" >&2; exit 0 ;;
    *) exit 1 ;;
  esac
}
command -v apt-get >/dev/null || cannot "no apt-get"
[ "$(id -u)" -eq 0 ] || cannot "it takes root"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
install_them() { apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$log" 2>&1; }
install_them || { apt-get update -qq >"$log" 2>&1 && install_them; } || { tail -n 20 "$log" >&2; cannot "apt-get failed"; }
rm -f "$log"
echo "installed ${packages[*]}: $(slurmctld -V)"
