# shellcheck shell=bash disable=SC2034
# What: the victim's before-resync-target refuses the resync, after DRBD exchanged the bitmaps; once it lets it begin, --resume heals; nobody is accused of writes; the shipped handler with --required and no room
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 2000

scenario() {
  compact
  nodes_on 1 2
  # shellcheck disable=SC2086
  play_parts refused_by ${UNSPLIT_LAB_PARTS:-another_program the_shipped_handler}
}

refused_by() { "refused_by_$1"; }

# both_hold_after_resume: the incident is open and seen; the cause is mended; --resume heals.
healed_by_resume() {
  unsplit_on 1 6 status r0 --peer ssh:mgmt2
  said "unsplit resolve --resume"
  unsaid "wrote to volume"
  unsplit_on 1 0 resolve --resume
  in_sync
  both_hold "$COMMON" "$A"
  salvage_of 1 1 "$COMMON" "$B"
  healthy 1
}

refused_by_another_program() {
  both "printf '#!/bin/sh\n[ \"\$1\" != before-resync-target ] || [ ! -e /run/refuse ] || exit 1\nexit 0\n' > /usr/bin/refuser; chmod +x /usr/bin/refuser"
  HANDLER=/usr/bin/refuser drbd_handlers before-resync-target
  begin_part "handler refuses"
  diverged Secondary Secondary
  on 2 "touch /run/refuse" < /dev/null
  heal_live 1 1 6
  said "before-resync-target"
  unsaid "wrote to volume"
  disk_holds 2 "$COMMON" "$B"
  disk_holds 1 "$COMMON" "$A"
  on 2 "rm /run/refuse" < /dev/null
  healed_by_resume
  SECTIONS=""
}

refused_by_the_shipped_handler() {
  local n
  for n in 1 2; do
    on "$n" "sed '/before-resync-target/!s/handler [a-z-]*/& --deadline 60s/; s/--best-effort\"/--required --max-bytes 4KiB\"/' > /etc/drbd.d/unsplit.res; ln -sf /run/lab/bin/unsplit /usr/bin/unsplit" \
      < "$PROJECT/packaging/drbd.d/unsplit.res"
  done
  SECTIONS=""
  begin_part "the shipped handler with --required, no room on the victim"
  diverged Secondary Secondary
  heal_live 1 1 6
  unsaid "wrote to volume"
  disk_holds 2 "$COMMON" "$B"
  both "sed -i 's/--max-bytes 4KiB//' /etc/drbd.d/unsplit.res"
  healed_by_resume
  both "rm -f /etc/drbd.d/unsplit.res"
}
