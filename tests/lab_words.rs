//! The lab's words are shell functions, and a scenario is one, too: they share their variables. A word that assigned to `n` without
//! declaring it changed the scenario's own `n`, and the scenario went on with another node.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// A script without what is quoted, commented, or in a here-document: what the shell itself reads as code.
fn code(script: &str) -> String {
    let mut out = String::new();
    let mut lines = script.lines();
    let mut quote = None;
    while let Some(line) = lines.next() {
        let mut before = ' ';
        let mut bare = String::new();
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            match (quote, letter) {
                (None, '#') if before.is_whitespace() => break,
                (None | Some('"'), '\\') => drop(letters.next()),
                (None, '"' | '\'') => quote = Some(letter),
                (Some(open), _) if open == letter => quote = None,
                (None, _) => bare.push(letter),
                (Some(_), _) => {}
            }
            before = letter;
        }
        let here = bare.split("<<").nth(1).filter(|rest| !rest.starts_with('<') && quote.is_none());
        if let Some(end) = here.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned) {
            for inside in lines.by_ref() {
                if inside == end {
                    break;
                }
            }
        }
        out.push_str(&bare);
        out.push('\n');
    }
    out
}

/// The names that a function's code declares as its own.
fn declared(body: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // An empty list is no subshell.
    for statement in body.replace("=()", "=").split([';', '\n', '{', '(']) {
        let Some(words) = statement.trim().strip_prefix("local ") else { continue };
        let name = |word: &str| word.split(['=', '+']).next().unwrap_or_default().to_owned();
        names.extend(words.split_whitespace().map(name));
    }
    names
}

fn is_name(word: &str) -> bool {
    // What is written large is meant for everybody.
    !word.is_empty()
        && word.chars().all(|letter| letter.is_ascii_lowercase() || "_0123456789".contains(letter))
}

/// The names that it assigns to.
fn assigned(body: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // Arithmetic has blanks around its `=`.
    for statement in body.replace(" = ", "=").split([';', '\n', '{', '(', '|', '&']) {
        let mut words = statement
            .split_whitespace()
            .skip_while(|word| ["do", "then", "else", "if", "while", "until", "!", "}"].contains(word));
        match words.next() {
            Some("for") => names.extend(words.next().map(str::to_owned)),
            Some("read") => {
                let given = words.take_while(|word| !word.starts_with('<'));
                names.extend(given.filter(|word| !word.starts_with('-')).map(str::to_owned));
            }
            // Several assignments may stand in a row; before a command they are the command's own.
            Some(first) => {
                let all: Vec<&str> = std::iter::once(first).chain(words).collect();
                let name = |word: &&str| {
                    let (name, _) = word.split_once("+=").or_else(|| word.split_once('='))?;
                    is_name(name).then(|| name.to_owned())
                };
                if all.iter().all(|word| name(word).is_some()) {
                    names.extend(all.iter().filter_map(name));
                }
            }
            None => {}
        }
    }
    names.retain(|name| is_name(name));
    names
}

/// Every function of a script, and its code.
fn functions(script: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in code(script).lines() {
        if let Some((name, body)) = line.split_once("() {").filter(|(name, _)| is_name(name)) {
            found.push((name.to_owned(), body.to_owned()));
            open = !line.trim_end().ends_with('}');
        } else if line == "}" {
            open = false;
        } else if open {
            let (_, body) = found.last_mut().unwrap();
            body.push('\n');
            body.push_str(line);
        }
    }
    found
}

/// What a script's functions assign to without having declared it.
fn strays(script: &str) -> Vec<String> {
    let of = |(name, body): (String, String)| {
        let declared = declared(&body);
        let stray = assigned(&body).into_iter().filter(move |word| !declared.contains(word));
        stray.map(move |word| format!("{name}: {word}")).collect::<Vec<_>>()
    };
    functions(script).into_iter().flat_map(of).collect()
}

#[test]
fn a_word_of_the_lab_keeps_its_variables_to_itself() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lib");
    let (mut found, mut seen) = (Vec::new(), 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sh") {
            let script = fs::read_to_string(&path).unwrap();
            seen += functions(&script).len();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.extend(strays(&script).into_iter().map(|stray| format!("{name}: {stray}")));
        }
    }
    assert!(seen > 80, "only {seen} functions were found");
    assert!(found.is_empty(), "declare these with `local`:\n  {}", found.join("\n  "));
}

#[test]
fn what_is_looked_for_is_found() {
    let script = "\
one() { for n in 1 2; do on \"$n\" \"for m in a; do x=1; done\"; done; }
two() {
  local a b=1 # c=2
  a=3 b=4
  COUNT=5
  d=$(for e in 1; do echo \"$e\"; done)
  while read -r f g; do :; done
  for ((h = 0; h < 2; h++)); do LIMIT=9 on 1 'i=2'; done
  cat << END
j=1
END
  k+=1
}
";
    let wanted = ["one: n", "two: d", "two: e", "two: f", "two: g", "two: h", "two: k"];
    assert_eq!(strays(script), wanted);
}
