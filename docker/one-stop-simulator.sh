#!/bin/bash
# Plays one day of the simulated one-stop system, then keeps standing, so that what it wrote can be read.
# A day that was begun is not begun again. The simulator's own options come as arguments.
set -euo pipefail

folder=${ONE_STOP_FOLDER:-/var/lib/one-stop}

if [[ ! -e $folder/journal.db ]]; then
    # Its first line says that the tables are there; its last, what was written.
    thongsuot simulate one-stop "$@" > >(tee "$folder/ready") &
    trap 'kill -TERM %1' TERM INT
    wait %1 || exit
    trap - TERM INT
fi
exec sleep infinity
