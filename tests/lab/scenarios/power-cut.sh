# shellcheck shell=bash
# What: the node that runs unsplit loses its power after each record of the journal; the next run ends the healing
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1500

# UNSPLIT_LAB_RECORDS: only these positions, like "1 5 9" (default: all).
scenario() {
  local record=0 plan status disk
  nodes_on 1 2
  make_split_brain
  both "drbdadm secondary r0"
  down
  bring_together
  say "node 2 has nothing to do until the end"
  on 2 "sync"
  node_cut 2
  on 1 "blockdev --flushbufs $SIDE_A; blockdev --flushbufs $SIDE_B; sync"
  for disk in n1v0 n2v0; do cp --sparse=always "$I/disks/$disk.img" "$I/before-$disk.img"; done
  while :; do
    record=$((record + 1))
    if [ "$record" -gt 60 ]; then break; fi
    case " ${UNSPLIT_LAB_RECORDS:-$record} " in *" $record "*) ;; *) continue ;; esac
    # Nobody has the disks open; QEMU and this see the same bytes, and the node forgets what it had read.
    for disk in n1v0 n2v0; do dd if="$I/before-$disk.img" of="$I/disks/$disk.img" bs=1M conv=notrunc status=none; done
    on 1 "rm -rf /var/lib/unsplit; sync; blockdev --flushbufs $SIDE_A; blockdev --flushbufs $SIDE_B"
    unsplit_on 1 1 plan "$SIDE_A" "$SIDE_B" --keep a
    plan=$(on 1 "ls /var/lib/unsplit/plans" < /dev/null)
    plan=${plan%.json}
    status=0
    cut_at_record 1 "$record" "unsplit resolve --plan $plan" || status=$?
    if [ "$status" = 3 ]; then
      grep -q '^ENDED 0$' "$I/cut.log" || { cat "$I/cut.log"; die "unsplit failed"; }
      say "the journal has $((record - 1)) records"
      [ "$record" -gt 5 ] || die "so few? the cuts came to nothing"
      break
    fi
    [ "$status" = 0 ] || die "the cut after record $record failed"
    node_on 1
    on 1 "cat /var/lib/unsplit/journal" < /dev/null > "$I/journal.log"
    [ "$(wc -l < "$I/journal.log")" = "$record" ] || die "the journal has not $record lines: $I/journal.log"
    holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$A"
    on 1 "pattern either $SIDE_B $COUNT $COMMON $A -- $COMMON $B" < /dev/null
    unsplit_on 1 0 resolve --plan "$plan"
    say "cut after record $record: resumed"
    holds 1 "$SIDE_A" "$COUNT" "$COMMON" "$A"
    holds 1 "$SIDE_B" "$COUNT" "$COMMON" "$A"
    unsplit_on 1 0 salvage verify
    salvage_holds /var/lib/unsplit n1v0 "$COMMON" "$B"
  done
  node_on 2
  for n in 1 2; do drbd_again "$n"; done
  bring_back
  connected_without_resync
}
