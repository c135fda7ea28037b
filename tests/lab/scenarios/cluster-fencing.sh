# shellcheck shell=bash
# What: corosync loses the link, Pacemaker of node 1 fences node 2 through its BMC, and its history says so
# DRBD: 8.4
# Limit: 900

scenario() {
  nodes_on 1 2
  bmc_on 1
  bmc_on 2
  cluster_start
  say "both online"
  cluster_fencing
  say "fence devices are there; cutting the link"
  link 1 2 off
  until_true 240 "node 2 to be fenced" node_is_off 2
  node_runs 1
  say "node 2 is off"
  until_true 60 "Pacemaker's history to hold it" fencing_recorded || { cat "$I/history.log"; die "it does not hold it"; }
  LIMIT=30 on 1 "stonith_admin --history node2 --verbose" < /dev/null
}
fencing_recorded() {
  on 1 "stonith_admin --history node2 --verbose" < /dev/null > "$I/history.log" 2>&1
  grep -qE "turning off of node2 successful" "$I/history.log"
}
