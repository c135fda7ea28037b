# shellcheck shell=bash
# What is kept of a failed scenario.

# evidence FOLDER: from every node that still answers, and from the host. Nothing here may fail or take long.
evidence() {
  local folder=$1 n file
  mkdir -p "$folder"
  for file in "$I"/console*.log "$I"/qemu*.log "$I"/bmc*.log "$I"/*.log "$I"/env "$I"/disks/[123]; do [ ! -f "$file" ] || cp "$file" "$folder/"; done
  for ((n = 1; n <= NODES; n++)); do
    if ! node_runs "$n"; then
      echo "was off" > "$folder/node$n.off"
      continue
    fi
    mkdir -p "$folder/node$n"
    LIMIT=60 on "$n" "gather" < /dev/null 2> "$folder/node$n/gather.errors" | tar -x -C "$folder/node$n" 2> /dev/null ||
      echo "could not be asked" >> "$folder/node$n/gather.errors"
  done
  # The disks as they are: small, sparse, and the best evidence there is.
  mkdir -p "$folder/disks"
  for file in "$I"/disks/*v?.img; do [ ! -f "$file" ] || cp --sparse=always "$file" "$folder/disks/"; done
}
