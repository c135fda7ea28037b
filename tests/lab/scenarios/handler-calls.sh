# shellcheck shell=bash disable=SC2034
# What: handlers wired in the configuration are called by the kernel, with what environment, and what their exit codes bring about
# Kind: evidence
# DRBD: 8.4 9
# Limit: 1200

ALL_HANDLERS="split-brain initial-split-brain fence-peer unfence-peer before-resync-target after-resync-target pri-lost-after-sb out-of-sync"

called() { on "$1" "grep -sq '^== $2 ' /var/log/handler-environment" < /dev/null; }
forget_calls() { both "rm -f /var/log/handler-environment /run/handler-exit-* /run/handler-sleep-*"; }
calls() {
  local n
  for n in 1 2; do
    note "handlers of node$n:"
    on "$n" "cat /var/log/handler-environment 2> /dev/null | sed 's/^/  /'" < /dev/null >> "$RECORDS/$PART.txt"
  done
}

scenario() {
  nodes_on 1 2
  HANDLER=handler-note
  # shellcheck disable=SC2086
  drbd_handlers $ALL_HANDLERS

  part fence-peer
  FENCING=resource-only
  drbd_anew
  on 1 "drbdadm primary r0"
  both "echo 4 > /run/handler-exit-fence-peer"
  link 1 2 off
  until_true 60 "fence-peer on node 1" called 1 fence-peer
  sleep 3
  states
  live outdated-the-peer
  link 1 2 on
  in_sync
  until_true 30 "unfence-peer on node 1" called 1 unfence-peer || note "unfence-peer was not called without a resync"
  calls
  kernel_lines

  part fence-peer-resync
  forget_calls
  both "echo 4 > /run/handler-exit-fence-peer"
  link 1 2 off
  until_true 60 "fence-peer on node 1" called 1 fence-peer
  writes 1 0 a 100-149
  link 1 2 on
  in_sync
  until_true 30 "before-resync-target on node 2" called 2 before-resync-target
  until_true 30 "after-resync-target on node 2" called 2 after-resync-target
  until_true 30 "unfence-peer on node 1" called 1 unfence-peer || note "unfence-peer was not called"
  calls
  kernel_lines

  part before-resync-target-refuses
  forget_calls
  both "echo 4 > /run/handler-exit-fence-peer; echo 1 > /run/handler-exit-before-resync-target"
  link 1 2 off
  until_true 60 "fence-peer on node 1" called 1 fence-peer
  writes 1 0 a 150-159
  link 1 2 on
  until_true 30 "before-resync-target on node 2" called 2 before-resync-target
  sleep 8
  states
  live refused
  calls
  kernel_lines

  part split-brain
  FENCING=""
  drbd_anew
  forget_calls
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  link 1 2 on
  both_alone 90
  until_true 30 "initial-split-brain on a node" called_somewhere initial-split-brain
  until_true 30 "split-brain on a node" called_somewhere split-brain
  states
  live refused
  calls
  kernel_lines

  part pri-lost-after-sb
  forget_calls
  for n in 1 2; do drbd_edit "$n" "s/after-sb-1pri disconnect/after-sb-1pri call-pri-lost-after-sb/; s/after-sb-0pri disconnect/after-sb-0pri discard-least-changes/"; done
  on 2 "drbdadm secondary r0"
  hold_open 1
  # Node 2 has more changes, so node 1 loses, and cannot step down.
  on 2 "drbdadm primary r0; pattern write /dev/drbd0 b 200-299; drbdadm secondary r0"
  tells 1 drbdadm connect r0
  tells 2 drbdadm connect r0
  # 9.3.3 was seen to hang here instead, see docs/lab.md.
  until_true 30 "pri-lost-after-sb on node 1" called 1 pri-lost-after-sb || [ "$GENERATION" = 9 ]
  sleep 5
  states
  calls
  kernel_lines
  tells 1 "timeout 20 drbdsetup status r0 --verbose"
  let_go 1
  sleep 5
  note "== the device is let go"
  states
  kernel_lines

  part out-of-sync
  drbd_anew
  forget_calls
  down
  on 2 "pattern write /dev/disk/by-id/virtio-n2v0 stranger 500-509"
  both "drbdadm up r0"
  in_sync
  on 1 "drbdadm verify r0"
  until_true 120 "out-of-sync on a node" called_somewhere out-of-sync
  states
  calls
  kernel_lines
}
called_somewhere() { called 1 "$1" || called 2 "$1"; }
