# shellcheck shell=bash disable=SC2034,SC2153
# What: while a running resource is healed, or the healing undone, the power of either node or both is cut at each journal record and at random moments of a slow resync, links flap, ssh dies; it ends healed (undone), nothing outside the plan is lost
# Kind: long
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 12000

# UNSPLIT_LAB_RECORDS: only these positions of `records` and `undo-records`, like "1 5 9" (default: all). `9v`: only the victim's power,
# `9n`: only that of unsplit's node, `9b`: both. Without a letter odd ones cut unsplit's node, even ones both.
# UNSPLIT_LAB_SEED, UNSPLIT_LAB_ROUNDS: of `random`; the seed of each run is printed. Each part begins with a split brain of its own.
PARTS="resync-survivor resync-victim resync-both survivor-connects random flaps ssh-flaps ssh-dies undo-victim undo-here undo-both undo-records records mgmt-off"

scenario() {
  local name SECTIONS=""
  compact
  nodes_on 1 2
  for name in ${UNSPLIT_LAB_PARTS:-$PARTS}; do
    begin_part "$name"
    PART_BEGAN=$SECONDS
    "power_${name//-/_}"
    say "-- $name: passed, $((SECONDS - PART_BEGAN)) s"
  done
}

# What an admin does first after a cut: both nodes on, the resource up. (DRBD connects, or refuses, by itself.)
on_again() {
  local n
  nodes_on 1 2
  for n in 1 2; do on "$n" "lsmod | grep -q '^drbd ' || load-drbd $GENERATION; drbdsetup status r0 > /dev/null 2>&1 || drbdadm up r0" < /dev/null; done
}

# types COMMAND...: `unsplit` on node 1 whatever it comes to; its exit status is in $STATUS, and its screen is shown unless it ended well.
types() {
  STATUS=0
  { echo "\$ unsplit $*"; LIMIT=${LIMIT:-600} on 1 "unsplit $*" < /dev/null 2>&1; } >> "$I/unsplit.log" || STATUS=$?
  say "unsplit $* ended with $STATUS"
  [ "$STATUS" = 0 ] || last_words | sed 's/^/     | /'
}

# Whoever is sent away without success must be told what to type.
tells_what_is_next() { said "unsplit (resolve|diff|undo|status|salvage show)|same command again|drbdadm (up|adjust)"; }

# follow_up: what an admin types after the cut: `unsplit status`, then what the screens name, until it is healed.
follow_up() {
  local try
  on_again
  for try in 1 2 3 4; do
    types resolve --resume
    case $STATUS in
      # Nothing is open: the cut came before the first record, or after the last.
      0) if ! grep -q "nothing to resume" <<< "$(last_words)" || in_sync 10 2> /dev/null; then break; fi ;;
      6) tells_what_is_next; sleep 5; continue ;;
      *) tells_what_is_next ;;
    esac
    # Given up before anything was changed, or never begun: the same command again.
    types resolve r0 --peer ssh:mgmt2 --keep node1 --yes
    case $STATUS in
      0) break ;;
      *) tells_what_is_next; sleep 5 ;;
    esac
  done
  [ "$STATUS" = 0 ] || die "it never ended healed"
  is_healed
}

# Connected, nothing out of sync, node 1's data on both disks; and somebody must hold what node 2 lost.
is_healed() {
  in_sync 120
  both_hold "$COMMON" "$A"
  unsplit_on 1 0 salvage verify
  salvage_of 1 1 "$COMMON" "$B"
}

# all_records WHAT BEFORE COMMAND: power goes right after each record of the journal that COMMAND makes on node 1; BEFORE makes what is
# there before, and WHAT_again ends it.
all_records() {
  local what=$1 before=$2 command=$3 word record whose status cuts=0 began
  for word in ${UNSPLIT_LAB_RECORDS:-$(seq 60)}; do
    record=${word%[nvb]}
    whose=${word#"$record"}
    [ -n "$whose" ] || if [ $((record % 2)) = 0 ]; then whose=b; else whose=n; fi
    [ "$cuts" = 0 ] || begin_part "$what: record $record"
    began=$SECONDS
    "$before"
    status=0
    if [ "$whose" = v ]; then stop_at_record "$record" "$command" || status=$?; else cut_at_record 1 "$record" "$command" || status=$?; fi
    if [ "$status" = 3 ]; then
      grep -q '^ENDED 0$' "$I/cut.log" || { cat "$I/cut.log"; die "unsplit failed"; }
      say "the journal has $((record - 1)) records"
      [ "$record" -gt 5 ] || die "so few? the cuts came to nothing"
      break
    fi
    [ "$status" = 0 ] || die "the cut after record $record failed"
    cuts=$((cuts + 1))
    case $whose in
      b) node_cut 2 ;;
      v) victim_cut_while_stopped ;;
    esac
    "${what}_again"
    say "-- $what: record $record ($whose): passed, $((SECONDS - began)) s"
  done
  [ "$cuts" -gt 0 ] || die "no cut was made: UNSPLIT_LAB_RECORDS names none of the journal's records"
}

