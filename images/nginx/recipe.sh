# How the image `nginx` is made: the real nginx, from the packages of the Linux distribution that this runs on. They are
# downloaded and unpacked into a directory; nothing is installed, nothing of them is started, and no root is needed.
#
# `ebb run nginx` and `ebb pull nginx` do this for you. By hand it is
#
#     mkdir -p /tmp/nginx && ROOT=/tmp/nginx/root WORK=/tmp/nginx/work sh images/nginx/recipe.sh
#
# ROOT  becomes the root directory of every container of this image.
# WORK  is thrown away.
#
# What this prints is for Ebb to read: `step TEXT` and `at DONE TOTAL` (for the progress bar; apt's own status lines, too),
# `env NAME=VALUE` (goes into the image), `warn TEXT` (the user must hear of it), and `host DIR PROGRAM…`: copy these
# programs of the host, with the shared libraries that they need, into DIR.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$ROOT" "$WORK"

# What a learner meets in the container: Docker's nginx stands on Debian, so these are what it has. busybox brings `ps`,
# `vi`, `wget` and the like, which Docker's lacks and learners miss.
packages="bash dash coreutils grep sed findutils curl busybox base-files"
busybox_commands="clear diff free ftpget hostname ip killall less more mount nc netstat nslookup pgrep ping pkill ps
    pstree route top tree umount vi watch wget which xxd"

# Packages that others ask for, although no program that runs here will notice their absence: they serve to configure
# packages, and none is configured.
absent="adduser debconf debianutils dpkg init-system-helpers iproute2 libpam-modules lsb-base perl-base
    sysvinit-utils tar"

# Paths that a container has no use for.
unused="usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/lintian usr/share/bash-completion
    usr/share/bug usr/share/doc-base usr/share/menu usr/share/initramfs-tools usr/share/nginx/modules-available
    usr/lib/*/gconv usr/lib/*/audit usr/lib/systemd usr/lib/tmpfiles.d usr/lib/init etc/init.d etc/systemd etc/ufw
    etc/logrotate.d etc/default etc/apparmor.d etc/nginx var/log/nginx var/www"

main() {
    # On every system of today /bin is a symlink to /usr/bin, and its three kin likewise; packages may name either.
    mkdir -p "$ROOT/usr/bin" "$ROOT/usr/sbin" "$ROOT/usr/lib" "$ROOT/usr/lib64"
    for dir in bin sbin lib lib64; do
        ln -s "usr/$dir" "$ROOT/$dir"
    done

    if fetch_packages; then
        unpack_packages
    elif [ -n "$(find_program nginx)" ]; then
        take_the_hosts_nginx
    else
        make_a_stand_in
    fi
    lay_out
}

# --- from packages -----------------------------------------------------------------------------------------------------

# Fails where there is no apt, or nobody answers it: then the image is made without.
fetch_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        why="this system has no apt-get and dpkg-deb"
        return 1
    fi
    apt_of_our_own
    echo "step fetching the package index"
    apt -o APT::Status-Fd=3 -o Acquire::Retries=1 update 3>&1 >&2 || true
    # Before Debian 12 and Ubuntu 24.04, `nginx` is a name for a choice of several builds: then we take the small one.
    nginx=nginx
    if apt_cache depends nginx | grep -q nginx-light; then
        nginx=nginx-light
    fi
    if ! apt_cache show --no-all-versions "$nginx" >"$WORK/nginx.txt" 2>/dev/null; then
        why="no package registry could be reached"
        return 1
    fi
    echo "step fetching nginx and the packages that it stands on"
    # shellcheck disable=SC2086 # the packages are words
    if ! apt -o APT::Status-Fd=3 --yes --download-only install $nginx $packages 3>&1 >&2; then
        exit 1
    fi
}

# A state, a cache and a list of installed packages that are ours, so that apt needs no root, changes nothing of this
# system, and resolves for an empty machine instead of this one. Where packages come from, and whose signature is
# trusted, stays as this system has it.
apt_of_our_own() {
    mkdir -p "$WORK/state/lists/partial" "$WORK/cache/archives/partial"
    state="$WORK/state" cache="$WORK/cache" sandbox='APT::Sandbox::User "root";' in_places=
    # What parses a stranger's answers should not be root: root's apt downloads as the user _apt, who may not enter a
    # directory of ours. In a mount namespace of apt's own, ours lie where that user may go.
    if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1 && mounted_in_places true 2>/dev/null; then
        state=/var/lib/apt cache=/var/cache/apt sandbox= in_places=mounted_in_places
    fi
    cat >"$WORK/apt.conf" <<END
Dir::State "$state";
Dir::State::status "$WORK/installed";
Dir::Cache "$cache";
$sandbox
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
// Other indices than that of packages: pictures and descriptions for software centres.
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
// What this system does after an update of its own is not to be done after ours.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
    for package in $absent; do
        cat <<END
Package: $package
Status: install ok installed
Architecture: all
Multi-Arch: foreign
Version: 999
Maintainer: nobody
Description: stands for what the image does without

END
    done >"$WORK/installed"
}

apt() { $in_places env LC_ALL=C apt-get -c "$WORK/apt.conf" -q "$@"; }
apt_cache() { $in_places env LC_ALL=C apt-cache -c "$WORK/apt.conf" "$@"; }

