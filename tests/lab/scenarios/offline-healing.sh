# shellcheck shell=bash
# What: both down, disks in one node, unsplit heals either way; undo brings the split brain back; the kernel agrees each time
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1200

heal() {
  local keep=$1 kept=$2 lost=$3 survivor=$4
  say "healing, keeping $keep"
  down
  bring_together
  unsplit_on 1 1 --state-dir "/var/lib/unsplit/$keep" diff "$SIDE_A" "$SIDE_B"
  unsplit_on 1 1 --state-dir "/var/lib/unsplit/$keep" plan "$SIDE_A" "$SIDE_B" --keep "$keep"
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$A"
  holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$B"
  unsplit_on 1 0 --state-dir "/var/lib/unsplit/$keep" resolve "$SIDE_A" "$SIDE_B" --keep "$keep" --yes
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$kept"
  holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$kept"
  unsplit_on 1 0 --state-dir "/var/lib/unsplit/$keep" status "$SIDE_A" "$SIDE_B"
  unsplit_on 1 0 --state-dir "/var/lib/unsplit/$keep" salvage verify
  salvage_holds "/var/lib/unsplit/$keep" "$survivor" "$COMMON" "$lost"
}

scenario() {
  nodes_on 1 2
  make_split_brain
  both "drbdadm secondary r0"

  heal a "$A" "$B" n1v0
  say "undo; the kernel must see the split brain again"
  unsplit_on 1 0 --state-dir /var/lib/unsplit/a undo
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$A"
  holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$B"
  bring_back
  both_alone
  kernel_said 1 "Split-Brain detected"

  heal b "$B" "$A" n2v0
  bring_back
  connected_without_resync
  say "the kernel took both sides as equal, nothing was synced"

  # The kernel has attached both: their metadata is no longer as the healing left it. An undo says so and changes nothing.
  down
  bring_together
  unsplit_on 1 4 --state-dir /var/lib/unsplit/b undo
  for side in "$SIDE_A" "$SIDE_B"; do holds 1 "$side" "$COUNT" "$COMMON" "$B"; done
  bring_back
  connected_without_resync
}
