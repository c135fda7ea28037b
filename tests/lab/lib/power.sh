# shellcheck shell=bash
# Power cuts at a given moment.

# cut_after N SECONDS: in the background; `wait` for it.
cut_after() { (sleep "$2"; node_cut "$1") & }

# cut_when N SECONDS CONDITION: cuts the node's power as soon as a shell condition holds on it; looked at every 20 ms there.
cut_when() {
  local n=$1 limit=$2 condition=$3
  LIMIT=$((limit + 5)) on "$n" "end=\$((\$(date +%s) + $limit)); until { $condition; } > /dev/null 2>&1; do
    [ \$(date +%s) -lt \$end ] || exit 9; sleep 0.02; done" < /dev/null ||
    { complain "node $n: within $limit s this did not hold: $condition"; return 1; }
  node_cut "$n"
}

# cut_at_record N RECORD COMMAND: runs a command on the node and cuts its power right after unsplit made the RECORDth piece of its
# journal durable: nothing later has happened. Succeeds if it came to that, fails with 3 if the command ended before (its output
# then in $I/cut.log, its last line "ENDED STATUS").
cut_at_record() {
  local n=$1 record=$2 command=$3 reader
  # Not to be taken for this cut's: what an earlier one left.
  : > "$I/cut.log"
  LIMIT=300 on "$n" "stop-after $record ${JOURNAL:-/var/lib/unsplit/journal} $command" > "$I/cut.log" 2>&1 < /dev/null &
  reader=$!
  until_true 280 "unsplit to come to record $record of its journal, or to its end" grep -qE '^(STOPPED|ENDED [0-9]+)$' "$I/cut.log"
  if grep -q '^ENDED' "$I/cut.log"; then
    wait "$reader"
    return 3
  fi
  node_cut "$n"
  wait "$reader" 2> /dev/null || true
}
