# shellcheck shell=bash
# What: both down, disks in one node, unsplit heals; the kernel connects them without a resync; undo brings the split brain back
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 600

healing() {
  local keep=$1 kept=$2 lost=$3 survivor=$4 dir=/var/lib/unsplit/$1
  say "healing, keeping $keep"
  down
  bring_together
  unsplit_on 1 1 --state-dir "$dir" diff "$SIDE_A" "$SIDE_B"
  unsplit_on 1 1 --state-dir "$dir" plan "$SIDE_A" "$SIDE_B" --keep "$keep"
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$A"
  holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$B"
  unsplit_on 1 0 --state-dir "$dir" resolve "$SIDE_A" "$SIDE_B" --keep "$keep" --yes
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$kept"
  holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$kept"
  unsplit_on 1 0 --state-dir "$dir" salvage verify
  salvage_holds "$dir" "$survivor" "$COMMON" "$lost"
  bring_back
  connected_without_resync
  say "the kernel took both sides as equal; undo"
  down
  bring_together
  unsplit_on 1 0 --state-dir "$dir" undo
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$A"
  holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$B"
  bring_back
  both_alone
  kernel_said 1 "Split-Brain detected"
}

scenario() {
  nodes_on 1 2
  make_split_brain
  both "drbdadm secondary r0"
  healing a "$A" "$B" n1v0
  healing b "$B" "$A" n2v0
}
