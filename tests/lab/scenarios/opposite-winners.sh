# shellcheck shell=bash
# What: two volumes over one connection: policies may pick opposite winners, --discard-my-data takes all, one split volume is enough
# Kind: evidence
# DRBD: 8.4 9
# Limit: 1500

export VOLUMES=2

# opposite: both volumes are split; node 1 changed more of volume 0, node 2 more of volume 1.
opposite() {
  drbd_anew
  split
  writes 1 0 a 100-149
  writes 1 1 a 200-204
  writes 2 0 b 300-304
  writes 2 1 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
  both_alone 90
}

both_have() {
  for n in 1 2; do holds "$n" "/dev/disk/by-id/virtio-n${n}v$1" 1000 "${@:2}"; done
}

scenario() {
  nodes_on 1 2

  part by-policy
  drbd_configure
  opposite
  live refused
  kernel_lines
  for n in 1 2; do drbd_edit "$n" "s/after-sb-0pri disconnect/after-sb-0pri discard-least-changes/"; done
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  in_sync 90
  states
  live solved-by-policy
  kernel_lines
  down
  both_have 0 a:100-149
  both_have 1 b:140-189

  part by-hand
  opposite
  tells 2 drbdadm connect --discard-my-data r0
  tells 1 drbdadm connect r0
  in_sync 90
  states
  kernel_lines
  down
  both_have 0 a:100-149
  both_have 1 a:200-204

  part one-volume-changed
  drbd_anew
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
  both_alone 90
  states
  live refused

  # 8.4 calls both volumes split, since both got new UUIDs; for 9 each volume is merely behind on one side.
  part each-changed-one
  drbd_anew
  split
  writes 1 0 a 100-149
  writes 2 1 b 140-189
  both "drbdadm secondary r0"
  link 1 2 on
  if [ "$GENERATION" = 8.4 ]; then both_alone 90; else in_sync 90; fi
  states
  live in-the-end
  kernel_lines
}
