//! The format of a lesson: Markdown, with fenced blocks that mean something.
//!
//! ````text
//! <!-- images: nginx busybox -->      the images that the lesson's store must hold
//! ```console                          commands, and what they answer
//! $ ebb volume rm myvolume
//! ! ebb: remove myvolume: volume is in use - […]
//! [1]
//! ```
//! ```predict                          a question, its choices, the right one marked, and why
//! ```sh NAME                          a file, shown, and put into the learner's directory under that name
//! ```setup                            a shell script that sets up a state, unseen: what the learner then finds broken
//! ```check                            a state to reach (check.rs)
//! ```hint                             up to three, after a check
//! ```solve                            commands that reach it
//! ````
//!
//! In a console block `$ ` begins a command and `> ` continues it; what follows is its stdout, lines that begin with
//! `! ` its stderr, and `[N]` its exit code where that is not 0. `…` in a line stands for any text, and alone on a line
//! for any number of lines. `as root`, `as user, plain` after `console`, `predict` or `solve` say whom it is for
//! (audience.rs).

use super::audience::{self, Who};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct Lesson {
    /// 0 for a file that is not one of Ebb's own lessons.
    pub number: usize,
    /// Where its text lies, for messages.
    pub file: String,
    pub slug: String,
    pub title: String,
    pub images: Vec<String>,
    pub blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Markdown to be shown.
    Text(String),
    /// One command and its answer.
    Step(Step),
    Predict(Predict),
    File(File),
    /// What only some can try.
    Only(Only),
    Setup(Setup),
    Exercise(Exercise),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    pub command: String,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    pub code: i32,
    /// The line in README.md where the command stands, from 1.
    pub line: usize,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predict {
    pub question: String,
    pub choices: Vec<String>,
    pub right: usize,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Only {
    pub who: Vec<Who>,
    pub text: String,
    pub blocks: Vec<Block>,
}

/// A file for the learner to read, which then lies in his directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct File {
    pub name: String,
    pub text: String,
}

/// A script that is run without being shown, so that the learner has something to find out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Setup {
    pub script: String,
    pub line: usize,
}

/// A state to reach, with up to three hints, and the commands that reach it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exercise {
    pub claims: Vec<Claim>,
    pub why: String,
    pub hints: Vec<String>,
    pub solve: Vec<String>,
    /// What solves it for some only.
    pub solve_as: Vec<(Vec<Who>, Vec<String>)>,
    pub line: usize,
}

/// One line of a check block, and what it is about in a learner's words, where the line says so: `…  # the page is here`.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    pub label: Option<String>,
    pub wanted: Wanted,
}

/// A state (see check.rs), or a command with its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    State(Vec<String>),
    Answer(Step),
}

/// Parses a lesson. Errors name the line.
pub fn lesson(number: usize, file: &str, slug: &str, text: &str) -> Result<Lesson> {
    let mut lesson = Lesson {
        number,
        file: file.into(),
        slug: slug.into(),
        title: slug.into(),
        images: Vec::new(),
        blocks: Vec::new(),
    };
    let mut prose = String::new();
    let mut folded = false;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let mut body = Vec::new();
            for (_, inner) in lines.by_ref().take_while(|(_, inner)| *inner != "```") {
                body.push(inner);
            }
            let kind = fence.split(" as ").next().unwrap_or_default().trim();
            let known = matches!(kind, "console" | "predict" | "setup" | "check" | "hint" | "solve");
            if let Some(name) = fence.strip_prefix("sh ") {
                flush(&mut prose, &mut lesson.blocks);
                let file = a_file(name.trim(), &body);
                lesson.blocks.push(Block::File(
                    file.map_err(|error| Error::new(format!("{}:{}: {error}", lesson.file, index + 1)))?,
                ));
            } else if known {
                flush(&mut prose, &mut lesson.blocks);
                block(fence.trim(), &body, index + 2, &mut lesson.blocks)
                    .map_err(|error| Error::new(format!("{file}:{}: {error}", index + 1)))?;
            } else {
                prose.push_str(&format!("{line}\n{}\n```\n", body.join("\n")));
            }
        } else if let Some(images) = line.strip_prefix("<!-- images:").and_then(|rest| rest.strip_suffix("-->")) {
            lesson.images = images.split_whitespace().map(str::to_owned).collect();
        } else if line.trim_start().starts_with("<details>") || line.trim_start().starts_with("</details>") {
            // Folds a hint or a solution on the code host; the terminal has its own way of keeping them back.
            folded = line.trim_start().starts_with("<details>");
        } else if !folded {
            if let Some(title) = line.strip_prefix("# ") {
                lesson.title = title.into();
            }
            prose.push_str(line);
            prose.push('\n');
        }
    }
    flush(&mut prose, &mut lesson.blocks);
    Ok(lesson)
}

fn flush(prose: &mut String, blocks: &mut Vec<Block>) {
    if !prose.trim().is_empty() {
        blocks.push(Block::Text(prose.trim_matches('\n').to_owned()));
    }
    prose.clear();
}

