# shellcheck shell=bash disable=SC2034,SC2153
# What: each known trap of a manual recovery, with unsplit: it refuses with a reason and changes nothing, or heals the right way round
# Kind: long
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 3000

PARTS="held-open held-by-mount held-by-lvm policies-differ policy-wins-not waiting-victim waiting-survivor bare-connect adjusted-meanwhile
  discard-lost secret two-volumes one-volume opposite-winners external history-both strangers unrelated older-kept"

scenario() {
  compact
  nodes_on 1 2
  # shellcheck disable=SC2086
  play_parts meets ${UNSPLIT_LAB_PARTS:-$PARTS}
}

meets() {
  SECTIONS="" VOLUMES=1
  case $1 in two-volumes | one-volume | opposite-winners) VOLUMES=2 ;; esac
  begin_part "$1"
  "meets_${1//-/_}"
}

# What every healing that keeps node 1 must come to.
healed() {
  healthy 1
  both_hold "$COMMON" "$A"
  unsplit_on 1 0 salvage verify
}

# --- somebody uses the victim ---

# held WORDS: the device is in use on node 2, which unsplit names; nothing changes; after it ends, the same command heals.
held() {
  local before
  before=$(on 2 "drbdsetup status r0 | grep -v '^ *node1'; drbdadm get-gi r0" < /dev/null)
  heal_live 1 1 5
  said "in use on node2"
  said "$1"
  becomes 2 "Primary StandAlone .*" 10
  [ "$(on 2 "drbdsetup status r0 | grep -v '^ *node1'; drbdadm get-gi r0" < /dev/null)" = "$before" ] || die "something changed on node 2"
  let_go 2
  heal_live 1 1 0
  healthy 1
}
meets_held_open() {
  diverged Primary Primary
  hold_open 2
  held "sleep"
  both_hold "$COMMON" "$A"
}
meets_held_by_mount() {
  diverged Primary Primary
  # The pattern leaves no file system; one is made over it, and what is in it is not this part's subject.
  hold_mount 2
  held "/mnt/held"
  both_equal
}
meets_held_by_lvm() {
  diverged Primary Primary
  hold_lvm 2
  held "LVM.*held"
  both_equal
}

# --- policies ---

# Settings that differ keep DRBD from connecting at all; unsplit's own are the same on both sides while it heals.
meets_policies_differ() {
  diverged Primary Secondary
  drbd_edit 1 "s/after-sb-0pri disconnect/after-sb-0pri discard-zero-changes/"
  drbd_edit 2 "s/after-sb-1pri disconnect/after-sb-1pri discard-secondary/"
  heal_live 1 1 0
  both_hold "$COMMON" "$A"
  # Connected as it is now; with settings that differ DRBD would refuse the next connect, and unsplit leaves them as they were.
  in_sync
}

# A policy that keeps the other side, were it asked.
meets_policy_wins_not() {
  local policy
  for policy in discard-least-changes discard-younger-primary; do
    [ "$policy" = discard-least-changes ] || begin_part "policy-wins-not, $policy"
    diverged Secondary Secondary
    on 2 "drbdadm primary r0; pattern write /dev/drbd0 b 700-899; drbdadm secondary r0" < /dev/null
    for n in 1 2; do drbd_edit "$n" "s/after-sb-0pri disconnect/after-sb-0pri $policy/"; done
    heal_live 1 1 0
    healed
    policies_are "$policy"
  done
}

# --- connections ---

