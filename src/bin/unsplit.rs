//! The `unsplit` command: parses, runs, renders errors, exits.

use clap::Parser;
use std::process::ExitCode;
use unsplit::cli::{self, Cli, exit, screen::Screen};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::from(exit::FINE) };
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("UNSPLIT_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let mut screen = Screen::stdout(cli.color);
    match cli::run(&cli, &mut screen) {
        Ok(code) => ExitCode::from(code),
        // A reader that went away (`| head`) is not an error of ours.
        Err(failure) if broken_pipe(&failure.error) => ExitCode::from(exit::FINE),
        Err(failure) => {
            complain(&cli, &failure, &mut screen);
            ExitCode::from(failure.code)
        }
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

#[expect(clippy::print_stderr, reason = "the one place that reports errors")]
fn complain(cli: &Cli, failure: &exit::Failure, screen: &mut Screen) {
    if cli.json {
        let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        let _ = screen.json(&serde_json::json!({
            "schema": "unsplit.error", "version": 1, "exit_code": failure.code, "causes": causes, "next": failure.hint,
        }));
    }
    eprintln!("{}", failure.text());
}