# stop_at_record RECORD COMMAND: as cut_at_record, but node 1 keeps its power: unsplit stands still until `victim_cut_while_stopped`.
stop_at_record() {
  : > "$I/cut.log"
  LIMIT=600 on 1 "stop-after $1 /var/lib/unsplit/journal $2" > "$I/cut.log" 2>&1 < /dev/null &
  stopped=$!
  until_true 280 "unsplit to come to record $1 of its journal, or to its end" grep -qE '^(STOPPED|ENDED [0-9]+)$' "$I/cut.log"
  if grep -q '^ENDED' "$I/cut.log"; then wait "$stopped"; return 3; fi
}
# The victim's power goes while unsplit goes on here; it comes back at once, and unsplit ends as it may.
victim_cut_while_stopped() {
  node_cut 2
  on 1 "kill -CONT \$(pidof unsplit)" < /dev/null
  on_again
  wait "$stopped" || true
  say "unsplit, with node 2 gone and back: $(tail -1 "$I/cut.log")"
  sed 's/^/     | /' "$I/cut.log"
}

power_records() { all_records healing diverged "unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes"; }
healing_again() { follow_up; }

# healed: a healing that is over and was not written to since.
healed() {
  diverged Secondary Secondary
  heal_live 1 1 0
  healthy 1
}
power_undo_records() { all_records undo healed "unsplit undo"; }

# undo_again: `undo` once more, or what the screen says, until the undo is over; or, where a restart leaves nothing to count on,
# until unsplit says so: then both still hold what the healing left, and what was kept opens.
undo_again() {
  local try
  on_again
  for try in 1 2 3 4 5; do
    if [ $((try % 2)) = 1 ]; then types undo; else types resolve --resume; fi
    case $STATUS in
      0) break ;;
      4) if grep -q "restarted since" <<< "$(last_words)"; then
           said "unsplit salvage show"
           in_sync 120
           both_hold "$COMMON" "$A"
           unsplit_on 1 0 salvage verify
           salvage_of 1 1 "$COMMON" "$B"
           say "not begun before the restart: it cannot be undone as a whole any more, and says so"
           return
         fi
         tells_what_is_next ;;
      *) tells_what_is_next ;;
    esac
    sleep 5
  done
  [ "$STATUS" = 0 ] || die "it never ended undone"
  in_sync 120
  both_hold "$COMMON" "$B"
  unsplit_on 1 0 salvage verify
  becomes 1 "Secondary Connected Secondary.*" 10
}

# slow COMMAND...: unsplit on node 1 in the background, over a replication link of 37 KB/s.
slow() {
  link_shape 1 2 rate 300kbit
  { echo "\$ unsplit $*"; LIMIT=900 on 1 "unsplit $*" < /dev/null 2>&1; } >> "$I/unsplit.log" &
  resolver=$!
}
# slow_resolve: node 1 kept, the resync over a slow line; returns when it is under way.
slow_resolve() {
  diverged Secondary Secondary
  slow resolve r0 --peer ssh:mgmt2 --keep node1 --yes
  until_true 300 "the resync to begin" resync_or_end
  kill -0 "$resolver" 2> /dev/null || { last_words; die "unsplit ended before the resync was seen"; }
  say "the resync has begun: $(state 2)"
}
resync_or_end() { state_is 2 "Secondary Connected Secondary Inconsistent.*" || ! kill -0 "$resolver" 2> /dev/null; }
unshaped() { ! node_runs "$1" || on "$1" "tc qdisc del dev link$(other "$1") root 2> /dev/null || true" < /dev/null; }
# ended: how the unsplit in the background ended, in $STATUS.
ended() {
  STATUS=0
  wait "$resolver" || STATUS=$?
  say "unsplit ended with $STATUS"
  [ "$STATUS" = 0 ] || last_words | sed 's/^/     | /'
}
# It ended by itself, healed; or it says what to type next, and that heals.
healed_or_followed_up() {
  ended
  case $STATUS in
    0) is_healed ;;
    4 | 6) tells_what_is_next; follow_up ;;
    *) die "it ended with $STATUS" ;;
  esac
}

power_resync_victim() {
  local resolver
  slow_resolve
  node_cut 2
  unshaped 1
  on_again
  healed_or_followed_up
}
power_resync_survivor() {
  local resolver
  slow_resolve
  node_cut 1
  wait "$resolver" || true
  node_on 1
  say "somebody is too early: the resource is not up yet"
  types resolve --resume
  [ "$STATUS" = 6 ] || die "it ended with $STATUS"
  said "drbdadm up r0"
  follow_up
}
power_resync_both() {
  local resolver
  slow_resolve
  node_cut 2
  node_cut 1
  wait "$resolver" || true
  follow_up
}

