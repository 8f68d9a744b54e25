//! The command line's own errors, in Docker's words and with its exit codes.

use super::Globals;
use super::help;
use super::table::Entry;
use crate::error::{Error, Kind, Result};
use crate::explain::Manner;
use crate::kernel;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::{OsStr, OsString};

/// Docker's exit code for a flag that cannot be parsed, whatever the command.
const BAD_FLAG: i32 = 125;

/// `-t` where standard input is no terminal.
pub const NO_TERMINAL: &str = "the input device is not a TTY";

/// Takes the global options off the front of the arguments.
pub fn globals(arguments: &[OsString]) -> Result<(Globals, Vec<OsString>)> {
    let mut globals = Globals::default();
    let mut words = arguments.iter().skip(1).peekable();
    while let Some(word) = words.peek() {
        if *word == "--root" {
            words.next();
            let value = words.next().ok_or_else(|| Error::of(Kind::Usage, "flag needs an argument: --root"))?;
            globals.root = Some(value.into());
        } else if let Some(value) = after_prefix(word, "--root=") {
            globals.root = Some(value.into());
            words.next();
        } else if *word == "--debug" || *word == "-D" {
            globals.debug = true;
            words.next();
        } else if *word == "--explain" {
            globals.explain = Manner::Words;
            words.next();
        } else if let Some(value) = after_prefix(word, "--explain=") {
            globals.explain = parsed(value)?;
            words.next();
        } else if *word == "--step" {
            globals.step = true;
            words.next();
        } else if *word == "--without" {
            words.next();
            let value = words.next().ok_or_else(|| Error::of(Kind::Usage, "flag needs an argument: --without"))?;
            globals.without.push(parsed(value)?);
        } else if let Some(value) = after_prefix(word, "--without=") {
            globals.without.push(parsed(value)?);
            words.next();
        } else {
            break;
        }
    }
    if globals.explain == Manner::Silent
        && let Some(value) = std::env::var_os("EBB_EXPLAIN")
    {
        globals.explain = if value.is_empty() { Manner::Silent } else { parsed(value)? };
    }
    if globals.step && globals.explain == Manner::Silent {
        globals.explain = Manner::Words;
    }
    Ok((globals, words.cloned().collect()))
}

/// The value of a global flag, or of the variable that stands for one.
fn parsed<T: std::str::FromStr<Err = Error>>(value: impl AsRef<OsStr>) -> Result<T> {
    value.as_ref().to_string_lossy().parse().map_err(|error: Error| Error::of(Kind::Usage, error.message))
}

/// A path need not be UTF-8.
fn after_prefix<'a>(word: &'a OsStr, prefix: &str) -> Option<&'a OsStr> {
    use std::os::unix::ffi::OsStrExt;
    word.as_bytes().strip_prefix(prefix.as_bytes()).map(OsStr::from_bytes)
}

/// Prints an error, and gives the exit code that Docker gives: 125, 126, 127 for `run`, `create` and `exec`, 125 for a
/// flag that is wrong, 1 for the rest.
pub fn report(error: &Error, entry: Option<&'static Entry>) -> i32 {
    let error = &super::volume::with_cure_for_no_room(error);
    let name = entry.map_or("", |entry| entry.alias_of.unwrap_or(entry.path));
    // Docker's client finds this out by itself, before it asks for a container: 1, as from any other command.
    let no_terminal = error.message == NO_TERMINAL;
    match (error.kind, entry) {
        (Kind::Reported, _) => {}
        (Kind::Usage, Some(entry)) => flag_error(entry, error),
        (Kind::Usage, None) => eprintln!("{error}\n\nUsage:  {}\n\nRun 'ebb --help' for more information", help::USAGE),
        (_, Some(entry)) if name == "run" && !no_terminal => {
            super::output::complain(&format!("{error}\n\n{}", more("Run", entry.path)));
        }
        _ => super::output::complain(error),
    }
    match (name, error.kind) {
        ("run" | "create" | "exec" | "start", Kind::NotExecutable) => 126,
        ("run" | "create" | "exec" | "start", Kind::CommandNotFound) => 127,
        ("run" | "create", kind) if kind != Kind::Reported && !no_terminal => 125,
        (_, Kind::Usage) => BAD_FLAG,
        _ => 1,
    }
}

fn flag_error(entry: &Entry, message: &impl std::fmt::Display) {
    let usage = help::usage_line(entry.path, &(entry.command)());
    eprintln!("{message}\n\nUsage:  {usage}\n\n{}", more("Run", entry.path));
}

fn more(verb: &str, path: &str) -> String {
    format!("{verb} 'ebb {path} --help' for more information")
}

