# shellcheck shell=bash disable=SC2034,SC2153
# What: many small resources on two nodes: status --all of all of them, timed; three of them split, one held by the policy, one that the peer lacks: diff, plan and resolve --all
# DRBD: 8.4 9
# Needs: unsplit
# Kind: long
# Limit: 2700

# How many there are; `UNSPLIT_LAB_MANY=100 UNSPLIT_LAB_MEASURE=1` for a measurement of the first part alone.
MANY=${UNSPLIT_LAB_MANY:-6}

# many_configure: resources m0 to m$MANY-1 on loop devices, 4 MiB each, sparse; `only`, which node 1 alone knows.
many_configure() {
  local n i text=""
  for ((i = 0; i < MANY; i++)); do text+=$(many_resource "m$i" "$i" $((7800 + i)))$'\n'; done
  for n in 1 2; do
    printf 'global { usage-count no; minor-count %s; }\n' $((MANY + 8)) | on "$n" "cat > /etc/drbd.d/global_common.conf"
    on "$n" "rm -f /etc/drbd.d/*.res; cat > /etc/drbd.d/many.res; sync; load-drbd $GENERATION" <<< "$text"
    on "$n" "modprobe loop; mkdir -p /var/many; truncate -s 4M /var/many/0.img" < /dev/null
    looped "$n" 0 0
  done
  many_resource only "$MANY" $((7800 + MANY)) | on 1 "cat > /etc/drbd.d/only.res; sync"
}

# looped N FIRST LAST: loop devices over these files.
looped() { on "$1" "for i in \$(seq $2 $3); do [ -e /dev/loop\$i ] || mknod /dev/loop\$i b 7 \$i; losetup /dev/loop\$i /var/many/\$i.img; done" < /dev/null; }

# brought_up N FIRST LAST: on a starved node drbdadm gives a command up after 5 s, and half of it is done.
brought_up() {
  on "$1" "for i in \$(seq $2 $3); do
    for try in 1 2 3 4 5 6; do drbdadm adjust m\$i > /tmp/adjust 2>&1 && break; sleep 1; [ \$try != 6 ] || { cat /tmp/adjust; exit 1; }; done; done" < /dev/null
}

# many_up: one resource is made and synced; its disk is copied for all others, so that they begin equal.
many_up() {
  local n
  for n in 1 2; do
    on "$n" "drbdadm create-md --force m0 > /tmp/create-md 2>&1 || { cat /tmp/create-md; exit 1; }" < /dev/null
    brought_up "$n" 0 0
  done
  until_true 120 "m0 to be connected" connected 1 1
  on 1 "drbdadm new-current-uuid --clear-bitmap m0/0" < /dev/null
  COUNT=$(on 1 "echo \$((\$(cat /sys/block/drbd0/size) / 8))" < /dev/null)
  for n in 1 2; do until_true 60 "m0 to be up to date" on "$n" "drbdadm dstate m0 | grep -q '^UpToDate/UpToDate'"; done
  for n in 1 2; do
    on "$n" "drbdadm down m0; sync; for i in \$(seq 1 $MANY); do cp --sparse=always /var/many/0.img /var/many/\$i.img; done" < /dev/null
    looped "$n" 1 "$MANY"
  done
  for n in 1 2; do brought_up "$n" 0 $((MANY - 1)); done
  on 1 "drbdadm create-md --force only > /tmp/create-md 2>&1; drbdadm adjust only || drbdadm adjust only" < /dev/null
  until_true 300 "all resources to be connected" connected 1 "$MANY"
}

# many_resource NAME MINOR PORT
many_resource() {
  local n text
  text="resource $1 { net { protocol C; allow-two-primaries yes; ping-int 2; timeout 20; connect-int 3; }"
  for n in 1 2; do
    text+=" on node$n { $([ "$GENERATION" = 8.4 ] || echo "node-id $((n - 1));") address ipv4 10.9.0.$n:$3;
      volume 0 { device /dev/drbd$2 minor $2; disk /dev/loop$2; meta-disk internal; } }"
  done
  [ "$GENERATION" = 8.4 ] || text+=" connection-mesh { hosts node1 node2; }"
  echo "$text }"
}

connected() { [ "$(on "$1" "drbdadm cstate all 2> /dev/null | grep -c '^Connected'" < /dev/null)" = "$2" ]; }
stands_alone() { on "$1" "drbdadm cstate $2 2> /dev/null | grep -q '^StandAlone'" < /dev/null; }

