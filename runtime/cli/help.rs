//! Help: what each command takes, and which commands there are.

use super::examples;
use super::table::{self, Entry, FAMILIES, TABLE};
use crate::explain::without;
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;

pub const ABOUT: &str = "A container runtime small enough to read in an afternoon";
pub const USAGE: &str = "ebb [OPTIONS] COMMAND [ARG...]";

/// Gives a command's definition what all of them share: Docker's way of reading flags, and the form of its help.
pub fn dress(path: &str, command: Command) -> Command {
    let usage = usage_line(path, &command);
    let aliases = aliases(path);
    let template = format!("Usage:  {{usage}}\n\n{{about}}\n{aliases}\nOptions:\n{{options}}{{after-help}}\n");
    let has_help = command.get_arguments().any(|argument| argument.get_id() == "help");
    let h_is_taken = command.get_arguments().any(|argument| argument.get_short() == Some('h'));
    let mut command = command
        .bin_name(format!("ebb {path}"))
        .no_binary_name(true)
        .styles(clap::builder::Styles::plain())
        .override_usage(usage)
        .help_template(template)
        .disable_help_flag(true)
        // A flag given twice counts as given last.
        .args_override_self(true)
        // What follows a flag that takes a value is that value, whatever it looks like.
        .mut_args(|argument| if takes_one_value(&argument) { argument.allow_hyphen_values(true) } else { argument });
    // By the long names, as in Docker's help, wherever an option is defined.
    let mut names: Vec<String> = command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect();
    names.sort();
    command = command.mut_args(|argument| {
        let place = argument.get_long().and_then(|long| names.iter().position(|name| name == long));
        argument.display_order(place.unwrap_or(names.len()))
    });
    if let Some(ending) = ending(path, &command) {
        command = command.after_help(ending);
    }
    if !has_help {
        let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print this help");
        command = command.arg(if h_is_taken { help } else { help.short('h') });
    }
    command
}

/// The command's own last words, and examples where they have none.
fn ending(path: &str, command: &Command) -> Option<String> {
    let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let target = table::row_named(path).map_or(path, |entry| entry.alias_of.unwrap_or(entry.path));
    let examples = examples::of(target).filter(|_| !own.contains("Examples:"))?;
    let lines: String = examples.lines().map(|line| format!("\n  {line}")).collect();
    let between = if own.is_empty() { "" } else { "\n\n" };
    Some(format!("{own}{between}Examples:{lines}"))
}

/// What stands before a command; usage.rs reads it, help, completions and man pages tell of it.
pub fn global_options() -> [Arg; 6] {
    let root = Arg::new("root").long("root").value_name("DIR").value_hint(clap::ValueHint::DirPath);
    let debug = Arg::new("debug").short('D').long("debug").action(ArgAction::SetTrue);
    let version = Arg::new("version").short('v').long("version").action(ArgAction::Version);
    let explain = Arg::new("explain").long("explain").value_name("FORMAT").num_args(0..=1).require_equals(true);
    let explain = explain.value_parser(["text", "json"]);
    let step = Arg::new("step").long("step").action(ArgAction::SetTrue);
    let without = Arg::new("without").long("without").value_name("STEP").action(ArgAction::Append);
    let without = without.value_parser(without::names());
    [
        root.help("Where the store is"),
        debug.help("Taken because docker takes it; there is no daemon to debug"),
        version.help("Print the version"),
        explain.help("Tell every kernel step while it is taken, in words or as JSON"),
        step.help("Explain, and wait for Enter before each step"),
        without.help("Leave one isolating step of run, start or restart out, to see what it was for"),
    ]
}

fn takes_one_value(argument: &Arg) -> bool {
    let takes_values = argument.get_action().takes_values() && !argument.is_positional();
    takes_values && argument.get_num_args().is_none_or(|count| (count.min_values(), count.max_values()) == (1, 1))
}

