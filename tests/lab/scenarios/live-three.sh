# shellcheck shell=bash disable=SC2034,SC2153
# What: three nodes, one wrote apart from the other two: status from each side; healed either way round, while a third node writes, has no disk, or is away; undo
# Kind: long
# DRBD: 9
# Needs: unsplit
# Limit: 3000

export NODES=3

PARTS="undo single-victim single-survivor third-primary third-away diskless"

scenario() {
  compact
  nodes_on 1 2 3
  # shellcheck disable=SC2086
  play_parts meets ${UNSPLIT_LAB_PARTS:-$PARTS}
}

meets() {
  SECTIONS="" VOLUMES=1
  begin_part "$1"
  "meets_${1//-/_}"
}

# What node 3 writes alone.
C=c:120-139,700-715

# cut_off off|on: node 3's cables to both others.
cut_off() { for other in 1 2; do link "$other" 3 "$1"; done; }

# one_against_two [ROLE1] [ROLE3]: node 1 writes what node 2 hears of, node 3 writes alone, and DRBD refuses node 3 on both sides
# (on those of $HOLDERS, if one has no disk).
one_against_two() {
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  writes 1 0 "${COMMON%%:*}" "${COMMON#*:}"
  on 1 "drbdadm secondary r0"
  cut_off off
  for n in 1 2; do becomes "$n" ".* Connecting .*" 60 node3; done
  for n in 1 2; do becomes 3 ".* Connecting .*" 60 "node$n"; done
  for n in 1 3; do on "$n" "drbdadm primary r0"; done
  writes 1 0 "${A%%:*}" "${A#*:}"
  writes 3 0 "${C%%:*}" "${C#*:}"
  [ "${1:-Secondary}" = Primary ] || on 1 "drbdadm secondary r0"
  [ "${2:-Secondary}" = Primary ] || on 3 "drbdadm secondary r0"
  for n in 1 2 3; do kernel_forget "$n"; done
  cut_off on
  for n in ${HOLDERS:-1 2}; do becomes "$n" ".* StandAlone .*" 90 node3; becomes 3 ".* StandAlone .*" 90 "node$n"; done
}

# heal_three AT PEER KEEP STATUS [WORDS...]: run on node AT, --peer node PEER, keeping node KEEP.
heal_three() {
  local at=$1 peer=$2 keep=$3 status=$4
  shift 4
  unsplit_on "$at" "$status" resolve r0 --peer "ssh:mgmt$peer" --keep "node$keep" --yes "$@"
}

# all_hold WHO:BLOCKS...: all three disks.
all_hold() { for n in 1 2 3; do disk_holds "$n" "$@"; done; }

# Whoever holds the survivor's data is connected with the healed node, after the one command that the end names.
typed_at() {
  local n=$1
  said "The other nodes"
  said "on node$n .drbdadm connect r0:node$2."
  on "$n" "drbdadm connect r0:node$2" < /dev/null
}

# Node 3 is overwritten; unsplit runs on node 1, whose guests go on writing. Node 2 holds what node 1 holds.
# Node 2 may be connected with node 3 here, without a resync: a Secondary that a Primary writes through does not answer for itself. (With a
# Primary on node 3, too, 9.3.3 leaves that connection half made, and `secondary` on node 3 hangs: not played.)
meets_single_victim() {
  HOLDERS=1 one_against_two Primary Secondary
  unsplit_on 1 1 status r0 --peer ssh:mgmt3
  said "SPLIT BRAIN"
  said "unsplit resolve r0 --peer ssh:mgmt3 --keep node1"
  unsplit_on 2 1 status r0 --peer ssh:mgmt1
  unsplit_on 3 1 status r0 --peer ssh:mgmt2
  busy 1
  heal_three 1 3 1 0
  becomes 1 "Primary Connected .* UpToDate/UpToDate/Established out-of-sync:0" 10 node2
  rest 1
  state_is 3 ".* Connected .*" node2 || typed_at 2 3
  on 1 "drbdadm secondary r0"
  in_sync 120
  unsplit_on 1 0 status r0 --peer ssh:mgmt3
  unsplit_on 2 0 status r0 --peer ssh:mgmt3
  all_hold "$COMMON" "$A" "$W"
  unsplit_on 1 0 salvage verify
  unsplit_on 1 4 undo
  said "cannot be undone as a whole"
}

