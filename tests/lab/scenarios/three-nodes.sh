# shellcheck shell=bash disable=SC2034
# What: three nodes, one writes apart from the other two; what each of them sees; healed by hand without touching the two
# Kind: evidence
# DRBD: 9
# Limit: 1200

export NODES=3

apart() { for other in 1 2; do link "$other" 3 "$1"; done; }

scenario() {
  nodes_on 1 2 3
  part one-against-two
  drbd_fresh
  for n in 1 2 3; do kernel_forget "$n"; done
  on 1 "drbdadm primary r0"
  writes 1 0 base 0-99
  on 1 "drbdadm secondary r0"
  live in-sync
  apart off
  for n in 1 2; do becomes "$n" ".* Connecting .*" 60 node3; done
  for n in 1 2; do becomes 3 ".* Connecting .*" 60 "node$n"; done
  on 1 "drbdadm primary r0"
  on 3 "drbdadm primary r0"
  writes 1 0 a 100-149
  writes 3 0 c 140-189
  on 1 "drbdadm secondary r0"
  on 3 "drbdadm secondary r0"
  states
  live apart
  kernel_lines
  apart on
  for n in 1 2; do becomes 3 ".* (StandAlone|Connecting) .*" 60 "node$n"; done
  sleep 8
  states
  becomes 1 ".* Connected .* UpToDate/UpToDate/Established .*" 10 node2
  live refused
  kernel_lines
  note "== node 3 gives its data up toward both"
  for n in 1 2 3; do for other in 1 2 3; do [ "$n" = "$other" ] || note "node$n toward node$other: $(state "$n" "node$other")"; done; done
  tells 3 drbdadm disconnect r0
  tells 3 drbdadm connect --discard-my-data r0
  tells 1 "drbdadm disconnect r0:node3; drbdadm connect r0:node3"
  tells 2 "drbdadm disconnect r0:node3; drbdadm connect r0:node3"
  in_sync 120
  states
  kernel_lines
  down
  for n in 1 2 3; do holds "$n" "/dev/disk/by-id/virtio-n${n}v0" 1000 base:0-99 a:100-149; done

  part all-three-apart
  both "rm -f /run/nothing"
  drbd_anew
  link 1 2 off
  apart off
  for n in 1 2 3; do becomes "$n" "Secondary Connecting,Connecting .*" 60; done
  all "drbdadm primary r0"
  for n in 1 2 3; do writes "$n" 0 "node$n" "$((n * 100))-$((n * 100 + 9))"; done
  all "drbdadm secondary r0"
  link 1 2 on
  apart on
  sleep 15
  states
  live refused
}
