# shellcheck shell=bash
# A baseboard management controller for each node: ipmi_sim on the host's loopback, which asks lib/bmc-power to switch.

BMC_USER='admin'
BMC_PASSWORD=lab-secret

# bmc_on N: from then on `fence_ipmilan` works against node N, from the host and from the nodes (address 10.0.2.2, same port).
bmc_on() {
  local n=$1
  mkdir -p "$I/bmc$n"
  printf '#!/bin/sh\nexec %q %q %q "$@"\n' "$LAB_SOURCE/lib/bmc-power" "$I" "$n" > "$I/bmc$n/power"
  chmod +x "$I/bmc$n/power"
  cat > "$I/bmc$n/lan.conf" << CONF
name "node$n"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 $((BASE + 4 + n))
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcde$n
  endlan
  chassis_control "$I/bmc$n/power"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "$BMC_USER" "$BMC_PASSWORD" admin 10 none md2 md5 straight
CONF
  printf '%s\n' 'mc_setbmc 0x20' 'mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr' 'sel_enable 0x20 1000 0x0a' \
    'mc_enable 0x20' > "$I/bmc$n/mc.emu"
  UNSPLIT_LAB=$LAB UNSPLIT_LAB_INSTANCE=$INSTANCE setsid ipmi_sim -c "$I/bmc$n/lan.conf" -f "$I/bmc$n/mc.emu" -s "$I/bmc$n" -n \
    > "$I/bmc$n.log" 2>&1 < /dev/null 7>&- 8>&- &
  echo $! > "$I/bmc$n.pid"
  until_true 20 "the BMC of node $n to answer ($I/bmc$n.log)" bmc_answers "$n"
}
bmc_answers() { fence "$1" status > /dev/null 2>&1; case $? in 0 | 2) return 0 ;; esac; return 1; }

# bmc_off N: the BMC loses its power, too: it no longer answers.
bmc_off() {
  if ours "$I/bmc$1.pid" "$I/"; then kill "$(cat "$I/bmc$1.pid")"; fi
  rm -f "$I/bmc$1.pid"
}

# fence N on|off|status: through the real agent. `status`: 0 is on, 2 is off. Everything on standard input: no secret in argv.
# Without a cipher the agent first waits 14 s for a list that ipmi_sim does not give.
fence() {
  printf '%s\n' "action=$2" "ip=127.0.0.1" "ipport=$((BASE + 4 + $1))" "username=$BMC_USER" "password=$BMC_PASSWORD" lanplus=1 cipher=3 |
    PYTHONWARNINGS=ignore timeout 60 fence_ipmilan
}