fn block(fence: &str, body: &[&str], first_line: usize, blocks: &mut Vec<Block>) -> Result<()> {
    let (kind, who) = match fence.split_once(" as ") {
        Some((kind, who)) => (kind.trim(), Some(audience::parse(who)?)),
        None => (fence, None),
    };
    let last = match blocks.last_mut() {
        Some(Block::Exercise(exercise)) => Ok(exercise),
        _ => Err(Error::new(format!("a {kind} block must follow a check block"))),
    };
    let commands = || body.iter().map(|line| line.strip_prefix("$ ").unwrap_or(line).to_owned());
    match (kind, who) {
        ("console" | "predict", Some(who)) => {
            let mut inner = Vec::new();
            block(kind, body, first_line, &mut inner)?;
            blocks.push(Block::Only(Only { who, text: body.join("\n"), blocks: inner }));
        }
        ("solve", Some(who)) => last?.solve_as.push((who, commands().collect())),
        (_, Some(_)) => return Err(Error::new(format!("a {kind} block is for everyone"))),
        ("console", None) => blocks.extend(steps(body, first_line)?.into_iter().map(Block::Step)),
        ("predict", None) => blocks.push(Block::Predict(predict(body)?)),
        ("setup", None) => blocks.push(Block::Setup(setup(body, first_line)?)),
        ("check", None) => blocks.push(Block::Exercise(exercise(body, first_line)?)),
        ("hint", None) => {
            let exercise = last?;
            exercise.hints.push(body.join("\n"));
            if exercise.hints.len() > 3 {
                return Err(Error::new("a check has at most three hints"));
            }
        }
        _ => last?.solve.extend(commands()),
    }
    Ok(())
}

fn steps(body: &[&str], first_line: usize) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (offset, line) in body.iter().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.into(), line: first_line + offset, ..Step::default() });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            return Err(Error::new("the block must begin with a command: `$ …`"));
        };
        let exit_code =
            line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|code| code.parse().ok());
        if let (Some(more), true) = (line.strip_prefix("> "), step.stdout.is_empty() && step.stderr.is_empty()) {
            step.command.push('\n');
            step.command.push_str(more);
        } else if let Some(error) = line.strip_prefix("! ") {
            step.stderr.push(error.into());
        } else if let Some(code) = exit_code {
            step.code = code;
        } else {
            step.stdout.push((*line).into());
        }
    }
    Ok(steps)
}

fn predict(body: &[&str]) -> Result<Predict> {
    let mut predict = Predict::default();
    let mut right = None;
    for line in body {
        if let Some(choice) = line.strip_prefix("( ) ") {
            predict.choices.push(choice.into());
        } else if let Some(choice) = line.strip_prefix("(x) ") {
            right = Some(predict.choices.len());
            predict.choices.push(choice.into());
        } else if let Some(why) = line.strip_prefix("why: ") {
            predict.why = why.into();
        } else if !predict.why.is_empty() {
            predict.why = format!("{} {}", predict.why, line.trim());
        } else {
            predict.question = format!("{} {}", predict.question, line.trim()).trim().to_owned();
        }
    }
    predict.right = right.ok_or_else(|| Error::new("no choice is marked (x)"))?;
    if predict.question.is_empty() || predict.choices.len() < 2 || predict.why.is_empty() {
        return Err(Error::new("a predict block needs a question, at least two choices and a `why: …`"));
    }
    Ok(predict)
}

fn a_file(name: &str, body: &[&str]) -> Result<File> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(Error::new(format!("not a file of the learner's directory: {name}")));
    }
    Ok(File { name: name.to_owned(), text: format!("{}\n", body.join("\n")) })
}

fn setup(body: &[&str], first_line: usize) -> Result<Setup> {
    if body.iter().all(|line| line.trim().is_empty()) {
        return Err(Error::new("a setup block needs a script"));
    }
    Ok(Setup { script: body.join("\n"), line: first_line })
}

fn exercise(body: &[&str], first_line: usize) -> Result<Exercise> {
    let mut exercise = Exercise { line: first_line, ..Exercise::default() };
    let mut index = 0;
    while index < body.len() {
        let line = body[index];
        if let Some(why) = line.strip_prefix("why: ") {
            exercise.why = why.into();
        } else if line.starts_with("$ ") {
            // The command owns the lines up to the next command, state or reason.
            let more = body[index + 1..].iter().take_while(|line| !line.is_empty() && !line.starts_with("$ ")).count();
            let answer = steps(&body[index..=index + more], first_line + index)?;
            exercise.claims.extend(answer.into_iter().map(|mut step| {
                let (command, label) = labelled(&step.command);
                step.command = command.to_owned();
                Claim { label, wanted: Wanted::Answer(step) }
            }));
            index += more;
        } else if !line.trim().is_empty() {
            let (line, label) = labelled(line);
            let words = words(line)?;
            super::check::known(&words)?;
            exercise.claims.push(Claim { label, wanted: Wanted::State(words) });
        }
        index += 1;
    }
    if exercise.claims.is_empty() || exercise.why.is_empty() {
        return Err(Error::new("a check block needs something to check and a `why: …`"));
    }
    Ok(exercise)
}