meets_waiting_victim() {
  diverged Primary Secondary
  on 2 "drbdadm connect r0" < /dev/null
  becomes 2 "Secondary Connecting .*" 20
  heal_live 1 1 0
  healed
}
meets_waiting_survivor() {
  diverged Primary Secondary
  on 1 "drbdadm connect r0" < /dev/null
  becomes 1 "Primary Connecting .*" 20
  heal_live 1 1 0
  healed
}
# Somebody tried by hand before, on both sides, and once more.
meets_bare_connect() {
  diverged Secondary Secondary
  on 2 "drbdadm connect --discard-my-data r0; drbdadm connect r0 || true" < /dev/null
  # Node 2 waits with its word given; the plan overwrites the other one.
  if [ "$GENERATION" = 9 ]; then
    # 9 remembers the word, and takes it from one end only.
    heal_live 1 2 6
    said "On node2 .drbdadm down r0 && drbdadm up r0. takes it back"
    disk_holds 1 "$COMMON" "$A"
    disk_holds 2 "$COMMON" "$B"
    on 2 "drbdadm down r0 && drbdadm up r0" < /dev/null
    unsplit_on 1 0 resolve --resume
  else
    heal_live 1 2 0
  fi
  healthy 1
  both_hold "$COMMON" "$B"
}
# A cluster manager runs `drbdadm adjust` on both nodes again and again.
meets_adjusted_meanwhile() {
  local status=0
  diverged Primary Secondary
  both "setsid sh -c 'while [ ! -e /run/rest ]; do drbdadm adjust r0; sleep 1; done' > /run/adjust.log 2>&1 < /dev/null &
    echo \$! > /run/adjust.pid"
  { echo '$ unsplit resolve r0, with adjust on both'; on 1 "unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes" < /dev/null 2>&1; } >> "$I/unsplit.log" || status=$?
  both "touch /run/rest; while [ -d /proc/\$(cat /run/adjust.pid) ]; do sleep 0.1; done; rm /run/rest"
  say "with adjust running on both nodes it ended with $status"
  disk_holds 1 "$COMMON" "$A"
  case $status in
    0) ;;
    4 | 5)
      disk_holds 2 "$COMMON" "$B"
      heal_live 1 1 0
      ;;
    6) unsplit_on 1 0 resolve --resume ;;
    *) last_words; die "what is $status?" ;;
  esac
  healed
}
# The link breaks in the middle of the handshake; 8.4 and 9 both forget --discard-my-data then.
meets_discard_lost() {
  local HANDLER=handler-note resolver status=0
  drbd_handlers initial-split-brain
  begin_part "discard-lost, with a slow handler"
  diverged Primary Secondary
  both "echo 12 > /run/handler-sleep-initial-split-brain; rm -f /var/log/handler-environment"
  heal_live 1 1 0 &
  resolver=$!
  until_true 120 "initial-split-brain to be called" on 2 "grep -sq '^== initial-split-brain' /var/log/handler-environment"
  link 1 2 off
  both "rm -f /run/handler-sleep-initial-split-brain"
  sleep 8
  link 1 2 on
  wait "$resolver" || status=$?
  [ "$status" = 0 ] || die "it ended with $status"
  healed
}
meets_secret() {
  local secret=Xq7-never-shown-4711
  stand_alone
  for n in 1 2; do drbd_edit "$n" "s/protocol C;/protocol C; cram-hmac-alg sha1; shared-secret \"$secret\";/"; done
  both "drbdadm adjust r0"
  in_sync
  diverged Primary Secondary
  unsplit_on 1 1 status r0 --peer ssh:mgmt2 --json
  unsplit_on 1 1 plan r0 --peer ssh:mgmt2 --keep node1
  { echo '$ unsplit resolve r0, with all that it can log'; LIMIT=400 on 1 "UNSPLIT_LOG=trace unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes" < /dev/null 2>&1; } >> "$I/unsplit.log"
  healed
  fails grep -q "$secret" "$I/unsplit.log"
  for n in 1 2; do fails on "$n" "grep -rqa -- '$secret' /var/lib/unsplit" < /dev/null; done
  unsplit_on 1 0 undo
}

# --- volumes ---

# second_holds WHO:BLOCKS...: both disks of volume 1.
second_holds() {
  for n in 1 2; do on "$n" "blockdev --flushbufs /dev/disk/by-id/virtio-n${n}v1; pattern check /dev/disk/by-id/virtio-n${n}v1 $COUNT $*" < /dev/null; done
}
meets_two_volumes() {
  diverged Primary Primary
  heal_live 1 1 0
  healthy 1
  both_hold "$COMMON" "$A"
  second_holds "$COMMON" "$A"
  unsplit_on 1 0 salvage verify
}
# Both nodes wrote volume 0; of volume 1 only node 2 has changes, or the generations say nothing new.
meets_one_volume() {
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  on 1 "drbdadm secondary r0"
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
  both_alone 90
  heal_live 1 1 0
  healthy 1
  both_hold a:100-149
}
# Only volume 0 was written on node 1, only volume 1 on node 2.
meets_opposite_winners() {
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  on 1 "drbdadm secondary r0"
  split
  writes 1 0 a 100-149
  writes 2 1 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
  if [ "$GENERATION" = 9 ]; then
    # Each volume is merely behind on one side: no split brain.
    in_sync 90
    unsplit_on 1 0 status r0 --peer ssh:mgmt2
    both_hold a:100-149
    second_holds b:140-189
    return
  fi
  both_alone 90
  printf 'after-sb-0pri = "discard-zero-changes"\n' | on 1 "cat > /tmp/policy.toml"
  unsplit_on 1 3 plan r0 --peer ssh:mgmt2 --policy /tmp/policy.toml
  said "one survivor for a connection"
  heal_live 1 1 0
  healthy 1
  both_hold a:100-149
  second_holds
  unsplit_on 1 0 undo
  healthy 1
  both_hold
  second_holds b:140-189
}

