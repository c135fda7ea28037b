# shellcheck shell=bash disable=SC2034,SC2153
# What: running resources whose backing devices are LVM logical volumes and loop devices are compared, healed and undone, with internal and external metadata
# Kind: long
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1500

PARTS="lvm lvm-external loop"

scenario() {
  local name SECTIONS="" BACKING META
  compact
  nodes_on 1 2
  for name in ${UNSPLIT_LAB_PARTS:-$PARTS}; do
    META=internal
    begin_part "$name"
    both "drbdadm down r0"
    "on_${name//-/_}"
    both "sed -i 's|disk /dev/disk/by-id/virtio-n[12]v0; meta-disk internal|disk $BACKING; meta-disk $META|' /etc/drbd.d/r0.res; grep -q 'disk $BACKING; meta-disk $META' /etc/drbd.d/r0.res; sync"
    drbd_create
    becomes 1 "Secondary Connected Secondary.*" 60
    on 1 "drbdadm new-current-uuid --clear-bitmap r0/0" < /dev/null
    in_sync
    healed_and_undone
    both "drbdadm down r0"
    "off_${name//-/_}"
  done
}

# A volume group on the second disk, with two logical volumes; the part of its name that differs is the node's.
LVM_HERE='devices { filter=[ "a|/dev/vd.*|", "r|.*|" ] use_devicesfile=0 }'
on_lvm() {
  both "modprobe dm-mod; export LVM_SUPPRESS_FD_WARNINGS=1; d=\$(readlink -f /dev/disk/by-id/virtio-n\$(hostname | tr -dc 0-9)v1)
    vgcreate --config '$LVM_HERE' -qqy real \$d
    lvcreate --config '$LVM_HERE' -qqy -Wn -Zn -L 20M -n unit real; lvcreate --config '$LVM_HERE' -qqy -Wn -Zn -L 4M -n meta real
    test -e /dev/real/unit; dd if=/dev/zero of=/dev/real/unit bs=1M count=20 oflag=direct status=none; dd if=/dev/zero of=/dev/real/meta bs=1M count=4 oflag=direct status=none"
  BACKING=/dev/real/unit
}
off_lvm() { both "export LVM_SUPPRESS_FD_WARNINGS=1; vgchange --config '$LVM_HERE' -qqan real; vgremove --config '$LVM_HERE' -qqyf real"; }
on_lvm_external() {
  on_lvm
  META=/dev/real/meta
}
off_lvm_external() { off_lvm; }

on_loop() {
  both "modprobe loop; rm -f /var/lib/backing.img; truncate -s 20M /var/lib/backing.img; losetup /dev/loop0 /var/lib/backing.img"
  BACKING=/dev/loop0
}
off_loop() { both "losetup -d /dev/loop0; rm /var/lib/backing.img"; }

# They hold what they should, below DRBD.
these_hold() { for n in 1 2; do on "$n" "blockdev --flushbufs $BACKING; pattern check $BACKING $COUNT $*" < /dev/null; done; }

healed_and_undone() {
  diverged Primary Secondary
  unsplit_on 1 1 diff r0 --peer ssh:mgmt2
  heal_live 1 1 0
  healthy 1
  these_hold "$COMMON" "$A"
  unsplit_on 1 0 salvage verify
  on 1 "drbdadm secondary r0" < /dev/null
  unsplit_on 1 0 undo
  healthy 1
  these_hold "$COMMON" "$B"
  on 1 "drbdadm secondary r0" < /dev/null
}
