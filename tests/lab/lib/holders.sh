# shellcheck shell=bash
# Whoever uses a DRBD device, so that it cannot be demoted. The node must be Primary; let_go ends what these began there.

# LVM may look at DRBD's devices only: the backing device carries the same signature.
LVM='devices { filter=[ "a|/dev/drbd.*|", "r|.*|" ] use_devicesfile=0 }'

# hold_open N [VOLUME]: a process that does nothing but hold the device open.
hold_open() {
  local device=/dev/drbd${2:-0}
  on "$1" "setsid sh -c 'exec 3<>$device; echo \$\$ >> /run/holders; exec sleep 100000' > /dev/null 2>&1 < /dev/null &
    for try in \$(seq 100); do [ ! -s /run/holders ] || exit 0; sleep 0.05; done; exit 1" < /dev/null
}

# hold_mount N [VOLUME]: an ext4 (made if there is none), mounted at /mnt/held.
hold_mount() {
  local device=/dev/drbd${2:-0}
  on "$1" "blkid -p $device > /dev/null || mkfs.ext4 -q -F $device; mkdir -p /mnt/held; mount $device /mnt/held" < /dev/null
}

# hold_lvm N [VOLUME]: a volume group `held` on it (made if there is none) with an active logical volume `unit`.
hold_lvm() {
  local device=/dev/drbd${2:-0}
  on "$1" "modprobe dm-mod; export LVM_SUPPRESS_FD_WARNINGS=1
    vgs --config '$LVM' held > /dev/null 2>&1 || { vgcreate --config '$LVM' -qqy held $device && lvcreate --config '$LVM' -qqy -Wn -Zn -L 4M -n unit held; }
    vgchange --config '$LVM' -qqay held; test -e /dev/held/unit" < /dev/null
}

let_go() {
  on "$1" "export LVM_SUPPRESS_FD_WARNINGS=1
    if [ -s /run/holders ]; then while read -r pid; do kill \$pid; done < /run/holders; rm /run/holders; fi
    ! mountpoint -q /mnt/held || umount /mnt/held
    [ ! -e /dev/held ] || vgchange --config '$LVM' -qqan held" < /dev/null
}