# --- metadata beside the data ---

meets_external() {
  both "drbdadm down r0"
  # The metadata that lay behind the data, too.
  VOLUMES=2 wipe_disks
  both "sed -i 's|\\(disk /dev/disk/by-id/virtio-n\\([12]\\)v0; meta-disk \\)internal|\\1/dev/disk/by-id/virtio-n\\2v1|' /etc/drbd.d/r0.res; grep -q 'v1' /etc/drbd.d/r0.res"
  drbd_create
  becomes 1 "Secondary Connected Secondary.*" 60
  on 1 "drbdadm new-current-uuid --clear-bitmap r0/0" < /dev/null
  in_sync
  diverged Primary Secondary
  heal_live 1 1 0
  healed
  salvage_of 1 1 "$COMMON" "$B"
  on 1 "drbdadm secondary r0" < /dev/null
  unsplit_on 1 0 undo
  healthy 1
  both_hold "$COMMON" "$B"
}

# --- generations ---

# Only a history entry in common: the bitmaps do not cover all that differs (see traps.sh).
meets_history_both() {
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
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
  on 1 "drbdadm new-current-uuid --clear-bitmap r0/0" < /dev/null
  # 9 keeps no history on a sync target: there node 2 needs a rotation of its own to have one in common.
  [ "$GENERATION" = 8.4 ] || on 2 "drbdadm new-current-uuid --clear-bitmap r0/0" < /dev/null
  on 1 "drbdadm primary r0" < /dev/null
  writes 1 0 later 300-304
  on 1 "drbdadm secondary r0" < /dev/null
  link 1 2 on
  heal_live 1 1 0
  healthy 1
  both_hold common:0-9 a:100-149 later:300-304
  unsplit_on 1 0 salvage verify
  salvage_of 1 1 common:0-9 b:140-189
}
# never_met GENERATIONS: two data sets without anything in common.
never_met() {
  local generation
  both "drbdadm down r0"
  link 1 2 off
  drbd_create
  for n in 1 2; do
    becomes "$n" "Secondary Connecting .*" 30
    on "$n" "drbdadm disconnect r0; drbdadm primary --force r0" < /dev/null
    COUNT=$(blocks "$n")
    writes "$n" 0 "node$n" 10-19
    for ((generation = 1; generation < $1; generation++)); do on "$n" "drbdadm new-current-uuid r0/0" < /dev/null; done
    on "$n" "drbdadm secondary r0" < /dev/null
  done
  link 1 2 on
  both "drbdadm connect r0"
  both_alone 60
  unsplit_on 1 1 status r0 --peer ssh:mgmt2
  heal_live 1 1 3
  said "create-md"
  disk_holds 1 node1:10-19
  disk_holds 2 node2:10-19
  # What it says to type does work.
  on 2 "drbdadm down r0; drbdadm create-md --force r0 > /dev/null 2>&1; drbdadm up r0" < /dev/null
  on 1 "drbdadm connect r0 > /dev/null 2>&1 || true" < /dev/null
  healthy 1
  both_hold node1:10-19
}
meets_strangers() { never_met 1; }
meets_unrelated() { never_met 4; }

# Only node 1 went on, no split brain. 8.4 ignores --discard-my-data here, so the older side cannot be kept while it runs; 9 reverses the resync.
meets_older_kept() {
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  writes 1 0 common 0-99
  link 1 2 off
  becomes 1 "Primary Connecting .*" 60
  writes 1 0 newer 200-249
  on 1 "drbdadm secondary r0"
  stand_alone
  link 1 2 on
  if [ "$GENERATION" = 9 ]; then
    heal_live 1 2 0
    healthy 1
    both_hold common:0-99
    salvage_of 1 2 common:0-99 newer:200-249
    unsplit_on 1 0 undo
  else
    heal_live 1 2 3
    said "cannot be healed live with node2 kept"
    disk_holds 1 common:0-99 newer:200-249
    disk_holds 2 common:0-99
    heal_live 1 1 0
  fi
  healthy 1
  both_hold common:0-99 newer:200-249
}
