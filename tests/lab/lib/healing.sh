# shellcheck shell=bash disable=SC2034,SC2153
# Healing running resources: the steps that the live scenarios share. A part makes its split brain, says who is kept and where
# unsplit runs, and insists on what both disks and the salvage hold.

# Blocks that a survivor goes on writing during a healing (busy); written once before, so that they differ from the beginning.
W=w:640-671

# compact: fewer blocks than split brains have otherwise, near each other: what an activity log marks as a whole is compared as a whole.
compact() { COMMON=base:0-149 A=a:100-129,600-615 B=b:120-139,700-715; }

# begin_part NAME: a fresh resource, and nothing of unsplit's on any node.
begin_part() {
  say "-- $1"
  drbd_anew
  all "rm -rf /var/lib/unsplit"
}

# play_parts FUNCTION NAME...: calls FUNCTION NAME for each, in a process of its own. Where one fails, what it left is kept, the nodes begin
# anew, and the rest is played: one run tells of all of them. Fails if one failed.
play_parts() {
  local play=$1 name began status lost=() folder n
  shift
  for name; do
    began=$SECONDS status=0
    # Neither `if` nor `||` around it: both would switch off `set -e` inside.
    (
      trap 'complain "failed: $BASH_COMMAND; in ${FUNCNAME[*]}"' ERR
      "$play" "$name"
    ) &
    wait $! || status=$?
    if [ "$status" = 0 ]; then
      say "part $name passed, $((SECONDS - began)) s"
      continue
    fi
    say "part $name FAILED, $((SECONDS - began)) s"
    lost+=("$name")
    folder=$LAB/failures/$SCENARIO-$GENERATION-$(date +%Y%m%d-%H%M%S)-$name
    (set +e; evidence "$folder") || true
    say "  what it left: $folder"
    for ((n = 1; n <= NODES; n++)); do node_cut "$n"; done
    # shellcheck disable=SC2046
    nodes_on $(seq "$NODES")
    all "rm -f /etc/drbd.d/r0.res /run/rest"
  done
  [ "${#lost[@]}" = 0 ] || die "parts that failed: ${lost[*]}"
}

# diverged [ROLE1] [ROLE2]: both have written what the other has not, the kernels stand alone, and each node has its role.
diverged() {
  local v
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  for ((v = 0; v < VOLUMES; v++)); do writes 1 "$v" "${COMMON%%:*}" "${COMMON#*:}"; done
  on 1 "drbdadm secondary r0"
  split
  for ((v = 0; v < VOLUMES; v++)); do
    writes 1 "$v" "${A%%:*}" "${A#*:}"
    writes 2 "$v" "${B%%:*}" "${B#*:}"
  done
  [ "${1:-Secondary}" = Primary ] || on 1 "drbdadm secondary r0"
  [ "${2:-Secondary}" = Primary ] || on 2 "drbdadm secondary r0"
  rejoin
}

other() { echo $((3 - $1)); }
whose() { if [ "$1" = 1 ]; then echo "$A"; else echo "$B"; fi; }

# busy N: node N, Primary, writes $W again and again until `rest N`.
busy() {
  writes "$1" 0 "${W%%:*}" "${W#*:}"
  on "$1" "setsid sh -c 'while [ ! -e /run/rest ]; do pattern write /dev/drbd0 ${W%%:*} ${W#*:} || echo FAILED; echo wrote; sleep 0.5; done' > /run/busy.log 2>&1 < /dev/null &
    echo \$! > /run/busy.pid" < /dev/null
}
rest() {
  on "$1" "touch /run/rest; while [ -d /proc/\$(cat /run/busy.pid) ]; do sleep 0.1; done; rm /run/rest; ! grep -v '^wrote\$' /run/busy.log; test \$(wc -l < /run/busy.log) -gt 1" < /dev/null
}

# heal_live AT KEEP STATUS [WORDS...]: `unsplit resolve r0`, run on node AT, keeping node KEEP, must end with STATUS.
heal_live() {
  local at=$1 keep=$2 status=$3
  shift 3
  unsplit_on "$at" "$status" resolve r0 --peer "ssh:mgmt$(other "$at")" --keep "node$keep" --yes "$@"
}

# said WORDS: the last command's output has these words (a regular expression).
said() { grep -qE -- "$1" <<< "$(last_words)" || { last_words; complain "unsplit did not say: $1"; return 1; }; }
unsaid() { ! grep -qE -- "$1" <<< "$(last_words)" || { last_words; complain "unsplit said: $1"; return 1; }; }
# What the last `unsplit_on` printed.
last_words() { awk '/^\$ unsplit /{text=""} {text=text $0 "\n"} END {printf "%s", text}' "$I/unsplit.log"; }

# disk_holds N WHO:BLOCKS...: node N's disk of volume 0, past its page cache.
disk_holds() {
  local n=$1
  shift
  on "$n" "blockdev --flushbufs /dev/disk/by-id/virtio-n${n}v0; pattern check /dev/disk/by-id/virtio-n${n}v0 $COUNT $*" < /dev/null
}
# both_equal: whatever volume 0 holds, it is the same on both disks.
both_equal() {
  local sums n
  sums=$(for n in 1 2; do on "$n" "blockdev --flushbufs /dev/disk/by-id/virtio-n${n}v0; head -c $((COUNT * 4096)) /dev/disk/by-id/virtio-n${n}v0 | sha256sum" < /dev/null; done)
  [ "$(sort -u <<< "$sums" | wc -l)" = 1 ] || { complain "the disks differ: $sums"; return 1; }
}
both_hold() { local n; for n in 1 2; do disk_holds "$n" "$@" || return 1; done; }

# healthy AT: connected, equal, and unsplit says so.
healthy() {
  in_sync 120
  unsplit_on "$1" 0 status r0 --peer "ssh:mgmt$(other "$1")"
}

# policies_are WORD: after-sb-0pri in both kernels.
policies_are() { local n; for n in 1 2; do on "$n" "drbdsetup show r0 --show-defaults | grep -q 'after-sb-0pri[[:space:]]*$1'" < /dev/null || { on "$n" "drbdsetup show r0 --show-defaults | grep after-sb"; complain "node $n has another after-sb-0pri than $1"; return 1; }; done; }

# salvage_of AT SURVIVOR WHO:BLOCKS...: the newest salvage on node AT, opened on the survivor's disk, is the victim's volume.
salvage_of() {
  local at=$1 survivor=$2
  shift 2
  SALVAGE_ON=$at salvage_holds /var/lib/unsplit "n${survivor}v0" "$@"
}
