# shellcheck shell=bash
# What: a salvage opened on the node as its screen says is the victim's volume, byte for byte, also when the page cache of the survivor's device is stale; then its undo, as the screen says
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1500

# files N: node N mounts, writes what only it has, and lets go.
files() {
  on "$1" "mkdir -p /mnt/held; mount /dev/drbd0 /mnt/held; mkdir /mnt/held/from-node$1
    for i in \$(seq 30); do head -c 30000 /dev/urandom > /mnt/held/from-node$1/file-\$i; done; sync; umount /mnt/held; drbdadm secondary r0" < /dev/null
}

# digest N DEVICE: of the replicated data, past the page cache.
digest() { on "$1" "dd if=$2 bs=4096 count=$COUNT iflag=direct 2> /dev/null | sha256sum" < /dev/null; }

scenario() {
  local n victim opened name stale undo
  nodes_on 1 2
  qemu_tools 1
  begin_part salvage-opened
  on 1 "drbdadm primary r0" < /dev/null
  COUNT=$(blocks 1)
  on 1 "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/drbd0; mkdir -p /mnt/held; mount /dev/drbd0 /mnt/held
    for i in \$(seq 20); do head -c 20000 /dev/urandom > /mnt/held/common-\$i; done; umount /mnt/held; drbdadm secondary r0" < /dev/null
  split
  both "drbdadm secondary r0"
  # Whatever read the device once: udev, blkid, a copy. DRBD then writes past what is cached of it.
  on 1 "dd if=/dev/disk/by-id/virtio-n1v0 of=/dev/null bs=1M 2> /dev/null" < /dev/null
  for n in 1 2; do
    on "$n" "drbdadm primary r0" < /dev/null
    files "$n"
  done
  rejoin
  victim=$(digest 2 /dev/disk/by-id/virtio-n2v0)
  on 1 "dd if=/dev/disk/by-id/virtio-n1v0 bs=4096 count=$COUNT iflag=direct 2> /dev/null > /run/survivor.raw" < /dev/null
  heal_live 1 1 0
  stale=$(on 1 "dd if=/dev/disk/by-id/virtio-n1v0 bs=4096 count=$COUNT 2> /dev/null | cmp -l - /run/survivor.raw | wc -l" < /dev/null)
  say "the page cache of node 1's device is wrong in $stale bytes"
  [ "$stale" -gt 0 ] || die "the page cache is not stale: this scenario shows nothing"
  name=$(salvage_named 1)
  opened_as_shown 1 "$name"
  opened=$(on 1 "sha256sum < /tmp/opened/node2-as-it-was.img" < /dev/null)
  [ "$opened" = "$victim" ] || die "the salvage opened as the screen says is not node 2's volume: $opened, $victim"
  on 1 "fsck.ext4 -fn /tmp/opened/node2-as-it-was.img" < /dev/null

  say "as a block device, too"
  on 1 "modprobe nbd" < /dev/null
  unsplit_on 1 0 salvage show "$name"
  on 1 "$(screen_lines '^  qemu-nbd ')" < /dev/null
  sleep 1
  opened=$(on 1 "dd if=/dev/nbd0 bs=4096 count=$COUNT 2> /dev/null | sha256sum; qemu-nbd --disconnect /dev/nbd0 > /dev/null" < /dev/null)
  [ "$opened" = "$victim" ] || die "the salvage as a block device is not node 2's volume"

  say "put back, as the screen says"
  unsplit_on 1 0 salvage show "$name"
  undo=$(screen_lines '^  unsplit undo ')
  unsplit_on 1 0 "${undo#unsplit }"
  in_sync
  for n in 1 2; do
    [ "$(digest "$n" "/dev/disk/by-id/virtio-n${n}v0")" = "$victim" ] || die "after the undo node $n does not hold what node 2 had"
  done
  unsplit_on 1 0 salvage show "$name"
  said "it was put back, by incident"
}
