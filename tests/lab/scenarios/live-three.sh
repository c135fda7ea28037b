# shellcheck shell=bash disable=SC2034,SC2153
# What: three nodes, one wrote apart from the other two: status from each side; healed either way round, while a third node writes, has no disk, or is away; undo
# Kind: long
# DRBD: 9
# Needs: unsplit
# Limit: 3000

export NODES=3

PARTS="single-victim single-survivor third-primary third-away diskless"

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

# one_against_two [ROLE1] [ROLE3]: node 1 writes what node 2 hears of, node 3 writes alone, and DRBD refuses node 3 on both sides.
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
  for n in 1 2; do becomes "$n" ".* StandAlone .*" 90 node3; becomes 3 ".* StandAlone .*" 90 "node$n"; done
}

# heal_three AT PEER KEEP STATUS [WORDS...]: run on node AT, --peer node PEER, keeping node KEEP.
heal_three() {
  local at=$1 peer=$2 keep=$3 status=$4
  shift 4
  unsplit_on "$at" "$status" resolve r0 --peer "ssh:mgmt$peer" --keep "node$keep" --yes "$@"
}

# all_hold WHO:BLOCKS...: all three disks.
all_hold() { for n in 1 2 3; do disk_holds "$n" "$@"; done; }

meets_single_victim() {
  one_against_two Primary Primary
  unsplit_on 1 1 status r0 --peer ssh:mgmt3
  said "SPLIT BRAIN"
  unsplit_on 2 1 status r0 --peer ssh:mgmt1
  unsplit_on 3 1 status r0 --peer ssh:mgmt2
  said "SPLIT BRAIN"
  heal_three 1 3 1 0
  becomes 1 "Primary Connected .* UpToDate/UpToDate/Established out-of-sync:0" 10 node2
}
meets_single_survivor() { one_against_two; heal_three 3 1 3 0; }
meets_third_primary() { one_against_two; heal_three 1 3 1 0; }
meets_third_away() { one_against_two; heal_three 1 3 1 0; }
meets_diskless() { one_against_two; heal_three 1 3 1 0; }
