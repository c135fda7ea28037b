# shellcheck shell=bash disable=SC2034,SC2153,SC2119,SC2120
# DRBD on the nodes. $GENERATION is 8.4 or 9, $VOLUMES the number of volumes of resource r0 (each 32 MiB less metadata).

# drbd_configure [NET-OPTIONS]: writes r0 to every node and loads the module. $SECTIONS goes into the resource, too (drbd_handlers).
drbd_configure() {
  local n v text fencing="" hosts=()
  [ -z "${FENCING:-}" ] || fencing="fencing $FENCING;"
  text="resource r0 {
  net { protocol C; allow-two-primaries yes; verify-alg md5; ping-int 2; timeout 20; connect-int 3;
    after-sb-0pri disconnect; after-sb-1pri disconnect; after-sb-2pri disconnect; ${1:-}
    $([ "$GENERATION" = 8.4 ] || echo "$fencing") }
  disk { c-plan-ahead 0; resync-rate 200M; $([ "$GENERATION" != 8.4 ] || echo "$fencing") }
  ${SECTIONS:-}"
  for ((n = 1; n <= NODES; n++)); do
    hosts+=("node$n")
    text+=$'\n'"  on node$n {"
    [ "$GENERATION" = 8.4 ] || text+=" node-id $((n - 1));"
    text+=" address ipv4 10.9.0.$n:7788;"
    for ((v = 0; v < VOLUMES; v++)); do
      text+=" volume $v { device /dev/drbd$v minor $v; disk /dev/disk/by-id/virtio-n${n}v$v; meta-disk internal; }"
    done
    text+=" }"
  done
  [ "$GENERATION" = 8.4 ] || text+=$'\n'"  connection-mesh { hosts ${hosts[*]}; }"
  text+=$'\n}'
  for ((n = 1; n <= NODES; n++)); do
    printf 'global { usage-count no; }\n' | on "$n" "cat > /etc/drbd.d/global_common.conf"
    # Flushed, so that it is still there after a power cut.
    on "$n" "cat > /etc/drbd.d/r0.res; sync; load-drbd $GENERATION" <<< "$text"
  done
}

# drbd_handlers NAME...: the next drbd_configure wires these handlers to `$HANDLER NAME` (default `unsplit handler`; `handler-note`
# of the guest's files writes down calls and environments). $FENCING: resource-only or resource-and-stonith, for fence-peer.
drbd_handlers() {
  local name
  SECTIONS="handlers {"
  for name; do SECTIONS+=" $name \"${HANDLER:-unsplit handler} $name\";"; done
  SECTIONS+=" }"
}

# drbd_edit N SED: changes the resource's net options on one node only. A kernel of 8.4 learns of them with the next connect, one of 9,
# whose connect changes nothing, here.
drbd_edit() {
  on "$1" "sed -i '$2' /etc/drbd.d/r0.res; sync" < /dev/null
  [ "$GENERATION" = 8.4 ] || on "$1" "drbdadm net-options r0" < /dev/null
}

# resync_rate N RATE: this node as sync source sends no faster than this (bytes a second, like 500k), whatever the line can do.
resync_rate() {
  local m
  for ((m = 0; m < VOLUMES; m++)); do
    if [ "$GENERATION" = 8.4 ]; then
      on "$1" "drbdsetup disk-options $m --c-plan-ahead=0 --resync-rate=$2 --c-min-rate=1" < /dev/null
    else
      on "$1" "for peer in \$(drbdsetup show r0 --json | grep -o '\"_peer_node_id\": *[0-9]*' | grep -o '[0-9]*\$'); do
        drbdsetup peer-device-options r0 \$peer $m --c-plan-ahead=0 --resync-rate=$2 --c-min-rate=1; done" < /dev/null
    fi
  done
}

# After a power cut: the configuration is still there, the module is not.
drbd_again() { on "$1" "load-drbd $GENERATION" < /dev/null; }

drbd_create() {
  local n peers=""
  [ "$GENERATION" = 8.4 ] || peers=--max-peers=$((NODES - 1))
  for ((n = 1; n <= NODES; n++)); do
    on "$n" "drbdadm create-md --force $peers r0 > /tmp/create-md 2>&1 || { cat /tmp/create-md; exit 1; }; drbdadm up r0" < /dev/null
  done
}

# state N [PEER]: one line, see guest/drbd-state. PEER (a node's name, DRBD 9): only what it says of this one.
state() { on "$1" "drbd-state r0 ${2:-}" < /dev/null; }

# becomes N REGEX SECONDS [PEER]: waits for the node's state line.
becomes() { until_true "$3" "node $1 to be '$2'${4:+ toward $4}" state_is "$1" "$2" "${4:-}" || { complain "node $1 is: $(state "$1" "${4:-}")"; return 1; }; }
state_is() { grep -qE "^$2\$" <<< "$(state "$1" "${3:-}")"; }

