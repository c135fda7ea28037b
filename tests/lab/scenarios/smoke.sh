# shellcheck shell=bash
# What: both nodes come up, sync, and what one writes the other has
# DRBD: 8.4 9
# Limit: 900

scenario() {
  nodes_on 1 2
  drbd_configure
  drbd_create
  becomes 1 "Secondary Connected Secondary Inconsistent/Inconsistent/Established .*" 60
  say "first sync"
  on 1 "drbdadm primary --force r0"
  in_sync 120
  count=$(blocks 1)
  writes 1 0 first 0-15,100,8000
  on 1 "drbdadm secondary r0"
  on 2 "drbdadm primary r0"
  holds 2 /dev/drbd0 "$count" first:0-15,100,8000
  writes 2 0 second 10-20
  down
  holds 1 /dev/disk/by-id/virtio-n1v0 "$count" first:0-15,100,8000 second:10-20
  # What the check is worth: it must notice a block that should not be there, and one that is missing.
  fails holds 1 /dev/disk/by-id/virtio-n1v0 "$count" first:0-15,100,8000 second:10-19
  fails holds 1 /dev/disk/by-id/virtio-n1v0 "$count" first:0-15,100,8000 second:10-21
  # ZFS is there, too.
  on 1 "modprobe zfs && zpool create -f pool /dev/disk/by-id/virtio-n1pool && zfs create pool/data && zfs snapshot pool/data@one"
  [ "$(on 1 "zfs list -Hpo name -t snapshot")" = pool/data@one ]
}
