//! A policy file that a command writes.

use std::{fs::Permissions, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

/// Writes the whole file or nothing.
pub(super) fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".mpls-xdp-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    if force {
        file.persist(path).map_err(|error| error.error).with_context(failed)?;
    } else if let Err(error) = file.persist_noclobber(path) {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            bail!(there_already(path));
        }
        return Err(error.error).with_context(failed);
    }
    Ok(())
}

/// What is wrong with a file that is not to be replaced.
pub(super) fn there_already(path: &Path) -> String {
    format!("{} is there already; name another file, or replace it with --force", path.display())
}
