//! Completion for `kubectl herald`: kubectl runs `kubectl_complete-herald` with the words so far and takes its lines as suggestions.
//!
//! The form is that of cobra, kubectl's own library: a suggestion a line, a tab and what it means, and a colon with a number at
//! the end. Leaves out what only the cluster knows, such as the names of nodes.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// The shell adds nothing of its own.
const ONLY_THESE: u8 = 4;
/// The shell may complete names of files.
const FILES_TOO: u8 = 0;

/// What to print for the words behind `kubectl herald`, of which the last is being typed and may be empty.
pub(crate) fn answer(mut command: Command, words: &[String]) -> String {
    // Hands the flags that hold everywhere to all commands.
    command.build();
    let (directive, lines) = suggest(&command, words);
    let mut text = String::new();
    for (name, about) in lines {
        // Writing into a String cannot fail.
        writeln!(text, "{name}\t{about}").ok();
    }
    writeln!(text, ":{directive}").ok();
    text
}

fn suggest(command: &Command, words: &[String]) -> (u8, Vec<(String, String)>) {
    let Some((typed, before)) = words.split_last() else { return (ONLY_THESE, Vec::new()) };
    let (mut at, mut open) = (command, None);
    for word in before {
        if open.take().is_some() {
            // The value of the flag before it.
        } else if word.starts_with('-') {
            open = flag(at, word);
        } else if let Some(inner) = at.find_subcommand(word) {
            at = inner;
        }
    }
    if let Some(arg) = open {
        return values(arg, "", typed);
    }
    if let Some((name, value)) = typed.split_once('=').filter(|_| typed.starts_with("--")) {
        return flag(at, name)
            .map_or((ONLY_THESE, Vec::new()), |arg| values(arg, &format!("{name}="), value));
    }
    let lines = if typed.starts_with('-') {
        let visible = at.get_arguments().filter(|arg| !arg.is_hide_set());
        let longs = visible.filter_map(|arg| Some((format!("--{}", arg.get_long()?), help(arg))));
        longs.collect()
    } else {
        let inner = at.get_subcommands();
        let inner = inner.map(|inner| (inner.get_name().to_owned(), about(inner)));
        inner.chain(at.get_positionals().flat_map(|arg| values(arg, "", "").1)).collect()
    };
    (ONLY_THESE, starting_with(lines, typed))
}

/// The flag that a word names, if its value comes as the next word.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let named = |arg: &&Arg| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => arg.get_long() == Some(long),
        (None, Some(short)) => arg.get_short().is_some_and(|own| short == own.to_string()),
        (None, None) => false,
    };
    command.get_arguments().find(named).filter(|arg| arg.get_action().takes_values())
}

fn values(arg: &Arg, before: &str, typed: &str) -> (u8, Vec<(String, String)>) {
    let known = arg.get_possible_values();
    let directive = if known.is_empty() { FILES_TOO } else { ONLY_THESE };
    let lines = known.iter().map(|value| {
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        (format!("{before}{}", value.get_name()), about)
    });
    (directive, starting_with(lines.collect(), &format!("{before}{typed}")))
}

fn starting_with(lines: Vec<(String, String)>, typed: &str) -> Vec<(String, String)> {
    lines.into_iter().filter(|(name, _)| name.starts_with(typed)).collect()
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, directive: u8, expected: &[&str]) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let text = answer(crate::args::command(None), &words);
        let text = text.trim_end();
        let (lines, end) = text.rsplit_once('\n').unwrap_or(("", text));
        let names: Vec<&str> = lines.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!((names.as_slice(), end), (expected, format!(":{directive}").as_str()), "{line:?}");
    }

    #[test]
    fn commands_flags_and_values_are_suggested_where_they_may_stand() {
        check("p", ONLY_THESE, &["peers"]);
        check("-n lb ro", ONLY_THESE, &["routes"]);
        check("peers --w", ONLY_THESE, &["--watch"]);
        check("peers --kubec", ONLY_THESE, &["--kubeconfig"]);
        check("peers -o ", ONLY_THESE, &["table", "wide", "json", "yaml", "name"]);
        check("peers --output=j", ONLY_THESE, &["--output=json"]);
        check("peers --kubeconfig ", FILES_TOO, &[]);
        check("peers no", ONLY_THESE, &[]);
        check("completion z", ONLY_THESE, &["zsh"]);
    }
}
