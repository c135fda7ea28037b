# shellcheck shell=bash disable=SC2034,SC2153
# What: running resources are healed: each node as survivor, writing all the time or Secondary, from either node; salvage, policies, status, and undo, which refuses newer data
# DRBD: 8.4 9
# Needs: unsplit
# Limit: 1500

PARTS="here-1 there-1 here-2 there-2 written-since"

scenario() {
  local name SECTIONS=""
  compact
  nodes_on 1 2
  for name in ${UNSPLIT_LAB_PARTS:-$PARTS}; do
    begin_part "$name"
    case $name in
      here-1) healing_of_one 1 1 Primary ;;
      there-1) healing_of_one 2 1 Secondary ;;
      here-2) healing_of_one 2 2 Secondary ;;
      there-2) healing_of_one 1 2 Primary ;;
      written-since) written_since ;;
      *) die "there is no part $name" ;;
    esac
  done
}

# healing_of_one AT KEEP ROLE: unsplit runs on node AT and keeps node KEEP, which has that role all the time.
healing_of_one() {
  local at=$1 keep=$2 role=$3 lose mine theirs written=""
  lose=$(other "$keep")
  mine=$(whose "$keep") theirs=$(whose "$lose")
  if [ "$keep" = 1 ]; then diverged "$role" Primary; else diverged Primary "$role"; fi
  for n in 1 2; do drbd_edit "$n" "s/after-sb-0pri disconnect/after-sb-0pri discard-least-changes/"; done
  unsplit_on "$at" 1 status r0 --peer "ssh:mgmt$(other "$at")"
  if [ "$role" = Primary ]; then busy "$keep"; written=$W; fi
  unsplit_on "$at" 1 diff r0 --peer "ssh:mgmt$(other "$at")"
  unsplit_on "$at" 1 plan r0 --peer "ssh:mgmt$(other "$at")" --keep "node$keep"
  heal_live "$at" "$keep" 0
  said "Healed"
  said "unsplit undo"
  if [ "$role" = Primary ]; then
    becomes "$keep" "Primary Connected Secondary.*" 10
    rest "$keep"
    on "$keep" "drbdadm secondary r0" < /dev/null
  fi
  healthy "$at"
  policies_are discard-least-changes
  # shellcheck disable=SC2086
  both_hold "$COMMON" "$mine" $written
  unsplit_on "$at" 0 salvage verify
  salvage_of "$at" "$keep" "$COMMON" "$theirs"
  if [ "$role" = Primary ]; then
    say "the survivor went on writing: an undo refuses"
    unsplit_on "$at" 4 undo
    said "cannot be undone as a whole"
    said "unsplit salvage show"
    # shellcheck disable=SC2086
    both_hold "$COMMON" "$mine" $written
    return
  fi
  unsplit_on "$at" 0 undo
  healthy "$at"
  both_hold "$COMMON" "$theirs"
  unsplit_on "$at" 0 salvage verify
}

# An undo of a Primary survivor's healing, where nothing was written; and one refused after a write on either node.
written_since() {
  diverged Primary Primary
  heal_live 1 1 0
  unsplit_on 1 0 undo
  healthy 1
  both_hold "$COMMON" "$B"
  stand_alone
  begin_part "written-since, on the other node"
  diverged Primary Primary
  heal_live 1 1 0
  on 1 "drbdadm secondary r0" < /dev/null
  on 2 "drbdadm primary r0" < /dev/null
  writes 2 0 later 200-201
  unsplit_on 1 4 undo
  # Replication counts it on both nodes; the first one that shows it is named.
  said "written to volume 0 on node[12] since"
  both_hold "$COMMON" "$A" later:200-201
}
