//! The one layer of an image: a tar of few files whose bytes follow from their content alone.

use std::num::NonZeroU64;

use anyhow::{Context as _, Result};

use super::digest::Digest;

/// The user of the daemons, as the manifests say.
pub(super) const USER: u64 = 65532;

/// What stands at a path.
pub(super) enum Node<'a> {
    /// A folder of the daemons' user.
    Folder,
    /// A program that anybody may run.
    Program(&'a [u8]),
    /// Another name for a program.
    Link(&'a str),
}

/// A layer, compressed.
pub(super) struct Layer {
    /// The gzip stream.
    pub(super) bytes: Vec<u8>,
    /// The digest of the tar inside, which names the layer to container engines.
    pub(super) diff: Digest,
}

/// Packs entries, in their order, each with `time` (seconds since 1970) as its last change.
pub(super) fn pack(entries: &[(&str, Node<'_>)], time: u64) -> Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, node) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o755);
        header.set_size(0);
        match node {
            Node::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_uid(USER);
                header.set_gid(USER);
                tar.append_data(&mut header, path, std::io::empty())
            }
            Node::Program(bytes) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, path, *bytes)
            }
            Node::Link(to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                tar.append_link(&mut header, path, to)
            }
        }
        .with_context(|| format!("packing {path}"))?;
    }
    let plain = tar.into_inner().context("ending the layer")?;
    // One look for the shortest form; more of them gain a fifth of a percent. No time and no file name stand in the head.
    let options = zopfli::Options { iteration_count: NonZeroU64::MIN, ..zopfli::Options::default() };
    let mut bytes = Vec::new();
    zopfli::compress(options, zopfli::Format::Gzip, plain.as_slice(), &mut bytes)
        .context("compressing the layer")?;
    Ok(Layer { bytes, diff: Digest::of(&plain) })
}