/// A line of a check without its label, which begins with two spaces and a `#`: to a shell it is a comment.
fn labelled(line: &str) -> (&str, Option<String>) {
    match line.rsplit_once("  # ") {
        Some((before, label)) if !label.contains('\n') => (before.trim_end(), Some(label.trim().to_owned())),
        _ => (line, None),
    }
}

/// Words separated by spaces; double quotes keep them together.
fn words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    if line.matches('"').count() % 2 == 1 {
        return Err(Error::new(format!("a quote is left open: {line}")));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdout_stderr_and_exit_code_are_told_apart() {
        let text = "# T\n```console\n$ ebb rm x\n> y\nout\n! err\n[1]\n$ true\n```\n";
        let lesson = lesson(1, "t/README.md", "t", text).unwrap();
        let Block::Step(step) = &lesson.blocks[1] else { panic!("{:?}", lesson.blocks) };
        assert_eq!(step.command, "ebb rm x\ny");
        assert_eq!(
            (step.stdout.as_slice(), step.stderr.as_slice(), step.code),
            (&["out".to_owned()][..], &["err".to_owned()][..], 1)
        );
        assert_eq!(step.line, 3);
        assert!(matches!(&lesson.blocks[2], Block::Step(step) if step.command == "true" && step.code == 0));
    }

    #[test]
    fn hints_and_solution_belong_to_the_check_before_them() {
        let text =
            "```check\nvolume v exists\nwhy: because\n```\n```hint\nh1\n```\n```solve\n$ ebb volume create v\n```\n";
        let lesson = lesson(1, "t/README.md", "t", text).unwrap();
        let Block::Exercise(exercise) = &lesson.blocks[0] else { panic!() };
        assert_eq!(exercise.hints, ["h1"]);
        assert_eq!(exercise.solve, ["ebb volume create v"]);
    }

    #[test]
    fn a_block_may_be_for_some_only() {
        let text = "```console as root, user\n$ id -u\n0\n```\n```check\nvolume v exists\nwhy: w\n```\n\
                    ```solve as plain\ntrue\n```\n";
        let lesson = lesson(1, "t/README.md", "t", text).unwrap();
        let [Block::Only(only), Block::Exercise(exercise)] = lesson.blocks.as_slice() else { panic!() };
        assert_eq!((only.who.as_slice(), only.blocks.len()), (&[Who::Root, Who::User][..], 1));
        assert_eq!(exercise.solve_as, [(vec![Who::Plain], vec!["true".to_owned()])]);
        let seen = audience::lesson(&lesson, Who::Plain);
        assert!(matches!(&seen.blocks[0], Block::Text(text) if text.contains("$ id -u")), "{:?}", seen.blocks);
        assert!(matches!(&seen.blocks[1], Block::Exercise(exercise) if exercise.solve == ["true"]));
        for bad in ["console as kim\n$ id", "check as root\nvolume v exists\nwhy: w"] {
            assert!(super::lesson(1, "t", "t", &format!("```{bad}\n```\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_setup_is_one_script_and_belongs_to_no_check() {
        let text = "```setup\nfor v in a b; do\n  ebb volume create $v\ndone\n```\n";
        let lesson = lesson(1, "t/README.md", "t", text).unwrap();
        let [Block::Setup(setup)] = lesson.blocks.as_slice() else { panic!("{:?}", lesson.blocks) };
        assert_eq!((setup.script.as_str(), setup.line), ("for v in a b; do\n  ebb volume create $v\ndone", 2));
        assert!(super::lesson(1, "t", "t", "```setup\n\n```\n").is_err());
    }

    #[test]
    fn a_shell_block_with_a_name_is_a_file_and_one_without_is_text() {
        let text = "```sh gauge.sh\na\n\nb\n```\n```sh\nc\n```\n";
        let lesson = lesson(1, "t/README.md", "t", text).unwrap();
        let [Block::File(file), Block::Text(_)] = lesson.blocks.as_slice() else { panic!("{:?}", lesson.blocks) };
        assert_eq!((file.name.as_str(), file.text.as_str()), ("gauge.sh", "a\n\nb\n"));
        let outside = super::lesson(1, "t", "t", "```sh ../x\n```\n").unwrap_err();
        assert!(outside.message.contains("t:1: not a file of the learner's directory"), "{outside}");
    }

    #[test]
    fn a_predict_block_without_a_marked_choice_is_refused_by_line() {
        let error = lesson(1, "t/README.md", "t", "text\n```predict\nWhat?\n( ) a\n( ) b\nwhy: c\n```\n").unwrap_err();
        assert!(error.message.contains("t/README.md:2"), "{error}");
    }
}
