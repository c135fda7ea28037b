# shellcheck shell=bash disable=SC2034,SC2153
# Opening salvages on a node, as a person would: by what the screen says, typed as it stands there.

# qemu_tools N: qemu-img and qemu-nbd on that node, with the libraries they need (this host's, which is of the same release).
qemu_tools() {
  local n=$1 tools=$I/qemutools tool
  if [ ! -d "$tools" ]; then
    mkdir -p "$tools/lib"
    for tool in qemu-img qemu-nbd; do
      cp "$(command -v "$tool")" "$tools/"
      ldd "$tools/$tool" | awk '/=> \//{print $3}' | grep -vE '/(libc|libm|ld-linux.*)\.so' | xargs -I{} cp -Ln {} "$tools/lib/"
    done
  fi
  tar -C "$tools" -czf - . | on "$n" "mkdir -p /opt/qemu; tar -xzf - -C /opt/qemu; for tool in qemu-img qemu-nbd; do
    printf '#!/bin/sh\nLD_LIBRARY_PATH=/opt/qemu/lib exec /opt/qemu/%s \"\$@\"\n' \$tool > /usr/bin/\$tool; chmod +x /usr/bin/\$tool; done"
}

# salvage_named N: the newest salvage on node N.
salvage_named() { on "$1" "ls -t /var/lib/unsplit/salvage | head -1" < /dev/null; }

# screen_lines REGEX: the lines of the last `unsplit_on` that are commands (indented by two) and match.
screen_lines() { last_words | grep -E "^  [a-z]" | grep -E -- "$1" | sed 's/^  //'; }

# opened_as_shown N NAME: types what `salvage show NAME` says to look at it as an image; the image is then /tmp/opened/*-as-it-was.img.
opened_as_shown() {
  local n=$1 name=$2
  unsplit_on "$n" 0 salvage show "$name"
  screen_lines '^  (cp|qemu-img) ' > "$I/typed"
  grep -q '^qemu-img convert' "$I/typed" || { last_words; complain "the screen does not say how to open $name"; return 1; }
  on "$n" "rm -rf /tmp/opened; mkdir /tmp/opened; cd /tmp/opened; set -e; $(cat "$I/typed")" < /dev/null
}
