# shellcheck shell=bash
# What: fence-peer asks the peer over ssh to outdate itself: proven, refused by a Primary, and never claimed when it cannot be reached
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 900

# The answer that DRBD got last, as its kernel log has it.
returned() { kernel_said "$1" "fence-peer.* (helper )?returned $2" ; }

scenario() {
  local n section=net
  # 8.4 has the option in another section.
  [ "$GENERATION" != 8.4 ] || section=disk
  nodes_on 1 2
  drbd_fresh
  for n in 1 2; do
    on "$n" "cat > /etc/drbd.d/unsplit.res; ln -sf /run/lab/bin/unsplit /usr/bin/unsplit
      sed -i 's|# fence-peer  *\"/usr/bin/unsplit handler fence-peer --peer ssh\"|fence-peer \"/usr/bin/unsplit handler fence-peer --peer ssh:mgmt$((3 - n)) --deadline 60s\"|' /etc/drbd.d/unsplit.res
      sed -i 's/$section {/$section { fencing resource-only;/' /etc/drbd.d/r0.res
      grep -E '^ *fence-peer' /etc/drbd.d/unsplit.res; grep fencing /etc/drbd.d/r0.res; drbdadm adjust r0" < "$PROJECT/packaging/drbd.d/unsplit.res"
  done
  in_sync
  on 1 "drbdadm primary r0" < /dev/null

  say "the peer is Secondary: it outdates itself"
  link 1 2 off
  until_true 90 "DRBD to be told 4" returned 1 4
  becomes 1 "Primary Connecting Unknown UpToDate/Outdated/.*" 30
  becomes 2 "Secondary Connecting Unknown Outdated/.*" 30
  fails on 2 "drbdadm primary r0"
  on 1 "unsplit events r0" < /dev/null

  say "the peer cannot be reached: nothing is claimed"
  link 1 2 on
  in_sync
  for n in 1 2; do kernel_forget "$n"; done
  mgmt 1 2 off
  link 1 2 off
  until_true 90 "DRBD to be told 1" returned 1 1
  becomes 1 "Primary Connecting Unknown UpToDate/DUnknown/.*" 30
  fails returned 1 "[3-7]"
  on 1 "unsplit events r0 --last 1" < /dev/null | grep 'NOT FENCED, exit code 1'
  mgmt 1 2 on
  link 1 2 on
  in_sync
}
