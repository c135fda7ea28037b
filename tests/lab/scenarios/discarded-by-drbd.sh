# shellcheck shell=bash disable=SC2034
# What: DRBD itself discards node 2's data (its own policy, or by hand); the handler kept it; `unsplit undo` of that puts it back on both, as the screen says; it refuses once somebody wrote, when the peer was in use, and where not all was kept
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 2400

install_handlers() {
  local n
  for n in 1 2; do
    on "$n" "sed '/before-resync-target/!s/handler [a-z-]*/& --deadline 60s/' > /etc/drbd.d/unsplit.res; ln -sf /run/lab/bin/unsplit /usr/bin/unsplit" \
      < "$PROJECT/packaging/drbd.d/unsplit.res"
  done
}

# ended: node 2's after-resync-target was recorded.
ended() { on 2 "unsplit events --json --last 100" < /dev/null | grep -q '"handler": *"after-resync-target"'; }

# by_hand: three in the morning.
by_hand() {
  on 2 "drbdadm disconnect r0 2> /dev/null; drbdadm connect --discard-my-data r0" < /dev/null
  on 1 "drbdadm disconnect r0 2> /dev/null; drbdadm connect r0" < /dev/null
  in_sync 120
  until_true 60 "after-resync-target to be recorded" ended
}

scenario() {
  compact
  nodes_on 1 2
  install_handlers
  # shellcheck disable=SC2086
  play_parts discarded ${UNSPLIT_LAB_PARTS:-by_hand by_policy written_since in_use}
}
discarded() { "discarded_$1"; }

# undone_as_shown NAME: by the command on the screen, but over the management network.
undone_as_shown() {
  local command
  unsplit_on 2 0 salvage show "$1"
  command=$(screen_lines '^  unsplit undo ')
  [ -n "$command" ] || { last_words; complain "the screen names no undo"; return 1; }
  unsplit_on 2 0 "${command#unsplit }"
  in_sync
  both_hold "$COMMON" "$B"
  unsplit_on 2 0 salvage show "$1"
  said "it was put back, by incident"
  unsplit_on 2 2 undo "$1" --peer ssh:mgmt1
  said "was put back by incident"
}

discarded_by_hand() {
  local name
  begin_part "discarded by hand"
  diverged Secondary Secondary
  by_hand
  both_hold "$COMMON" "$A"
  name=$(salvage_named 2)
  unsplit_on 2 1 undo "$name" --peer ssh:mgmt1 --dry-run
  unsplit_on 2 2 undo "$name"
  said "unsplit undo $name --peer ssh:node1"
  undone_as_shown "$name"
}

discarded_by_policy() {
  local n
  begin_part "discarded by DRBD's own policy"
  for n in 1 2; do drbd_edit "$n" "s/after-sb-0pri disconnect/after-sb-0pri discard-least-changes/"; done
  if [ "$GENERATION" = 8.4 ]; then
    # It reads them when it is told to connect, not when its receiver begins anew.
    both "drbdadm disconnect r0"
    both "drbdadm connect r0"
    in_sync
  fi
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  writes 1 0 "${COMMON%%:*}" "${COMMON#*:}"
  on 1 "drbdadm secondary r0"
  split
  writes 1 0 "${A%%:*}" "${A#*:}"
  writes 1 0 more 300-399
  writes 2 0 "${B%%:*}" "${B#*:}"
  both "drbdadm secondary r0"
  link 1 2 on
  in_sync 120
  until_true 60 "after-resync-target to be recorded" ended
  both_hold "$COMMON" "$A" more:300-399
  undone_as_shown "$(salvage_named 2)"
}

discarded_written_since() {
  local name
  begin_part "written since"
  diverged Secondary Secondary
  by_hand
  on 1 "drbdadm primary r0" < /dev/null
  writes 1 0 newer 3000-3000
  on 1 "drbdadm secondary r0" < /dev/null
  name=$(salvage_named 2)
  unsplit_on 2 4 undo "$name" --peer ssh:mgmt1
  said "written to volume 0"
  said "unsplit salvage show $name"
  both_hold "$COMMON" "$A" newer:3000-3000
}

discarded_in_use() {
  local name
  begin_part "the survivor was in use"
  diverged Primary Secondary
  by_hand
  on 1 "drbdadm secondary r0" < /dev/null
  name=$(salvage_named 2)
  unsplit_on 2 0 salvage show "$name"
  said "may have been in use"
  unsplit_on 2 4 undo "$name" --peer ssh:mgmt1
  said "may have been in use"
  both_hold "$COMMON" "$A"
}
