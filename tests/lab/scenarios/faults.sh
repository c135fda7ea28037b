# shellcheck shell=bash
# What: the lab's own faults do what they say: slow and cut links, ssh that hangs or dies, power cuts at a moment
# DRBD: 8.4
# Limit: 900

scenario() {
  local began session
  nodes_on 1 2
  on 1 "ssh node2 hostname" | grep -qx node2
  on 1 "ssh mgmt2 hostname" | grep -qx node2

  say "a slow line"
  link_shape 1 2 delay 700ms
  on 1 "began=\$(date +%s%N); busybox nc -w 10 node2 22 < /dev/null > /dev/null; [ \$((\$(date +%s%N) - began)) -ge 700000000 ]"
  link_shape 1 2

  say "a cut line; the management network stays"
  link 1 2 off
  until_true 20 "node 1 to lose the carrier" carrier 1 0
  until_true 20 "node 2 to lose the carrier" carrier 2 0
  fails on 1 "ssh -o ConnectTimeout=3 node2 true"
  on 1 "ssh mgmt2 true"
  link 1 2 on
  until_true 20 "node 1 to have the carrier again" carrier 1 1
  on 1 "ssh node2 true"

  say "ssh hangs"
  on 1 "ssh mgmt2 'sleep 100'" < /dev/null > /dev/null 2>&1 &
  session=$!
  sleep 5
  mgmt 1 2 off
  fails on 1 "ssh -o ConnectTimeout=3 mgmt2 true"
  kill -0 "$session"
  mgmt 1 2 on
  on 1 "ssh mgmt2 true"
  kill -0 "$session"
  say "ssh dies"
  ssh_dies 1 2
  began=$SECONDS
  fails wait "$session"
  [ $((SECONDS - began)) -lt 60 ] || die "the session lived on"

  say "power cuts"
  (sleep 3; on 2 "echo now > /run/moment") &
  cut_when 2 60 "grep now /run/moment"
  node_is_off 2
  node_runs 1
  cut_after 1 1
  until_true 20 "node 1 to lose its power" node_is_off 1
}
carrier() { on "$1" "[ \$(cat /sys/class/net/link$((3 - $1))/carrier) = $2 ]"; }
