//! Whether only root and this user can change a folder of ours: the journal says what may be overwritten, and whoever writes to
//! it, or moves a part of it elsewhere, decides that.

use crate::model::shell::shell_path;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a folder cannot be trusted. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// Somebody else can write to it.
    #[error("{} can be changed by others (mode {mode:04o}); let nobody else write to it: chmod go-w {}", path.display(), shell_path(path))]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is somebody else's.
    #[error("{} belongs to user {owner}, who can change it; make it yours: chown {user} {}", path.display(), shell_path(path))]
    Others {
        /// The file, folder or link.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A link that leads nowhere.
    #[error("{} is a link that leads nowhere; remove it, or make it lead to a folder", path.display())]
    Dangling {
        /// The link.
        path: PathBuf,
    },
    /// It could not be looked at.
    #[error("cannot look at {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Whether a folder and all that stands in it, also behind links, can be changed by nobody but root and this user.
///
/// A part may be a link to another place, a larger disk for instance, if that place is as safe.
///
/// # Errors
/// [`Untrusted`], which names the first that is not, and what mends it.
pub(super) fn trusted(folder: &Path) -> Result<(), Untrusted> {
    let looked = |path: &Path| {
        let path = path.to_owned();
        move |source| Untrusted::Io { path, source }
    };
    check(folder, &fs::metadata(folder).map_err(looked(folder))?)?;
    for entry in fs::read_dir(folder).map_err(looked(folder))? {
        let path = entry.map_err(looked(folder))?.path();
        let own = match fs::symlink_metadata(&path) {
            // A part that another process has just removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(looked(&path))?,
        };
        if !own.is_symlink() {
            check(&path, &own)?;
            continue;
        }
        // A link's own mode says nothing: who may replace it is who may write to the folder.
        owned(&path, &own)?;
        match fs::metadata(&path) {
            Ok(target) => check(&path, &target)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Untrusted::Dangling { path });
            }
            Err(error) => return Err(looked(&path)(error)),
        }
    }
    Ok(())
}

fn check(path: &Path, found: &Metadata) -> Result<(), Untrusted> {
    owned(path, found)?;
    let mode = found.mode() & 0o7777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(Untrusted::Open { path: path.to_owned(), mode }) }
}

fn owned(path: &Path, found: &Metadata) -> Result<(), Untrusted> {
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner == 0 || owner == user {
        return Ok(());
    }
    Err(Untrusted::Others { path: path.to_owned(), owner, user })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_change_is_named_with_what_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let (state, larger) = (folder.path().join("state"), folder.path().join("larger"));
        for made in [&state, &larger, &state.join("plans")] {
            fs::create_dir(made).unwrap();
            mode(made, 0o755);
        }
        fs::write(state.join("journal"), "").unwrap();
        mode(&state.join("journal"), 0o600);
        symlink(&larger, state.join("salvage")).unwrap();
        trusted(&state).unwrap();
        for (path, open) in [
            (&state, 0o775),
            (&state.join("plans"), 0o777),
            (&state.join("journal"), 0o620),
            (&larger, 0o1777),
        ] {
            let before = fs::metadata(path).unwrap().permissions().mode();
            mode(path, open);
            let error = trusted(&state).unwrap_err();
            assert!(matches!(&error, Untrusted::Open { mode, .. } if *mode == open), "{error}");
            assert!(error.to_string().contains("chmod go-w /"), "{error}");
            mode(path, before);
        }
        symlink("nowhere", state.join("events")).unwrap();
        assert!(matches!(trusted(&state), Err(Untrusted::Dangling { .. })));
        fs::remove_file(state.join("events")).unwrap();
        // Only root can give something away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&larger, Some(65534), None).unwrap();
            let error = trusted(&state).unwrap_err();
            assert!(matches!(error, Untrusted::Others { owner: 65534, user: 0, .. }), "{error}");
            std::os::unix::fs::chown(&larger, Some(0), None).unwrap();
            std::os::unix::fs::lchown(state.join("salvage"), Some(65534), None).unwrap();
            assert!(matches!(trusted(&state), Err(Untrusted::Others { .. })));
        }
    }
}
