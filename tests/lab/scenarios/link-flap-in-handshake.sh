# shellcheck shell=bash
# What: the replication link breaks while the victim's before-resync-target is still copying, and is back 10 s later: healed by itself, or by --resume; the salvage is the victim's volume
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1500

scenario() {
  compact
  nodes_on 1 2
  both "printf '#!/bin/sh\n[ \"\$1\" != before-resync-target ] || { echo called >> /run/called; sleep 12; }\nexit 0\n' > /usr/bin/slowly; chmod +x /usr/bin/slowly"
  HANDLER=/usr/bin/slowly drbd_handlers before-resync-target
  begin_part link-flap-in-handshake
  diverged Secondary Secondary
  on 1 "setsid sh -c 'unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes > /run/resolve.log 2>&1; echo ENDED \$? >> /run/resolve.log' > /dev/null 2>&1 < /dev/null &" < /dev/null
  until_true 180 "the handler to be called" on 2 "test -e /run/called"
  link 1 2 off
  sleep 10
  link 1 2 on
  until_true 600 "unsplit to end" on 1 "grep -q ENDED /run/resolve.log"
  on 1 "cat /run/resolve.log" < /dev/null
  fails on 1 "grep -q 'wrote to volume' /run/resolve.log" < /dev/null
  if on 1 "grep -q 'ENDED 0' /run/resolve.log" < /dev/null; then
    say "healed by itself"
  else
    unsplit_on 1 6 status r0 --peer ssh:mgmt2
    unsplit_on 1 0 resolve --resume
  fi
  in_sync
  both_hold "$COMMON" "$A"
  salvage_of 1 1 "$COMMON" "$B"
  healthy 1
}