/// What clap would not take: `--help` is printed, the rest is said as Docker says it.
pub fn rejected(entry: &'static Entry, words: &[OsString], error: &clap::Error) -> Result<i32> {
    let argument = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    let flag = argument.split([' ', '=']).next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            super::output::bytes(error.render().to_string().as_bytes())?;
            return Ok(0);
        }
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') && flag.len() > 1 => {
            let letter = flag.trim_start_matches('-').chars().next().unwrap_or('-');
            format!("unknown shorthand flag: {letter:?} in {}", cluster(words, letter))
        }
        ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => {
            return Ok(wrong_count(entry));
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues if value.is_empty() => {
            let last = words.last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            match last.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| rest.chars().last()) {
                Some(letter) => format!("flag needs an argument: {letter:?} in {last}"),
                None => format!("flag needs an argument: {flag}"),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooManyValues => {
            let place =
                if argument.starts_with('-') { format!("{:?} flag", named(entry, flag)) } else { argument.clone() };
            format!("invalid argument {value:?} for {place}: {}", reason(error))
        }
        ErrorKind::ArgumentConflict => format!("conflicting options: {argument} and {}", prior(error)),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => first_line(error),
    };
    flag_error(entry, &message);
    // runc knows one code for all that goes wrong.
    Ok(if entry.path.starts_with("oci ") { 1 } else { BAD_FLAG })
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

fn prior(error: &clap::Error) -> String {
    context(error, ContextKind::PriorArg)
}

/// Why a value was not taken.
fn reason(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => format!("must be one of {}", known.join(", ")),
        _ if error.kind() == ErrorKind::TooManyValues => "the flag takes no value".into(),
        _ => std::error::Error::source(error).map_or_else(|| first_line(error), ToString::to_string),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The joined short flags that `letter` was typed in: `-xyz`.
fn cluster(words: &[OsString], letter: char) -> String {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let found = words.find(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter));
    found.map_or_else(|| format!("-{letter}"), |word| word.into_owned())
}

/// A flag as Docker names it in errors: `-n, --last`.
fn named(entry: &Entry, flag: &str) -> String {
    let command = (entry.command)();
    let long = flag.trim_start_matches('-');
    let mut arguments = command.get_arguments();
    match arguments.find(|argument| argument.get_long() == Some(long)).and_then(clap::Arg::get_short) {
        Some(short) => format!("-{short}, {flag}"),
        None => flag.to_owned(),
    }
}

/// Too few words or too many.
fn wrong_count(entry: &Entry) -> i32 {
    let command = (entry.command)();
    let positionals: Vec<_> = command.get_positionals().collect();
    let least = positionals.iter().map(|argument| help::least(argument)).sum::<usize>();
    let endless = positionals.iter().any(|argument| help::takes_many(argument));
    let plural = |count: usize| if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") };
    let wanted = match positionals.len() {
        0 => "accepts no arguments".to_owned(),
        _ if endless => format!("requires at least {}", plural(least)),
        most if most == least => format!("requires {}", plural(most)),
        most if least == 0 => format!("requires at most {}", plural(most)),
        most => format!("requires at least {least} and at most {}", plural(most)),
    };
    let usage = help::usage_line(entry.path, &command);
    let path = entry.path;
    eprintln!("ebb: 'ebb {path}' {wanted}\n\nUsage:  {usage}\n\n{}", more("See", path));
    1
}

/// No row of the table begins with these words: help, version, or an unknown command.
pub fn no_command(words: &[OsString]) -> i32 {
    let word = |index: usize| words.get(index).map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let (mut first, mut second) = (word(0), word(1));
    let inner = format!("{first} {second}");
    if help::is_family(&inner) {
        (first, second) = (inner, word(2));
    }
    if help::is_family(&first) {
        return match second.as_str() {
            "" => to_stderr(&help::family(&first)),
            "--help" | "-h" | "help" => to_stdout(&help::family(&first)),
            _ => unknown(&format!("{first} {second}"), &first),
        };
    }
    match first.as_str() {
        "" if words.is_empty() => to_stderr(&help::whole()),
        "--help" | "-h" => to_stdout(&help::whole()),
        "help" => match help::of(&words[1..]) {
            Some(text) => to_stdout(&text),
            None => unknown(&second, ""),
        },
        "--version" | "-v" => to_stdout(&format!("ebb version {}\n", env!("CARGO_PKG_VERSION"))),
        flag if flag.starts_with('-') => {
            let what = match flag.strip_prefix("--") {
                Some(name) => format!("unknown flag: --{}", name.split('=').next().unwrap_or_default()),
                None => format!("unknown shorthand flag: {:?} in {flag}", flag.chars().nth(1).unwrap_or('-')),
            };
            report(&Error::of(Kind::Usage, what), None)
        }
        _ => unknown(&first, ""),
    }
}

/// `unknown command`, and the one that was probably meant.
fn unknown(path: &str, family: &str) -> i32 {
    if let Some(instead) = absent(path.split(' ').next().unwrap_or_default()) {
        return report(&Error::new(format!("ebb {path} is not here yet")).with_cure(instead), None);
    }
    let meant = match help::closest(path) {
        Some(known) => format!("Did you mean 'ebb {known}'?\n\n"),
        None => String::new(),
    };
    let place = if family.is_empty() { "ebb".to_owned() } else { format!("ebb {family}") };
    eprintln!("ebb: unknown command: ebb {path}\n\n{meant}Run '{place} --help' for more information");
    1
}

/// What a Docker user's fingers type and Ebb has not yet, with what does its work here.
fn absent(word: &str) -> Option<&'static str> {
    Some(match word {
        "build" | "builder" | "buildx" => {
            "images come from recipes (`ebb pull`), from `docker save` (`ebb load`) and from a root file system's tar \
             (`ebb import`)"
        }
        "commit" => "`ebb export CONTAINER | ebb import - IMAGE` makes an image of a container's files",
        "push" | "login" | "logout" | "search" => {
            "Ebb speaks to no registry; `ebb save` writes what `docker load` reads"
        }
        "network" | "port" => "`--network none` and `--network host` are what there is",
        "compose" => "containers and volumes are made one by one: `ebb run`, `ebb volume create`",
        "events" => "`ebb ps -a` and `ebb logs -f` tell what goes on",
        _ => return None,
    })
}

/// As in Docker, help that was asked for goes to stdout, help in the place of a command to stderr.
fn to_stderr(text: &str) -> i32 {
    eprint!("{}", help::folded(text, kernel::window_size(std::io::stderr())));
    0
}

fn to_stdout(text: &str) -> i32 {
    let text = help::folded(text, kernel::window_size(std::io::stdout()));
    match super::output::bytes(text.as_bytes()) {
        Ok(()) => 0,
        Err(error) => report(&error, None),
    }
}
