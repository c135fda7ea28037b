# shellcheck shell=bash
# What: a resource with two volumes, healed with opposite survivors
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1200

export VOLUMES=2

scenario() {
  local id=/dev/disk/by-id/virtio n
  nodes_on 1 2
  make_split_brain
  both "drbdadm secondary r0"
  down
  bring_together
  unsplit_on 1 0 --state-dir /var/lib/unsplit/v0 resolve "$id-n1v0" "$id-n2v0" --keep a --yes
  unsplit_on 1 0 --state-dir /var/lib/unsplit/v1 resolve "$id-n1v1" "$id-n2v1" --keep b --yes
  bring_back
  connected_without_resync
  salvage_holds /var/lib/unsplit/v0 n1v0 "$COMMON" "$B"
  salvage_holds /var/lib/unsplit/v1 n2v1 "$COMMON" "$A"
  say "writing on each node in turn"
  for n in 1 2; do
    on "$n" "drbdadm primary r0"
    holds "$n" /dev/drbd0 "$COUNT" "$COMMON" "$A"
    holds "$n" /dev/drbd1 "$COUNT" "$COMMON" "$B"
    on "$n" "drbdadm secondary r0"
  done
  on 2 "drbdadm primary r0"
  writes 2 0 after 300-310
  writes 2 1 after 310-320
  on 2 "drbdadm secondary r0"
  down
  for n in 1 2; do
    holds "$n" "$id-n${n}v0" "$COUNT" "$COMMON" "$A" after:300-310
    holds "$n" "$id-n${n}v1" "$COUNT" "$COMMON" "$B" after:310-320
  done
}
