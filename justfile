# What there is to do here.
_list:
    @just --list --unsorted

# build Ebb, and play a lesson: `just lesson 3`, `just lesson 3 --demo`
lesson *ARGS:
    cargo run --release -- lesson {{ARGS}}

# lesson 1: a container is a process
lesson-1: (lesson "1")

# lesson 2: what it writes goes with it
lesson-2: (lesson "2")

# lesson 3, the main job: volumes survive rm
lesson-3: (lesson "3")

# lesson 4: watch the kernel do it
lesson-4: (lesson "4")

# lesson 5: sharing a volume
lesson-5: (lesson "5")

# lesson 6: volume, bind mount or tmpfs, measured on your machine
lesson-6: (lesson "6")

# lesson 7: named, anonymous, dangling
lesson-7: (lesson "7")

# lesson 8: backup, restore, disaster drill
lesson-8: (lesson "8")

# lesson 9: whose files are these?
lesson-9: (lesson "9")

# lesson 10: data that must not die
lesson-10: (lesson "10")

# all tests, as the user that you are
test *ARGS:
    cargo test {{ARGS}}

# kill every command at each of its system calls, break its disk, crowd it; prints the table (about 10 minutes)
torture *ARGS:
    EBB_TORTURE=all cargo test --test torture -- {{ARGS}}

# start twice ten thousand containers while a symlink is swapped in where their mounts lead through (about 20 minutes)
swap-race STARTS="10000":
    EBB_SWAPS={{STARTS}} cargo test --test swap_race -- --nocapture

# cut the power of a virtual machine within and after commands, and see that what was answered is there (about 15 minutes)
power-cut *ARGS:
    cargo test --test power -- {{ARGS}}

# cgroup v2, xfs and network file systems, in a virtual machine with Debian's kernel (about 3 minutes)
machine *ARGS:
    cargo test --test machine -- --test-threads=1 {{ARGS}}

# what a change must pass before the tests: format, lints, the rules of tests/tidy.rs
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test --test tidy

# Ebb beside the kernel's own cost and beside crun, runc, podman and docker, where they are installed; `just bench --help`
bench *ARGS:
    cargo bench --bench bench -- {{ARGS}}

# write down which functions a run needs, for the linker (a few minutes; x86-64)
order:
    cargo build --release
    cp "$(find target -path '*release/ebb' | head -1)" target/followed
    cargo bench --bench bench -- order {{justfile_directory()}}/target/followed {{justfile_directory()}}/runtime/order.txt

# format the source
fmt:
    cargo fmt

# all that CI does: tools, users, tests as root and as ordinary users (as root, on Debian)
ci:
    bash .ci/run