/// Docker takes `--rm=true` and `-d=false` for flags that need no value; clap does not. Rewrites them, up to the first
/// word that belongs to the container's own command.
pub fn plain_flags(command: &Command, words: Vec<OsString>) -> Vec<OsString> {
    let mut rewritten = Vec::with_capacity(words.len());
    let command_follows = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str().filter(|text| text.len() > 1 && text.starts_with('-') && *text != "--") else {
            let ends = command_follows || word == "--";
            rewritten.push(word);
            if ends {
                break;
            }
            continue;
        };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let argument = match name.strip_prefix("--") {
            Some(long) => command.get_arguments().find(|argument| argument.get_long() == Some(long)),
            // Of joined short flags the last one may take the next word.
            None => {
                let last = name.chars().last();
                command.get_arguments().find(|argument| argument.get_short() == last)
            }
        };
        let is_switch = argument.is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue));
        match (is_switch, value) {
            (true, Some("true" | "1" | "t" | "T" | "TRUE" | "True")) => rewritten.push(name.into()),
            (true, Some("false" | "0" | "f" | "F" | "FALSE" | "False")) => {}
            _ => {
                let next = argument.is_some_and(takes_one_value) && value.is_none();
                rewritten.push(word);
                rewritten.extend(words.by_ref().take(usize::from(next)));
            }
        }
    }
    rewritten.extend(words);
    rewritten
}

/// `ebb volume rm [OPTIONS] VOLUME [VOLUME...]`
pub fn usage_line(path: &str, command: &Command) -> String {
    let mut line = format!("ebb {path}");
    if command.get_arguments().any(|argument| !argument.is_positional()) {
        line.push_str(" [OPTIONS]");
    }
    for argument in command.get_positionals() {
        let mut names: Vec<&str> =
            argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
        if names.is_empty() {
            names.push(argument.get_id().as_str());
        }
        let last = names[names.len() - 1];
        let least = least(argument);
        for index in 0..least {
            line.push_str(&format!(" {}", names.get(index).unwrap_or(&last)));
        }
        match (names.get(least..).unwrap_or_default(), takes_many(argument)) {
            // The words of a container's own command.
            ([.., "COMMAND"], true) => line.push_str(" [COMMAND] [ARG...]"),
            ([], true) if last == "COMMAND" => line.push_str(" [ARG...]"),
            (_, true) => line.push_str(&format!(" [{last}...]")),
            (optional, false) => optional.iter().for_each(|name| line.push_str(&format!(" [{name}]"))),
        }
    }
    line
}

/// How many words a positional argument must have.
pub fn least(argument: &Arg) -> usize {
    match argument.is_required_set() {
        true => argument.get_num_args().map_or(1, |count| count.min_values().max(1)),
        false => 0,
    }
}

/// Whether a positional argument takes any number of words.
pub fn takes_many(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
        || argument.get_num_args().is_some_and(|count| count.max_values() > 1)
}

/// The other spellings of a command, the longest first.
fn aliases(path: &str) -> String {
    let target = table::row_named(path).map_or(path, |entry| entry.alias_of.unwrap_or(entry.path));
    let same = |entry: &&Entry| entry.path == target || entry.alias_of == Some(target);
    let mut names: Vec<_> = TABLE.iter().filter(same).map(|entry| format!("ebb {}", entry.path)).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.matches(' ').count()));
    if names.len() < 2 { String::new() } else { format!("\nAliases:\n  {}\n", names.join(", ")) }
}

pub fn is_family(name: &str) -> bool {
    FAMILIES.iter().any(|(family, _)| *family == name)
}

/// `ebb volume`: the commands of one family, in alphabetical order.
pub fn family(name: &str) -> String {
    let about = FAMILIES.iter().find(|(family, _)| *family == name).map_or("", |(_, about)| about);
    let mut lines: Vec<_> =
        of_family(name).into_iter().map(|(word, entry)| (word.to_owned(), about_of(entry))).collect();
    lines.sort();
    let more = examples::of(name).map_or_else(String::new, |text| format!("{text}\n\n"));
    format!(
        "Usage:  ebb {name} COMMAND\n\n{about}\n\nCommands:\n{}\n{more}Run 'ebb {name} COMMAND --help' for more \
         information on a command.\n",
        listed(&lines)
    )
}

