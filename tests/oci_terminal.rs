//! `ebb oci` and terminals: one that is sent to a console socket, and one in the foreground.

mod common;

use common::bundle::Bundle;
use serde_json::json;
use std::os::unix::net::UnixListener;

#[test]
fn a_terminal_is_sent_to_the_console_socket() {
    let mut bundle = Bundle::new(&["sh", "-c", "tty; echo on a terminal"]);
    bundle.config["process"]["terminal"] = json!(true);
    let refused = bundle.fails(1, &["create", "c1"]);
    assert!(refused.contains("without setting console socket"), "{refused}");

    let socket = bundle.dir.join("console");
    let listener = UnixListener::bind(&socket).unwrap();
    bundle.ok(&["create", "--console-socket", socket.to_str().unwrap(), "c1"]);
    let console = receive(&listener);
    bundle.ok(&["start", "c1"]);
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    // A terminal whose last user has gone answers EIO.
    while let Ok(count @ 1..) = nix::unistd::read(&console, &mut buffer) {
        said.extend_from_slice(&buffer[..count]);
    }
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("/dev/") && said.contains("on a terminal\r\n"), "{said}");
}

#[test]
fn a_terminal_in_the_foreground_has_our_size_and_gets_our_keys() {
    // It is the inner shell that says "ready", so the key cannot come before there is somebody to interrupt.
    let script = "stty size; trap : INT; sh -c 'echo ready; exec cat'; echo interrupted; exit 4";
    let mut bundle = Bundle::new(&["sh", "-c", script]);
    bundle.config["process"]["terminal"] = json!(true);
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let slave = || pty.slave.try_clone().unwrap();
    let mut child = bundle.oci().args(["run", "c1"]).stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
    let mut shown = String::new();
    let mut read_until = |wanted: &str| {
        let mut buffer = [0; 1024];
        while !shown.contains(wanted) {
            let count = nix::unistd::read(&pty.master, &mut buffer).unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        shown.clone()
    };
    assert!(read_until("ready").contains("33 111"));
    nix::unistd::write(&pty.master, b"\x03").unwrap();
    read_until("interrupted");
    assert_eq!(common::exit_code(child.wait().unwrap()), 4);
    let after = nix::sys::termios::tcgetattr(&pty.slave).unwrap();
    assert!(after.local_flags.contains(nix::sys::termios::LocalFlags::ECHO), "our terminal is as it was");
}

fn receive(listener: &UnixListener) -> std::os::fd::OwnedFd {
    let (stream, _) = listener.accept().unwrap();
    let (_, mut descriptors) = ebb::kernel::receive(&stream, &mut [0; 64]).unwrap();
    descriptors.pop().expect("a descriptor")
}
