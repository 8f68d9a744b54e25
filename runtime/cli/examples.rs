//! What people type: the examples at the end of a command's help, for those whose own definition has none.

/// For the command of that path, without its `ebb`.
pub fn of(path: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(known, _)| *known == path).map(|(_, lines)| *lines)
}

/// Each example on a line of its own.
const EXAMPLES: &[(&str, &str)] = &[
    ("lesson", "ebb lesson\nebb lesson 3\nebb lesson 3 --demo"),
    (
        "run",
        "ebb run -d -v myvolume:/app/data --name mycontainer nginx\n\
         ebb run --rm -it busybox sh\n\
         ebb run --rm --mount type=bind,src=/srv/web,dst=/usr/share/nginx/html,readonly nginx\n\
         ebb run --rm --read-only --tmpfs /tmp --cap-drop all busybox id",
    ),
    ("create", "ebb create --name web -v myvolume:/app/data nginx\nebb start web"),
    ("start", "ebb start mycontainer\nebb start -a -i shell"),
    ("stop", "ebb stop mycontainer\nebb stop -t 30 web db"),
    ("restart", "ebb restart mycontainer\nebb restart -t 0 web"),
    ("kill", "ebb kill mycontainer\nebb kill -s HUP web"),
    ("rm", "ebb rm mycontainer\nebb rm -f -v web\nebb rm $(ebb ps -aq --filter status=exited)"),
    ("exec", "ebb exec mycontainer ls /app/data\nebb exec -it web sh\nebb exec -u nginx -e LEVEL=debug web env"),
    ("attach", "ebb attach shell\nebb attach --no-stdin web"),
    ("wait", "ebb wait mycontainer"),
    ("rename", "ebb rename mycontainer web"),
    ("pause", "ebb pause web db"),
    ("unpause", "ebb unpause web db"),
    ("update", "ebb update --restart unless-stopped web\nebb update --memory 256m --cpus 0.5 web"),
    ("logs", "ebb logs mycontainer\nebb logs -f --tail 20 web\nebb logs -t --since 10m web"),
    ("diff", "ebb diff mycontainer"),
    (
        "cp",
        "ebb cp index.html web:/usr/share/nginx/html/\n\
         ebb cp web:/etc/nginx/nginx.conf .\n\
         ebb cp web:/var/log - | tar -t",
    ),
    ("export", "ebb export -o web.tar web\nebb export web | tar -t"),
    ("top", "ebb top mycontainer\nebb top mycontainer -o pid,user,args"),
    ("stats", "ebb stats --no-stream\nebb stats --format '{{.Name}}: {{.MemUsage}}' web"),
    ("container prune", "ebb container prune\nebb container prune -f --filter until=24h"),
    ("image ls", "ebb images\nebb images -q nginx\nebb images --format '{{.Repository}}:{{.Tag}} {{.Size}}'"),
    ("image inspect", "ebb image inspect nginx\nebb image inspect -f '{{json .Config.Volumes}}' nginx"),
    ("image history", "ebb history nginx\nebb history --no-trunc nginx"),
    ("image load", "ebb load -i nginx.tar.gz\nebb load < images.tar"),
    ("image save", "ebb save -o nginx.tar nginx\nebb save nginx busybox | zstd > images.tar.zst"),
    (
        "image import",
        "ebb import rootfs.tar.gz mine:1\n\
         ebb import --change 'CMD [\"/bin/sh\"]' - mine < rootfs.tar",
    ),
    ("image tag", "ebb tag nginx mine:1"),
    ("image rm", "ebb rmi nginx\nebb rmi -f mine:1 mine:2"),
    ("image prune", "ebb image prune\nebb image prune -a -f"),
    ("image pull", "ebb pull nginx"),
    (
        "volume create",
        "ebb volume create myvolume\nebb volume create --label app=web -o type=tmpfs -o device=tmpfs -o o=size=64m cache",
    ),
    ("volume ls", "ebb volume ls\nebb volume ls -q --filter dangling=true"),
    ("volume inspect", "ebb volume inspect myvolume\nebb volume inspect -f '{{.Mountpoint}}' myvolume"),
    (
        "volume trash",
        "A volume in the trash is as it was, and 'ebb volume restore' brings it back.\n\
         It goes for good after 7 days, or by 'ebb volume trash empty'. A full disk takes\n\
         nothing out of it: the command that finds no room says so. The commands that make\n\
         or remove something look for what is old; there is no daemon to do it. What a container that was started with --rm takes along goes at once.\n\
         Another number of days, or 0 for no trash: {\"TrashDays\": 30} in the file\n\
         settings.json of the store's directory.\n\n\
         Examples:\n  ebb volume trash ls\n  ebb volume trash empty",
    ),
    ("oci create", "ebb oci create --bundle /srv/bundle --pid-file /run/c1.pid c1"),
    ("oci start", "ebb oci start c1"),
    ("oci state", "ebb oci state c1"),
    ("oci kill", "ebb oci kill c1 TERM"),
    ("oci delete", "ebb oci delete --force c1"),
    ("oci exec", "ebb oci exec c1 ps"),
    ("oci ps", "ebb oci ps c1"),
    ("oci list", "ebb oci list --format json"),
    ("oci pause", "ebb oci pause c1"),
    ("oci resume", "ebb oci resume c1"),
    ("oci events", "ebb oci events --stats c1"),
    ("oci update", "ebb oci update --memory 268435456 c1"),
    ("oci features", "ebb oci features"),
    ("oci spec", "ebb oci spec --bundle /srv/bundle"),
    ("oci run", "ebb oci run --bundle /srv/bundle c1"),
];
