//! `just bench`: Ebb beside the kernel's own cost and beside its peers, measured in one run.
//!
//! One round runs every command of a table once, in a random order; what is told are medians, and ratios of medians of
//! the same table. `cargo bench -- --help` lists the options. README.md beside this file holds the last tables.

mod floor;
mod growth;
mod measure;
mod memory;
mod options;
mod order;
mod peers;
mod reads;
mod report;
mod rows;
mod stage;

use options::Options;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // This program is its own floor, and its own witness of a command's memory; and it can follow one.
        Some("floor") => std::process::exit(floor::main(&words[1..])),
        Some("reads") => std::process::exit(reads::main(&words[1..])),
        Some("order") => std::process::exit(order::main(&words[1..])),
        Some("peak") => std::process::exit(memory::peak(&words[1..])),
        _ => {}
    }
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(said) => {
            println!("{said}");
            return;
        }
    };
    let mut stage = stage::Stage::set(options);
    report::machine(&stage);
    for (name, row) in rows::ALL {
        if stage.options.wants(name) {
            eprintln!("{name} …");
            row(&mut stage);
        }
    }
    if stage.options.wants("growth") {
        growth::tables(&stage);
    }
    report::verdicts(&stage.verdicts);
    stage.strike();
}
