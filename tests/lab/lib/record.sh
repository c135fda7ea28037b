# shellcheck shell=bash disable=SC2034,SC2153
# Writing down what DRBD does: a record for each part of a scenario, in $LAB/evidence/SCENARIO-VERSION/PART.txt, and what its kernel
# said of itself at a moment, in a folder beside it.

# part NAME: begins a record.
part() {
  PART=$1 RECORDS=$LAB/evidence/$SCENARIO-$GENERATION
  mkdir -p "$RECORDS"
  rm -rf "${RECORDS:?}/$PART" "$RECORDS/$PART.txt"
  : > "$RECORDS/$PART.txt"
  say "-- $PART"
}

note() { echo "$*" >> "$RECORDS/$PART.txt"; }

# tells N COMMAND...: runs it there and records it; never fails. What it said is in $SAID, its exit status in $STATUS.
tells() {
  local n=$1
  shift
  STATUS=0
  SAID=$(on "$n" "{ $*
    } 2>&1" < /dev/null) || STATUS=$?
  { echo "node$n# $*"; [ -z "$SAID" ] || printf '%s\n' "$SAID"; echo "exit $STATUS"; } >> "$RECORDS/$PART.txt"
}

# states: both state lines, and the connection as 8.4 itself names it.
states() {
  local n
  for ((n = 1; n <= NODES; n++)); do note "node$n is: $(state "$n" || true)"; done
}

# kernel_lines: what the kernels have said of DRBD since they were last forgotten, without what is always there.
kernel_lines() {
  local n
  for ((n = 1; n <= NODES; n++)); do
    note "kernel of node$n:"
    on "$n" "dmesg | sed 's/^\[[^]]*\] //' | grep -E '^(block )?drbd' | grep -vE 'Starting |Terminating |Method to ensure|BIO size|bitmap: bits|resync bitmap|size = |recounting|meta-data IO|Handshake successful|Feature flags|Maximum number|Allocating|strategy = |Preparing|Committing|State change [0-9]+: |bitmap READ|bitmap WRITE' | sed 's/^/  /'" < /dev/null >> "$RECORDS/$PART.txt" || true
    kernel_forget "$n"
  done
}

# insist WHAT COMMAND...: what the record is about must be so, or the scenario fails.
insist() {
  local what=$1
  shift
  "$@" || die "$PART: $what"
}
told() { grep -qE -- "$1" <<< "$SAID"; }

# live NAME: what every node's DRBD says of itself now, into $RECORDS/$PART/NAME/nodeN.
live() {
  local n folder
  for ((n = 1; n <= NODES; n++)); do
    folder=$RECORDS/$PART/$1/node$n
    mkdir -p "$folder"
    on "$n" "live-state r0" < /dev/null | tar -x --no-same-owner -C "$folder"
  done
}
