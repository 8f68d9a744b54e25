//! The lessons say what is true, and leave nothing behind.

mod common;

use common::lesson::write as write_lesson;
use common::{Ebb, answer};
use std::path::Path;

fn directories() -> Vec<String> {
    let lessons = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons");
    let mut names: Vec<String> = std::fs::read_dir(lessons)
        .expect("lessons/")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

/// A store that has both images, so that a lesson need not make them again.
fn school() -> Ebb {
    let ebb = Ebb::new();
    ebb.ok(["image", "load", "-q", "-i", common::nginx_archive().to_str().expect("UTF-8")]);
    ebb
}

/// Walks through the lesson on a terminal, with `keys` typed; what the screen then shows.
fn on_a_terminal(ebb: &Ebb, lesson: &Path, keys: &str) -> String {
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("{} lesson {}", env!("CARGO_BIN_EXE_ebb"), lesson.display()), "/dev/null"]);
    script.env("EBB_ROOT", ebb.store()).env("TERM", "xterm").current_dir(&ebb.dir);
    let said = common::answer_to(&mut script, keys.as_bytes());
    assert_eq!(said.code, 0, "{}", said.shown());
    said.stdout
}

#[test]
fn every_directory_of_lessons_is_a_lesson_that_the_program_knows() {
    let known: Vec<&str> = ebb::lessons::LESSONS.iter().map(|(slug, _)| *slug).collect();
    assert_eq!(known, directories());
    ebb::lessons::all().expect("every lesson parses");
}

#[test]
fn lesson_1_is_as_written() {
    check("1");
}

#[test]
fn lesson_2_is_as_written() {
    check("2");
}

#[test]
fn lesson_3_is_as_written() {
    check("3");
}

#[test]
fn lesson_4_is_as_written() {
    check("4");
}

#[test]
fn lesson_5_is_as_written() {
    check("5");
}

#[test]
fn lesson_6_is_as_written() {
    check("6");
}

#[test]
fn lesson_7_is_as_written() {
    check("7");
}

#[test]
fn lesson_8_is_as_written() {
    check("8");
}

#[test]
fn lesson_9_is_as_written() {
    check("9");
}

#[test]
fn lesson_10_is_as_written() {
    check("10");
}

fn check(number: &str) {
    let ebb = school();
    let said = ebb.ok(["lesson", number, "--check"]);
    assert!(said.ends_with("all as written"), "{said}");
    assert_eq!(ebb.leftovers(), Vec::<String>::new(), "the lesson left something behind");
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
}

#[test]
fn a_lesson_in_a_pipe_plays_to_its_end_without_a_question() {
    let ebb = school();
    let said = ebb.ok(["lesson", "3"]);
    assert!(said.contains("$ ebb volume create myvolume\nmyvolume\n"), "{said}");
    assert!(!said.contains('\x1b'), "no colour in a pipe");
    assert!(said.contains("✓ containers come and go"), "{said}");
}

