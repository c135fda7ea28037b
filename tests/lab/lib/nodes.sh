# shellcheck shell=bash
# Nodes of one lab instance: power, disks, commands. An instance is a folder $LAB/instances/NAME with everything it started in it,
# ports of its own and a short folder for its sockets, so that two can run beside each other.

INSTANCE=${UNSPLIT_LAB_INSTANCE:-main}
I=$LAB/instances/$INSTANCE

# Ports of an instance, from $BASE: +1..+3 ssh of nodes, +5..+7 BMC (UDP), +10..+15 links (UDP), two for each pair of nodes.
port_taken() { ss -Hltun 2>/dev/null | awk '{print $5}' | grep -qE ":($(seq -s '|' "$1" "$(($1 + 15))"))\$"; }

# lab_open NODES: a fresh instance. Whatever an earlier run left of it is ended first.
lab_open() {
  local base step
  for step in initramfs vmlinux; do [ -e "$BUILT/stamps/$step" ] || die "there is no built lab in $BUILT: run tests/lab/build first"; done
  lab_close
  rm -rf "$I"
  mkdir -p "$I/disks"
  for base in $(seq 21000 20 22980); do
    port_taken "$base" && continue
    # The lock keeps two labs that start at the same moment apart; it is held until this process ends.
    exec 8> "${TMPDIR:-/tmp}/unsplit-lab-port.$base"
    flock -n 8 && break
    base=""
  done
  [ -n "$base" ] || die "no free ports between 21000 and 22999"
  BASE=$base NODES=$1 SOCKETS=$(mktemp -d "${TMPDIR:-/tmp}/unsplit-lab.XXXXXX")
  printf 'BASE=%q NODES=%q SOCKETS=%q\n' "$BASE" "$NODES" "$SOCKETS" > "$I/env"
  lab_initramfs
  lab_tools
  accelerator
}

# Sets $ACCEL. /dev/kvm may be there and refuse, crash or hang (nested, or without the processor's help): it is used only if the
# lab's kernel came up with it to its first program within 15 s. Asked once for each boot of this machine; UNSPLIT_LAB_ACCEL=tcg|kvm decides.
accelerator() {
  local boot tester found=tcg console=$I/kvm.log
  boot=$(cat /proc/sys/kernel/random/boot_id)
  if [ -n "${UNSPLIT_LAB_ACCEL:-}" ]; then
    ACCEL=$UNSPLIT_LAB_ACCEL
  elif [ ! -w /dev/kvm ]; then
    ACCEL=tcg
  elif [ "$(head -1 "$LAB/accelerator" 2> /dev/null)" = "$boot" ]; then
    ACCEL=$(tail -1 "$LAB/accelerator")
  else
    # The shell between keeps a crash of QEMU from being reported as one of ours.
    # shellcheck disable=SC2016
    timeout -s KILL 15 sh -c '"$@"; exit 0' - qemu-system-x86_64 -accel kvm -cpu host -m 512 -display none -nodefaults -no-reboot -serial "file:$console" \
      -kernel "$BUILT/vmlinux" -initrd "$I/initramfs.gz" -append "console=ttyS0 panic=-1" > "$I/kvm-qemu.log" 2>&1 < /dev/null 8>&- &
    tester=$!
    while kill -0 "$tester" 2> /dev/null && [ "$found" = tcg ]; do
      sleep 0.2
      if grep -q 'Run /init' "$console" 2> /dev/null; then found=kvm; fi
    done
    kill "$tester" 2> /dev/null || true
    wait "$tester" 2> /dev/null || true
    printf '%s\n%s\n' "$boot" "$found" > "$LAB/accelerator.$$"
    mv "$LAB/accelerator.$$" "$LAB/accelerator"
    ACCEL=$found
    if [ "$found" = kvm ]; then say "KVM works here"; else say "/dev/kvm does not run the lab's kernel here: software emulation"; fi
  fi
  printf 'ACCEL=%q\n' "$ACCEL" >> "$I/env"
}

