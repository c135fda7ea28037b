# shellcheck shell=bash
# What: fence_ipmilan really switches a node off and on; a BMC without power does not answer
# DRBD: 8.4
# Limit: 900

scenario() {
  local before after
  nodes_on 1 2
  bmc_on 1
  bmc_on 2
  fence 2 status
  before=$(on 2 "cat /proc/sys/kernel/random/boot_id" < /dev/null)
  say "node 1 fences node 2, through the network"
  on 1 "PYTHONWARNINGS=ignore fence_ipmilan" << WORDS
action=off
ip=10.0.2.2
ipport=$((BASE + 6))
username=$BMC_USER
password=$BMC_PASSWORD
lanplus=1
cipher=3
WORDS
  node_is_off 2
  node_runs 1
  status=0
  fence 2 status || status=$?
  [ "$status" = 2 ] || die "status of a node that is off: $status instead of 2"
  say "on again"
  fence 2 on
  until_true 240 "node 2 to boot" has_booted
  after=$(on 2 "cat /proc/sys/kernel/random/boot_id" < /dev/null)
  [ "$before" != "$after" ] || die "it is the same boot"
  fence 2 status
  bmc_off 2
  status=0
  fence 2 off > /dev/null 2>&1 || status=$?
  [ "$status" = 1 ] || die "a BMC without power answered: $status"
  node_runs 2
}
has_booted() { [ -S "$SOCKETS/ssh2" ]; }
