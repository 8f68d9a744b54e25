# How the image `busybox` is made: from the programs of the system that this runs on, so it works without a network.
#
# ROOT  becomes the root directory of every container of this image.
#
# `host DIR PROGRAM…` asks Ebb to copy these programs of the host, with the shared libraries that they need, into DIR.
# Where a busybox is copied, each of its commands becomes a link to it (the list stands in the program itself).
# `step TEXT` and `warn TEXT` tell the user. What else the language has is in images/nginx/recipe.sh.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)

for dir in bin dev etc home proc root run sys tmp usr/bin usr/sbin var/tmp var/log; do
    mkdir -p "$ROOT/$dir"
done
# Each container's own are mounted here. Were there no places, every container would write these three into its layer.
touch "$ROOT/etc/hosts" "$ROOT/etc/hostname" "$ROOT/etc/resolv.conf"
chmod 1777 "$ROOT/tmp" "$ROOT/var/tmp"
chmod 700 "$ROOT/root"
ln -s /run "$ROOT/var/run"
# Scripts begin with #!/usr/bin/env, wherever the command itself is.
ln -s /bin/env "$ROOT/usr/bin/env"
cp -R "$here/root/." "$ROOT"

# A program that only root may execute can still be copied, so this looks for what can be read.
find_program() {
    for dir in $(echo "$PATH" | tr ':' ' '); do
        if [ -f "$dir/$1" ] && [ -r "$dir/$1" ]; then
            echo "$dir/$1"
            return
        fi
    done
}

echo "step copying this system's own programs"
if [ -n "$(find_program busybox)" ]; then
    echo "host bin busybox"
else
    echo "warn this system has no busybox: the image holds its shell and tools instead"
    echo "host bin sh ls cat cp mv rm mkdir rmdir ln chmod chown touch echo printf env id whoami stat head tail wc sort uniq"
    echo "host bin tr cut tee date sleep sync test [ true false uname seq dd df du basename dirname readlink nproc mktemp"
    echo "host bin yes od expr mknod mkfifo realpath timeout nice tty md5sum sha256sum grep sed awk find xargs ps kill pgrep"
    echo "host bin hostname mount umount tar gzip ip unshare nsenter strings vi less more clear"
fi
