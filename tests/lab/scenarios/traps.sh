# shellcheck shell=bash disable=SC2034,SC2153
# What: DRBD's own behaviour at each trap of a manual recovery, recorded word for word; unsplit is not in it
# Kind: evidence
# DRBD: 8.4 9
# Limit: 2400

# UNSPLIT_LAB_PARTS: only these (default: all). Each begins with a fresh resource and leaves a record, see lib/record.sh; what
# unsplit relies on is insisted on. The table in docs/lab.md is made of these.
PARTS="bare-connect discard-on-primary discard-and-mismatch discard-taken-back discard-lost loser-waits held-open held-by-mount held-by-lvm policies-differ
  victim-forgotten adjust-reconnects invalidate-alone discard-reverses history-both strangers unrelated two-primaries wrong-secret"

scenario() {
  local name SECTIONS=""
  nodes_on 1 2
  for name in ${UNSPLIT_LAB_PARTS:-$PARTS}; do
    part "$name"
    drbd_anew
    "trap_${name//-/_}"
    kernel_lines
  done
}

# diverge: a split brain that both refused; both Secondary afterwards unless told `primary`.
diverge() {
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  [ "${1:-}" = primary ] || both "drbdadm secondary r0"
  link 1 2 on
  both_alone 90
}

# 125: a connect where there is a connection already, whatever its state.
trap_bare_connect() {
  note "== Connected"
  states
  tells 1 drbdadm connect r0
  tells 1 drbdadm connect --discard-my-data r0
  states
  note "== waiting for the peer"
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  live waiting
  tells 1 drbdadm connect r0
  bare=$STATUS
  tells 1 drbdadm connect --discard-my-data r0
  states
  insist "a bare connect while one waits succeeded" [ "$bare" != 0 ]
  note "== StandAlone"
  tells 1 drbdadm disconnect r0
  states
  live standalone
  tells 1 drbdadm disconnect r0
  tells 1 drbdadm connect r0
  states
}

trap_discard_on_primary() {
  diverge primary
  states
  live both-primary
  tells 2 drbdadm connect --discard-my-data r0
  insist "a Primary took --discard-my-data" [ "$STATUS" != 0 ]
  states
  note "== demoted, the same command again, and the survivor"
  tells 2 drbdadm secondary r0
  tells 2 drbdadm connect --discard-my-data r0
  live victim-waits
  states
  tells 1 drbdadm connect r0
  in_sync
  states
  holds 2 /dev/disk/by-id/virtio-n2v0 1000 a:100-149
}

# The victim has said that it gives its data up; the link breaks in the middle of the handshake; is it still willing?
trap_discard_lost() {
  local HANDLER=handler-note SECTIONS
  drbd_handlers initial-split-brain
  drbd_anew
  diverge
  note "== the handshake stays in initial-split-brain for 15 s, and the link breaks meanwhile"
  both "echo 15 > /run/handler-sleep-initial-split-brain; rm -f /var/log/handler-environment"
  for n in 1 2; do kernel_forget "$n"; done
  tells 2 drbdadm connect --discard-my-data r0
  tells 1 drbdadm connect r0
  until_true 30 "initial-split-brain to be called" on 2 "grep -sq '^== initial-split-brain' /var/log/handler-environment"
  link 1 2 off
  both "rm -f /run/handler-sleep-initial-split-brain"
  states
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 90; done
  live after-the-break
  kernel_lines
  note "== the link is back"
  link 1 2 on
  sleep 15
  states
  live in-the-end
}

# The same, and the first attempt fails for the settings.
trap_discard_and_mismatch() {
  diverge
  note "== the survivor has another after-sb-0pri: the first attempt must fail"
  tells 2 drbdadm connect --discard-my-data r0
  drbd_edit 1 "s/after-sb-0pri disconnect/after-sb-0pri discard-zero-changes/"
  tells 1 drbdadm connect r0
  sleep 8
  states
  live after-the-failure
  kernel_lines
  note "== the survivor has the right one again; the victim is left as it is"
  tells 1 drbdadm disconnect r0
  drbd_edit 1 "s/after-sb-0pri discard-zero-changes/after-sb-0pri disconnect/"
  states
  tells 1 drbdadm connect r0
  sleep 8
  states
  note "== if the victim gave up in between: a plain connect there"
  tells 2 drbdadm connect r0
  sleep 8
  states
  live in-the-end
}

# A healing that failed and is given up: how does the victim take its word back? On 9 it outlives StandAlone: see discard-and-mismatch.
trap_discard_taken_back() {
  local way
  for way in "drbdadm primary r0; drbdadm secondary r0" "drbdadm disconnect r0; drbdadm connect r0; drbdadm disconnect r0" "drbdadm down r0; drbdadm up r0; drbdadm disconnect r0"; do
    note "== $way"
    drbd_anew
    diverge
    tells 2 drbdadm connect --discard-my-data r0
    tells 2 drbdadm disconnect r0
    tells 2 "$way"
    tells 2 drbdadm connect r0
    tells 1 drbdadm connect r0
    sleep 10
    states
    # 8.4 forgets it with the connection; 9 only with a promotion, or with the resource.
    case $GENERATION:$way in
      9:*disconnect*connect*disconnect*) in_sync ;;
      *) both_alone ;;
    esac
    kernel_lines
  done
}

