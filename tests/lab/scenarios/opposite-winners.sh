# shellcheck shell=bash
# What: two volumes over one connection: automatic policies may pick opposite winners, --discard-my-data takes all, one split is enough
# Kind: evidence
# DRBD: 8.4 9
# Limit: 1500

export VOLUMES=2

# opposite: node 1 changed volume 0 only, node 2 volume 1 only; refused.
opposite() {
  drbd_anew
  split
  writes 1 0 a 100-149
  writes 2 1 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
}

scenario() {
  nodes_on 1 2

  part by-policy
  opposite
  both_alone 90
  live refused
  kernel_lines
  for n in 1 2; do drbd_edit "$n" "s/after-sb-0pri disconnect/after-sb-0pri discard-zero-changes/"; done
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  in_sync 90
  states
  live solved-by-policy
  kernel_lines
  # Each volume has the side that had changes: node 1's volume 0, node 2's volume 1.
  down
  for n in 1 2; do
    holds "$n" "/dev/disk/by-id/virtio-n${n}v0" 1000 a:100-149
    holds "$n" "/dev/disk/by-id/virtio-n${n}v1" 1000 b:140-189
  done

  part by-hand
  opposite
  both_alone 90
  tells 2 drbdadm connect --discard-my-data r0
  tells 1 drbdadm connect r0
  in_sync 90
  states
  kernel_lines
  # Node 2's volume 1 is gone, though nobody had changed it on node 1.
  down
  for n in 1 2; do
    holds "$n" "/dev/disk/by-id/virtio-n${n}v0" 1000 a:100-149
    holds "$n" "/dev/disk/by-id/virtio-n${n}v1" 1000
  done

  part one-volume-split
  drbd_anew
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
  both_alone 90
  states
  live refused
}
