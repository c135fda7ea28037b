# shellcheck shell=bash
# What: the link is cut, both sides write as Primary; when it is back, the kernel says split brain and stands alone on both
# DRBD: 8.4 9
# Limit: 900

scenario() {
  nodes_on 1 2
  make_split_brain
  holds 1 /dev/drbd0 "$COUNT" "$COMMON" "$A"
  holds 2 /dev/drbd0 "$COUNT" "$COMMON" "$B"
  state 1
  state 2
  rm -rf "$LAB/evidence/split-brain-$GENERATION"
  evidence "$LAB/evidence/split-brain-$GENERATION"
  grep -q 'Split-Brain detected' "$LAB/evidence/split-brain-$GENERATION/node1/kernel-log"
}
