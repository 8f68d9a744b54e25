//! Volumes that nobody names: those of another container, and those that the image asks for.

mod common;

use common::shell::{make, says};
use common::{Ebb, image_with};

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

#[test]
fn another_containers_mounts_come_along_and_give_way_to_ones_own() {
    let ebb = Ebb::new();
    make(&ebb, "host", "f", "host\n");
    let words =
        ["-v", "one:/one", "-v", "/anon", "-v", "./host:/h", "--tmpfs", "/own", "--mount", "type=tmpfs,dst=/memory"];
    ebb.ok(["create", "--name", "source"].iter().chain(&words).chain(&["busybox"]));
    ebb.ok(["create", "--name", "other", "-v", "two:/one", "-v", "more:/more", "busybox"]);
    says(&ebb, &["--volumes-from", "source"], "echo kept > /one/f && echo kept > /anon/f");
    // A stopped container that never ran serves as well; what it has in memory is made anew, and its --tmpfs is its own.
    let listed = says(
        &ebb,
        &["--volumes-from", "source:ro"],
        "cat /one/f /anon/f /h/f; grep -c ' /memory ' /proc/mounts; ls -d /own || true; touch /one/x /h/x || true",
    );
    assert_eq!(listed, "kept\nkept\nhost\n1");
    assert!(!ebb.dir.join("host/x").exists(), "ro is for all of them");
    let both = says(&ebb, &["--volumes-from", "source", "--volumes-from", "other"], "ls /one; ls -d /more");
    assert_eq!(both, "/more", "of two at one place the later one counts");
    assert_eq!(
        says(&ebb, &["--volumes-from", "source", "-v", "mine:/one"], "ls /one; ls /anon"),
        "f",
        "and one's own before both"
    );
    ebb.ok(["create", "--name", "user1", "--volumes-from", "source:ro", "busybox"]);
    assert_eq!(ebb.inspect("user1", "{{json .HostConfig.VolumesFrom}}"), r#"["source:ro"]"#);
    ebb.ok(["rm", "source"]);
    assert!(ebb.fails(1, ["volume", "rm", "one"]).contains("user1 (created)"), "it uses them, too");
    assert_eq!(ebb.ok(["start", "-a", "user1"]), "", "and needs the other no more");
}

#[test]
fn an_anonymous_volume_goes_with_the_last_container_that_has_it() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "first", "-v", "/anon", "busybox"]);
    ebb.ok(["create", "--name", "second", "--volumes-from", "first", "busybox"]);
    ebb.ok(["rm", "-v", "first"]);
    assert_eq!(volumes(&ebb).len(), 1, "the second one has it still");
    ebb.ok(["rm", "-v", "second"]);
    assert_eq!(volumes(&ebb), Vec::<String>::new());
}

#[test]
fn volumes_from_nobody_is_refused_in_dockers_words() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "source", "-v", "vase:/v", "busybox"]);
    for (spec, wanted) in [
        ("nope", "ebb: No such container: nope\n"),
        ("nope:ro", "ebb: No such container: nope\n"),
        ("", "ebb: volumes-from specification cannot be an empty string\n"),
        (":ro", "ebb: volumes-from specification cannot be an empty string\n"),
        ("source:", "ebb: invalid mode: \n"),
        ("source:foo", "ebb: invalid mode: foo\n"),
        ("source:nocopy", "ebb: invalid mode: nocopy\n"),
        ("source:rslave", "ebb: invalid mode: rslave\n"),
    ] {
        let said = ebb.fails(125, ["run", "--rm", "-v", "new:/n", "--volumes-from", spec, "busybox", "true"]);
        assert!(said.starts_with(wanted), "{spec}: {said}");
    }
    assert_eq!(volumes(&ebb), ["vase"], "and nothing was made");
}

#[test]
fn an_images_volume_is_anonymous_unless_it_is_covered() {
    let ebb = Ebb::new();
    image_with(&ebb, "keeper", &["VOLUME /var/data/", "CMD [\"sh\"]"], |_| {});
    ebb.ok(["run", "--name", "one", "keeper", "touch", "/var/data/f"]);
    assert_eq!(ebb.inspect("one", "{{range .Mounts}}{{.Type}} {{.Destination}}{{end}}"), "volume /var/data");
    ebb.ok(["create", "--name", "two", "--volumes-from", "one", "keeper", "ls", "/var/data"]);
    assert_eq!(ebb.ok(["start", "-a", "two"]), "f", "--volumes-from covers it, too");
    ebb.ok(["rm", "two"]);
    let before = volumes(&ebb);
    ebb.ok(["restart", "-t", "0", "one"]);
    assert_eq!(volumes(&ebb), before, "kept over stop and start, and no second one");
    ebb.ok(["rm", "-f", "-v", "one"]);
    assert_eq!(volumes(&ebb), Vec::<String>::new());
    ebb.ok(["run", "--rm", "keeper", "touch", "/var/data/f"]);
    assert_eq!(volumes(&ebb), Vec::<String>::new());
    ebb.ok(["run", "--rm", "-v", "named:/var/data", "keeper", "touch", "/var/data/kept"]);
    assert_eq!(volumes(&ebb), ["named"]);
}

#[test]
fn a_volume_of_the_image_that_nothing_of_yours_covers_is_warned_of() {
    let ebb = Ebb::new();
    image_with(&ebb, "keeper", &["VOLUME /var/data/", "CMD [\"true\"]"], |_| {});
    let warning = "ebb: warning: the image keeps data in /var/data, which no -v of yours covers: it goes into the";
    for words in [
        &["-v", "named:/elsewhere"][..],
        &["-v", "./host:/elsewhere"],
        &["--mount", "type=volume,src=named,dst=/var/data/deeper"],
        &["-v", "named:/var"],
    ] {
        for verb in [&["run", "--rm"][..], &["create"]] {
            let answer = ebb.run(verb.iter().chain(words).chain(&["keeper"]));
            assert!(answer.code == 0 && answer.stderr.contains(warning), "{}", answer.shown());
        }
    }
    for words in [
        &[][..],
        &["-v", "named:/var/data"],
        &["-v", "named:/var/data/"],
        &["-v", "/var/data", "-v", "named:/elsewhere"],
        &["--tmpfs", "/var/data"],
        // A file of configuration is no place for data.
        &["-v", "/etc/passwd:/etc/passwd:ro"],
    ] {
        let answer = ebb.run(["run", "--rm"].iter().chain(words).chain(&["keeper"]));
        assert!(answer.code == 0 && !answer.stderr.contains("warning"), "{}", answer.shown());
    }
}

#[test]
fn what_volumes_from_brings_is_covered_and_not_warned_of() {
    let ebb = Ebb::new();
    image_with(&ebb, "keeper", &["VOLUME /var/data/", "CMD [\"true\"]"], |_| {});
    ebb.ok(["create", "--name", "one", "keeper"]);
    for verb in [&["run", "--rm"][..], &["create"]] {
        let answer = ebb.run(verb.iter().chain(&["--volumes-from", "one", "-v", "named:/elsewhere", "keeper"]));
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{}", answer.shown());
    }
}
