//! Parse, dispatch, exit code; nothing else.

fn main() {
    std::process::exit(ebb::cli::main(std::env::args_os().collect()));
}
