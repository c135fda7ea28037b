# shellcheck shell=bash
# unsplit on a node, on real devices.

# The two sides of volume 0, once both disks are in one node.
export SIDE_A=/dev/disk/by-id/virtio-n1v0
export SIDE_B=/dev/disk/by-id/virtio-n2v0

# unsplit_on N STATUS WORDS...: runs it, shows what it said, and insists on its exit status.
unsplit_on() {
  local n=$1 wanted=$2 status=0
  shift 2
  { echo "\$ unsplit $*"; LIMIT=${LIMIT:-400} on "$n" "unsplit $*" < /dev/null 2>&1; } >> "$I/unsplit.log" || status=$?
  [ "$status" = "$wanted" ] || { tail -40 "$I/unsplit.log"; complain "unsplit $* ended with $status instead of $wanted"; return 1; }
}

# bring_together: both nodes' disks into node 1 (volumes $VOLUMES), the resource down on both.
bring_together() {
  local v
  for ((v = 0; v < VOLUMES; v++)); do move_disk "n2v$v" 2 1; done
}

# bring_back: each disk where it belongs, the resource up on both.
bring_back() {
  local v n
  for ((v = 0; v < VOLUMES; v++)); do move_disk "n2v$v" 1 2; done
  for n in 1 2; do kernel_forget "$n"; done
  both "drbdadm up r0"
}

# salvage_holds STATE-DIR SURVIVOR-IMAGE WHO:BLOCKS...: the newest salvage in that folder of node 1 (or $SALVAGE_ON), opened by qemu-img on the
# survivor's disk, is the victim's volume as it was.
salvage_holds() {
  local folder=$I/salvage
  rm -rf "$folder"
  mkdir "$folder"
  on "${SALVAGE_ON:-1}" "cd $1/salvage && tar -cf - \"\$(ls -t | head -1)\"" < /dev/null | tar -x --strip-components=1 -C "$folder"
  qemu-img rebase -u -F raw -b "$I/disks/$2.img" "$folder/victim-data.qcow2"
  qemu-img convert -U -O raw "$folder/victim-data.qcow2" "$folder/victim.raw"
  shift 2
  "$LAB_SOURCE/guest/pattern" check "$folder/victim.raw" "$COUNT" "$@"
}

# connected_without_resync: the kernel takes the healed pair as equal.
connected_without_resync() {
  local n
  in_sync
  for n in 1 2; do
    if on "$n" "dmesg | grep -E 'Began resync|Split-Brain'" < /dev/null; then die "node $n's kernel did not take both sides as equal"; fi
  done
}