# Runs a command that finds our state and our cache where this system's own are, which nobody else notices.
mounted_in_places() {
    WORK=$WORK unshare -m sh -c 'mount --bind "$WORK/state" /var/lib/apt && mount --bind "$WORK/cache" /var/cache/apt &&
        exec "$@"' sh "$@"
}

unpack_packages() {
    echo "step unpacking"
    total=$(ls "$WORK"/cache/archives/*.deb | wc -l)
    done=0
    for package in "$WORK"/cache/archives/*.deb; do
        # Into a directory of its own and then over: dpkg-deb itself would put a directory in the place of our symlinks.
        rm -rf "$WORK/package"
        dpkg-deb -x "$package" "$WORK/package"
        (cd "$WORK/package" && tar -cf - .) | tar -xpf - -C "$ROOT" --keep-directory-symlink
        rm "$package"
        done=$((done + 1))
        echo "at $done $total"
    done
    version=$(sed -n 's/^Version: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p' "$WORK/nginx.txt" | head -n 1)
    echo "env NGINX_VERSION=$version"

    mkdir -p "$WORK/kept"
    cp "$ROOT"/etc/nginx/mime.types "$ROOT"/etc/nginx/*_params "$WORK/kept"
    for path in $unused; do
        # shellcheck disable=SC2086 # a pattern
        rm -rf "$ROOT"/$path
    done
    mkdir -p "$ROOT/etc/nginx"
    cp -p "$WORK"/kept/* "$ROOT/etc/nginx"

    # Links that the packages' own scripts would make.
    [ -e "$ROOT/usr/bin/sh" ] || ln -s dash "$ROOT/usr/bin/sh"
    [ -e "$ROOT/usr/bin/awk" ] || ln -s mawk "$ROOT/usr/bin/awk"
    # The one by which shell scripts lock (lesson 5). Its package, util-linux, is as large as nginx; the host has it.
    echo "host usr/bin flock"
    for command in $busybox_commands; do
        [ -e "$ROOT/usr/bin/$command" ] || ln -s busybox "$ROOT/usr/bin/$command"
    done
}

# --- without packages --------------------------------------------------------------------------------------------------

take_the_hosts_nginx() {
    echo "warn $why; nginx is this system's own, with this system's shell and tools"
    echo "host usr/sbin nginx"
    take_the_hosts_tools
    mkdir -p "$ROOT/etc/nginx"
    cp /etc/nginx/mime.types "$ROOT/etc/nginx" || few_types
}

make_a_stand_in() {
    echo "warn $why, and this system has no nginx:"
    echo "warn THIS IS NOT NGINX, but a stand-in. It is laid out in the same way, so that containers and volumes behave alike"
    if [ -n "$(find_program busybox)" ]; then
        echo "warn pages are served by busybox; pull nginx again when there is a network"
    else
        echo "warn nothing serves its pages; pull nginx again when there is a network"
    fi
    take_the_hosts_tools
    mkdir -p "$ROOT/etc/nginx"
    few_types
    cp "$here/stand-in.sh" "$ROOT/usr/sbin/nginx"
    chmod 755 "$ROOT/usr/sbin/nginx"
    echo "env EBB_STAND_IN=this is not nginx"
}

few_types() {
    echo "types { text/html html; text/css css; text/plain txt; application/json json; image/png png; }" \
        >"$ROOT/etc/nginx/mime.types"
}

take_the_hosts_tools() {
    echo "step copying this system's own programs"
    echo "host usr/bin sh bash ls cat cp mv rm mkdir rmdir ln chmod chown touch echo printf env id whoami stat head tail"
    echo "host usr/bin wc sort uniq tr cut tee date sleep sync test true false uname seq dd df du basename dirname readlink"
    echo "host usr/bin grep sed awk find ps kill hostname mount umount curl wget flock busybox"
}

# A program that only root may execute can still be copied, so this looks for what can be read.
find_program() {
    for dir in $(echo "$PATH" | tr ':' ' '); do
        if [ -f "$dir/$1" ] && [ -r "$dir/$1" ]; then
            echo "$dir/$1"
            return
        fi
    done
}

# --- both --------------------------------------------------------------------------------------------------------------

# Users, configuration and document root, laid out as on Docker's hub.
lay_out() {
    for dir in dev proc sys run tmp home root srv opt mnt media var/cache/nginx var/log/nginx var/tmp var/lib \
        docker-entrypoint.d etc/nginx/conf.d; do
        mkdir -p "$ROOT/$dir"
    done
    # Places for what is each container's own, which would else be written into its layer.
    touch "$ROOT/etc/hosts" "$ROOT/etc/hostname" "$ROOT/etc/resolv.conf"
    cp -R "$here/root/." "$ROOT"
    chmod 1777 "$ROOT/tmp" "$ROOT/var/tmp"
    chmod 700 "$ROOT/root"
    chmod 755 "$ROOT/docker-entrypoint.sh"
    rm -rf "$ROOT/var/run"
    ln -s /run "$ROOT/var/run"
    if [ -d "$ROOT/usr/lib/nginx/modules" ]; then
        ln -s /usr/lib/nginx/modules "$ROOT/etc/nginx/modules"
    fi
    # nginx writes its logs to files; the files are the container's stdout and stderr, and so `ebb logs` has them.
    ln -s /dev/stdout "$ROOT/var/log/nginx/access.log"
    ln -s /dev/stderr "$ROOT/var/log/nginx/error.log"
}

main
