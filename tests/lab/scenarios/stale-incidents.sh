# shellcheck shell=bash
# What: an incident that is open while all looks healthy, and what happened since: it is seen in every look; a new split, a solution by hand in either direction, a victim that went on: --resume overwrites nothing that is not in a salvage
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 3000

# killed_at WORD: `unsplit resolve` on node 1, killed as soon as its journal says that step WORD ended.
killed_at() {
  local word=$1 record stopped
  # The journal is made durable once when it begins, once for the incident, and twice for each step.
  unsplit_on 1 1 plan r0 --peer ssh:mgmt2 --keep node1 --json
  record=$(last_words | sed 1d | python3 -c '
import json, sys
steps = [s["step"] for s in json.load(sys.stdin)["plan"]["ground"]["drbd"]["steps"]]
print(2 + 2 * (steps.index(sys.argv[1]) + 1))' "$word")
  : > "$I/cut.log"
  LIMIT=900 on 1 "stop-after $record /var/lib/unsplit/journal unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes" > "$I/cut.log" 2>&1 < /dev/null &
  stopped=$!
  until_true 280 "unsplit to come to record $record" grep -qE '^(STOPPED|ENDED [0-9]+)$' "$I/cut.log"
  if grep -q '^ENDED' "$I/cut.log"; then die "it came to its end"; fi
  on 1 "tail -1 /var/lib/unsplit/journal | cut -c1-200; kill -9 \$(pidof unsplit)" < /dev/null
  wait "$stopped" || true
}

scenario() {
  compact
  nodes_on 1 2
  # shellcheck disable=SC2086
  play_parts story ${UNSPLIT_LAB_PARTS:-seen new_split by_hand by_hand_the_other_way victim_in_use}
}
story() { "story_$1"; }

# In sync by DRBD itself, with the policies still held.
story_seen() {
  local n
  begin_part "what is said while an incident is open"
  for n in 1 2; do drbd_edit "$n" "s/after-sb-0pri disconnect/after-sb-0pri discard-zero-changes/"; done
  diverged Secondary Secondary
  killed_at reconnect
  in_sync 60
  for words in "status r0 --peer ssh:mgmt2" "status r0" "status --all" "status --all --peer ssh:mgmt2" status; do
    # shellcheck disable=SC2086
    unsplit_on 1 6 $words
    said "unsplit resolve --resume"
    [ "$words" = status ] || said "HEALTHY"
  done
  unsplit_on 1 6 status r0 --peer ssh:mgmt2
  said "after-sb policies are .disconnect. until it is over"
  said "held on node1: .*discard-zero-changes"
  said "held on node2: .*discard-zero-changes"
  unsplit_on 1 0 diff r0 --peer ssh:mgmt2
  said "unsplit resolve --resume"
  unsplit_on 1 4 plan r0 --peer ssh:mgmt2 --keep node1
  said "unsplit resolve --resume"
  # The other node has no journal of it, but its kernel tells.
  unsplit_on 2 0 status r0
  said "held on node2: .*discard-zero-changes"
  unsplit_on 1 4 undo
  unsplit_on 1 0 resolve --resume
  in_sync
  both_hold "$COMMON" "$A"
  policies_are discard-zero-changes
  unsplit_on 1 0 status r0 --peer ssh:mgmt2
  unsaid "held on|resume"
}

# not_lost WHO:BLOCKS...: node 2's disk holds it, or the newest salvage on node 1 does.
not_lost() {
  if disk_holds 2 "$@" > /dev/null 2>&1; then say "node 2 was not overwritten"; else salvage_of 1 1 "$@"; fi
}

another_split() {
  split
  writes 1 0 a2 200-229
  writes 2 0 b2 210-249
  both "drbdadm secondary r0"
  rejoin
}

# resumed: `--resume`, whatever it comes to.
resumed() {
  local status=0
  on 1 "unsplit resolve --resume" < /dev/null > "$I/resumed" 2>&1 || status=$?
  cat "$I/resumed"
  say "--resume ended with $status"
  case $status in 0 | 4 | 6) ;; *) die "--resume ended with $status" ;; esac
}

# given_up_and_healed: whatever is open is given up; a new healing then is one like any other.
given_up_and_healed() {
  local id
  id=$(on 1 "unsplit status" < /dev/null | grep -oE 'give-up [0-9a-f-]+' | head -1 | cut -d' ' -f2) || true
  [ -z "$id" ] || unsplit_on 1 0 resolve --give-up "$id" --yes
  heal_live 1 1 0
  in_sync
  both_hold "$COMMON" "$A" a2:200-229
  salvage_of 1 1 "$COMMON" "$A" b2:210-249
}

story_new_split() {
  begin_part "killed after the reconnect, in sync by itself, a new split, then --resume"
  diverged Secondary Secondary
  killed_at reconnect
  in_sync 60
  another_split
  resumed
  not_lost "$COMMON" "$A" b2:210-249
  given_up_and_healed
}

story_by_hand() {
  begin_part "killed after preserve, solved by hand in the same direction, a new split, then --resume"
  diverged Secondary Secondary
  killed_at preserve
  on 2 "drbdadm disconnect r0 2> /dev/null; drbdadm connect --discard-my-data r0" < /dev/null
  on 1 "drbdadm disconnect r0 2> /dev/null; drbdadm connect r0" < /dev/null
  in_sync 60
  another_split
  resumed
  not_lost "$COMMON" "$A" b2:210-249
  given_up_and_healed
}

story_by_hand_the_other_way() {
  begin_part "killed after preserve, solved by hand the other way round, then --resume"
  diverged Secondary Secondary
  killed_at preserve
  on 1 "drbdadm disconnect r0 2> /dev/null; drbdadm connect --discard-my-data r0" < /dev/null
  on 2 "drbdadm disconnect r0 2> /dev/null; drbdadm connect r0" < /dev/null
  in_sync 60
  resumed
  both_hold "$COMMON" "$B"
}

# No split brain: node 2 is simply newer. Connected with --discard-my-data it would go back to older data.
story_victim_in_use() {
  begin_part "killed after the reconnect; node 2 is taken into use afterwards; then --resume"
  diverged Secondary Secondary
  killed_at reconnect
  in_sync 60
  link 1 2 off
  becomes 2 "[A-Za-z]+ Connecting .*" 60
  on 2 "drbdadm primary r0" < /dev/null
  writes 2 0 b3 210-249
  on 2 "drbdadm secondary r0" < /dev/null
  both "drbdadm disconnect r0"
  link 1 2 on
  resumed
  disk_holds 2 "$COMMON" "$A" b3:210-249
}
