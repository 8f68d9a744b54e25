//! Every command of the article "What Is Docker Volume and How Does It Persist Data Between Containers?", to the letter,
//! with `ebb` in the place of `docker`, on a real nginx; and what the article says of it.

mod common;

use common::Ebb;

fn with_nginx() -> Ebb {
    let ebb = Ebb::empty();
    ebb.ok(["image", "load", "-q", "-i", common::nginx_archive().to_str().expect("UTF-8")]);
    ebb
}

/// Runs a line as the article has it: words separated by spaces.
fn type_in(ebb: &Ebb, line: &str) -> String {
    ebb.ok(line.split(' ').skip(1))
}

#[test]
fn create_and_use_a_volume() {
    let ebb = with_nginx();
    assert_eq!(type_in(&ebb, "docker volume create myvolume"), "myvolume");
    let id = type_in(&ebb, "docker run -d -v myvolume:/app/data --name mycontainer nginx");
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(ebb.ok(["ps", "--format", "{{.Names}} {{.State}}"]), "mycontainer running");
    // "Any data written to /app/data is stored inside the volume."
    ebb.ok(["exec", "mycontainer", "sh", "-c", "echo kept > /app/data/f"]);
    let place = ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "myvolume"]);
    assert_eq!(std::fs::read_to_string(format!("{place}/f")).expect("the file on the host"), "kept\n");
    // It is a real nginx, and it answers.
    assert!(ebb.ok(["exec", "mycontainer", "curl", "-s", "localhost"]).contains("<html"));
    assert!(ebb.ok(["exec", "mycontainer", "nginx", "-t"]).is_empty());
}

#[test]
fn data_is_shared_between_containers_at_once_and_outlives_one() {
    let ebb = with_nginx();
    type_in(&ebb, "docker run -d -v myvolume:/data --name container1 nginx");
    type_in(&ebb, "docker run -d -v myvolume:/data --name container2 nginx");
    ebb.ok(["exec", "container1", "sh", "-c", "echo from-1 > /data/f"]);
    assert_eq!(ebb.ok(["exec", "container2", "cat", "/data/f"]), "from-1");
    ebb.ok(["exec", "container2", "sh", "-c", "echo from-2 >> /data/f"]);
    assert_eq!(ebb.ok(["exec", "container1", "cat", "/data/f"]), "from-1\nfrom-2");
    ebb.ok(["rm", "-f", "container1"]);
    assert_eq!(ebb.ok(["exec", "container2", "cat", "/data/f"]), "from-1\nfrom-2");
    ebb.ok(["rm", "-f", "container2"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "myvolume:/data", "nginx", "cat", "/data/f"]), "from-1\nfrom-2");
}

#[test]
fn the_common_volume_commands() {
    let ebb = with_nginx();
    type_in(&ebb, "docker volume create myvolume");
    assert_eq!(type_in(&ebb, "docker volume ls"), "DRIVER    VOLUME NAME\nlocal     myvolume");
    let shown = type_in(&ebb, "docker volume inspect myvolume");
    let tree: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let keys: Vec<&String> = tree[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"]);
    assert_eq!(type_in(&ebb, "docker volume rm myvolume"), "myvolume");
    assert_eq!(type_in(&ebb, "docker volume ls"), "DRIVER    VOLUME NAME");
}

#[test]
fn only_removal_loses_what_the_container_wrote_beside_its_volume() {
    let ebb = with_nginx();
    type_in(&ebb, "docker run -d -v myvolume:/data --name web nginx");
    ebb.ok(["exec", "web", "sh", "-c", "echo a > /data/f; echo b > /note"]);
    ebb.ok(["stop", "-t", "1", "web"]);
    ebb.ok(["start", "web"]);
    assert_eq!(ebb.ok(["exec", "web", "cat", "/note"]), "b", "the layer outlives a stop");
    ebb.ok(["kill", "web"]);
    ebb.ok(["start", "web"]);
    assert_eq!(ebb.ok(["exec", "web", "cat", "/note"]), "b", "and a crash");
    ebb.ok(["rm", "-f", "web"]);
    type_in(&ebb, "docker run -d -v myvolume:/data --name web nginx");
    assert_eq!(ebb.ok(["exec", "web", "cat", "/data/f"]), "a", "the volume outlives rm");
    ebb.fails(1, ["exec", "web", "cat", "/note"]);
}

#[test]
fn nginx_stops_on_its_own_signal_and_logs_to_stdout() {
    let ebb = with_nginx();
    type_in(&ebb, "docker run -d --name web nginx");
    assert_eq!(ebb.ok(["inspect", "-f", "{{.Config.StopSignal}}", "web"]), "SIGQUIT");
    ebb.ok(["exec", "web", "curl", "-s", "-o", "/dev/null", "localhost/there"]);
    ebb.ok(["stop", "web"]);
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.ExitCode}}", "web"]), "0", "it obeyed, and was not killed");
    let logs = ebb.run(["logs", "web"]);
    assert!(logs.stdout.contains("GET /there"), "the access log is its stdout: {}", logs.shown());
    assert!(logs.stderr.contains("start worker process"), "the error log is its stderr: {}", logs.shown());
}