#[test]
fn the_first_difference_is_named_by_file_and_line() {
    let ebb = Ebb::empty();
    let path = write_lesson(&ebb, "# T\n\n```console\n$ echo one\none\n$ echo two\nthree\n```\n");
    let said = ebb.fails(1, ["lesson", path.to_str().expect("UTF-8"), "--check"]);
    assert!(
        said.contains("own.md:6: $ echo two") && said.contains("expected  three") && said.contains("found     two"),
        "{said}"
    );
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn an_exercise_that_is_already_solved_fails() {
    let ebb = Ebb::empty();
    let text = "# T\n```check\nvolume none is gone\nwhy: it never was\n```\n```hint\nh\n```\n```solve\ntrue\n```\n";
    let path = write_lesson(&ebb, text);
    let said = ebb.fails(1, ["lesson", path.to_str().expect("UTF-8"), "--check"]);
    assert!(said.contains("passes before anything was done"), "{said}");
}

#[test]
fn a_solution_that_does_not_solve_fails_and_says_expected_and_found() {
    let ebb = Ebb::empty();
    let text =
        "# T\n```check\nvolume vase exists\nwhy: w\n```\n```hint\nh\n```\n```solve\nebb volume create other\n```\n";
    let path = write_lesson(&ebb, text);
    let said = ebb.fails(1, ["lesson", path.to_str().expect("UTF-8"), "--check"]);
    assert!(
        said.contains("expected  volume vase exists") && said.contains("found     there is no volume named vase"),
        "{said}"
    );
    assert_eq!(ebb.leftovers(), Vec::<String>::new(), "a failed lesson leaves nothing behind either");
}

#[test]
fn from_lesson_5_on_something_is_broken_and_the_last_task_has_hints_but_no_command() {
    use ebb::lessons::parse::Block;
    for lesson in ebb::lessons::all().expect("every lesson parses").iter().skip(4) {
        let after_setup = lesson.blocks.iter().skip_while(|block| !matches!(block, Block::Setup(_)));
        let mut tasks = after_setup.filter_map(|block| match block {
            Block::Exercise(exercise) => Some(exercise),
            _ => None,
        });
        assert!(tasks.next().is_some(), "{}: a break-it lab is a setup and a check", lesson.title);
        let last = lesson.blocks.iter().rev().find_map(|block| match block {
            Block::Exercise(exercise) => Some(exercise),
            _ => None,
        });
        let last = last.expect("a task");
        assert!(last.hints.len() >= 2, "{}: at least two hints", lesson.title);
        for command in &last.solve {
            let told = last.hints.iter().any(|hint| hint.contains(command.trim()));
            assert!(!told, "{}: a hint gives the solution away: {command}", lesson.title);
        }
    }
}

#[test]
fn no_hint_gives_the_command_that_solves_its_task_and_every_test_says_in_words_what_it_wants() {
    use ebb::lessons::parse::{Block, Wanted};
    for lesson in ebb::lessons::all().expect("every lesson parses") {
        for block in &lesson.blocks {
            let Block::Exercise(exercise) = block else { continue };
            for command in exercise.solve.iter().chain(exercise.solve_as.iter().flat_map(|(_, commands)| commands)) {
                let told = exercise.hints.iter().any(|hint| hint.contains(command.trim()));
                assert!(!told, "{}: a hint gives the solution away: {command}", lesson.title);
            }
            for claim in &exercise.claims {
                let said = claim.label.is_some() || matches!(claim.wanted, Wanted::State(_));
                assert!(said, "{}: no learner reads this: {:?}", lesson.title, claim.wanted);
            }
        }
    }
}

#[test]
fn a_setup_is_run_unseen_and_its_failure_is_told_by_line() {
    let ebb = Ebb::empty();
    let text = "# T\n```setup\nebb volume create broken\n```\n```check\nvolume broken is gone\nwhy: w\n```\n\
                ```hint\nh\n```\n```solve\nebb volume rm broken\n```\n";
    let path = write_lesson(&ebb, text);
    let path = path.to_str().expect("UTF-8");
    assert!(ebb.ok(["lesson", path, "--check"]).ends_with("0 steps and 1 checks, all as written"));
    let played = ebb.ok(["lesson", path]);
    assert!(!played.contains("volume create") && played.contains("$ ebb volume rm broken"), "{played}");
    write_lesson(&ebb, "# T\n```setup\necho why not >&2\nfalse\n```\n");
    let said = ebb.fails(1, ["lesson", path, "--check"]);
    assert!(said.contains("own.md:3: the set-up failed with exit code 1: why not"), "{said}");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_shell_block_with_a_name_lies_in_the_learners_directory() {
    let ebb = Ebb::empty();
    let text = "# T\n```sh gauge\necho \"low water\"\n```\n```console\n$ sh gauge\nlow water\n```\n";
    let path = write_lesson(&ebb, text);
    let path = path.to_str().expect("UTF-8");
    assert!(ebb.ok(["lesson", path, "--check"]).ends_with("1 steps and 0 checks, all as written"));
    assert!(ebb.ok(["lesson", path]).contains("    echo \"low water\"\n"), "the file is shown");
}

#[test]
fn a_block_for_some_is_run_for_them_and_shown_to_the_others() {
    let ebb = Ebb::empty();
    let mine = if common::is_root() {
        "root"
    } else if common::has_one_id() {
        "plain"
    } else {
        "user"
    };
    let text = "# T\n```console as root\n$ echo i am root\ni am root\n```\n```console as user\n$ echo i am user\n\
                i am user\n```\n```console as plain\n$ echo i am plain\ni am plain\n```\n```console as root, user, plain\n\
                $ echo anyone\nanyone\n```\n";
    let path = write_lesson(&ebb, text);
    let path = path.to_str().expect("UTF-8");
    assert!(ebb.ok(["lesson", path, "--check"]).ends_with("2 steps and 0 checks, all as written"));
    let played = ebb.ok(["lesson", path]);
    for who in ["root", "user", "plain"] {
        let shown = if who == mine { "" } else { "    " };
        assert!(played.contains(&format!("\n{shown}$ echo i am {who}\n{shown}i am {who}\n")), "{who}: {played}");
    }
    assert_eq!(played.matches("This is what ").count(), 2, "{played}");
}

#[test]
fn what_is_mounted_where_is_a_state_that_a_check_knows() {
    let ebb = Ebb::new();
    let text = "# T\n<!-- images: busybox -->\n```check\ncontainer box mounts vase at /vase read-only\n\
                container box mounts ./desk at /desk read-write\ncontainer box mounts nothing at /elsewhere\nwhy: w\n```\n\
                ```hint\nh\n```\n```solve\nSOLVE\n```\n";
    let solve = "ebb create --name box -v vase:/vase:ro -v $PWD/desk:/desk busybox";
    let path = write_lesson(&ebb, &text.replace("SOLVE", solve));
    let path = path.to_str().expect("UTF-8");
    ebb.ok(["lesson", path, "--check"]);
    let wrong = [
        (solve.replace(":ro", ""), "it mounts vase at /vase read-write"),
        (solve.replace("desk:/desk", "desk:/table"), "nothing is mounted at /desk"),
        (solve.replace("$PWD/desk", "desk"), "it mounts desk at /desk read-write"),
        (format!("{solve} && ebb rm box"), "there is no container named box"),
        (solve.replace("busybox", "-v /elsewhere busybox"), " at /elsewhere read-write"),
    ];
    for (solve, found) in wrong {
        write_lesson(&ebb, &text.replace("SOLVE", &solve));
        let said = ebb.fails(1, ["lesson", path, "--check"]);
        assert!(said.contains("fails after its solution") && said.contains(found), "{solve}: {said}");
    }
}

#[test]
fn again_puts_back_what_a_task_began_with() {
    let ebb = Ebb::empty();
    let text = "# T\n```console\n$ ebb volume create one\none\n```\n```setup\nebb volume create broken\ntouch clue\n```\n\
                ```check\nvolume one exists\nvolume broken is gone\n$ ls clue\nclue\n\nwhy: w\n```\n```hint\nh\n```\n\
                ```solve\nebb volume rm broken\n```\n";
    let path = write_lesson(&ebb, text);
    // The wrong volume goes, and the clue with it, so that the right removal comes too late; `again` brings them back.
    let keys = "\nebb volume rm one\nrm clue\nebb volume rm broken\nagain\nebb volume rm broken\n";
    let said = on_a_terminal(&ebb, &path, keys);
    assert!(said.contains("where this task began") && said.contains("1 of 1 solved"), "{said}");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_terminal_that_is_closed_in_the_midst_of_a_lesson_leaves_nothing_behind() {
    use nix::sys::signal::{Signal, kill};
    let ebb = Ebb::new();
    let text = "# T\n<!-- images: busybox -->\n```console\n$ ebb run -d --name box -v vase:/vase busybox sleep 1000\n…\n\
                $ echo ready > ../../../../ready; cat ../../../../gate\nopen\n```\n";
    let path = write_lesson(&ebb, text);
    let gate = ebb.dir.join("gate");
    for fifo in ["ready", "gate"] {
        nix::unistd::mkfifo(&ebb.dir.join(fifo), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    }
    let mut lesson = ebb.spawn(["lesson", path.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("ready")).expect("it says so"), "ready\n");
    let pid = nix::unistd::Pid::from_raw(lesson.id() as i32);
    // Whoever closes it says so, then the kernel does, and each of our own commands in between is told as well.
    let status = loop {
        kill(pid, Signal::SIGHUP).expect("it is there");
        if let Some(status) = lesson.try_wait().expect("a child of ours") {
            break status;
        }
        std::thread::yield_now();
    };
    // The command that was waiting may still be there; it had nothing of the lesson's to undo.
    let mut open = std::fs::File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(open.write(true), nix::libc::O_NONBLOCK);
    let _ = open.open(&gate);
    assert_eq!(common::exit_code(status), 129);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_lesson_that_does_not_exist_is_refused() {
    let ebb = Ebb::empty();
    let said = ebb.fails(1, ["lesson", "99"]);
    assert!(said.contains("no such lesson: 99"), "{said}");
}

#[test]
fn a_learner_who_presses_enter_answers_and_solves_is_scored() {
    let ebb = Ebb::empty();
    let text = "# T\n```console\n$ ebb volume create first\nfirst\n```\n```predict\nIs it there?\n( ) no\n(x) yes\nwhy: w\n```\n\
                ```check\nvolume second exists\nwhy: w\n```\n```hint\nthe hint text\n```\n```solve\nebb volume create second\n```\n";
    let path = write_lesson(&ebb, text);
    // Enter runs the shown command; 2 is right; a hint; a wrong try; the right one.
    let keys = "\n2\nhint\necho wrong-try\nebb volume create second\n";
    let said = on_a_terminal(&ebb, &path, keys);
    assert!(said.contains("the hint text") && said.contains("1 of 1 predicted, 1 of 1 solved"), "{said}");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

/// Runs lesson `slug` with another way to solve it; what its check finds wrong with that.
fn wrong_way(slug: &str, solution: &str, instead: &str) -> String {
    let ebb = Ebb::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons").join(slug).join("README.md");
    let text = std::fs::read_to_string(source).expect("the lesson");
    assert_eq!(text.matches(solution).count(), 1, "{slug} is solved by {solution}");
    let path = write_lesson(&ebb, &text.replace(solution, instead));
    let said = ebb.fails(1, ["lesson", path.to_str().expect("UTF-8"), "--check"]);
    assert!(said.contains("the check fails after its solution"), "{said}");
    said
}

#[test]
fn a_backup_made_by_hand_does_not_mend_the_script_that_makes_none() {
    let by_hand = "echo true > backup.sh; ebb volume export ledger -o ledger.tar";
    wrong_way("08-backup-restore-disaster-drill", "echo 'ebb volume export ledger -o ledger.tar' > backup.sh", by_hand);
}

#[test]
fn a_book_that_everybody_may_write_is_not_the_clerks_alone() {
    let said = wrong_way("09-whose-files-are-these", "\nchmod 644 desk/book\n", "\nchmod 666 desk/book\n");
    assert!(said.contains("lets only its owner write") && said.contains("found     \"www\""), "{said}");
}

#[test]
fn records_that_somebody_has_copied_by_hand_into_a_tar_are_no_backup_of_the_volume() {
    for by_hand in [
        "\nmkdir hand; ebb exec db tidedb list > hand/records; tar -C hand -cf tides.tar .\n",
        "\nebb cp db:/var/lib/tide/records .; tar -cf tides.tar records\n",
    ] {
        let said = wrong_way("10-data-that-must-not-die", "\nebb volume export tides -o tides.tar\n", by_hand);
        assert!(said.contains("expected  ") && said.contains("not as it is in tides"), "{said}");
    }
    // Docker's idiom makes a backup as good as ours.
    let idiom = "ebb run --rm -v tides:/data:ro busybox tar -cf - -C / data > tides.tar";
    let ebb = Ebb::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/10-data-that-must-not-die/README.md");
    let text = std::fs::read_to_string(source).expect("the lesson");
    let text = text.replace("\nebb volume export tides -o tides.tar\n", &format!("\n{idiom}\n"));
    ebb.ok(["lesson", write_lesson(&ebb, &text).to_str().expect("UTF-8"), "--check"]);
}

#[test]
fn the_list_names_every_lesson() {
    let ebb = Ebb::empty();
    let mut list = ebb.command();
    let said = answer(list.arg("lesson"));
    for lesson in ebb::lessons::all().expect("lessons") {
        assert!(said.stdout.contains(&lesson.title), "{}", said.shown());
    }
}
