# shellcheck shell=bash disable=SC2034
# What: the device grows between split and healing, or between plan and healing: healed where both have the same size, refused with the command where not; nothing is lost; a plan from before is stale
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 3000

scenario() {
  compact
  nodes_on 1 2
  # shellcheck disable=SC2086
  play_parts grown ${UNSPLIT_LAB_PARTS:-backing_only both survivor_only victim_only between_plan_and_run}
}

# grow N SIZE: the disk under node N's volume 0.
grow() {
  truncate -s "$2" "$I/disks/n${1}v0.img"
  echo "block_resize d_n${1}v0 $2" | monitor "$1" > /dev/null
  sleep 1
}

# resize N: as the screen says.
resize() { on "$1" "drbdadm -- --assume-peer-has-space resize r0/0" < /dev/null; }

begun() {
  local n
  all "[ ! -e /etc/drbd.d/r0.res ] || drbdadm down r0"
  for n in 1 2; do
    echo "block_resize d_n${n}v0 32M" | monitor "$n" > /dev/null
    truncate -s 32M "$I/disks/n${n}v0.img"
  done
  sleep 1
  begin_part "$1"
  diverged Secondary Secondary
}

# heals_or_names STATUS...: `resolve` ends with one of these; either both are healed and can be undone, or each still has its own.
heals_or_names() {
  local status=0
  on 1 "unsplit status r0 --peer ssh:mgmt2" < /dev/null || true
  on 1 "unsplit resolve r0 --peer ssh:mgmt2 --keep node1 --yes" < /dev/null > "$I/resolved" 2>&1 || status=$?
  cat "$I/resolved"
  case " $* " in *" $status "*) ;; *) die "resolve ended with $status instead of $*" ;; esac
  COUNT=8000
  if [ "$status" = 0 ]; then
    in_sync
    both_hold "$COMMON" "$A"
    unsplit_on 1 0 salvage verify
    unsplit_on 1 0 undo
    in_sync
    both_hold "$COMMON" "$B"
  else
    grep -q 'drbdadm' "$I/resolved" || die "no command of drbdadm is named"
    disk_holds 2 "$COMMON" "$B"
    disk_holds 1 "$COMMON" "$A"
  fi
}

# as_named N: node N's DRBD is told as the last `resolve` named it; then both have the same size, and it heals.
as_named() {
  local command
  command=$(grep -oE 'drbdadm -- [^`]*' "$I/resolved" | head -1)
  [ -n "$command" ] || die "the screen names no resize"
  on "$1" "$command" < /dev/null
  heals_or_names 0
}

grown() { "grown_$1"; }
grown_backing_only() { begun "backing devices grew, DRBD not told"; grow 1 48M; grow 2 48M; heals_or_names 0 4; }
grown_both() { begun "both resized"; grow 1 48M; grow 2 48M; resize 1; resize 2; heals_or_names 0; }
grown_survivor_only() { begun "survivor resized only"; grow 1 48M; resize 1; heals_or_names 4; grow 2 48M; as_named 2; }
grown_victim_only() { begun "victim resized only"; grow 2 48M; resize 2; heals_or_names 4; grow 1 48M; as_named 1; }
grown_between_plan_and_run() {
  local plan
  begun "resized between plan and run"
  unsplit_on 1 1 plan r0 --peer ssh:mgmt2 --keep node1
  plan=$(on 1 "ls -t /var/lib/unsplit/plans | head -1 | cut -c1-12" < /dev/null)
  grow 1 48M
  grow 2 48M
  resize 1
  resize 2
  unsplit_on 1 4 resolve --plan "$plan" --yes
  heals_or_names 0
}
