# shellcheck shell=bash
# What can go wrong between nodes. nodeX names the replication link's address, mgmtX the management network's (through the host).

# link A B off|on: pulls or plugs the cable between two nodes; both see the carrier go.
link() {
  local end
  for end in "$1 $2" "$2 $1"; do
    # shellcheck disable=SC2086
    set -- $end "$3"
    if node_runs "$1"; then echo "set_link card$2 $3" | monitor "$1" > /dev/null; fi
  done
}

# link_shape A B TC-WORDS...: delays or limits what A sends to B, as tc-netem has it: `delay 20ms rate 10mbit loss 1%`; none: as it was.
link_shape() {
  local from=$1 to=$2
  shift 2
  if [ $# -gt 0 ]; then on "$from" "tc qdisc replace dev link$to root netem $*"; else on "$from" "tc qdisc del dev link$to root"; fi
}

# mgmt A B off|on: the management network from A to B swallows everything, so that an ssh session there hangs; or works again.
mgmt() {
  local rule="ip daddr 10.0.2.2 tcp dport $((BASE + $2)) drop"
  case $3 in
    off) on "$1" "nft add table ip lab; nft add chain ip lab out '{ type filter hook output priority 0; }'; nft add rule ip lab out $rule" ;;
    on) on "$1" "nft flush chain ip lab out" ;;
  esac
}

# ssh_dies A B: ends the ssh connections from A to B in the middle, as a crashed sshd does.
ssh_dies() { on "$1" "ss -K dst 10.0.2.2 dport = $((BASE + $2)); ss -K dst 10.9.0.$2 dport = 22" > /dev/null; }