# cut_these WHO: node 1, node 2, or both.
cut_these() { case $1 in both) node_cut 2; node_cut 1 ;; *) node_cut "$1" ;; esac; }

# Somebody's power goes at a random moment of the resync, some of them after it; everything follows from the seed.
power_random() {
  local resolver round who wait_for seed=${UNSPLIT_LAB_SEED:-$(($(date +%s) % 32768))}
  for ((round = 1; round <= ${UNSPLIT_LAB_ROUNDS:-4}; round++)); do
    [ "$round" = 1 ] || begin_part "random, round $round"
    RANDOM=$seed
    case $((RANDOM % 3)) in 0) who=1 ;; 1) who=2 ;; 2) who=both ;; esac
    wait_for=$((RANDOM % 6)).$(printf %03d $((RANDOM % 1000)))
    say "UNSPLIT_LAB_SEED=$seed: the power of node $who goes $wait_for s into the resync"
    slow_resolve
    sleep "$wait_for"
    say "now: $(state 2)"
    cut_these "$who"
    unshaped 1
    if [ "$who" = 2 ]; then
      on_again
      healed_or_followed_up
    else
      wait "$resolver" || true
      follow_up
    fi
    seed=$(((seed + 1) % 32768))
  done
}

# said_by N REGEX: waits until that node's kernel has said so.
said_by() {
  LIMIT=400 on "$1" "until dmesg | grep -qE '$2'; do sleep 0.2; done" < /dev/null || { last_words; die "node $1's kernel never said: $2"; }
}

# The victim waits with its word given, the survivor is told to connect: then the victim's power goes, before or after the handshake.
power_survivor_connects() {
  local resolver when
  for when in "asked to connect" "handshake"; do
    [ "$when" = "asked to connect" ] || begin_part "survivor-connects: $when"
    diverged Secondary Secondary
    for n in 1 2; do kernel_forget "$n"; done
    slow resolve r0 --peer ssh:mgmt2 --keep node1 --yes
    # Not looked at more often: what looks all the time takes the time from what it waits for.
    if [ "$when" = handshake ]; then said_by 2 'Handshake .*successful'; else said_by 1 'StandAlone -> Unconnected'; fi
    node_cut 2
    unshaped 1
    on_again
    healed_or_followed_up
    say "-- survivor-connects, $when: passed"
  done
}

# A replication link that flaps is DRBD's to mend; unsplit goes on watching.
power_flaps() {
  local resolver
  slow_resolve
  for _ in 1 2 3; do
    link 1 2 off
    sleep 5
    link 1 2 on
    sleep 6
  done
  unshaped 1
  ended
  [ "$STATUS" = 0 ] || die "it ended with $STATUS"
  is_healed
}
# The management network comes and goes from the beginning, and ssh dies now and then, while the replication link is fine.
power_ssh_flaps() {
  local resolver
  diverged Secondary Secondary
  slow resolve r0 --peer ssh:mgmt2 --keep node1 --yes
  while kill -0 "$resolver" 2> /dev/null; do
    sleep 7
    mgmt 1 2 off
    sleep 4
    mgmt 1 2 on
    sleep 7
    ssh_dies 1 2
  done
  unshaped 1
  healed_or_followed_up
}
power_ssh_dies() {
  local resolver
  slow_resolve
  ssh_dies 1 2
  unshaped 1
  healed_or_followed_up
}
power_mgmt_off() {
  local resolver
  slow_resolve
  mgmt 1 2 off
  unshaped 1
  ended
  mgmt 1 2 on
  [ "$STATUS" = 6 ] || die "it ended with $STATUS"
  tells_what_is_next
  follow_up
}

# undo_cut WHO: power goes while what was kept is written back, through DRBD, over a slow line.
undo_cut() {
  local resolver
  healed
  on 1 "cat /proc/uptime" < /dev/null > /dev/null
  slow undo
  until_true 300 "the writing back to begin" written_back_or_end
  kill -0 "$resolver" 2> /dev/null || { last_words; die "the undo ended before it was seen to write"; }
  say "now: $(state 1)"
  cut_these "$1"
  unshaped 1
  if [ "$1" = 2 ]; then
    on_again
    ended
    if [ "$STATUS" = 0 ]; then
      in_sync 120
      both_hold "$COMMON" "$B"
      return
    fi
    tells_what_is_next
  else
    wait "$resolver" || true
  fi
  undo_again
}
# Its intent is in the journal, and something was sent.
written_back_or_end() { on 1 "grep -q write-back /var/lib/unsplit/journal" < /dev/null || ! kill -0 "$resolver" 2> /dev/null; }
power_undo_here() { undo_cut 1; }
power_undo_victim() { undo_cut 2; }
power_undo_both() { undo_cut both; }
