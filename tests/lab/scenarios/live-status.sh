# shellcheck shell=bash disable=SC2034
# What: unsplit status on running resources tells what it is, from both nodes and from one: healthy, alone, split (also before DRBD notices), and what looks like it
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1800

# begins CLASS: the first line of what unsplit said last.
begins() {
  local line
  line=$(awk '/^\$ unsplit/ { getline line } END { print line }' "$I/unsplit.log")
  case $line in "$1: r0: "*) ;; *) complain "it begins with '$line', not with $1"; return 1 ;; esac
}

# tells_status STATUS CLASS: on node 1, with node 2 asked over ssh.
tells_status() {
  unsplit_on 1 "$1" "status r0 --peer ssh:mgmt2"
  begins "$2"
}

# alone_status N STATUS CLASS: what node N alone says.
alone_status() {
  unsplit_on "$1" "$2" "status r0"
  begins "$3"
}

scenario() {
  nodes_on 1 2
  drbd_fresh
  say "healthy"
  tells_status 0 HEALTHY
  alone_status 1 0 HEALTHY
  unsplit_on 1 0 "status --all --peer ssh:mgmt2"

  say "a peer that is not there"
  unsplit_on 1 4 "status r0 --peer ssh:nobody.invalid"

  say "disconnected by hand"
  on 1 "drbdadm disconnect r0"
  becomes 1 "Secondary StandAlone .*" 30
  tells_status 1 "DISCONNECTED ON PURPOSE"
  alone_status 2 4 "NOT CONNECTED"
  on 1 "drbdadm connect r0"
  in_sync

  say "no disk"
  on 2 "drbdadm detach r0"
  becomes 2 "Secondary Connected Secondary Diskless/UpToDate/.*" 30
  tells_status 1 DISKLESS
  # An attach over a connection was seen to hang in 9.3.3 on an overloaded machine.
  on 2 "drbdadm down r0; drbdadm up r0"
  in_sync

  say "down on one side"
  on 2 "drbdadm down r0"
  becomes 1 "Secondary Connecting .*" 60
  tells_status 1 "DOWN ON ONE SIDE"
  on 2 "drbdadm up r0"
  in_sync

  say "equal generations, marked blocks"
  down
  on 2 "pattern write /dev/disk/by-id/virtio-n2v0 stranger 500-509"
  both "drbdadm up r0"
  in_sync
  on 1 "drbdadm verify r0"
  becomes 1 ".*/Established out-of-sync:40" 120
  tells_status 1 "SILENTLY DIFFERENT"
  on 2 "drbdadm invalidate r0"
  in_sync 120

  say "split, and DRBD does not know it yet"
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  writes 1 0 base 0-199
  on 1 "drbdadm secondary r0"
  split
  writes 1 0 a 100-149
  tells_status 1 "$([ "$GENERATION" = 8.4 ] && echo "SPLIT BRAIN" || echo "NOT CONNECTED")"
  writes 2 0 b 140-189
  tells_status 1 "SPLIT BRAIN"
  rejoin
  say "split, refused"
  tells_status 1 "SPLIT BRAIN"
  grep -q "keeping node1: at most 200 KiB that node2 wrote" "$I/unsplit.log"
  alone_status 1 1 "SPLIT BRAIN"
  say "split, one looks for the other"
  on 2 "drbdadm connect r0"
  becomes 2 "[A-Za-z]+ Connecting .*" 30
  tells_status 1 "SPLIT BRAIN"

  say "healed by hand"
  on 2 "drbdadm disconnect r0; drbdadm secondary r0; drbdadm connect --discard-my-data r0"
  on 1 "drbdadm connect r0"
  in_sync 120
  tells_status 0 HEALTHY
}
