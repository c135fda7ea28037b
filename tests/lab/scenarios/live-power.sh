# shellcheck shell=bash disable=SC2034,SC2153
# What: while a running resource is healed, the power of either node or both is cut at each journal record and in a slow resync, the link flaps, ssh dies; it ends healed, nothing outside the plan is lost
# Kind: long
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 3000

# UNSPLIT_LAB_RECORDS: only these positions, like "1 5 9" (default: all). Each part begins with a split brain of its own.
PARTS="records resync-survivor resync-victim resync-both flaps ssh-dies mgmt-off"

scenario() {
  local name SECTIONS=""
  compact
  nodes_on 1 2
  for name in ${UNSPLIT_LAB_PARTS:-$PARTS}; do
    begin_part "$name"
    "power_${name//-/_}"
  done
}

# follow_up: what an admin types after the cut: up on both, resume, and, if it parks, the command that it names; then healed.
follow_up() {
  local n status=0 try
  for n in 1 2; do node_on "$n"; done
  for n in 1 2; do on "$n" "lsmod | grep -q '^drbd ' || load-drbd $GENERATION; drbdsetup status r0 > /dev/null 2>&1 || drbdadm up r0" < /dev/null; done
  # Nothing was begun: nothing to resume, and the two are as they were.
  for try in 1 2 3; do
    status=0
    { echo "\$ unsplit resolve --resume (attempt $try)"; LIMIT=300 on 1 "unsplit resolve --resume" < /dev/null 2>&1; } >> "$I/unsplit.log" || status=$?
    say "resume ended with $status"
    # The cut came before the first record, or after the last.
    if [ "$status" = 0 ] && grep -q "nothing to resume" <<< "$(last_words)" && ! in_sync 20; then heal_live 1 1 0; fi
    case $status in
      0) break ;;
      6) sleep 5 ;;
      *) if grep -qE "unsplit (diff|resolve|plan) r0|no open incident|nothing to resume|same command again" <<< "$(last_words)"; then heal_live 1 1 0; status=0; break; fi; last_words; die "resume ended with $status" ;;
    esac
  done
  [ "$status" = 0 ] || { last_words; die "it never ended healed"; }
  in_sync 120
  both_hold "$COMMON" "$A"
  unsplit_on 1 0 salvage verify
  # Somebody must hold what node 2 lost.
  salvage_of 1 1 "$COMMON" "$B"
}

# The node that runs unsplit (and, every other time, its peer, too) loses its power right after a record of the journal.
power_records() {
  local record=0 status cuts=0
  while :; do
    record=$((record + 1))
    [ "$record" -le 60 ] || break
    case " ${UNSPLIT_LAB_RECORDS:-$record} " in
      *" $record "*) ;;
      *) continue ;;
    esac
    [ "$cuts" = 0 ] || begin_part "record $record"
    diverged Secondary Secondary
    status=0
    cut_at_record 1 "$record" "unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes" || status=$?
    if [ "$status" = 3 ]; then
      grep -q '^ENDED 0$' "$I/cut.log" || { cat "$I/cut.log"; die "unsplit failed"; }
      say "the journal has $((record - 1)) records"
      [ "$record" -gt 5 ] || die "so few? the cuts came to nothing"
      break
    fi
    [ "$status" = 0 ] || die "the cut after record $record failed"
    cuts=$((cuts + 1))
    if [ $((record % 2)) = 0 ]; then node_cut 2; fi
    follow_up
    say "cut after record $record: healed in the end"
  done
  [ "$cuts" -gt 0 ] || die "no cut was made: UNSPLIT_LAB_RECORDS names none of the journal's records"
}

# slow_resolve: unsplit on node 1 in the background, node 1 kept, the resync over a slow line; returns when it is under way.
slow_resolve() {
  diverged Secondary Secondary
  link_shape 1 2 rate 300kbit
  { echo '$ unsplit resolve r0 (slow)'; LIMIT=400 on 1 "unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes" < /dev/null 2>&1; } >> "$I/unsplit.log" &
  resolver=$!
  becomes 2 "Secondary Connected Secondary Inconsistent.*" 200
}
unshaped() { on "$1" "tc qdisc del dev link$(other "$1") root 2> /dev/null || true" < /dev/null; }

power_resync_victim() {
  local resolver
  slow_resolve
  node_cut 2
  node_on 2
  unshaped 1
  drbd_again 2
  on 2 "drbdadm up r0" < /dev/null
  wait "$resolver" || true
  follow_up
}
power_resync_survivor() {
  local resolver
  slow_resolve
  node_cut 1
  wait "$resolver" || true
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
# A replication link that flaps is DRBD's to mend; unsplit goes on watching.
power_flaps() {
  local resolver status=0
  slow_resolve
  for _ in 1 2 3; do
    link 1 2 off
    sleep 5
    link 1 2 on
    sleep 6
  done
  unshaped 1
  wait "$resolver" || status=$?
  [ "$status" = 0 ] || { last_words; die "it ended with $status"; }
  healthy 1
  both_hold "$COMMON" "$A"
}
power_ssh_dies() {
  local resolver status=0
  slow_resolve
  ssh_dies 1 2
  unshaped 1
  wait "$resolver" || status=$?
  say "ssh died: it ended with $status"
  [ "$status" = 0 ] || [ "$status" = 6 ] || { last_words; die "it ended with $status"; }
  follow_up_or_done "$status"
}
power_mgmt_off() {
  local resolver status=0
  slow_resolve
  mgmt 1 2 off
  unshaped 1
  wait "$resolver" || status=$?
  mgmt 1 2 on
  say "management network away: it ended with $status"
  [ "$status" = 6 ] || { last_words; die "it ended with $status"; }
  follow_up
}
follow_up_or_done() { if [ "$1" = 0 ]; then healthy 1; both_hold "$COMMON" "$A"; else follow_up; fi; }