/// The commands of a family, each under the first of its names there.
fn of_family(name: &str) -> Vec<(&'static str, &'static Entry)> {
    let mut found: Vec<(&str, &Entry)> = Vec::new();
    for entry in TABLE {
        let target = |entry: &Entry| entry.alias_of.unwrap_or(entry.path);
        if let Some(word) = entry.path.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '))
            && !found.iter().any(|(_, known)| target(known) == target(entry))
        {
            found.push((word, entry));
        }
    }
    found
}

/// `ebb --help`
pub fn whole() -> String {
    let short = |belongs: &dyn Fn(&Entry) -> bool| -> Vec<(String, String)> {
        let rows = TABLE.iter().filter(|entry| !entry.path.contains(' ') && belongs(entry));
        rows.map(|entry| (entry.path.to_owned(), about_of(entry))).collect()
    };
    const SYSTEM: [&str; 5] = ["events", "info", "version", "completions", "man"];
    let is_image = |entry: &Entry| entry.alias_of.is_some_and(|target| target.starts_with("image "));
    let families = FAMILIES.iter().filter(|(name, _)| !name.contains(' '));
    let families = families.map(|(name, about)| ((*name).to_owned(), (*about).to_owned())).collect::<Vec<_>>();
    let volumes = of_family("volume").into_iter().map(|(_, entry)| (entry.path.to_owned(), about_of(entry)));
    let groups = [
        ("Lessons", short(&|entry| entry.path == "lesson")),
        ("Containers", short(&|entry| entry.path != "lesson" && !is_image(entry) && !SYSTEM.contains(&entry.path))),
        ("Images", short(&is_image)),
        ("Volumes", volumes.collect()),
        ("Ebb itself", short(&|entry| SYSTEM.contains(&entry.path))),
        ("Families of commands, in their long forms", families),
    ];
    let groups: String = groups.iter().map(|(title, lines)| format!("{title}:\n{}\n", listed(lines))).collect();
    format!(
        "Usage:  {USAGE}\n\n{ABOUT}\n\n{groups}\
         Options:\n  \
         -D, --debug           Taken because docker takes it; there is no daemon to debug\n      \
         --explain[=json]  Tell every kernel step while it is taken, on stderr (also: EBB_EXPLAIN=1)\n      \
         --help            Print this help\n      \
         --root DIR        Where the store is (default: $EBB_ROOT, else /var/lib/ebb, or ~/.local/share/ebb without root)\n      \
         --step            Explain, and wait for Enter before each step\n  \
         -v, --version         Print the version\n      \
         --without STEP    Leave one isolating step out (pid, seccomp, …), to see what it was for\n\n\
         Examples:\n  \
         ebb lesson 3                                     what rm washes away, and what a volume keeps\n  \
         ebb run -d -v myvolume:/app/data --name web nginx\n  \
         ebb exec web ls /app/data\n  \
         ebb volume ls\n\n\
         Run 'ebb COMMAND --help' for more information on a command.\n"
    )
}

/// `ebb help WORDS`: what `ebb WORDS --help` says.
pub fn of(words: &[OsString]) -> Option<String> {
    let word = |index: usize| words.get(index).and_then(|word| word.to_str()).unwrap_or("");
    let paths =
        [format!("{} {} {}", word(0), word(1), word(2)), format!("{} {}", word(0), word(1)), word(0).to_owned()];
    if let Some(entry) = paths.iter().find_map(|path| table::row_named(path.trim_end())) {
        return Some(dress(entry.path, (entry.command)()).render_help().to_string());
    }
    match paths.iter().find(|path| is_family(path)) {
        Some(name) => Some(family(name)),
        None => word(0).is_empty().then(whole),
    }
}

fn about_of(entry: &Entry) -> String {
    (entry.command)().get_about().map(ToString::to_string).unwrap_or_default()
}

fn listed(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(10) + 2;
    lines.iter().map(|(name, about)| format!("  {name:width$}{about}\n")).collect()
}

