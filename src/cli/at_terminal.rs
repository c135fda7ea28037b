//! A person at a terminal drives: shown what is told, asked for consent.

use super::Cli;
use super::consent::agreed_at_the_prompt;
use super::exit::Failure;
use super::plan::show;
use super::screen::Screen;
use crate::edge::terminal::TerminalProgress;
use crate::judge::incident::Incident;
use crate::model::record::Consent;
use crate::ports::progress::Progress;
use crate::ports::store::Store;
use crate::resolver::desk::{Desk, state_words};
use crate::resolver::draw::DrawnPlan;
use crate::resolver::driver::Driver;
use crate::resolver::in_use::InUse;

/// The terminal, and what was said on the command line.
pub(super) struct AtTerminal<'t> {
    cli: &'t Cli,
    screen: &'t mut Screen,
    /// `--yes`.
    yes: bool,
    /// Where salvages are kept, for the plan's page.
    salvages: String,
}

impl<'t> AtTerminal<'t> {
    pub(super) fn new(cli: &'t Cli, screen: &'t mut Screen, desk: &Desk, yes: bool) -> AtTerminal<'t> {
        AtTerminal { cli, screen, yes, salvages: desk.store.locate("salvage") }
    }
}

impl Driver for AtTerminal<'_> {
    fn progress(&self) -> Box<dyn Progress> {
        Box::new(TerminalProgress::new())
    }

    fn in_use(&mut self, users: &InUse) -> Result<(), Failure> {
        users.show_early(self.cli.json, self.screen)
    }

    fn remark(&mut self, sentence: &str) -> Result<(), Failure> {
        if !self.cli.json {
            self.screen.line(sentence)?;
        }
        Ok(())
    }

    fn consent(&mut self, drawn: &DrawnPlan) -> Result<Option<Consent>, Failure> {
        let (yes, auto) = (self.yes, drawn.auto);
        if yes || auto {
            return Ok(Some(if yes { Consent::Operator } else { Consent::Policy }));
        }
        let plan = drawn.sealed.plan();
        let victim = plan.names[plan.victim()].clone();
        let page = |screen: &mut Screen| show(screen, drawn, &self.salvages);
        agreed_at_the_prompt(self.cli, self.screen, &[victim], page)
    }

    fn takes_up(&mut self, incident: &Incident) -> Result<(), Failure> {
        if !self.cli.json {
            let state = state_words(&incident.state);
            self.screen.line(format!("Taking up incident {} ({state}).", incident.id))?;
        }
        Ok(())
    }
}
