//! A scenario, played by a machine whose disk remembers all that it was told, and when each answer was given.

use crate::disk::{Disk, Event, History};
use crate::machine::Machine;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// What was seen of it.
#[derive(Default)]
pub struct Played {
    pub history: History,
    pub failed: Vec<String>,
}

/// Starts the machine on the disk at `image`, and lets it play `scenario` up to that answer.
pub fn play(machine: &Machine, image: &Path, scenario: &str, answers: u32) -> Played {
    let mut played = Played::default();
    let socket = image.with_extension("sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let disk = Disk::open(image, played.history.clone());
    let served = std::thread::spawn(move || disk.serve(&listener));
    let node = format!("driver=nbd,node-name=disk,server.type=unix,server.path={}", socket.display());
    let drive = ["-blockdev", &node, "-device", "virtio-blk-pci,drive=disk,write-cache=on"];
    let mut running = machine.start(scenario, &drive, &image.with_extension("console"));
    let mut answered = 0;
    while let Some(line) = running.hear() {
        if let Some(number) = line.strip_prefix("answered ").and_then(|number| number.parse().ok()) {
            answered = number;
            played.history.add(Event::Answered(number));
        } else if line == "ready" {
            played.history.add(Event::Ready);
        } else if line.starts_with("failed") {
            played.failed.push(line.clone());
        }
        // The next command begins when the answer stands in the history: what was written before is before it there.
        running.say("");
        if answered >= answers || line == "done" {
            break;
        }
    }
    let console = running.console();
    drop(running);
    served.join().expect("the disk");
    if answered < answers {
        played.failed.push(format!("it answered {answered} times; {console}"));
    }
    played
}
