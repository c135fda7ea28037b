# shellcheck shell=bash
# What: DRBD calls unsplit's handlers: split brain recorded on both sides; a discard by hand keeps what it overwrites; catching up costs nothing
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 900

install_handlers() {
  local n
  for n in 1 2; do
    # Time runs slowly here; what DRBD is told in time is not this scenario's subject.
    on "$n" "sed '/before-resync-target/!s/handler [a-z-]*/& --deadline 60s/' > /etc/drbd.d/unsplit.res; ln -sf /run/lab/bin/unsplit /usr/bin/unsplit" \
      < "$PROJECT/packaging/drbd.d/unsplit.res"
  done
}

# event N HANDLER EXPRESSION: the newest event of that handler on node N, `e` in a Python expression, is as it should be.
event() {
  on "$1" "unsplit events --json --last 1000" < /dev/null > "$I/events$1.json"
  python3 - "$I/events$1.json" "$2" "$3" << 'PY' || { complain "node $1, $2: not so: $3"; return 1; }
import json, sys
path, handler, expression = sys.argv[1:]
events = [e for e in json.load(open(path))["events"] if e["handler"] == handler]
print(len(events), "times", handler, json.dumps(events[-1]["did"]) if events else "")
e = events[-1]
sys.exit(not eval(expression))
PY
}

salvages() { on "$1" "ls /var/lib/unsplit/salvage 2> /dev/null | wc -l" < /dev/null; }

scenario() {
  local n peer
  nodes_on 1 2
  install_handlers
  make_split_brain
  for n in 1 2; do
    peer=$((3 - n))
    event "$n" initial-split-brain "e['call']['peer'] == 'node$peer' and e['call']['volumes'] == [0] and e['call']['minors'] == [0]"
    event "$n" initial-split-brain "e['host'] == 'node$n' and e['then']['Ok']['role'] == 'Primary' and e['then']['Ok']['volumes'][0]['out_of_sync'] == 114 * 4096"
  done
  on 1 "unsplit events r0" < /dev/null
  on 1 "unsplit events r0 --json" < /dev/null | grep -q '"split-brain"' || on 2 "unsplit events r0 --json" < /dev/null | grep -q '"split-brain"'

  say "three in the morning: discard by hand, without looking"
  both "drbdadm secondary r0"
  on 2 "drbdadm disconnect r0; drbdadm connect --discard-my-data r0" < /dev/null
  on 1 "drbdadm disconnect r0; drbdadm connect r0" < /dev/null
  in_sync 120
  on 2 "drbdadm primary r0" < /dev/null
  holds 2 /dev/drbd0 "$COUNT" "$COMMON" "$A"
  on 2 "drbdadm secondary r0" < /dev/null
  # A small volume is kept whole, where more is overwritten than node 2 wrote.
  event 2 before-resync-target "e['did']['outcome'] == 'kept' and e['did']['bytes'] == $COUNT * 4096 and e['did']['overwritten'] == 218 * 4096 and e['did']['whole']"
  until_true 30 "after-resync-target to be recorded" event 2 after-resync-target "e['did']['outcome'] == 'recorded'"
  unsplit_on 2 0 salvage list
  unsplit_on 2 0 salvage verify
  local name
  name=$(on 2 "ls /var/lib/unsplit/salvage" < /dev/null)
  unsplit_on 2 0 salvage show "$name"
  on 2 "cd /var/lib/unsplit/salvage/$name && tar -cf - ." < /dev/null | (rm -rf "$I/salvage"; mkdir "$I/salvage"; tar -C "$I/salvage" -x)
  qemu-img convert -O raw "$I/salvage/victim-data.qcow2" "$I/salvage/alone.raw"
  "$LAB_SOURCE/guest/pattern" check "$I/salvage/alone.raw" "$COUNT" "$COMMON" "$B"

  say "catching up costs nothing"
  on 1 "drbdadm primary r0" < /dev/null
  link 1 2 off
  becomes 1 "Primary Connecting .*" 60
  writes 1 0 c 300-399
  for n in 1 2; do kernel_forget "$n"; done
  link 1 2 on
  in_sync 120
  until_true 30 "the handler to have been called again" event 2 before-resync-target "e['did']['outcome'] == 'nothing-to-keep'"
  [ "$(salvages 2)" = 1 ]

  say "no room: --required refuses, --best-effort lets the resync begin"
  on 1 "drbdadm secondary r0" < /dev/null
  split
  writes 1 0 d 500-509
  writes 2 0 e 505-514
  rejoin
  both "drbdadm secondary r0"
  on 2 "sed -i 's/--best-effort/--required --max-bytes 4KiB/' /etc/drbd.d/unsplit.res; drbdadm disconnect r0; drbdadm connect --discard-my-data r0" < /dev/null
  on 1 "drbdadm disconnect r0; drbdadm connect r0" < /dev/null
  until_true 60 "the resync to be refused" event 2 before-resync-target "e['did']['outcome'] == 'not-kept' and e['exit'] == 1"
  until_true 60 "the connection to be dropped" not_syncing
  both "drbdadm disconnect r0 || true"
  on 2 "drbdadm primary r0 --force" < /dev/null
  say "node 2 still has its own"
  holds 2 /dev/drbd0 "$COUNT" "$COMMON" "$A" c:300-399 e:505-514
}
not_syncing() { ! state 2 | grep -qE 'SyncTarget|Connected'; }
