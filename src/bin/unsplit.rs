//! The `unsplit` command: parses, runs, renders errors, exits.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use unsplit::cli::defect;
use unsplit::cli::exit::{self, Failure};
use unsplit::cli::screen::Screen;
use unsplit::cli::{self, Cli, ColorChoice};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("UNSPLIT_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let mut screen = Screen::stdout(cli.color);
    if cli.command.acts() {
        screen = screen.of_work();
    }
    defect::tell();
    match defect::caught(&cli, &mut screen, cli::run) {
        // Who was to learn something has not learned it; what was done is done.
        Ok(_) if screen.is_broken() && !cli.command.acts() => ExitCode::from(exit::INTERNAL),
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if cli.json {
                let _ = screen.json(&failure.document());
            }
            // Nobody is left to tell when standard error is closed, too.
            let _ = writeln!(std::io::stderr(), "{}", failure.text());
            ExitCode::from(failure.code())
        }
    }
}

/// Help and version were asked for, or the command line is wrong.
fn unparsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print().and_then(|()| std::io::stdout().flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                let _ = writeln!(std::io::stderr(), "error: the output could not be written: {error}");
                ExitCode::from(exit::INTERNAL)
            }
            _ => ExitCode::from(exit::FINE),
        };
    }
    // Who asked for JSON gets it here, too; clap could not say whether they did.
    if std::env::args_os().any(|word| word == "--json") {
        let text = error.render().to_string();
        let what = text.split("\n\nUsage:").next().unwrap_or_default().trim();
        let failure = Failure::usage(what.strip_prefix("error: ").unwrap_or(what));
        let _ = Screen::stdout(ColorChoice::Never).json(&failure.document());
    }
    let _ = error.print();
    ExitCode::from(exit::USAGE)
}
