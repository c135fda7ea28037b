#!/bin/sh
# Makes the captures of this folder (all but drbd*-head.bin) with the real LVM tools. Needs root and loop devices, but no
# device-mapper: volumes are never activated. Usage: make.sh OUTPUT-FOLDER
set -eu
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cd "$work"
export LVM_SUPPRESS_FD_WARNINGS=1
loops=""
cleanup() { for loop in $loops; do losetup -d "$loop"; done; rm -rf "$work"; }
trap cleanup EXIT
device() { # name size: an image on a loop device, in $device
    truncate -s "$2" "$1"
    device=$(losetup -f --show "$1")
    loops="$loops $device"
}
run() { # an LVM command that sees our devices only
    command=$1
    shift
    filter=""
    for loop in $loops; do filter="$filter\"a|^$loop\$|\","; done
    "$command" --config "devices{use_devicesfile=0 filter=[$filter\"r|.*|\"]} global{activation=0} backup{backup=0 archive=0} activation{udev_sync=0 udev_rules=0}" "$@" >/dev/null 2>log || { cat log; exit 1; }
}
head_of() { dd if="$1" of="$out/$2" bs=4096 count="$3" status=none; }
truth() { # what LVM says is where, per device
    filter=""
    for loop in $loops; do filter="$filter\"a|^$loop\$|\","; done
    pvs --config "devices{use_devicesfile=0 filter=[$filter\"r|.*|\"]} global{activation=0}" --segments --noheadings --units s --nosuffix \
        -o pv_name,pe_start,vg_extent_size,pvseg_start,pvseg_size,lv_name "$@" 2>/dev/null
}

# Two devices: linear volumes in pieces, on either and on both; striped over two.
device two-a 160M; a=$device
device two-b 160M; b=$device
run pvcreate "$a" "$b"
run vgcreate -s 1M two "$a" "$b"
lv="lvcreate -an -Zn -Wn"
run $lv -L 8M -n pieces two "$a"
run $lv -L 8M -i2 -I 64k -n striped two
run $lv -L 4M -n small two "$a"
run lvextend -L +4M two/pieces "$a"
run lvextend -L +3M two/pieces "$b"
run $lv -L 4M -n other two "$b"
truth
head_of two-a two-a-head.bin 5
head_of two-b two-b-head.bin 5

# A metadata area of 64 KiB, changed until the text runs over its end.
device wrapped 32M; w=$device
run pvcreate --metadatasize 60k --dataalignment 64k "$w"
run vgcreate -s 1M wrapped "$w"
run $lv -L 3M -n first wrapped "$w"
run $lv -L 5M -n second wrapped "$w"
n=0
while :; do
    n=$((n + 1))
    run vgchange --addtag "t$n" wrapped
    # The header's first slot: offset and size of the text, against the size of the area.
    set -- $(od -A n -t u8 -j $((4096 + 32)) -N 24 wrapped)
    if [ $(($2 + $3)) -gt "$1" ]; then break; fi
    [ $n -lt 300 ]
done
echo "wrapped after $n changes"
truth "$w"
head_of wrapped wrapped-head.bin 16

# Two copies of the metadata, at the start and at the end.
device copies 32M; c=$device
run pvcreate --pvmetadatacopies 2 --metadatasize 60k --dataalignment 64k "$c"
run vgcreate -s 1M copies "$c"
run $lv -L 3M -n only copies "$c"
truth "$c"
head_of copies copies-head.bin 3
dd if=copies of="$out/copies-tail.bin" bs=4096 skip=8176 count=2 status=none

# A volume in no group.
device orphan 16M; o=$device
run pvcreate "$o"
head_of orphan orphan-head.bin 3

# Thin pool, RAID, snapshot, mirror: without device-mapper they cannot be created, but be restored from a description.
device types-a 64M; t=$device
device types-b 64M; u=$device
run pvcreate --uuid 111111-1111-1111-1111-1111-1111-111111 --norestorefile "$t"
run pvcreate --uuid 222222-2222-2222-2222-2222-2222-222222 --norestorefile "$u"
cp "$here/types.vg" types.vg
run vgcfgrestore --force -y -f types.vg types
run vgck types
truth "$t" "$u"
head_of types-a types-a-head.bin 5