/// `text` for a terminal of that size: a line that is too long goes on below where its last column begins.
pub fn folded(text: &str, size: nix::Result<(u16, u16)>) -> String {
    let columns = size.map_or(0, |(_, columns)| usize::from(columns));
    if columns < 40 {
        return text.to_owned();
    }
    let fold = |line: &str| -> String {
        let letters: Vec<char> = line.chars().collect();
        let start = line.chars().take_while(|letter| *letter == ' ').count();
        let gap = letters.windows(3).skip(start).rposition(|letters| letters[..2] == [' '; 2] && letters[2] != ' ');
        let column = gap.map_or(start, |at| start + at + 2);
        let room = columns - if column > columns / 2 { start } else { column };
        let (mut rest, mut shown) = (letters.as_slice(), String::new());
        let mut width = columns;
        while rest.len() > width {
            let Some(space) = rest[..=width].iter().rposition(|letter| *letter == ' ').filter(|at| *at > 0) else {
                break;
            };
            if rest[..space].iter().all(|letter| *letter == ' ') {
                break;
            }
            shown.extend(&rest[..space]);
            shown.push('\n');
            shown.push_str(&" ".repeat(columns - room));
            rest = &rest[space + 1..];
            width = room;
        }
        shown.extend(rest);
        shown
    };
    text.split('\n').map(fold).collect::<Vec<_>>().join("\n")
}

/// The known command that is a slip or two away from `path`.
pub fn closest(path: &str) -> Option<&'static str> {
    let known = TABLE.iter().map(|entry| entry.path).chain(FAMILIES.iter().map(|(name, _)| *name));
    let nearest = known.map(|name| (distance(path, name), name)).min_by_key(|(distance, _)| *distance)?;
    let most = if path.chars().count() < 4 { 1 } else { 2 };
    (nearest.0 <= most).then_some(nearest.1)
}

/// How many letters must be changed, added, left out or swapped to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swap = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(swap)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(words: &[&str]) -> Vec<String> {
        let command = Command::new("run")
            .arg(Arg::new("rm").long("rm").action(ArgAction::SetTrue))
            .arg(Arg::new("detach").short('d').long("detach").action(ArgAction::SetTrue))
            .arg(Arg::new("name").short('n').long("name"))
            .arg(Arg::new("image").num_args(1..).trailing_var_arg(true));
        let words = words.iter().map(OsString::from).collect();
        plain_flags(&command, words).into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_switch_takes_true_and_false() {
        assert_eq!(rewritten(&["--rm=true", "-d=false", "x"]), ["--rm", "x"]);
        assert_eq!(rewritten(&["--name", "--rm=true", "x", "--rm=true"]), ["--name", "--rm=true", "x", "--rm=true"]);
        assert_eq!(rewritten(&["-dn", "--rm=false", "--", "--rm=true"]), ["-dn", "--rm=false", "--", "--rm=true"]);
        assert_eq!(rewritten(&["--rm=perhaps", "-"]), ["--rm=perhaps", "-"]);
    }

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        assert_eq!(closest("vollume"), Some("volume"));
        assert_eq!(closest("rnu"), Some("run"));
        assert_eq!(closest("volume isnpect"), Some("volume inspect"));
        assert_eq!(closest("something"), None);
    }

    #[test]
    fn a_usage_line_is_dockers() {
        let command = || Command::new("x").arg(Arg::new("f").long("f"));
        let one = |arg: Arg| usage_line("x", &command().arg(arg));
        assert_eq!(one(Arg::new("V").required(true).num_args(1..)), "ebb x [OPTIONS] V [V...]");
        assert_eq!(one(Arg::new("V")), "ebb x [OPTIONS] [V]");
        assert_eq!(one(Arg::new("c").value_name("COMMAND").num_args(0..)), "ebb x [OPTIONS] [COMMAND] [ARG...]");
        let exec = Arg::new("words").value_names(["CONTAINER", "COMMAND"]).required(true).num_args(2..);
        assert_eq!(one(exec), "ebb x [OPTIONS] CONTAINER COMMAND [ARG...]");
    }
}
