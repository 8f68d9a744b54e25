#!/bin/busybox sh
# The machine whose power goes. Its root is in memory; only the store is on a disk. What a command has answered is told
# on the second serial line; the first has the kernel's messages.
export PATH=/bin
/bin/busybox --install -s /bin
if [ "$1" != again ]; then
    mkdir -p /proc /dev /root
    mount -t proc proc /proc
    mount -t devtmpfs dev /dev
    for module in /modules/*.ko; do insmod "$module"; done
    # pivot_root(2) leaves no initramfs, so a container needs another root than that.
    mount -t tmpfs root /root
    cp -a /bin /work /init /root
    # Of programs that are no static ones.
    for place in /lib /lib64 /usr; do [ ! -d $place ] || cp -a $place /root; done
    mkdir /root/proc /root/dev /root/sys /root/tmp /root/disk /root/etc /root/run
    echo root:x:0:0::/:/bin/sh > /root/etc/passwd
    echo root:x:0: > /root/etc/group
    exec switch_root /root /init again
fi
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t ext4 /dev/vda /disk
export EBB_ROOT=/disk/store
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
# What nobody forces to the disk is written to it all the same, at once, and not flushed: so there is much to lose.
echo 1 > /proc/sys/vm/dirty_writeback_centisecs
echo 1 > /proc/sys/vm/dirty_expire_centisecs
echo 1 > /proc/sys/vm/dirty_background_bytes

# tell LINE: goes on when it has been heard.
tell() {
    echo "$1" >&3
    read -r _ <&3
}

# each N COMMAND: so many times in turn, $i being the number; tells which were answered.
each() {
    i=1
    while [ $i -le "$1" ]; do
        if eval "$2" >/tmp/out 2>&1; then tell "answered $i"; else tell "failed $i: $(tr '\n' ' ' </tmp/out)"; fi
        i=$((i + 1))
    done
}

tell ready
. "/work/$(sed 's/.*scenario=\([a-z-]*\).*/\1/' /proc/cmdline)"
echo done >&3
while :; do sleep 1000; done
