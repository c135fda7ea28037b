# shellcheck shell=bash
# What: a resync slow enough to cut either node's power in the middle of it; back on, the kernel goes on and both end equal
# DRBD: 8.4 9
# Limit: 900

# A line of 4 Mbit/s: 16 MB take half a minute.
slow_resync() {
  drbd_anew
  on 1 "drbdadm primary r0"
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  writes 1 0 missed 1000-4999
  on 1 "drbdadm secondary r0"
  link_shape 1 2 rate 4mbit limit 10000
  link 1 2 on
  becomes 2 "Secondary Connected Secondary Inconsistent/UpToDate/SyncTarget .*" 60
}

# At least a tenth is there, at least a tenth is missing.
under_way="drbd-state r0 | awk -F: '{ exit !(\$2 > 1600 && \$2 < 14400) }'"

scenario() {
  local victim
  nodes_on 1 2
  for victim in 2 1; do
    say "-- node $victim loses its power during the resync"
    slow_resync
    cut_when "$victim" 60 "$under_way"
    becomes "$((3 - victim))" "Secondary Connecting .*" 60
    state "$((3 - victim))"
    if [ "$victim" = 2 ]; then link_shape 1 2; fi
    node_on "$victim"
    drbd_again "$victim"
    on "$victim" "drbdadm up r0"
    in_sync 120
    down
    for n in 1 2; do holds "$n" "/dev/disk/by-id/virtio-n${n}v0" 6000 missed:1000-4999; done
  done

  say "-- a rate of DRBD's own instead of the line's"
  drbd_anew
  resync_rate 1 200k
  resync_rate 2 200k
  on 1 "drbdadm primary r0"
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  writes 1 0 missed 1000-4999
  link 1 2 on
  becomes 2 "Secondary Connected Primary Inconsistent/UpToDate/SyncTarget .*" 60
  sleep 5
  state 2
  on 2 "$under_way || drbd-state r0 | grep -q SyncTarget"
}