# holds_many N MINOR WHO:BLOCKS...: what node N's disk of that resource holds, past DRBD.
holds_many() {
  local n=$1 minor=$2
  shift 2
  on "$n" "sync; blockdev --flushbufs /dev/loop$minor; pattern check /dev/loop$minor $COUNT $*" < /dev/null
}

# timed WORDS: unsplit on node 1, with exit status 0; the seconds it took are noted.
timed() {
  local began ended
  began=$(on 1 "cut -d' ' -f1 /proc/uptime" < /dev/null)
  unsplit_on 1 0 "$@"
  ended=$(on 1 "cut -d' ' -f1 /proc/uptime" < /dev/null)
  say "$MANY resources: unsplit $* took $(echo "$ended - $began" | bc) s"
}

scenario() {
  local i n
  LIMIT=1200
  nodes_on 1 2
  many_configure
  say "creating $MANY resources"
  many_up

  say "status of all"
  # `only` waits for a peer that does not know it.
  unsplit_on 1 1 status --all --peer ssh:mgmt2
  on 1 "drbdadm down only" < /dev/null
  on 1 "mv /etc/drbd.d/only.res /root/" < /dev/null
  for i in 1 2 3; do timed status --all --peer ssh:mgmt2; done
  timed status --all
  timed diff --all --peer ssh:mgmt2
  said "Nothing to do"
  on 1 "mv /root/only.res /etc/drbd.d/; drbdadm adjust only || drbdadm adjust only" < /dev/null
  [ -z "${UNSPLIT_LAB_MEASURE:-}" ] || return 0

  say "three of them split"
  for i in 0 1 2; do
    on 1 "drbdadm primary m$i" < /dev/null
    writes 1 "$i" base 0-99
    on 1 "drbdadm secondary m$i" < /dev/null
  done
  link 1 2 off
  until_true 120 "node 1 to notice" connected 1 0
  until_true 120 "node 2 to notice" connected 2 0
  for i in 0 1 2; do
    both "drbdadm primary m$i"
    writes 1 "$i" a 100-129
    writes 2 "$i" b 120-149
    both "drbdadm secondary m$i"
  done
  link 1 2 on
  for i in 0 1 2; do for n in 1 2; do until_true 120 "m$i to stand alone on node $n" stands_alone "$n" "m$i"; done; done
  until_true 120 "the others to be connected" connected 1 $((MANY - 3))

  say "all of them, with a policy that knows two"
  on 1 "printf '[[resource]]\nmatch = \"m[01]\"\nkeep = \"node1\"\n' > /root/policy.toml" < /dev/null
  unsplit_on 1 1 diff --all --peer ssh:mgmt2
  said "DIFFERENT +m0"
  said "HEALTHY +m3"
  said "ONE NODE ONLY +only +node1 knows it, node2 does not"
  unsplit_on 1 3 plan --all --peer ssh:mgmt2 --policy /root/policy.toml
  said "PLAN DRAWN +m0"
  said "HELD +m2"
  said "unsplit plan m2 --peer ssh:mgmt2 --policy /root/policy.toml --keep node2"
  unsplit_on 1 3 resolve --all --peer ssh:mgmt2 --policy /root/policy.toml
  said "NOT AGREED +m1"
  unsplit_on 1 3 resolve --all --peer ssh:mgmt2 --policy /root/policy.toml --yes
  said "Healed: m0 on node2 now equals node1"
  said "Healed: m1 on node2 now equals node1"
  said "HELD +m2"
  for i in 0 1; do for n in 1 2; do holds_many "$n" "$i" base:0-99 a:100-129; done; done
  holds_many 1 2 base:0-99 a:100-129
  holds_many 2 2 base:0-99 b:120-149

  say "the last one, the other way round, and one that is in use"
  on 1 "drbdadm primary m2; setsid sleep 1000 < /dev/drbd2 > /dev/null 2>&1 & echo \$! > /run/holder; sleep 1" < /dev/null
  unsplit_on 1 5 resolve m2 m1 --peer ssh:mgmt2 --keep node2 --yes
  said "m2 is in use on node1"
  on 1 "kill \$(cat /run/holder); sleep 1; drbdadm secondary m2" < /dev/null
  unsplit_on 1 0 resolve --all --peer ssh:mgmt2 --keep node2 --yes
  for n in 1 2; do holds_many "$n" 2 base:0-99 b:120-149; done
  unsplit_on 1 0 resolve --all --peer ssh:mgmt2 --yes
  said "Nothing to do"
  timed status m2 --peer ssh:mgmt2
}