# A resource that is new and equal on both sides, without the first sync.
drbd_fresh() {
  local v
  drbd_configure "${1:-}"
  drbd_create
  becomes 1 "Secondary Connected(,Connected)* Secondary.*" 60
  for ((v = 0; v < VOLUMES; v++)); do on 1 "drbdadm new-current-uuid --clear-bitmap r0/$v" < /dev/null; done
  in_sync
}

# in_sync [SECONDS]: all nodes Connected with each other and UpToDate, nothing out of sync.
in_sync() {
  local n other volumes=""
  for ((n = 0; n < VOLUMES; n++)); do volumes+=" UpToDate/UpToDate/Established"; done
  for ((n = 1; n <= NODES; n++)); do
    for ((other = 1; other <= NODES; other++)); do
      [ "$n" = "$other" ] || becomes "$n" "[A-Za-z]+ Connected [A-Za-z]+$volumes out-of-sync:0" "${1:-60}" "$(peer_named "$other")" || return 1
    done
  done
}
# 8.4 knows its only peer by no name.
peer_named() { [ "$GENERATION" = 8.4 ] || echo "node$1"; }

# wipe_disks: zeros on all nodes' disks of volumes $VOLUMES (a fresh resource otherwise keeps the content that was there).
wipe_disks() {
  local n v
  for ((n = 1; n <= NODES; n++)); do
    for ((v = 0; v < VOLUMES; v++)); do on "$n" "dd if=/dev/zero of=/dev/disk/by-id/virtio-n${n}v$v bs=1M oflag=direct status=none 2> /dev/null || true; sync" < /dev/null; done
  done
}

# drbd_anew [NET-OPTIONS]: a fresh resource on empty disks, whatever was there before. The kernels' lines begin here.
drbd_anew() {
  local n other
  for ((n = 1; n <= NODES; n++)); do
    let_go "$n"
    on "$n" "[ ! -e /etc/drbd.d/r0.res ] || drbdadm down r0" < /dev/null
    for ((other = n + 1; other <= NODES; other++)); do link "$n" "$other" on; done
  done
  wipe_disks
  drbd_fresh "${1:-}"
  for ((n = 1; n <= NODES; n++)); do kernel_forget "$n"; done
}

# Both sides lost each other while Primary, and refuse each other now.
both_alone() { local n; for n in 1 2; do becomes "$n" "[A-Za-z]+ StandAlone .*" "${1:-60}" || return 1; done; }

blocks() { on "$1" "echo \$((\$(blockdev --getsize64 /dev/drbd${2:-0}) / 4096))" < /dev/null; }

# writes N VOLUME WHO BLOCKS: through DRBD, on a Primary.
writes() { on "$1" "pattern write /dev/drbd$2 $3 $4" < /dev/null; }

# holds N DEVICE COUNT WHO:BLOCKS...: every block is whose it should be.
holds() {
  local n=$1
  shift
  on "$n" "pattern check $*" < /dev/null
}

# kernel_said N REGEX: since the last `kernel_forget N`.
kernel_said() { on "$1" "dmesg | grep -E '$2'" < /dev/null > /dev/null || { complain "node $1's kernel never said: $2"; return 1; }; }
kernel_forget() { on "$1" "dmesg > /var/log/dmesg.\$(date +%s%N); dmesg -C" < /dev/null; }

# split: cuts the link, waits until both noticed, makes both Primary.
split() {
  local n
  say "splitting"
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  both "drbdadm primary r0"
}

# rejoin: plugs the link; both must call it a split brain and stand alone.
rejoin() {
  local n
  say "rejoining"
  for n in 1 2; do kernel_forget "$n"; done
  link 1 2 on
  # DRBD tries for as long as it takes; the side that hears of the refusal may retry once before it stands alone, too.
  both_alone 90
  kernel_said 1 "Split-Brain detected"
  kernel_said 2 "Split-Brain detected|conn\( .* -> StandAlone"
}

# stand_alone: both gave the connection up, whatever they did before. (8.4 refuses to disconnect what stands alone, with 162.)
stand_alone() {
  both "drbdadm disconnect r0 > /dev/null 2>&1 || true"
  both_alone
}

down() { all "drbdadm down r0"; }

# make_split_brain: a fresh resource with something in it, then both sides write, and the kernel refuses to connect them.
# What is where afterwards: COMMON on both, then A on node 1, B on node 2, for every volume.
COMMON=base:0-199,4000-4099
A=a:100-149,6000-6063
B=b:140-189,7000-7063
make_split_brain() {
  local v
  drbd_fresh "${1:-}"
  on 1 "drbdadm primary r0"
  COUNT=$(blocks 1)
  for ((v = 0; v < VOLUMES; v++)); do writes 1 "$v" "${COMMON%%:*}" "${COMMON#*:}"; done
  on 1 "drbdadm secondary r0"
  split
  for ((v = 0; v < VOLUMES; v++)); do
    writes 1 "$v" "${A%%:*}" "${A#*:}"
    writes 2 "$v" "${B%%:*}" "${B#*:}"
  done
  rejoin
}