# The kernel unpacks one archive after the other: the built one, then the lab's own files as they are in this tree.
lab_initramfs() {
  local tree=$I/initramfs
  mkdir -p "$tree/lab"
  cp "$LAB_SOURCE"/guest/* "$tree/lab/"
  mv "$tree/lab/initramfs" "$tree/init"
  chmod +x "$tree/init" "$tree"/lab/*
  { cat "$BUILT/initramfs.gz"; (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1); } > "$I/initramfs.gz"
  rm -r "$tree"
}

lab_enter() {
  [ -f "$I/env" ] || die "no lab is open as instance $INSTANCE (tests/lab/node up)"
  # shellcheck disable=SC1091
  . "$I/env"
}

# What nodes get from outside: unsplit, and DRBD 9's modules if the caller has them. A tar on a disk of its own: no copying.
lab_tools() {
  local tools=$I/tools
  mkdir -p "$tools/bin"
  if [ -n "${UNSPLIT:-}" ]; then
    cp "$UNSPLIT" "$tools/bin/unsplit"
    strip "$tools/bin/unsplit" 2>/dev/null || true
  fi
  if [ -n "${UNSPLIT_LAB_DRBD9:-}" ]; then
    mkdir "$tools/drbd9"
    cp "$UNSPLIT_LAB_DRBD9"/*.ko "$tools/drbd9/"
  fi
  tar -C "$tools" -cf "$I/tools.tar" .
}

# ours PIDFILE WORD: the process of that file, if it still is the one that we started (its command line holds WORD).
ours() {
  local pid
  [ -s "$1" ] && pid=$(cat "$1") && [ -r "/proc/$pid/cmdline" ] || return 1
  # No pipe into `grep -q`: it stops at the first match, and whoever still writes to it then fails the pipe.
  [[ $(tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null) == *"$2"* ]]
}

node_runs() { ours "$I/node$1.pid" "$I/"; }

# Everything this instance started, ended by its process id. BMCs first: they would start nodes again.
lab_close() {
  local file n
  [ -f "$I/env" ] || return 0
  # shellcheck disable=SC1091
  . "$I/env"
  touch "$I/closing"
  for file in "$I"/bmc?.pid; do
    if ours "$file" "$I/"; then kill "$(cat "$file")" 2>/dev/null || true; fi
    rm -f "$file"
  done
  for n in 1 2 3; do
    # Once at once, which ends whoever waits for it to come up; and again when nobody else switches it any more.
    node_cut "$n" || true
    (flock -w 30 7 || true; node_cut "$n") 7> "$I/node$n.lock"
  done
  rm -rf "$SOCKETS" "$I/env"
}

# QEMU's human monitor: commands on standard input, answers on standard output.
monitor() { timeout 20 socat -t 5 - "UNIX-CONNECT:$SOCKETS/monitor$1" | tr -d '\r'; }

# disk NAME SIZE: makes an empty disk; node_on attaches those that are listed in disks/N.
disk() { [ -f "$I/disks/$1.img" ] || truncate -s "$2" "$I/disks/$1.img"; }

default_disks() {
  local n=$1 v
  [ -f "$I/disks/$n" ] && return
  for v in 0 1; do disk "n${n}v$v" "${DISK:-32M}"; done
  disk "n${n}pool" 512M
  printf '%s\n' "n${n}v0" "n${n}v1" "n${n}pool" > "$I/disks/$n"
}

# The other end of a link has the same two ports, the other way round. UDP: neither needs the other to be there.
link_ports() {
  local pair
  case $1$2 in 12 | 21) pair=10 ;; 13 | 31) pair=12 ;; 23 | 32) pair=14 ;; esac
  if [ "$1" -lt "$2" ]; then echo $((BASE + pair)) $((BASE + pair + 1)); else echo $((BASE + pair + 1)) $((BASE + pair)); fi
}

# node_on N: switches a node on and waits until it can be spoken to.
node_on() {
  (flock -w 120 7 || die "node $1: somebody else is switching it"; node_start "$1") 7> "$I/node$1.lock"
}

node_start() {
  local n=$1 other name here there arguments=(-accel "tcg,thread=multi" -cpu max) began=$SECONDS
  [ "$ACCEL" != kvm ] || arguments=(-accel kvm -cpu host)
  [ ! -e "$I/closing" ] || die "this lab is being closed"
  node_runs "$n" && return
  default_disks "$n"
  [ -f "$I/root$n.qcow2" ] || qemu-img create -q -f qcow2 -b "$BUILT/root.img" -F raw "$I/root$n.qcow2"
  while read -r name; do
    arguments+=(-drive "file=$I/disks/$name.img,if=none,id=d_$name,format=raw,cache=writeback"
      -device "virtio-blk-pci,drive=d_$name,id=p_$name,serial=$name")
  done < "$I/disks/$n"
  for ((other = 1; other <= NODES; other++)); do
    [ "$other" != "$n" ] || continue
    read -r here there <<< "$(link_ports "$n" "$other")"
    arguments+=(-netdev "socket,id=link$other,udp=127.0.0.1:$there,localaddr=127.0.0.1:$here"
      -device "virtio-net-pci,netdev=link$other,id=card$other,mac=52:54:00:01:0$n:0$other")
  done
  [ ! -f "$I/console$n.log" ] || mv "$I/console$n.log" "$I/console$n.$(date +%s%N).log"
  # The root disk keeps its flushes: a power cut (SIGKILL) then loses what was not flushed to it, as on a real disk. The data disks
  # are raw: what reached them stays. no_timer_check: on a busy machine the kernel counts too few ticks, and panics ("IO-APIC + timer
  # doesn't work").
  # shellcheck disable=SC2094
  setsid nice -n 10 qemu-system-x86_64 -name "lab-node$n" -m "${MEMORY:-1024}" -smp 1 -display none \
    -no-reboot -serial "file:$I/console$n.log" -monitor "unix:$SOCKETS/monitor$n,server=on,wait=off" \
    -kernel "$BUILT/vmlinux" -initrd "$I/initramfs.gz" \
    -append "console=ttyS0 panic=-1 net.ifnames=0 mitigations=off no_timer_check node=$n nodes=$NODES base=$BASE" \
    -drive "file=$I/root$n.qcow2,if=none,id=root,format=qcow2,cache=writeback" -device virtio-blk-pci,drive=root,serial=root \
    -drive "file=$I/tools.tar,if=none,id=tools,format=raw,readonly=on" -device virtio-blk-pci,drive=tools,serial=tools \
    -device virtio-rng-pci \
    -netdev "user,id=outside,hostfwd=tcp:127.0.0.1:$((BASE + n))-:22" -device "virtio-net-pci,netdev=outside,mac=52:54:00:00:00:0$n" \
    "${arguments[@]}" > "$I/qemu$n.log" 2>&1 < /dev/null 7>&- 8>&- &
  echo $! > "$I/node$n.pid"
  # Until QEMU has replaced the shell, the process is not yet known as ours.
  until_true 10 "QEMU of node $n to start ($I/qemu$n.log)" node_runs "$n"
  until_true "${BOOT_LIMIT:-300}" "node $n to come up (console: $I/console$n.log, QEMU: $I/qemu$n.log)" node_answers "$n"
  say "node $n is up, $((SECONDS - began)) s"
}

node_answers() {
  # While it replaces the program that started it, a process has no command line for a moment.
  node_runs "$1" || { sleep 1; node_runs "$1"; } || die "QEMU of node $1 ended: $(tail -3 "$I/qemu$1.log")"
  grep -q LABREADY "$I/console$1.log" 2>/dev/null || return 1
  # One connection for all commands: a handshake under emulation takes a second.
  timeout 30 ssh -q -f -N -M "${SSH[@]}" -S "$SOCKETS/ssh$1" -p "$((BASE + $1))" root@127.0.0.1 \
    > /dev/null 2>&1 < /dev/null 7>&- 8>&-
}

# The key exchange: see guest/init.
SSH=(-o KexAlgorithms=curve25519-sha256 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=6 -i "$BUILT/id")

# nodes_on N...: several at once.
nodes_on() {
  local n jobs=() job failed=0
  for n; do
    node_on "$n" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  return "$failed"
}

# node_cut N: cuts the power, at once, wherever it is.
node_cut() {
  if node_runs "$1"; then kill -KILL "$(cat "$I/node$1.pid")" 2>/dev/null || true; fi
  if [ -S "$SOCKETS/ssh$1" ]; then
    ssh -q -S "$SOCKETS/ssh$1" -O exit root@127.0.0.1 2>/dev/null || true
    rm -f "$SOCKETS/ssh$1"
  fi
  until_true 20 "QEMU of node $1 to end" node_is_off "$1"
}
node_is_off() { ! node_runs "$1"; }

# on N COMMAND...: runs a command on a node, for at most $LIMIT seconds (default 120); standard input goes along if it is not a terminal.
on() {
  local n=$1
  shift
  timeout -k 5 "${LIMIT:-120}" ssh -q "${SSH[@]}" -S "$SOCKETS/ssh$n" -p "$((BASE + n))" root@127.0.0.1 "$@"
}

# all COMMAND...: the same on every node, at the same time; fails if one fails. `both` leaves a third node out.
all() { together "$NODES" "$@"; }
both() { together 2 "$@"; }
together() {
  local last=$1 n jobs=() job failed=0
  shift
  for ((n = 1; n <= last; n++)); do
    on "$n" "$@" < /dev/null &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  return "$failed"
}

# move_disk NAME FROM TO: pulls a disk out of one node and puts it into another, running or not.
move_disk() {
  local name=$1 from=$2 to=$3
  default_disks "$from"
  default_disks "$to"
  grep -qx "$name" "$I/disks/$from" || die "node $from has no disk $name"
  if node_runs "$from"; then
    echo "device_del p_$name" | monitor "$from" > /dev/null
    until_true 120 "node $from to let go of disk $name" disk_gone "$from" "$name"
  fi
  grep -vx "$name" "$I/disks/$from" > "$I/disks/$from.new" || true
  mv "$I/disks/$from.new" "$I/disks/$from"
  echo "$name" >> "$I/disks/$to"
  if node_runs "$to"; then
    monitor "$to" > "$I/plug.log" << PLUG
drive_add 0 file=$I/disks/$name.img,if=none,id=d_$name,format=raw,cache=writeback
device_add virtio-blk-pci,drive=d_$name,id=p_$name,serial=$name
PLUG
    until_true 120 "disk $name to appear on node $to ($I/plug.log)" on "$to" "test -e /dev/disk/by-id/virtio-$name"
  fi
}
disk_gone() { ! grep -q "^d_$2" <<< "$(echo "info block" | monitor "$1")"; }
