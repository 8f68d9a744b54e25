//! A volume that has a disk of its own is filled from an image: another file system than the store's, in a file of it.

use crate::scenarios::{Host, MANY, Scenario, each, load_image};
use std::collections::BTreeMap;
use std::io::Read;

pub const COPY_UP: Scenario = Scenario {
    name: "copy-up",
    answers: MANY,
    prepare: |host| {
        load_image(host);
        for i in 1..=MANY {
            host.ok(["volume", "create", "--opt", "size=8m", &format!("vase{i}")]);
        }
    },
    // The first has them all mounted, and goes on: whoever unmounts a disk has synced it.
    script: "ebb run -d -i $(for i in 1 2 3 4 5 6 7 8; do echo -v vase$i:/held$i; done) image1 cat > /dev/null
             each 8 'ebb run -d -i -v vase$i:/data image1 cat'",
    verify: |host, answered| {
        each(answered, |i, is_answered| {
            let name = format!("vase{i}");
            // Of the one that was under way nothing may be there yet, or a part: the next start does the rest.
            if !is_answered {
                started(host, &name)?;
            }
            whole(host, &name)?;
            started(host, &name)?;
            let mark = host.disk.join("store/volumes").join(&name).join("copying");
            if mark.exists() { Err(format!("{name} is still being filled")) } else { Ok(()) }
        })
    },
    is_control: false,
};

fn started(host: &Host, name: &str) -> Result<(), String> {
    let answer = host.run(["run", "--rm", "-v", &format!("{name}:/data"), "image1", "cat", "/data/file"]);
    let whole = answer.code == 0 && answer.stdout == "in image 1\n";
    whole.then_some(()).ok_or_else(|| answer.shown().to_owned())
}

/// All of the image's files are in the volume, and two names of one file are so there.
fn whole(host: &Host, name: &str) -> Result<(), String> {
    let tar = host.disk.parent().expect("a parent").join("vase.tar");
    let answer = host.run(["volume", "export", "-o", &tar.display().to_string(), name]);
    if answer.code != 0 {
        return Err(answer.shown().to_owned());
    }
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(std::fs::File::open(&tar).expect("written"));
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("its contents");
        let link = entry.link_name().expect("a link").map(|link| link.display().to_string());
        found.insert(path, (text, link, entry.header().mode().expect("a mode")));
    }
    // One of the two names is a link to the other, whichever comes first.
    let (ballast, second) = (found.get("./ballast"), found.get("./second"));
    let are_one = match (ballast, second) {
        (Some(one), Some(other)) => {
            let (file, link) = if one.1.is_none() { (one, other) } else { (other, one) };
            file.0 == "1".repeat(300_000) && file.2 == 0o640 && link.1.is_some()
        }
        _ => false,
    };
    let file = found.get("./file").is_some_and(|(text, ..)| text == "in image 1\n");
    let names: Vec<&String> = found.keys().collect();
    (are_one && file && names.len() == 4).then_some(()).ok_or(format!("{name} is not whole: {names:?}"))
}