# Who is left waiting while the other has given up.
trap_loser_waits() {
  local try
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  note "== states every second since the link is back"
  link 1 2 on
  for ((try = 0; try < 15; try++)); do
    note "$try s: node1 $(state 1) | node2 $(state 2)"
    sleep 1
  done
  live after-the-split-brain
  kernel_lines
  both_alone 60
  note "== one connects, the other stays alone"
  tells 1 drbdadm connect r0
  sleep 5
  states
  live one-waits
  insist "node 1 does not wait" state_is 1 "Primary Connecting .*"
}

held() {
  live held
  states
  tells 1 drbdadm secondary r0
  insist "a held device was demoted" [ "$STATUS" != 0 ]
  tells 1 drbdsetup secondary r0
  tells 1 drbdadm down r0
  insist "a held resource went down" [ "$STATUS" != 0 ]
  states
  tells 1 "drbdsetup status r0 --verbose --statistics"
  tells 1 "ls /sys/block/drbd0/holders; cat /proc/mounts | grep drbd0; ls -l /proc/[0-9]*/fd 2>/dev/null | grep drbd0"
  kernel_lines
  # 9 takes the device away from whoever holds it.
  if [ "$GENERATION $PART" = "9 held-open" ]; then
    tells 1 drbdsetup secondary --force r0
    states
    tells 1 "drbdsetup status r0 --verbose --statistics | head -2; dd if=/dev/drbd0 of=/dev/null bs=4k count=1 iflag=direct; cat /proc/mounts | grep drbd0"
    kernel_lines
  fi
  let_go 1
  tells 1 drbdadm secondary r0
  insist "it could not be demoted after it was let go" [ "$STATUS" = 0 ]
}
trap_held_open() { on 1 "drbdadm primary r0"; hold_open 1; held; }
trap_held_by_mount() { on 1 "drbdadm primary r0"; hold_mount 1; held; }
trap_held_by_lvm() { on 1 "drbdadm primary r0"; hold_lvm 1; held; }

# A connection that fails for its settings, with and without a split brain behind it.
trap_policies_differ() {
  note "== no split brain"
  tells 2 drbdadm disconnect r0
  drbd_edit 2 "s/after-sb-1pri disconnect/after-sb-1pri discard-secondary/"
  tells 2 drbdadm connect r0
  sleep 8
  states
  live in-sync-but-incompatible
  kernel_lines
  note "== discard-local here, disconnect there; in split brain"
  drbd_edit 2 "s/after-sb-1pri discard-secondary/after-sb-1pri disconnect/"
  tells 1 drbdadm disconnect r0
  tells 2 drbdadm disconnect r0
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  in_sync
  diverge
  drbd_edit 2 "s/after-sb-0pri disconnect/after-sb-0pri discard-local/"
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  sleep 8
  states
  live split-and-incompatible
  kernel_lines
  note "== discard-local here, discard-remote there: these agree"
  drbd_edit 1 "s/after-sb-0pri disconnect/after-sb-0pri discard-remote/"
  tells 1 drbdadm disconnect r0
  tells 2 drbdadm disconnect r0
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  sleep 8
  states
  live solved-by-policy
}

# The victim connects, nobody tells the survivor.
trap_victim_forgotten() {
  diverge
  tells 2 drbdadm connect --discard-my-data r0
  sleep 12
  states
  live victim-waits
  insist "the victim does not wait" state_is 2 "Secondary Connecting .*"
}

# What a cluster manager does behind one's back.
trap_adjust_reconnects() {
  diverge
  tells 1 drbdadm adjust r0
  insist "adjust failed" [ "$STATUS" = 0 ]
  sleep 3
  states
  live adjusted
  note "== and on the other side: the split brain again"
  tells 2 drbdadm adjust r0
  sleep 8
  states
  kernel_lines
  note "== the victim waits with its word given; adjust there; then the survivor"
  stand_alone
  tells 2 drbdadm connect --discard-my-data r0
  tells 2 drbdadm adjust r0
  states
  tells 1 drbdadm adjust r0
  sleep 8
  states
}

# invalidate on a victim that stands alone, in place of --discard-my-data.
trap_invalidate_alone() {
  diverge
  tells 2 drbdadm invalidate r0
  states
  live invalidated
  tells 2 drbdadm connect r0
  tells 1 drbdadm connect r0
  sleep 10
  states
  live in-the-end
}

