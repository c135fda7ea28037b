//! What a command is about: a running resource, or two sides.

use crate::cli::exit::Failure;
use crate::cli::incident::Desk;
use crate::cli::pair::{PairArgs, PairOptions};
use crate::engine::live::plans;
use crate::judge::incident::Incident;
use crate::judge::live_plan::SealedLivePlan;
use crate::model::id::ResourceName;
use clap::Args;
use std::path::{Path, PathBuf};

/// A running resource, or two backing devices or images of one volume.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// A running resource; or, with B, backing device, snapshot or image of the first node
    #[arg(value_name = "RESOURCE|A")]
    pub a: PathBuf,

    /// The same of the second node
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,
}

/// Which of the two.
pub enum Target {
    /// Two sides.
    Pair(Box<PairArgs>),
    /// A resource that runs.
    Resource(ResourceName),
}

impl TargetArgs {
    /// What was meant.
    ///
    /// # Errors
    /// One word that is no resource's name.
    pub fn target(&self) -> Result<Target, Failure> {
        match &self.b {
            Some(b) => {
                let (a, b) = (self.a.clone(), b.clone());
                Ok(Target::Pair(Box::new(PairArgs { a, b, options: self.options.clone() })))
            }
            None => resource(&self.a).map(Target::Resource),
        }
    }
}

/// The resource that a single word names.
///
/// # Errors
/// It is a path.
pub fn resource(word: &Path) -> Result<ResourceName, Failure> {
    let text = word.to_string_lossy();
    ResourceName::new(&text).map_err(|_| {
        Failure::usage(format!(
            "{text} is no resource's name. Two devices or images are compared with each other: give the other node's, too"
        ))
    })
}

/// The live plan of an incident; `None` for an incident about devices and images.
///
/// # Errors
/// The plan is damaged.
pub fn load(desk: &Desk, incident: &Incident) -> Result<Option<SealedLivePlan>, Failure> {
    plans::load(&*desk.store, incident.plan).map_err(Failure::internal)
}

/// The live plan whose id starts so; `None` when none does.
///
/// # Errors
/// Several do, or the plan is damaged.
pub fn planned(desk: &Desk, asked: &str) -> Result<Option<SealedLivePlan>, Failure> {
    let all = plans::kept(&*desk.store).map_err(Failure::internal)?;
    let matching: Vec<_> =
        all.iter().filter(|id| !asked.is_empty() && id.0.to_string().starts_with(asked)).collect();
    match matching.as_slice() {
        [] => Ok(None),
        [id] => plans::load(&*desk.store, **id).map_err(Failure::evidence),
        several => {
            Err(Failure::usage(format!("{} plans start with `{asked}`: give more digits", several.len())))
        }
    }
}
