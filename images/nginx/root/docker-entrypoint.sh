#!/bin/sh
# Whoever builds on this image can put scripts into /docker-entrypoint.d; they run before nginx does, in order of name.
set -e
if [ "$1" = nginx ]; then
    for script in /docker-entrypoint.d/*.sh; do
        if [ -x "$script" ]; then
            "$script"
        fi
    done
fi
# The same process becomes the command, so that process 1 is nginx and gets the container's signals.
exec "$@"