# --discard-my-data given on the newer node, without any split brain.
trap_discard_reverses() {
  on 1 "drbdadm primary r0"
  link 1 2 off
  becomes 1 "Primary Connecting .*" 60
  writes 1 0 newer 200-249
  on 1 "drbdadm secondary r0"
  live behind-and-ahead
  tells 1 drbdadm disconnect r0
  tells 1 drbdadm connect --discard-my-data r0
  link 1 2 on
  sleep 10
  states
  live in-the-end
  tells 1 "pattern check /dev/disk/by-id/virtio-n1v0 1000 newer:200-249"
  tells 2 "pattern check /dev/disk/by-id/virtio-n2v0 1000 newer:200-249"
}

# Only a history entry in common: the bitmaps have no common base. One generation that both saw, then a split brain in which node 1
# rotates its bitmap UUID away and forgets its bits.
trap_history_both() {
  on 1 "drbdadm primary r0"
  link 1 2 off
  becomes 1 "Primary Connecting .*" 60
  writes 1 0 common 0-9
  on 1 "drbdadm secondary r0"
  link 1 2 on
  in_sync
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  both "drbdadm secondary r0"
  stand_alone
  tells 1 drbdadm new-current-uuid --clear-bitmap r0/0
  # 9 keeps no history on a sync target: there node 2 needs a rotation of its own to have one in common.
  [ "$GENERATION" = 8.4 ] || tells 2 drbdadm new-current-uuid --clear-bitmap r0/0
  on 1 "drbdadm primary r0"
  writes 1 0 later 300-304
  on 1 "drbdadm secondary r0"
  tells 1 drbdadm get-gi r0
  tells 2 drbdadm get-gi r0
  link 1 2 on
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  both_alone 60
  states
  live history-both
  kernel_lines
  note "== node 2 gives its data up"
  tells 2 drbdadm connect --discard-my-data r0
  tells 1 drbdadm connect r0
  in_sync 120
  states
  live healed-they-say
  kernel_lines
  both "drbdadm down r0"
  tells 1 "pattern check /dev/disk/by-id/virtio-n1v0 1000 common:0-9 a:100-149 later:300-304"
  insist "the survivor changed" [ "$STATUS" = 0 ]
  tells 2 "pattern check /dev/disk/by-id/virtio-n2v0 1000 common:0-9 a:100-149 later:300-304"
  # 8.4 syncs by its bitmap, and half of what differs is in none: this is why unsplit must compare everything there.
  if [ "$GENERATION" = 8.4 ]; then insist "8.4 did not under-sync" [ "$STATUS" != 0 ]; else insist "9 under-synced" [ "$STATUS" = 0 ]; fi
}

# Two data sets that never met, each in its first generation: on 8.4 both remember the value 4 of fresh metadata, and take it for a
# common generation.
trap_strangers() { never_met 1; }
# The same, a few generations later.
trap_unrelated() { never_met 4; }

# never_met GENERATIONS
never_met() {
  local generation
  both "drbdadm down r0"
  link 1 2 off
  drbd_create
  for n in 1 2; do
    becomes "$n" "Secondary Connecting .*" 30
    on "$n" "drbdadm disconnect r0"
    tells "$n" drbdadm primary --force r0
    writes "$n" 0 "node$n" 10-19
    for ((generation = 1; generation < $1; generation++)); do tells "$n" drbdadm new-current-uuid r0/0; done
    tells "$n" drbdadm secondary r0
    tells "$n" drbdadm get-gi r0
  done
  kernel_lines
  link 1 2 on
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  sleep 8
  both_alone 60
  states
  live unrelated
  kernel_lines
  note "== with --discard-my-data"
  tells 2 drbdadm connect --discard-my-data r0
  tells 1 drbdadm connect r0
  sleep 10
  states
  kernel_lines
  note "== with fresh metadata on the victim"
  tells 2 "drbdadm down r0; drbdadm create-md --force r0; drbdadm up r0"
  on 1 "drbdadm connect r0 > /dev/null 2>&1 || true"
  in_sync 120
  states
}

# allow-two-primaries no, both Primary: refused, whether or not their data differ.
trap_two_primaries() {
  for n in 1 2; do drbd_edit "$n" "s/allow-two-primaries yes/allow-two-primaries no/"; done
  tells 1 drbdadm adjust r0
  tells 2 drbdadm adjust r0
  split
  link 1 2 on
  sleep 15
  states
  live both-primary
  kernel_lines
  note "== one steps down"
  tells 2 drbdadm secondary r0
  sleep 8
  states
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  sleep 8
  states
  live one-stepped-down
}

trap_wrong_secret() {
  tells 2 drbdadm disconnect r0
  drbd_edit 1 "s/protocol C;/protocol C; cram-hmac-alg sha1; shared-secret right;/"
  drbd_edit 2 "s/protocol C;/protocol C; cram-hmac-alg sha1; shared-secret wrong;/"
  tells 1 drbdadm disconnect r0
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  sleep 10
  states
  live refused
}