# The same from the victim, nobody writes; undone, which reaches all three.
meets_undo() {
  one_against_two
  # Asked of two that agree, the third is seen through them.
  unsplit_on 2 1 status r0 --peer ssh:mgmt1
  said "node3"
  said "unsplit status r0 --peer ssh:node3"
  unsplit_on 3 1 status r0 --peer ssh:mgmt2
  said "SPLIT BRAIN"
  said "unsplit resolve r0 --peer ssh:mgmt2 --keep node2"
  heal_three 3 1 1 0
  typed_at 2 3
  in_sync 120
  all_hold "$COMMON" "$A"
  unsplit_on 3 0 undo
  in_sync 120
  all_hold "$COMMON" "$C"
}

# Node 3 is kept: the two others lose, one after the other.
meets_single_survivor() {
  one_against_two
  heal_three 3 1 3 5
  said "node2 is connected to node1 and not to node3"
  said "on node1 .drbdadm disconnect r0:node2."
  on 1 "drbdadm disconnect r0:node2" < /dev/null
  heal_three 3 1 3 0
  disk_holds 2 "$COMMON" "$A"
  said "The other nodes"
  heal_three 3 2 3 0
  typed_at 1 2
  in_sync 120
  all_hold "$COMMON" "$C"
  unsplit_on 3 0 salvage verify
}

# Node 2 writes through node 1, which is Secondary.
meets_third_primary() {
  one_against_two
  on 2 "drbdadm primary r0"
  writes 2 0 d 300-309
  heal_three 1 3 1 5
  said "node2 is Primary and writes through node1"
  heal_three 2 3 2 0
  typed_at 1 3
  on 2 "drbdadm secondary r0"
  in_sync 120
  all_hold "$COMMON" "$A" d:300-309
}

# Node 2 goes away while node 3 is healed, and comes back.
meets_third_away() {
  one_against_two
  for other in 1 3; do link "$other" 2 off; done
  becomes 1 ".* Connecting .*" 60 node2
  heal_three 1 3 1 0
  said "node2 is connected with neither"
  for other in 1 3; do link "$other" 2 on; done
  becomes 1 ".* Connected .* UpToDate/UpToDate/Established out-of-sync:0" 60 node2
  unsplit_on 2 1 status r0 --peer ssh:mgmt3
  on 3 "drbdadm connect r0:node2" < /dev/null
  on 2 "drbdadm connect r0:node3" < /dev/null
  in_sync 120
  unsplit_on 2 0 status r0 --peer ssh:mgmt3
  all_hold "$COMMON" "$A"
}

# Node 2 has no disk.
meets_diskless() {
  all "drbdadm down r0; sed -i 's|disk /dev/disk/by-id/virtio-n2v0; meta-disk internal;|disk none;|' /etc/drbd.d/r0.res; grep -q 'disk none' /etc/drbd.d/r0.res"
  all "drbdadm up r0"
  for n in 1 3; do becomes "$n" ".* Connected .* UpToDate/Diskless/Established .*" 60 node2; done
  becomes 1 ".* Connected .* UpToDate/UpToDate/Established .*" 60 node3
  HOLDERS=1 one_against_two
  unsplit_on 1 1 status r0 --peer ssh:mgmt3
  heal_three 1 3 1 0
  becomes 1 ".* Connected .* UpToDate/UpToDate/Established out-of-sync:0" 10 node3
  state_is 3 ".* Connected .*" node2 || typed_at 2 3
  for n in 1 3; do becomes "$n" ".* Connected .* UpToDate/Diskless/Established .*" 60 node2; done
  for n in 1 3; do disk_holds "$n" "$COMMON" "$A"; done
}
