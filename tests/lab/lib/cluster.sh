# shellcheck shell=bash disable=SC2153
# corosync and Pacemaker on nodes 1 and 2, fencing through their BMCs (bmc_on before).

cluster_start() {
  local n
  for n in 1 2; do
    on "$n" "cat > /etc/corosync/corosync.conf" << CONF
totem {
  version: 2
  cluster_name: lab
  transport: knet
  crypto_cipher: none
  crypto_hash: none
  token: 5000
}
nodelist {
  node {
    ring0_addr: 10.9.0.1
    nodeid: 1
    name: node1
  }
  node {
    ring0_addr: 10.9.0.2
    nodeid: 2
    name: node2
  }
}
quorum {
  provider: corosync_votequorum
  two_node: 1
}
logging {
  to_logfile: yes
  logfile: /var/log/corosync/corosync.log
}
CONF
  done
  both cluster-start
  until_true 300 "both nodes to be online in Pacemaker" both_online
}
both_online() { grep -q 'Online: \[ node1 node2 \]' <<< "$(on 1 "crm_mon -1" < /dev/null 2> /dev/null)"; }

# cluster_fencing: each node's BMC as a fence device; node 1 has 15 s of advantage, so that a cut link does not end both.
cluster_fencing() {
  local n delay=("" pcmk_delay_base=15 "")
  {
    echo "property stonith-timeout=240 stonith-enabled=true stonith-action=off no-quorum-policy=ignore"
    for n in 1 2; do
      echo "primitive fence$n stonith:fence_ipmilan params ip=10.0.2.2 ipport=$((BASE + 4 + n)) username=$BMC_USER" \
        "password=$BMC_PASSWORD lanplus=1 cipher=3 pcmk_host_list=node$n ${delay[n]} op start timeout=180 interval=0"
      echo "location not-own$n fence$n -inf: node$n"
    done
    echo commit
  } | on 1 "crm configure"
  until_true 300 "both fence devices to be started" devices_started
}
devices_started() { [ "$(on 1 "crm_mon -1r" < /dev/null 2> /dev/null | grep -c 'fence_ipmilan.*Started')" = 2 ]; }
