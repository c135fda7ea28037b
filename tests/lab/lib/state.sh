# shellcheck shell=bash
# Where the lab keeps its things, and how it speaks. Sourced by everything under tests/lab.

LAB_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PROJECT=$(cd "$LAB_SOURCE/../.." && pwd)
LAB=${UNSPLIT_LAB:-$PROJECT/target/lab}
mkdir -p "$LAB"
LAB=$(cd "$LAB" && pwd)
# shellcheck disable=SC2034
BUILT=$LAB/built        # what `build` makes; a CI may keep this folder between runs
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
complain() { printf '%s lab: %s\n' "$(date +%T)" "$*" >&2; }
die() { complain "$@"; exit 1; }

# until_true SECONDS WHAT COMMAND...: waits for a condition, never for ever.
until_true() {
  local limit=$1 what=$2 end
  shift 2
  end=$((SECONDS + limit))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || { complain "waited $limit s in vain for: $what"; return 1; }
    sleep 0.3
  done
}

# fails COMMAND...: insists that it fails. (`! command` would not end a script.)
fails() { if "$@" > /dev/null 2>&1; then die "this should have failed: $*"; fi; }
