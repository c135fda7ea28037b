# shellcheck shell=bash disable=SC2034,SC2153
# What: how long a live healing takes, and what it sends, against the documented commands by hand: same data, same nodes, in turns
# Kind: evidence
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1800

scenario() {
  local round
  compact
  nodes_on 1 2
  part healing
  drbd_anew
  COUNT=8000
  note "each round: a split brain of ${BLOCKS:-512} blocks of 4 KiB on each node, half of them the same; node 1 kept, both Secondary"
  for round in $(seq "${ROUNDS:-3}"); do
    again "$round"
    measured "by hand, round $round" by_hand
    again "$round"
    measured "unsplit, round $round" by_unsplit
  done
}

# again ROUND: the two apart and different, whatever they were.
again() {
  local last=$((${BLOCKS:-512} - 1)) half=$((${BLOCKS:-512} / 2))
  split
  writes 1 0 "a$1" "0-$last"
  writes 2 0 "b$1" "$half-$((half + last))"
  both "drbdadm secondary r0"
  rejoin
}
by_hand() {
  on 1 "ssh mgmt2 'drbdadm disconnect r0 2> /dev/null; drbdadm secondary r0 && drbdadm connect --discard-my-data r0' && { drbdadm connect r0 || { drbdadm disconnect r0; drbdadm connect r0; }; } &&
    until drbd-state r0 | grep -q 'Connected Secondary UpToDate/UpToDate/Established out-of-sync:0'; do sleep 0.1; done" < /dev/null
}
by_unsplit() { unsplit_on 1 0 resolve r0 --peer ssh:mgmt2 --keep node1 --yes; }

counters() { on 1 "for i in /sys/class/net/*; do n=\${i##*/}; [ \$n = lo ] || echo \$n \$((\$(cat \$i/statistics/rx_bytes) + \$(cat \$i/statistics/tx_bytes))); done" < /dev/null; }
# measured NAME COMMAND: seconds by the host's clock, bytes by node 1's cards, both ways.
measured() {
  local name=$1 began before after
  shift
  before=$(counters)
  began=$(date +%s%N)
  "$@" > /dev/null
  note "$name: $((($(date +%s%N) - began) / 1000000)) ms"
  after=$(counters)
  note "$(paste <(echo "$before") <(echo "$after") | awk '{print "  " $1 ": " $4 - $2 " bytes"}')"
  in_sync 60
}
