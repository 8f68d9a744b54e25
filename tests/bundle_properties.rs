//! The properties of a bundle beside its walls: each is applied, as runc applies it, or refused with a sentence.

mod common;

use common::bundle::Bundle;
use serde_json::json;
use std::os::unix::fs::symlink;

/// CVE-2019-19921: what is masked and guarded at /proc would be something else.
#[test]
fn what_the_kernel_shows_of_itself_goes_on_no_symlink_of_the_root() {
    for (link, kind) in [("proc", "proc"), ("sys", "sysfs")] {
        let mut bundle = Bundle::new(&["true"]);
        let root = bundle.dir.join("root");
        std::fs::create_dir_all(root.join("elsewhere")).unwrap();
        symlink("/elsewhere", root.join(link)).unwrap();
        bundle.config["root"] = json!({"path": root});
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(&format!("filesystem \"{kind}\" must be mounted on ordinary directory")), "{said}");
        assert_eq!(bundle.ok(&["list", "-q"]), "");
        // Whatever it is that is bound there.
        let mounts = json!([{"destination": format!("/{link}"), "type": "bind", "source": format!("/{link}"), "options": ["rbind"]}]);
        bundle.config["mounts"] = mounts;
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains("must be mounted on ordinary directory"), "{said}");
    }
}
