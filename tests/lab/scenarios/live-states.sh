# shellcheck shell=bash disable=SC2034
# What: every state that unsplit must tell apart on live nodes, brought about and captured: what the kernels say of it
# Kind: evidence
# DRBD: 8.4 9
# Limit: 2400

# UNSPLIT_LAB_PARTS: only these (default: all).
PARTS="day-zero in-sync primary-alone resync paused resync-cut diskless outdated verify-found-some split-both-primary split-one-primary
  split-no-primary"

scenario() {
  local name
  nodes_on 1 2
  for name in ${UNSPLIT_LAB_PARTS:-$PARTS}; do
    part "$name"
    "state_${name//-/_}"
    states
    kernel_lines
  done
}

state_day_zero() {
  for n in 1 2; do on "$n" "[ ! -e /etc/drbd.d/r0.res ] || drbdadm down r0" < /dev/null; done
  drbd_configure
  drbd_create
  becomes 1 "Secondary Connected Secondary Inconsistent/Inconsistent/Established .*" 60
  live now
}

state_in_sync() {
  drbd_anew
  live both-secondary
  on 1 "drbdadm primary r0"
  live one-primary
}

# Not a split brain: node 2 only missed something.
state_primary_alone() {
  drbd_anew
  on 1 "drbdadm primary r0"
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  live before-a-write
  writes 1 0 alone 100-149
  live after-a-write
}

# begin_resync: node 2 becomes SyncTarget of something that takes long.
begin_resync() {
  drbd_anew
  resync_rate 1 100k
  resync_rate 2 100k
  on 1 "drbdadm primary r0"
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  writes 1 0 alone 1000-3999
  link 1 2 on
  becomes 2 "Secondary Connected Primary Inconsistent/UpToDate/SyncTarget .*" 60
}

state_resync() {
  begin_resync
  live now
}

state_paused() {
  begin_resync
  on 2 "drbdadm pause-sync r0"
  becomes 2 ".*/PausedSyncT .*" 30
  live now
}

state_resync_cut() {
  begin_resync
  link 1 2 off
  for n in 1 2; do becomes "$n" "[A-Za-z]+ Connecting .*" 60; done
  live now
}

state_diskless() {
  drbd_anew
  on 2 "drbdadm detach r0"
  becomes 2 "Secondary Connected Secondary Diskless/UpToDate/.*" 30
  live now
}

state_outdated() {
  drbd_anew
  both "drbdadm disconnect r0"
  tells 2 drbdsetup outdate 0
  # 9 refuses where no peer is known to have newer data.
  [ "$GENERATION" = 9 ] || insist "it is not outdated" [ "$STATUS" = 0 ]
  live now
}

# UUIDs are equal, contents are not: somebody wrote past DRBD.
state_verify_found_some() {
  drbd_anew
  down
  on 2 "pattern write /dev/disk/by-id/virtio-n2v0 stranger 500-509"
  both "drbdadm up r0"
  in_sync
  live before-the-verify
  on 1 "drbdadm verify r0"
  becomes 1 ".*/Established out-of-sync:40" 120
  live after-the-verify
}

# split_with N...: a split brain, refused, with these Primary.
split_with() {
  local n
  drbd_anew
  split
  writes 1 0 a 100-149
  writes 2 0 b 140-189
  for n in 1 2; do
    case " $* " in *" $n "*) ;; *) on "$n" "drbdadm secondary r0" < /dev/null ;; esac
  done
  live before-the-link-is-back
  link 1 2 on
  both_alone 90
  live refused
}
state_split_both_primary() { split_with 1 2; }
state_split_one_primary() { split_with 1; }
state_split_no_primary() { split_with; }
