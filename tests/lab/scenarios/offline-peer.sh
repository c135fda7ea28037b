# shellcheck shell=bash
# What: both down, each disk in its own node, unsplit heals across ssh with each side as survivor; the kernel connects them without a resync
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1200

heal() {
  local keep=$1 kept=$2
  say "healing across ssh, keeping $keep"
  unsplit_on 1 1 --state-dir "/var/lib/unsplit/$keep" diff "$SIDE_A" "$SIDE_B" --peer ssh:mgmt2
  unsplit_on 1 0 --state-dir "/var/lib/unsplit/$keep" resolve "$SIDE_A" "$SIDE_B" --peer ssh:mgmt2 --keep "$keep" --yes
  holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$kept"
  holds 2 "$SIDE_B" "$COUNT" "$COMMON" "$kept"
}

scenario() {
  local keep kept
  nodes_on 1 2
  for keep in a b; do
    if [ "$keep" = a ]; then kept=$A; else kept=$B; fi
    wipe_disks
    make_split_brain
    both "drbdadm secondary r0"
    down
    heal "$keep" "$kept"
    for n in 1 2; do kernel_forget "$n"; done
    both "drbdadm up r0"
    connected_without_resync
    down
  done
}
